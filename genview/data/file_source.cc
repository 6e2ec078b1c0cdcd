#include "genview/data/file_source.h"

#include "genview/data/source_parts.h"

namespace genview {

Outcome<std::string> FileSource::ReadBytes(int64_t i) const { return ReadFileBytes(FilePath(i)); }

std::string FileSource::Fingerprint() const {
  std::call_once(fingerprint_once_, [&] {
    fingerprint_ = FingerprintOfItems(items_, [&](int64_t i) { return ContentSampleOf(FilePath(i)); });
  });
  return fingerprint_;
}

}  // namespace genview
