// How fast one pretraining step is on this machine, on random pictures: `genview bench step`.
#pragma once

#include "genview/base/progress.h"
#include "genview/pretrain/config.h"
#include "genview/tensor/bench_times.h"

namespace genview {

enum class BenchQuality { kOff, kOnline, kCached };

template <>
struct EnumNames<BenchQuality> {
  static constexpr std::pair<BenchQuality, const char*> kNames[] = {
      {BenchQuality::kOff, "off"}, {BenchQuality::kOnline, "online"}, {BenchQuality::kCached, "cached"}};
};

struct BenchStepConfig {
  MethodKind method = MethodKind::kMocoV2;
  std::string backbone = "resnet18";
  double width = 1;
  bool small_stem = true;
  int64_t patch_size = 16;
  int64_t size = 32;
  int64_t batch = 128;
  int64_t queue = 65536;
  OptimizerKind optimizer = OptimizerKind::kAuto;
  BenchQuality quality = BenchQuality::kOff;
  std::string encoder;
  int64_t steps = 10;
  double seconds = 0;
  RunOptions run;
};

template <class Visit>
void VisitFields(BenchStepConfig& c, Visit&& visit) {
  visit("method", c.method, Any{}, "self-supervised method");
  visit("backbone", c.backbone, Any{}, "encoder that is trained");
  visit("width", c.width, Range<double>{1.0 / 64, 8}, "factor on its channel counts");
  visit("small_stem", c.small_stem, Any{}, "ResNet: 3 x 3 stem without max-pool");
  visit("patch_size", c.patch_size, Range<int64_t>{1, 256}, "ViT: side of a patch in pixels");
  visit("size", c.size, Range<int64_t>{8, 1024}, "side of the views in pixels");
  visit("batch", c.batch, Range<int64_t>{2, 1 << 20}, "pairs per update");
  visit("queue", c.queue, Range<int64_t>{1, int64_t{1} << 30}, "moco-v2: negatives kept");
  visit("optimizer", c.optimizer, Any{}, "how weights are updated; auto = the method's own");
  visit("quality", c.quality, Any{}, "weights of the pairs: off, online or cached");
  visit("encoder", c.encoder, Any{}, "frozen encoder that judges the pairs");
  visit("steps", c.steps, Range<int64_t>{1, 1 << 20}, "updates measured, after two that are not");
  visit("seconds", c.seconds, Range<double>{0, 86400}, "measure for about this long instead; 0 = by steps");
  visit("run", c.run, Section{}, "device, precision, seed");
}

struct BenchStepResult {
  BenchFigures figures;  // of one update; its images are pairs
  double loss = 0;       // of the last step
};
Json BenchStepToJson(const BenchStepResult& result);

// Throws Error when a loss is not finite.
BenchStepResult BenchStep(const BenchStepConfig& config, Progress& progress);

}  // namespace genview
