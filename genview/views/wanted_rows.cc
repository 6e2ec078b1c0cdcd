#include "genview/views/wanted_rows.h"

#include "genview/views/view_folder.h"
#include "genview/views/view_noise.h"

namespace genview {

std::vector<ViewRow> WantedRows(const ViewsConfig& config, const ImageSource& source, const NoiseLevels& levels) {
  std::vector<std::string> names = ViewFileNames(source, config.per_image, ViewEnding(config.format));
  std::vector<ViewRow> rows;
  rows.reserve(names.size());
  for (std::string& name : names) {
    const auto view = static_cast<int64_t>(rows.size());
    const SourceItem& item = source.item(view / config.per_image);
    ViewRow row;
    row.id = item.id;
    row.index = view % config.per_image;
    row.file = std::move(name);
    row.noise_level = levels.For(item, row.index).value_or(-1);
    row.seed = ViewSeed(config.run.seed, item.id, row.index);
    row.steps = config.steps;
    row.guidance = levels.GuidanceFor(item);
    row.prompt = levels.PromptFor(item, source.classes());
    row.negative_prompt = config.negative_prompt;
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace genview
