// How fast views are generated on this machine, from random pictures: `genview bench views`.
#pragma once

#include "genview/base/fields.h"
#include "genview/tensor/bench_times.h"
#include "genview/tensor/run_options.h"

namespace genview {

struct BenchViewsConfig {
  Path generator;
  int64_t steps = 20;
  double guidance = 10;
  std::string scheduler;
  int64_t rounds = 3;
  double seconds = 0;
  RunOptions run;
};

template <class Visit>
void VisitFields(BenchViewsConfig& c, Visit&& visit) {
  visit("generator", c.generator, Required{}, "folder of a Stable unCLIP pipeline");
  visit("steps", c.steps, Range<int64_t>{1, 1000}, "denoising steps per view");
  visit("guidance", c.guidance, Range<double>{0, 100}, "classifier-free guidance scale; 1 turns it off");
  visit("scheduler", c.scheduler, Any{}, "PNDM, DDIM, DPMSolverMultistep or EulerDiscrete; empty: the generator's own");
  visit("rounds", c.rounds, Range<int64_t>{1, 100000}, "batches measured, after one of few steps that is not");
  visit("seconds", c.seconds, Range<double>{0, 86400}, "measure for about this long instead; 0 = by rounds");
  visit("run", c.run, Section{}, "device, precision, batch, seed");
}

// Of one batch: pictures encoded, denoised, decoded. Throws Error when a view comes out unusable.
BenchFigures BenchViews(const BenchViewsConfig& config, Progress& progress);

}  // namespace genview
