#include "genview/data/file_source.h"

#include <sys/stat.h>

#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/data/source_parts.h"

namespace genview {

Outcome<std::string> FileSource::ReadBytes(int64_t i) const { return ReadFileBytes(FilePath(i)); }

Outcome<Image> FileSource::Read(int64_t i) const {
  const Outcome<std::string> bytes = ReadBytes(i);
  if (!bytes) return Outcome<Image>::Failed(bytes.reason());
  return DecodeImage(*bytes);
}

std::string FileSource::Fingerprint() const {
  std::call_once(fingerprint_once_, [&] {
    std::string all;
    for (int64_t i = 0; i < size(); ++i) {
      struct ::stat status{};
      const bool there = ::stat(FilePath(i).c_str(), &status) == 0;
      all += Format("{}\t{}\t{}\t{}.{}\n", item(i).id, item(i).label, there ? status.st_size : -1,
                    status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
    }
    fingerprint_ = genview::Fingerprint(all);
  });
  return fingerprint_;
}

}  // namespace genview
