// A .safetensors file that grows row by row over several runs. Beside it, until it is whole: one file per column, and a
// journal that says how much of them is on the disk.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "genview/base/files.h"
#include "genview/records/records.h"
#include "genview/tensor/tensor.h"

namespace genview {

struct FeatureColumn {
  std::string name;
  std::vector<int64_t> row_shape;  // of one row; fp32

  int64_t row_bytes() const;
};

class FeatureFile {
 public:
  // `largest`: the metadata with every picture in it, which bounds the header. What an earlier run of the same request
  // left is taken over, with its bad pictures added to `skipped`; that of another request is thrown away.
  FeatureFile(Path path, std::string request, std::vector<FeatureColumn> columns, int64_t rows_at_most,
              const std::map<std::string, std::string>& largest, SkippedLog& skipped);
  // Null where another process has it open, in place of the Error. Its header has no room for metadata.
  static std::unique_ptr<FeatureFile> OpenUnlessHeld(Path path, std::string request, std::vector<FeatureColumn> columns,
                                                     int64_t rows_at_most, SkippedLog& skipped);
  ~FeatureFile();

  const std::vector<int64_t>& indices() const { return indices_; }  // of the rows so far, into the source
  int64_t next() const { return next_; }                            // the first index that is not dealt with
  void DropFrom(int64_t index);                                     // rows of this index and later are made again
  void CopyTo(size_t column, const Tensor& rows) const;             // the rows so far, fp32 on the CPU

  void Append(size_t column, const Tensor& rows);  // [n, row_shape...]
  void EndBatch(const std::vector<int64_t>& indices, int64_t next);
  void Save(const SkippedLog& skipped);  // to the disk
  void Take(const FeatureFile& part);    // its rows after those that are here; the part stays
  void Finish(const std::map<std::string, std::string>& metadata);  // puts the file under its name
  static void RemoveParts(const Path& path);
  // Aside name of the rows [begin, end), which one process of several makes, and the removal of all such files.
  static Path PartOfShare(const Path& path, int64_t begin, int64_t end);
  static void RemoveShares(const Path& path);

 private:
  // first: the file of the first column.
  FeatureFile(Path path, std::string request, std::vector<FeatureColumn> columns, int64_t rows_at_most,
              const std::map<std::string, std::string>& largest, SkippedLog& skipped,
              std::unique_ptr<GrowingFile> first);
  bool Read();
  uint64_t PartSize(size_t column) const;

  struct Parts;
  Path path_;
  std::string request_;
  std::vector<FeatureColumn> columns_;
  uint64_t room_ = 0;  // bytes before the first column, for the header
  std::vector<int64_t> indices_;
  int64_t next_ = 0;
  std::unique_ptr<Parts> parts_;
};

// The number of rows when the file is whole and of this request.
std::optional<int64_t> FinishedFeatures(const Path& path, const std::string& request);

}  // namespace genview
