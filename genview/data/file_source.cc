#include "genview/data/file_source.h"

#include "genview/data/source_parts.h"

namespace genview {

Outcome<std::string> FileSource::ReadBytes(int64_t i) const { return ReadFileBytes(FilePath(i)); }

Outcome<Image> FileSource::Read(int64_t i) const {
  const Outcome<std::string> bytes = ReadBytes(i);
  if (!bytes) return Outcome<Image>::Failed(bytes.reason());
  return DecodeImage(*bytes);
}

Outcome<ImagePart> FileSource::ReadPart(int64_t i, const WantedBox& wanted) const {
  const Outcome<std::string> bytes = ReadBytes(i);
  if (!bytes) return Outcome<ImagePart>::Failed(bytes.reason());
  return DecodePart(*bytes, wanted);
}

std::string FileSource::Fingerprint() const {
  std::call_once(fingerprint_once_, [&] {
    fingerprint_ = FingerprintOfItems(items_, [&](int64_t i) { return ContentSampleOf(FilePath(i)); });
  });
  return fingerprint_;
}

}  // namespace genview
