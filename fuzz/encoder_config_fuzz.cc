// The configs of open_clip, Hugging Face and timm: towers and preprocessing. Whatever the JSON, the answer is a config
// within bounds or an Error.
#include "fuzz/try.h"
#include "genview/models/encoder.h"
#include "genview/models/neighbours.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace genview;
  Json json;
  if (!Try([&] { json = ParseJson({reinterpret_cast<const char*>(data), size}, "fuzz"); })) return 0;
  const auto check = [](const ClipVisionConfig& c) {
    if (c.width % c.heads != 0 || c.grid() < 1 || !(CountClipParameters(c) > 0)) __builtin_trap();
  };
  Try([&] { check(ClipConfigFromOpenClip(json, "fuzz")); });
  Try([&] { check(ClipConfigFromHuggingFace(json, "fuzz")); });
  Try([&] { (void)PreprocessFromOpenClip(json, 32, "fuzz"); });
  Try([&] { (void)PreprocessFromHuggingFace(json, 32, "fuzz"); });
  Try([&] { (void)PreprocessFromHuggingFace(ProcessorInClipWords(json, "fuzz"), 32, "fuzz"); });
  Try([&] { (void)PreprocessFromTimm(json, "fuzz"); });
  return 0;
}
