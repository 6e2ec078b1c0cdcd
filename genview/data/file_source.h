// Pictures that are files of their own: what a folder and a list have in common. For this folder alone.
#pragma once

#include <mutex>

#include "genview/base/files.h"
#include "genview/data/encoded_source.h"

namespace genview {

class FileSource : public EncodedSource {
 public:
  int64_t size() const override { return static_cast<int64_t>(items_.size()); }
  const SourceItem& item(int64_t i) const override { return items_[static_cast<size_t>(i)]; }
  Outcome<std::string> ReadBytes(int64_t i) const override;
  Path FileOf(int64_t i) const override { return FilePath(i); }
  std::optional<int64_t> ChangedAt(int64_t i) const override { return FileChangedAt(FilePath(i)); }
  std::string Fingerprint() const override;  // FingerprintOfItems

 protected:
  virtual Path FilePath(int64_t i) const = 0;

  std::vector<SourceItem> items_;

 private:
  mutable std::once_flag fingerprint_once_;
  mutable std::string fingerprint_;
};

}  // namespace genview
