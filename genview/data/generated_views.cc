#include "genview/data/generated_views.h"

#include <algorithm>

#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/data/encoded_source.h"
#include "genview/data/source_parts.h"

namespace genview {

Outcome<std::string> ReadViewBytes(const Path& folder, const ViewRow& row) {
  return row.shard.empty() ? ReadFileBytes(folder / row.file) : ReadFilePart(folder / row.shard, row.offset, row.bytes);
}

std::shared_ptr<const GeneratedViews> GeneratedViews::Open(const Path& folder) {
  std::error_code code;
  const Path manifest = std::filesystem::is_directory(folder, code) ? folder / "manifest.jsonl" : folder;
  if (!std::filesystem::exists(manifest, code)) {
    throw Error({.what = "there is no manifest of generated views",
                 .where = manifest.string(),
                 .next = "make the views first: `genview views`, or `genview run` with the views stage"});
  }
  std::vector<ViewRow> rows = ReadViewTable(manifest);
  if (rows.empty()) {
    throw Error({.what = "the manifest names no view", .where = manifest.string(), .next = "make the views again"});
  }
  return std::shared_ptr<const GeneratedViews>(new GeneratedViews(manifest.parent_path(), std::move(rows)));
}

GeneratedViews::GeneratedViews(const Path& folder, std::vector<ViewRow> rows)
    : folder_(folder), rows_(std::move(rows)) {
  std::sort(rows_.begin(), rows_.end(),
            [](const ViewRow& a, const ViewRow& b) { return a.id != b.id ? a.id < b.id : a.index < b.index; });
  for (size_t i = 0; i < rows_.size(); ++i) {
    Range& range = first_[rows_[i].id];
    if (range.count == 0) range.begin = static_cast<int64_t>(i);
    ++range.count;
  }
}

int64_t GeneratedViews::Count(const std::string& id) const {
  const auto found = first_.find(id);
  return found == first_.end() ? 0 : found->second.count;
}

int64_t GeneratedViews::RowOf(const std::string& id, int64_t k) const {
  const Range& range = first_.at(id);
  GENVIEW_CHECK(k >= 0 && k < range.count, "no such view");
  return range.begin + k;
}

Outcome<std::string> GeneratedViews::ReadBytes(const std::string& id, int64_t k) const {
  const auto found = first_.find(id);
  if (found == first_.end() || k < 0 || k >= found->second.count) {
    return Outcome<std::string>::Failed(Format("there is no view {} of it", k));
  }
  return ReadViewBytes(folder_, rows_[static_cast<size_t>(found->second.begin + k)]);
}

Outcome<Image> GeneratedViews::Read(const std::string& id, int64_t k) const {
  const auto bytes = ReadBytes(id, k);
  if (!bytes) return Outcome<Image>::Failed(bytes.reason());
  return DecodeImage(*bytes);
}

std::string GeneratedViews::Fingerprint() const {
  std::string all;
  for (const ViewRow& row : rows_)
    all += ViewRowToJson(row).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  return genview::Fingerprint(all);
}

namespace {

class ViewsSource : public EncodedSource {
 public:
  explicit ViewsSource(std::shared_ptr<const GeneratedViews> views) : views_(std::move(views)) {
    std::string before;
    for (const ViewRow& row : views_->rows()) {
      places_.push_back(row.id == before ? places_.back() + 1 : 0);
      before = row.id;
      items_.push_back({SafeId("views/" + row.file), row.file});
    }
    CheckUniqueIds(items_, "views manifest");
  }

  int64_t size() const override { return static_cast<int64_t>(items_.size()); }
  const SourceItem& item(int64_t i) const override { return items_[static_cast<size_t>(i)]; }
  Outcome<std::string> ReadBytes(int64_t i) const override {
    return views_->ReadBytes(ImageId(i), places_[static_cast<size_t>(i)]);
  }
  std::string Fingerprint() const override { return views_->Fingerprint(); }

 private:
  const std::string& ImageId(int64_t i) const { return views_->rows()[static_cast<size_t>(i)].id; }

  std::shared_ptr<const GeneratedViews> views_;
  std::vector<SourceItem> items_;
  std::vector<int64_t> places_;  // among the views of one image
};

}  // namespace

std::shared_ptr<const ImageSource> ViewsAsSource(std::shared_ptr<const GeneratedViews> views) {
  return std::make_shared<ViewsSource>(std::move(views));
}

}  // namespace genview
