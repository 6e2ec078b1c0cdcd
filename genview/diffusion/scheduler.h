// The way from noise to a latent picture in few network calls: PNDM, DDIM, DPM-Solver++ and Euler, each from diffusers'
// scheduler_config.json and with its results.
//
//   SchedulerConfig config = ParseSchedulerConfig(ReadPythonJson(file), /*kind=*/"", file.string());
//   auto scheduler = MakeScheduler(config, 20);
//   Tensor x = noise * scheduler->initial_sigma();
//   for (size_t call = 0; call < scheduler->times().size(); ++call) {
//     x = scheduler->Step(network(scheduler->ScaleInput(x), scheduler->times()[call]), x);
//   }
#pragma once

#include <memory>
#include <optional>

#include "genview/base/json.h"
#include "genview/diffusion/noise_table.h"

namespace genview {

enum class SchedulerKind { kPndm, kDdim, kDpmSolverMultistep, kEulerDiscrete };
enum class Prediction { kEpsilon, kV, kSample };

struct SchedulerConfig {
  SchedulerKind kind = SchedulerKind::kPndm;
  NoiseTableConfig noise;
  Prediction prediction = Prediction::kEpsilon;
  std::string spacing = "leading";  // of the times: leading, linspace, trailing
  int64_t steps_offset = 0;         // added to the times of `leading`
  bool set_alpha_to_one = false;    // PNDM, DDIM: alpha_bar before time 0 is 1, otherwise that of time 0
  bool clip_sample = false;         // DDIM
  double clip_range = 1;
  bool thresholding = false;  // DDIM, DPM-Solver: dynamic thresholding, of the absolute values' quantile
  double threshold_ratio = 0.995, threshold_max = 1;
  bool skip_prk_steps = false;  // PNDM: begin with linear multistep, without Runge-Kutta
  int64_t solver_order = 2;     // DPM-Solver: 1, 2, 3
  bool over_noise = false;      // DPM-Solver: over the prediction of the noise, otherwise of the picture (++)
  bool heun = false;            // DPM-Solver: second order by Heun's rule, otherwise midpoint
  bool lower_order_final = true, euler_at_final = false;
  bool final_sigma_zero = true;  // DPM-Solver, Euler: otherwise the smallest of training
  bool karras_sigmas = false;
  std::optional<double> sigma_min, sigma_max;  // of Karras's; otherwise those of training
  double lambda_min = -1e300;                  // DPM-Solver: cut of ln(alpha/sigma)
};

// A class name of diffusers, with or without `Scheduler`; throws UsageError naming the known ones. `where`: for the
// message.
SchedulerKind ParseSchedulerKind(const std::string& name, const std::string& where);
std::string SchedulerName(SchedulerKind kind);  // "PNDMScheduler"

// `kind` empty: the class that the file names. Otherwise that class with the file's values, as diffusers' from_config
// does: what the file leaves out gets the default of the class that is asked for.
SchedulerConfig ParseSchedulerConfig(const Json& json, const std::string& kind, const std::string& where);
Json SchedulerConfigToJson(const SchedulerConfig& config);

class Scheduler {
 public:
  virtual ~Scheduler() = default;
  const std::vector<double>& times() const { return times_; }  // of each network call; more than `steps` for PNDM
  virtual double initial_sigma() const { return 1; }           // of the noise the way begins with
  // What the network sees of x at the coming call.
  virtual Tensor ScaleInput(const Tensor& x) const { return x; }
  // The next x, from the network's output for the coming call. Rows do not influence each other.
  virtual Tensor Step(const Tensor& output, const Tensor& x) = 0;

 protected:
  size_t call_ = 0;  // the coming one
  std::vector<double> times_;
};

// Throws UsageError when the method cannot do so few or so many steps.
std::unique_ptr<Scheduler> MakeScheduler(const SchedulerConfig& config, int64_t steps);

}  // namespace genview
