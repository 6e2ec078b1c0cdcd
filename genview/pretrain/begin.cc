#include "genview/pretrain/begin.h"

#include <c10/core/GradMode.h>

#include <map>

#include "genview/base/error.h"
#include "genview/models/backbone_file.h"

namespace genview {

void BeginEncoderFrom(Method& method, const Path& file) {
  const BackboneFile from = ReadBackboneFile(file);
  const int64_t padding = from.encoder.backbone->config().stem_padding,
                wanted = method.encoder()->config().stem_padding;
  if (from.own && padding != wanted) {  // whose weights fit
    throw UsageError(
        {.what = Format("the stem of the file's ResNet has a padding of {}, this one of {}", padding, wanted),
         .where = Format("key `pretrain.init`, {}", file.string()),
         .next = Format("set `pretrain.stem_padding` to {}", padding)});
  }
  WeightMap weights(file.string());
  for (const WeightRef& ref : from.encoder.backbone->Weights()) weights.Add(ref.name, *ref.tensor);
  std::map<std::string, Tensor> targets;  // by name, of both networks
  for (const WeightList& list : {method.Weights(), method.Extra()}) {
    for (const WeightRef& ref : list) targets.emplace(ref.name, *ref.tensor);
  }
  const c10::AutoGradMode no_grad(false);
  for (const std::string prefix : {"encoder.", "momentum_encoder."}) {
    WeightReader reader(weights);
    std::vector<std::pair<Tensor, Tensor>> copies;
    for (auto it = targets.lower_bound(prefix); it != targets.end() && it->first.starts_with(prefix); ++it) {
      copies.emplace_back(it->second, reader.Take(it->first.substr(prefix.size()), it->second.sizes()));
    }
    if (copies.empty()) continue;  // a method without an average
    reader.Finish();
    for (auto& [to, value] : copies) to.copy_(value);
  }
}

}  // namespace genview
