// How fast views are generated on this machine, from random pictures: `genview bench views`.
#pragma once

#include "genview/base/fields.h"
#include "genview/tensor/bench_times.h"
#include "genview/tensor/run_options.h"
#include "genview/views/config.h"

namespace genview {

// Whole views; one call of the UNet; decoding alone; or reading the pipeline until its first step could be made.
enum class BenchPart { kViews, kUnet, kDecode, kLoad };

template <>
struct EnumNames<BenchPart> {
  static constexpr std::pair<BenchPart, const char*> kNames[] = {{BenchPart::kViews, "views"},
                                                                 {BenchPart::kUnet, "unet"},
                                                                 {BenchPart::kDecode, "decode"},
                                                                 {BenchPart::kLoad, "load"}};
};

struct BenchViewsConfig {
  Path generator;
  BenchPart part = BenchPart::kViews;
  int64_t latents = 0;
  DecodeChoice decode = DecodeChoice::kAuto;
  Residency keep = Residency::kAuto;
  int64_t steps = 20;
  double guidance = 10;
  std::string scheduler;
  int64_t rounds = 3;
  double seconds = 0;
  RunOptions run;
};

template <class Visit>
void VisitFields(BenchViewsConfig& c, Visit&& visit) {
  visit("generator", c.generator, Required{}, "Stable unCLIP: a pipeline folder, or the single file of version 2-1");
  visit("part", c.part, Any{}, "views, or a part of making them: unet (one call), decode, load (until the first step)");
  visit("latents", c.latents, Range<int64_t>{0, 2048}, "latents per side; 0: as the generator makes them");
  visit("decode", c.decode, Any{}, "pictures whole or in tiles, see `genview views`");
  visit("keep", c.keep, Any{}, "the generator's networks in memory: auto, all, one");
  visit("steps", c.steps, Range<int64_t>{1, 1000}, "denoising steps per view");
  visit("guidance", c.guidance, Range<double>{0, 100}, "classifier-free guidance scale; 1 turns it off");
  visit("scheduler", c.scheduler, Any{}, "PNDM, DDIM, DPMSolverMultistep or EulerDiscrete; empty: the generator's own");
  visit("rounds", c.rounds, Range<int64_t>{1, 100000}, "batches measured, after one of few steps that is not");
  visit("seconds", c.seconds, Range<double>{0, 86400}, "measure for about this long instead; 0 = by rounds");
  visit("run", c.run, Section{}, "device, precision, batch, seed");
}

// Of one batch: pictures encoded, denoised, decoded, or the part asked for. Throws Error when a view comes out
// unusable.
BenchFigures BenchViews(const BenchViewsConfig& config, Progress& progress);

}  // namespace genview
