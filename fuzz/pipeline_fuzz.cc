// What a generator says of itself: in JSON a folder's model and scheduler configs as Python writes them and its
// tokenizer, in the shapes of its tensors a single file.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fuzz/try.h"
#include "genview/diffusion/python_json.h"
#include "genview/diffusion/scheduler.h"
#include "genview/models/clip_text.h"
#include "genview/models/clip_tokenizer.h"
#include "genview/models/ldm.h"
#include "genview/models/unet.h"
#include "genview/models/vae.h"

namespace genview {
namespace {

// {"name": [extents], ...}; at most 2^60 values each, none of which has memory.
WeightMap TensorsOf(const Json& json) {
  WeightMap weights("fuzz");
  if (!json.is_object()) return weights;
  for (const auto& [name, shape] : json.items()) {
    std::vector<int64_t> extents;
    for (const Json& extent : shape) {
      if (extent.is_number_unsigned()) extents.push_back(static_cast<int64_t>(extent.get<uint64_t>() % (1 << 15)));
    }
    if (extents.size() <= 4) weights.Add(name, at::empty(extents, at::TensorOptions(at::kFloat).device(at::kMeta)));
  }
  return weights;
}

void TrySingleFile(const WeightMap& file) {
  Try([&] { (void)LdmUnetConfig(file); });
  Try([&] { (void)LdmVaeConfig(file); });
  Try([&] { (void)LdmTextConfig(file); });
  Try([&] {
    const auto c = std::get<ClipVisionConfig>(LdmTowerFiles(file).config);
    if (c.width % c.heads != 0 || c.grid() < 1 || !(CountClipParameters(c) > 0)) __builtin_trap();
  });
}

}  // namespace
}  // namespace genview

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace genview;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Json json;
  if (!Try([&] { json = ParseJson(WithoutPythonNumbers(text), "fuzz"); })) return 0;
  Try([&] { UnetConfigToJson(ParseUnetConfig(json, "fuzz")); });
  Try([&] { VaeConfigToJson(ParseVaeConfig(json, "fuzz")); });
  Try([&] { ParseClipTextConfig(json, "fuzz"); });
  for (const char* kind : {"", "PNDM", "DDIM", "DPMSolverMultistep", "EulerDiscrete"}) {
    Try([&] {
      const SchedulerConfig config = ParseSchedulerConfig(json, kind, "fuzz");
      if (config.noise.train_steps <= 2000) MakeScheduler(config, 5);
    });
  }
  TrySingleFile(TensorsOf(json));
  Try([&] { ClipTokenizer::FromJson(ParseSortedJson(text, "fuzz"), "fuzz").Encode("a photo of a cat's hat", 12); });
  return 0;
}
