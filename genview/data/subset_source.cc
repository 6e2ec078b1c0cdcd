#include <algorithm>
#include <map>
#include <numeric>

#include "genview/base/fields.h"
#include "genview/base/hash.h"
#include "genview/base/random.h"
#include "genview/data/source_parts.h"

namespace genview {
namespace {

constexpr std::string_view kOf = "of=";

struct SubsetConfig {
  int64_t count = 0;
  uint64_t seed = 0;
};
template <class Visit>
void VisitFields(SubsetConfig& c, Visit&& visit) {
  visit("count", c.count, Range<int64_t>{1, INT64_MAX}, "pictures taken, from every class in proportion");
  visit("seed", c.seed, Any{}, "of the draw");
}

// Every class is put into a drawn order; the pictures that come earliest in theirs are taken, so that a class with
// twice the pictures gives twice as many. What is drawn for 100 is among what is drawn for 200.
std::vector<int64_t> Draw(const ImageSource& all, const SubsetConfig& config) {
  std::map<int64_t, std::vector<std::pair<uint64_t, int64_t>>> drawn;  // class -> (key, index)
  for (int64_t i = 0; i < all.size(); ++i) {
    const SourceItem& item = all.item(i);
    drawn[item.label].emplace_back(Seed(config.seed).With("subset").With(item.id).key(), i);
  }
  std::vector<std::tuple<double, int64_t, int64_t>> order;  // place within the class from 0 to 1, class, index
  for (auto& [label, items] : drawn) {
    std::sort(items.begin(), items.end());
    for (size_t k = 0; k < items.size(); ++k) {
      order.emplace_back((static_cast<double>(k) + 0.5) / static_cast<double>(items.size()), label, items[k].second);
    }
  }
  std::sort(order.begin(), order.end());
  std::vector<int64_t> indices;
  for (int64_t k = 0; k < config.count; ++k) indices.push_back(std::get<2>(order[static_cast<size_t>(k)]));
  std::sort(indices.begin(), indices.end());
  return indices;
}

class ChosenSource : public ImageSource {
 public:
  ChosenSource(std::shared_ptr<const ImageSource> all, std::vector<int64_t> indices, std::string choice)
      : all_(std::move(all)), indices_(std::move(indices)), choice_(std::move(choice)) {
    classes_ = all_->classes();
    passed_over_ = all_->passed_over();
  }

  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  const SourceItem& item(int64_t i) const override { return all_->item(Place(i)); }
  Outcome<Image> Read(int64_t i) const override { return all_->Read(Place(i)); }
  Outcome<ImagePart> ReadPart(int64_t i, const WantedBox& wanted) const override {
    return all_->ReadPart(Place(i), wanted);
  }
  Outcome<std::string> ReadBytes(int64_t i) const override { return all_->ReadBytes(Place(i)); }
  Outcome<GrayImage> ReadMask(int64_t i) const override { return all_->ReadMask(Place(i)); }
  Path FileOf(int64_t i) const override { return all_->FileOf(Place(i)); }
  std::optional<int64_t> ChangedAt(int64_t i) const override { return all_->ChangedAt(Place(i)); }
  std::string Fingerprint() const override { return genview::Fingerprint(all_->Fingerprint() + choice_); }

 private:
  int64_t Place(int64_t i) const { return indices_[static_cast<size_t>(i)]; }

  std::shared_ptr<const ImageSource> all_;
  std::vector<int64_t> indices_;
  std::string choice_;
};

}  // namespace

size_t SubsetSourceStart(std::string_view spec) {
  const size_t of = spec.find(kOf);
  const bool is =
      spec.starts_with(kSubset) && of != std::string_view::npos && (spec[of - 1] == ',' || spec[of - 1] == ':');
  return is ? of + kOf.size() : std::string_view::npos;
}

size_t SubsetsEnd(std::string_view spec) {
  size_t end = 0;
  for (size_t of = 0; (of = SubsetSourceStart(spec.substr(end))) != std::string_view::npos;) end += of;
  return end;
}

std::shared_ptr<const ImageSource> OpenSubset(const std::string& spec) {
  const size_t start = SubsetSourceStart(spec);
  constexpr const char* kForm = "write subset:count=5000,seed=0,of=IMAGES";
  if (start == std::string::npos)
    throw UsageError({.what = "the subset does not say of which pictures", .where = SafeId(spec), .next = kForm});
  SubsetConfig config;
  const std::string settings = spec.substr(kSubset.size(), start - kOf.size() - kSubset.size());
  ReadFields(config, ParseSourceSettings(settings, spec, kForm),
             {.file = SafeId(spec), .prefix = "", .lines = nullptr});
  if (config.count == 0)
    throw UsageError({.what = "the subset does not say how many pictures", .where = SafeId(spec), .next = kForm});
  auto all = OpenSource(spec.substr(start));
  if (config.count > all->size()) {
    throw UsageError({.what = Format("{} pictures are asked of a source that has {}", config.count, all->size()),
                      .where = SafeId(spec),
                      .next = "ask for fewer, or name the source itself to take all"});
  }
  std::vector<int64_t> indices = Draw(*all, config);
  return ChooseOf(std::move(all), std::move(indices), Format(" {} {}", config.count, config.seed));
}

std::shared_ptr<const ImageSource> ChooseOf(std::shared_ptr<const ImageSource> source, std::vector<int64_t> indices,
                                            std::string choice) {
  return std::make_shared<ChosenSource>(std::move(source), std::move(indices), std::move(choice));
}

}  // namespace genview
