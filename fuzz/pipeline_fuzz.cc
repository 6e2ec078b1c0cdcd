// What a generator's folder says in JSON: model and scheduler configs as Python writes them, and the tokenizer.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fuzz/try.h"
#include "genview/diffusion/python_json.h"
#include "genview/diffusion/scheduler.h"
#include "genview/models/clip_text.h"
#include "genview/models/clip_tokenizer.h"
#include "genview/models/unet.h"
#include "genview/models/vae.h"

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
  Try([&] { ClipTokenizer::FromJson(ParseSortedJson(text, "fuzz"), "fuzz").Encode("a photo of a cat's hat", 12); });
  return 0;
}
