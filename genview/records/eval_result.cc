#include <algorithm>
#include <cmath>

#include "genview/records/records.h"

namespace genview {

Json EvalResultToJson(const EvalResult& result) {
  Json json = {{"kind", result.kind},
               {"unit", "percent"},
               {"top1", result.top1},
               {"top5", result.top5},
               {"top1_low", result.top1_low},
               {"top1_high", result.top1_high},
               {"images", result.images},
               {"classes", result.classes},
               {"seed", result.seed},
               {"checkpoint", result.checkpoint},
               {"normalisation", result.normalisation},
               {"settings", result.settings}};
  if (result.top5_range) {
    json["top5_low"] = result.top5_range->first;
    json["top5_high"] = result.top5_range->second;
  }
  return json;
}

EvalResult EvalResultFromJson(const Json& json, std::string_view where) {
  if (!json.is_object()) {
    throw Error({.what = "not a score file: it is no JSON object",
                 .where = std::string(where),
                 .next = "run the evaluation again"});
  }
  EvalResult result;
  result.kind = JsonString(json, "kind", "", where);
  result.top1 = JsonDouble(json, "top1", 0, where);
  result.top5 = JsonDouble(json, "top5", 0, where);
  result.top1_low = JsonDouble(json, "top1_low", 0, where);
  result.top1_high = JsonDouble(json, "top1_high", 0, where);
  if (json.contains("top5_low")) {
    result.top5_range = {JsonDouble(json, "top5_low", 0, where), JsonDouble(json, "top5_high", 0, where)};
  }
  result.images = JsonInt(json, "images", 0, where);
  result.classes = JsonInt(json, "classes", 0, where);
  const auto seed = json.find("seed");
  if (seed != json.end() && seed->is_number_unsigned()) result.seed = seed->get<uint64_t>();
  result.checkpoint = JsonString(json, "checkpoint", "", where);
  if (json.contains("normalisation")) result.normalisation = json["normalisation"];
  if (json.contains("settings")) result.settings = json["settings"];
  return result;
}

std::pair<double, double> WilsonInterval(int64_t hits, int64_t total, double z) {
  if (total <= 0) return {0.0, 1.0};
  const double n = static_cast<double>(total), share = static_cast<double>(hits) / n;
  const double middle = share + z * z / (2 * n), spread = z * std::sqrt(share * (1 - share) / n + z * z / (4 * n * n));
  const double scale = 1 + z * z / n;
  return {std::max(0.0, (middle - spread) / scale), std::min(1.0, (middle + spread) / scale)};
}

}  // namespace genview
