// The pictures that `genview views` made, found by the id of the image they were made from.
//
//   const auto views = GeneratedViews::Open("runs/demo/views");
//   if (views->Has(id)) Outcome<Image> view = views->Read(id, 0);
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "genview/base/files.h"
#include "genview/data/source.h"
#include "genview/records/records.h"

namespace genview {

// The bytes of a view's picture, from its own file or out of its shard.
Outcome<std::string> ReadViewBytes(const Path& folder, const ViewRow& row);

class GeneratedViews {
 public:
  // A folder with manifest.jsonl, or that file. Throws Error when it is not there or names no view.
  static std::shared_ptr<const GeneratedViews> Open(const Path& folder);

  bool Has(const std::string& id) const { return Count(id) > 0; }
  int64_t Count(const std::string& id) const;
  int64_t RowOf(const std::string& id, int64_t k) const;        // in rows(); k in 0 .. Count(id)-1
  Outcome<Image> Read(const std::string& id, int64_t k) const;  // k in 0 .. Count(id)-1; thread-safe
  Outcome<std::string> ReadBytes(const std::string& id, int64_t k) const;
  const std::vector<ViewRow>& rows() const { return rows_; }              // by id, then index
  int64_t images() const { return static_cast<int64_t>(first_.size()); }  // with at least one view
  std::string Fingerprint() const;                                        // of the manifest's rows

 private:
  GeneratedViews(const Path& folder, std::vector<ViewRow> rows);

  struct Range {
    int64_t begin = 0, count = 0;
  };
  Path folder_;
  std::vector<ViewRow> rows_;
  std::unordered_map<std::string, Range> first_;
};

// Every view as a picture of its own, for training on them as extra data. Ids are "views/FILE"; no labels.
std::shared_ptr<const ImageSource> ViewsAsSource(std::shared_ptr<const GeneratedViews> views);

}  // namespace genview
