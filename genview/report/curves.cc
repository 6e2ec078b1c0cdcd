#include "genview/report/curves.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "genview/base/json.h"

namespace genview {
namespace {

struct Quantity {
  const char* title;
  std::vector<const char*> keys;  // the first that a row has is taken
  const char* note;
  bool by_method = false;
};

const std::vector<Quantity>& Quantities() {
  static const std::vector<Quantity> quantities = {
      {"Loss", {"loss"}, "Of the training pairs; losses of different methods are on different scales.", true},
      {"kNN accuracy, %", {"knn_top1"}, "Of the encoder on the way, by its nearest neighbours."},
      {"Spread of the features",
       {"relative_std"},
       "Of the projections, as a share of that over the whole sphere; near 0 the encoder has collapsed."},
      {"Effective rank",
       {"effective_rank"},
       "Directions that the projections make use of; near 1 the encoder has collapsed."},
  };
  return quantities;
}

std::optional<double> NumberOf(const Json& row, const char* key) {
  const auto found = row.find(key);
  if (found == row.end() || !found->is_number()) return std::nullopt;
  const auto value = found->get<double>();
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

// Neighbours are averaged, so that a noisy loss becomes a line and no outlier is picked by chance.
std::vector<std::pair<double, double>> Thin(const std::vector<std::pair<double, double>>& points, size_t limit) {
  if (points.size() <= limit) return points;
  std::vector<std::pair<double, double>> result;
  for (size_t i = 0; i < limit; ++i) {
    const size_t begin = i * points.size() / limit, end = (i + 1) * points.size() / limit;
    double x = 0, y = 0;
    for (size_t k = begin; k < end; ++k) {
      x += points[k].first;
      y += points[k].second;
    }
    const auto count = static_cast<double>(end - begin);
    result.emplace_back(x / count, y / count);
  }
  return result;
}

std::vector<Json> ReadRows(const Path& log) {
  std::vector<Json> rows;
  std::error_code code;
  if (!std::filesystem::is_regular_file(log, code)) return rows;
  for (const auto& line : ReadLines(log, /*keep_torn=*/false)) {
    Json row = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (row.is_object()) rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

std::vector<Panel> ReadPanels(const std::vector<LogSource>& logs, size_t limit) {
  std::vector<Panel> panels;
  for (const Quantity& quantity : Quantities())
    panels.push_back({quantity.title, quantity.note, "step", {}, quantity.by_method});
  for (const LogSource& source : logs) {
    const auto rows = ReadRows(source.log);
    for (size_t q = 0; q < panels.size(); ++q) {
      Curve curve{source.arm, source.colour, {}, source.label, source.strong, source.method};
      for (const Json& row : rows) {
        const auto x = NumberOf(row, "step");
        for (const char* key : Quantities()[q].keys) {
          if (const auto y = NumberOf(row, key); x && y) {
            curve.points.emplace_back(*x, *y);
            break;
          }
        }
      }
      curve.points = Thin(curve.points, limit);
      if (!curve.points.empty()) panels[q].curves.push_back(std::move(curve));
    }
  }
  std::erase_if(panels, [](const Panel& panel) { return panel.curves.empty(); });
  return panels;
}

}  // namespace genview
