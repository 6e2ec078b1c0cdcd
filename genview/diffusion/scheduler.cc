#include "genview/diffusion/scheduler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/models/diffusion_blocks.h"

namespace genview {
namespace {

constexpr std::array<std::pair<SchedulerKind, const char*>, 4> kKinds{
    {{SchedulerKind::kPndm, "PNDM"},
     {SchedulerKind::kDdim, "DDIM"},
     {SchedulerKind::kDpmSolverMultistep, "DPMSolverMultistep"},
     {SchedulerKind::kEulerDiscrete, "EulerDiscrete"}}};

Prediction ParsePrediction(ConfigReader& reader, SchedulerKind kind) {
  const std::string name = reader.String("prediction_type", "epsilon");
  if (name == "epsilon") return Prediction::kEpsilon;
  if (name == "v_prediction") return Prediction::kV;
  if (name == "sample" && kind != SchedulerKind::kPndm) return Prediction::kSample;
  reader.Fail("prediction_type",
              kind == SchedulerKind::kPndm ? "epsilon, v_prediction" : "epsilon, v_prediction, sample");
}

void ParseThresholding(ConfigReader& reader, SchedulerConfig& c) {
  c.thresholding = reader.Bool("thresholding", false);
  c.threshold_ratio = reader.Double("dynamic_thresholding_ratio", c.threshold_ratio);
  c.threshold_max = reader.Double("sample_max_value", c.threshold_max);
  if (!(c.threshold_ratio >= 0 && c.threshold_ratio <= 1)) reader.Fail("dynamic_thresholding_ratio", "0 to 1");
  if (!(c.threshold_max >= 1)) reader.Fail("sample_max_value", "1 or more");
}

}  // namespace

std::string SchedulerName(SchedulerKind kind) {
  for (const auto& [known, name] : kKinds) {
    if (known == kind) return std::string(name) + "Scheduler";
  }
  throw std::logic_error("a scheduler kind has no name");
}

SchedulerKind ParseSchedulerKind(const std::string& name, const std::string& where) {
  std::vector<std::string> names;
  for (const auto& [kind, known] : kKinds) {
    if (name == known || name == std::string(known) + "Scheduler") return kind;
    names.emplace_back(known);
  }
  throw UsageError({.what = Format("no scheduler `{}` here", name),
                    .where = where,
                    .next = Format("use --scheduler with one of: {}", fmt::join(names, ", "))});
}

SchedulerConfig ParseSchedulerConfig(const Json& json, const std::string& kind, const std::string& where) {
  ConfigReader reader(json, where);
  SchedulerConfig c;
  const std::string own = reader.String("_class_name", "PNDMScheduler");
  c.kind = kind.empty() ? ParseSchedulerKind(own, where) : ParseSchedulerKind(kind, "--scheduler");
  const bool by_sigma = c.kind == SchedulerKind::kDpmSolverMultistep || c.kind == SchedulerKind::kEulerDiscrete;
  c.noise = ParseNoiseTable(reader);
  if (c.kind == SchedulerKind::kPndm) c.noise.zero_terminal_snr = false;  // PNDM does not know it
  c.prediction = ParsePrediction(reader, c.kind);
  c.spacing = reader.String("timestep_spacing", by_sigma ? "linspace" : "leading");
  if (c.spacing != "leading" && c.spacing != "linspace" && c.spacing != "trailing")
    reader.Fail("timestep_spacing", "leading, linspace, trailing");
  c.steps_offset = reader.Int("steps_offset", 0, 0, 1000);
  c.set_alpha_to_one = reader.Bool("set_alpha_to_one", c.kind == SchedulerKind::kDdim);
  if (c.kind == SchedulerKind::kDdim) {
    c.clip_sample = reader.Bool("clip_sample", true);
    c.clip_range = reader.Double("clip_sample_range", 1);
  }
  if (c.kind == SchedulerKind::kDdim || c.kind == SchedulerKind::kDpmSolverMultistep) ParseThresholding(reader, c);
  if (c.kind == SchedulerKind::kPndm) c.skip_prk_steps = reader.Bool("skip_prk_steps", false);
  if (by_sigma) {
    const std::string last = reader.String("final_sigmas_type", "zero");
    if (last != "zero" && last != "sigma_min") reader.Fail("final_sigmas_type", "zero, sigma_min");
    c.final_sigma_zero = last == "zero";
    c.karras_sigmas = reader.Bool("use_karras_sigmas", false);
    for (const auto& [key, sigma] : {std::pair("sigma_min", &c.sigma_min), std::pair("sigma_max", &c.sigma_max)}) {
      if (reader.IsNull(key)) continue;
      *sigma = reader.Double(key, 0);
      if (!(*sigma > 0)) reader.Fail(key, "a positive number");
    }
    for (const char* key : {"use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "use_flow_sigmas"})
      reader.Allow(key, {false, nullptr});
  }
  if (c.kind == SchedulerKind::kDpmSolverMultistep) {
    c.solver_order = reader.Int("solver_order", 2, 1, 3);
    reader.Allow("algorithm_type", {"dpmsolver++", "dpmsolver", "deis"});  // the others add noise at every step
    const std::string algorithm = reader.String("algorithm_type", "dpmsolver++");
    c.over_noise = algorithm == "dpmsolver";
    if (algorithm != "dpmsolver++" && c.final_sigma_zero)
      reader.Fail("final_sigmas_type", "sigma_min with this `algorithm_type`");
    // The last three are of other solvers; diffusers takes midpoint for them, and dpmsolver++ for deis.
    reader.Allow("solver_type", {"midpoint", "heun", "logrho", "bh1", "bh2"});
    c.heun = reader.String("solver_type", "midpoint") == "heun";
    c.lower_order_final = reader.Bool("lower_order_final", true);
    c.euler_at_final = reader.Bool("euler_at_final", false);
    c.lambda_min = reader.Double("lambda_min_clipped", c.lambda_min);
    reader.Allow("variance_type", {nullptr});
  }
  if (c.kind == SchedulerKind::kEulerDiscrete) {
    reader.Allow("interpolation_type", {"linear"});
    reader.Allow("timestep_type", {"discrete"});
  }
  return c;  // without Finish: these files carry the members of other schedulers along
}

Json SchedulerConfigToJson(const SchedulerConfig& c) {
  Json json;
  json["_class_name"] = SchedulerName(c.kind);
  json["_diffusers_version"] = kDiffusersVersion;
  json["num_train_timesteps"] = c.noise.train_steps;
  json["beta_start"] = c.noise.beta_start;
  json["beta_end"] = c.noise.beta_end;
  json["beta_schedule"] = c.noise.schedule;
  json["trained_betas"] = c.noise.trained_betas.empty() ? Json(nullptr) : Json(c.noise.trained_betas);
  json["prediction_type"] = c.prediction == Prediction::kV        ? "v_prediction"
                            : c.prediction == Prediction::kSample ? "sample"
                                                                  : "epsilon";
  json["timestep_spacing"] = c.spacing;
  json["steps_offset"] = c.steps_offset;
  json["set_alpha_to_one"] = c.set_alpha_to_one;
  json["clip_sample"] = c.clip_sample;
  json["clip_sample_range"] = c.clip_range;
  json["skip_prk_steps"] = c.skip_prk_steps;
  if (c.noise.zero_terminal_snr) json["rescale_betas_zero_snr"] = true;
  if (c.thresholding) {
    json["thresholding"] = true;
    json["dynamic_thresholding_ratio"] = c.threshold_ratio;
    json["sample_max_value"] = c.threshold_max;
  }
  if (c.kind == SchedulerKind::kDpmSolverMultistep) {
    json["solver_order"] = c.solver_order;
    json["algorithm_type"] = c.over_noise ? "dpmsolver" : "dpmsolver++";
    json["solver_type"] = c.heun ? "heun" : "midpoint";
    json["lower_order_final"] = c.lower_order_final;
    json["euler_at_final"] = c.euler_at_final;
    if (c.lambda_min > SchedulerConfig{}.lambda_min) json["lambda_min_clipped"] = c.lambda_min;
  }
  if (c.kind == SchedulerKind::kDpmSolverMultistep || c.kind == SchedulerKind::kEulerDiscrete) {
    json["final_sigmas_type"] = c.final_sigma_zero ? "zero" : "sigma_min";
    json["use_karras_sigmas"] = c.karras_sigmas;
    if (c.sigma_min) json["sigma_min"] = *c.sigma_min;
    if (c.sigma_max) json["sigma_max"] = *c.sigma_max;
  }
  return json;
}

namespace {

// Rounds halves to even, as numpy does.
double Round(double x) { return std::nearbyint(x); }

std::vector<double> LinSpace(double first, double last, int64_t count) {
  std::vector<double> values(static_cast<size_t>(count), first);
  for (int64_t i = 1; i < count; ++i) {
    values[static_cast<size_t>(i)] =
        i + 1 == count ? last : first + static_cast<double>(i) * ((last - first) / static_cast<double>(count - 1));
  }
  return values;
}

// Descending times of one network call per step: Lin et al., 2023, table 2. `extra`: DPM-Solver divides the range of
// `leading` and `linspace` into one step more and leaves the last time (0) out. `whole`: rounded.
std::vector<double> SpacedTimes(const SchedulerConfig& c, int64_t steps, int64_t range, bool extra, bool whole) {
  const int64_t count = steps + (extra ? 1 : 0);
  std::vector<double> times;
  if (c.spacing == "linspace") {
    times = LinSpace(0, static_cast<double>(range - 1), count);
    if (whole) std::transform(times.begin(), times.end(), times.begin(), Round);
  } else if (c.spacing == "leading") {
    const int64_t ratio = range / count;
    for (int64_t i = 0; i < count; ++i) times.push_back(static_cast<double>(i * ratio));
  } else {
    // By the step that the first two numbers have in doubles, as numpy's arange does: halves are rounded as there.
    const auto first = static_cast<double>(range);
    const double step = first - static_cast<double>(c.noise.train_steps) / static_cast<double>(steps) - first;
    for (double t = first; t > 1e-9; t = first + static_cast<double>(times.size()) * step)
      times.push_back(Round(t) - 1);
    return times;
  }
  if (extra) times.erase(times.begin());
  std::reverse(times.begin(), times.end());
  if (c.spacing == "leading") {
    for (double& t : times) t += static_cast<double>(c.steps_offset);
  }
  return times;
}

struct AlphaTable {
  explicit AlphaTable(const SchedulerConfig& c) {
    const Tensor table = NoiseTable(c.noise);
    values.assign(table.data_ptr<float>(), table.data_ptr<float>() + table.numel());
    before_first = c.set_alpha_to_one ? 1.0 : values.front();
  }
  double At(int64_t t) const { return t >= 0 ? values.at(static_cast<size_t>(t)) : before_first; }

  std::vector<double> values;  // of fp32 numbers
  double before_first;
};

// The picture and the noise that x and the network's output stand for; a = alpha_bar at the time of x.
Tensor PictureOf(Prediction kind, const Tensor& output, const Tensor& x, double a) {
  if (kind == Prediction::kSample) return output;
  if (kind == Prediction::kV) return std::sqrt(a) * x - std::sqrt(1 - a) * output;
  return (x - std::sqrt(1 - a) * output) / std::sqrt(a);
}
Tensor NoiseOf(Prediction kind, const Tensor& output, const Tensor& x, double a) {
  if (kind == Prediction::kEpsilon) return output;
  if (kind == Prediction::kV) return std::sqrt(a) * output + std::sqrt(1 - a) * x;
  return (x - std::sqrt(a) * output) / std::sqrt(1 - a);
}

// Dynamic thresholding (Saharia et al., 2022) of each row of x [N,...].
Tensor Thresholded(const SchedulerConfig& c, const Tensor& x) {
  const Tensor rows = (x.scalar_type() == at::kDouble ? x : x.to(at::kFloat)).flatten(1);
  const Tensor most = at::quantile(rows.abs(), c.threshold_ratio, 1, /*keepdim=*/true).clamp(1, c.threshold_max);
  return (at::clamp(rows, -most, most) / most).view(x.sizes()).to(x.scalar_type());
}

// Song et al., 2021, with eta = 0.
class Ddim : public Scheduler {
 public:
  Ddim(const SchedulerConfig& c, int64_t steps) : c_(c), alpha_(c), stride_(c.noise.train_steps / steps) {
    times_ = SpacedTimes(c, steps, c.noise.train_steps, false, true);
  }

  Tensor Step(const Tensor& output, const Tensor& x) override {
    const auto t = static_cast<int64_t>(times_[call_++]);
    const double a = alpha_.At(t), a_next = alpha_.At(t - stride_);
    Tensor picture = PictureOf(c_.prediction, output, x, a);
    if (c_.thresholding) picture = Thresholded(c_, picture);
    else if (c_.clip_sample) picture = picture.clamp(-c_.clip_range, c_.clip_range);
    return std::sqrt(a_next) * picture + std::sqrt(1 - a_next) * NoiseOf(c_.prediction, output, x, a);
  }

 private:
  SchedulerConfig c_;
  AlphaTable alpha_;
  int64_t stride_;
};

// Pseudo linear multistep, begun with Runge-Kutta unless skip_prk_steps (Liu et al., 2022).
class Pndm : public Scheduler {
 public:
  Pndm(const SchedulerConfig& c, int64_t steps) : c_(c), alpha_(c), stride_(c.noise.train_steps / steps) {
    std::vector<double> down = SpacedTimes(c, steps, c.noise.train_steps, false, true);
    if (c.skip_prk_steps) {
      times_ = down;
      if (steps > 1) times_.insert(times_.begin() + 1, down[1]);  // the second time is asked twice
      return;
    }
    if (steps < 4) {
      throw UsageError({.what = "PNDM with Runge-Kutta steps needs 4 steps or more",
                        .where = "--steps",
                        .next = "ask for more steps, or --scheduler DDIM"});
    }
    // Three groups of four calls; each goes one step down through the half way, which is asked twice.
    const double half = static_cast<double>(stride_ / 2);
    for (int64_t i = 0; i < 3; ++i) {
      const double from = down[static_cast<size_t>(i)], to = down[static_cast<size_t>(i + 1)];
      times_.insert(times_.end(), {from, to + half, to + half, to});
    }
    runge_kutta_ = times_.size();
    times_.insert(times_.end(), down.begin() + 3, down.end());
  }

  Tensor Step(const Tensor& output, const Tensor& x) override {
    return call_ < runge_kutta_ ? RungeKuttaStep(output, x) : MultistepStep(output, x);
  }

 private:
  Tensor RungeKuttaStep(const Tensor& output, const Tensor& x) {
    const size_t part = call_ % 4;
    const auto from = static_cast<int64_t>(times_[call_ - part]);
    const int64_t to = static_cast<int64_t>(times_[call_]) - (call_ % 2 == 0 ? stride_ / 2 : 0);
    Tensor slope = output;
    if (part == 0) {
      kept_.push_back(output);
      sum_ = output / 6.0;
      start_ = x;
    } else if (part < 3) {
      sum_ = sum_ + output / 3.0;
    } else {
      slope = sum_ + output / 6.0;
    }
    ++call_;
    return Transfer(start_, from, to, slope);
  }

  Tensor MultistepStep(const Tensor& output, const Tensor& x) {
    const auto t = static_cast<int64_t>(times_[call_]);
    if (c_.skip_prk_steps && call_ == 1) {  // again from the start, with the mean of both slopes
      ++call_;
      return Transfer(start_, t + stride_, t, (output + kept_.back()) / 2.0);
    }
    kept_.push_back(output);
    if (kept_.size() > 4) kept_.pop_front();
    const auto e = [&](size_t age) { return kept_[kept_.size() - age]; };  // 1: newest
    Tensor slope = output;
    if (call_ == 0) start_ = x;
    else if (kept_.size() == 2) slope = (3 * e(1) - e(2)) / 2.0;
    else if (kept_.size() == 3) slope = (23 * e(1) - 16 * e(2) + 5 * e(3)) / 12.0;
    else if (kept_.size() == 4) slope = (55 * e(1) - 59 * e(2) + 37 * e(3) - 9 * e(4)) / 24.0;
    ++call_;
    return Transfer(x, t, t - stride_, slope);
  }

  // Formula (9) of the paper. A mean of outputs is turned from v to noise only here, with the x of now.
  Tensor Transfer(const Tensor& x, int64_t from, int64_t to, const Tensor& output) const {
    const double a = alpha_.At(from), b = alpha_.At(to);
    const Tensor noise = NoiseOf(c_.prediction, output, x, a);
    return std::sqrt(b / a) * x - noise * ((b - a) / (a * std::sqrt(1 - b) + std::sqrt(a * (1 - a) * b)));
  }

  SchedulerConfig c_;
  AlphaTable alpha_;
  int64_t stride_;
  size_t runge_kutta_ = 0;   // calls of the beginning
  std::deque<Tensor> kept_;  // the last outputs
  Tensor start_, sum_;
};

// sigma = sqrt((1 - alpha_bar) / alpha_bar) at every training time, fp32 values.
std::vector<double> TrainingSigmas(const SchedulerConfig& c) {
  Tensor table = NoiseTable(c.noise);
  if (c.noise.zero_terminal_snr) table[-1].fill_(std::ldexp(1.0, -24));  // so that the largest is finite
  const Tensor sigmas = ((1 - table) / table).sqrt();
  return {sigmas.data_ptr<float>(), sigmas.data_ptr<float>() + sigmas.numel()};
}

double Interpolate(const std::vector<double>& table, double t) {
  const double at = std::clamp(t, 0.0, static_cast<double>(table.size() - 1));
  const size_t low = std::min(static_cast<size_t>(at), table.size() - 1), high = std::min(low + 1, table.size() - 1);
  return table[low] + (at - static_cast<double>(low)) * (table[high] - table[low]);
}

// The training time of a sigma, between two by its logarithm.
double TimeOf(double sigma, const std::vector<double>& table) {
  const double wanted = std::log(std::max(sigma, 1e-10));
  size_t low = 0;
  while (low + 2 < table.size() && std::log(table[low + 1]) <= wanted) ++low;
  const double a = std::log(table[low]), b = std::log(table[low + 1]);
  return static_cast<double>(low) + std::clamp((a - wanted) / (a - b), 0.0, 1.0);
}

// Karras et al., 2022, equation (5), rho = 7.
std::vector<double> KarrasSigmas(double largest, double smallest, int64_t steps) {
  std::vector<double> sigmas = LinSpace(std::pow(largest, 1.0 / 7), std::pow(smallest, 1.0 / 7), steps);
  for (double& sigma : sigmas) sigma = std::pow(sigma, 7);
  return sigmas;
}

struct Sigmas {
  std::vector<double> times, sigmas;  // sigmas: one more, the final one
};

// `extra` as in SpacedTimes: DPM-Solver, whose Karras sigmas span all of training and whose times are whole.
Sigmas SpacedSigmas(const SchedulerConfig& c, int64_t steps, bool extra) {
  const std::vector<double> table = TrainingSigmas(c);
  Sigmas s;
  int64_t range = c.noise.train_steps;
  if (extra) {  // only times whose ln(alpha/sigma) = -ln(sigma) is not below the cut
    while (range > 1 && -std::log(table[static_cast<size_t>(range - 1)]) < c.lambda_min) --range;
  }
  s.times = SpacedTimes(c, steps, range, extra, extra);
  for (const double t : s.times) s.sigmas.push_back(Interpolate(table, t));
  if (c.karras_sigmas) {
    const double largest = extra ? table.back() : s.sigmas.front(), least = extra ? table.front() : s.sigmas.back();
    s.sigmas = KarrasSigmas(c.sigma_max.value_or(largest), c.sigma_min.value_or(least), steps);
    s.times.clear();
    for (const double sigma : s.sigmas) s.times.push_back(TimeOf(sigma, table));
    if (extra) {
      for (double& t : s.times) t = c.noise.schedule == "squaredcos_cap_v2" ? std::trunc(t) : Round(t);
    }
  }
  s.sigmas.push_back(c.final_sigma_zero ? 0.0 : table.front());
  for (double& sigma : s.sigmas) sigma = static_cast<double>(static_cast<float>(sigma));
  return s;
}

// Lu et al., 2022: DPM-Solver++, over the prediction of the picture, and DPM-Solver, over that of the noise; the same
// formulas with alpha and sigma exchanged and the sign of h turned. Multistep, of the orders 1 to 3.
class DpmSolver : public Scheduler {
 public:
  DpmSolver(const SchedulerConfig& c, int64_t steps) : c_(c) {
    Sigmas s = SpacedSigmas(c, steps, true);
    times_ = s.times;
    sigmas_ = s.sigmas;
  }

  Tensor Step(const Tensor& output, const Tensor& x) override {
    const size_t i = call_++;
    const Tensor now = Predicted(i, output, x);
    const int64_t order = OrderAt(i);
    const double h = Lambda(i + 1) - Lambda(i);  // infinite where the last sigma is 0; then the order is 1
    const double g = c_.over_noise ? h : -h, decay = std::expm1(g);
    const double keep = c_.over_noise ? Alpha(i + 1) / Alpha(i) : Sigma(i + 1) / Sigma(i);
    const double pull = c_.over_noise ? Sigma(i + 1) : Alpha(i + 1);
    Tensor next = keep * x - pull * decay * now;
    if (order > 1) {
      const double r0 = (Lambda(i) - Lambda(i - 1)) / h;
      Tensor slope = (now - before_) / r0;
      if (order == 3) {
        const double r1 = (Lambda(i - 1) - Lambda(i - 2)) / h;
        const Tensor bend = (slope - (before_ - earlier_) / r1) / (r0 + r1);
        slope = slope + r0 * bend;
        next = next - pull * ((decay - g) / (g * g) - 0.5) * bend;
      }
      const bool midpoint = order == 2 && !c_.heun;
      next = next - pull * (midpoint ? 0.5 * decay : decay / g - 1) * slope;
    }
    earlier_ = before_;
    before_ = now;
    return next;
  }

 private:
  Tensor Predicted(size_t i, const Tensor& output, const Tensor& x) const {
    const double a = Alpha(i) * Alpha(i);
    if (c_.over_noise && !c_.thresholding) return NoiseOf(c_.prediction, output, x, a);
    Tensor picture = PictureOf(c_.prediction, output, x, a);
    if (c_.thresholding) picture = Thresholded(c_, picture);
    return c_.over_noise ? (x - Alpha(i) * picture) / Sigma(i) : picture;
  }

  // As many as there are predictions of before, and less at the end of a short way.
  int64_t OrderAt(size_t i) const {
    const size_t left = times_.size() - i;
    const bool falls = c_.lower_order_final && times_.size() < 15;
    const bool first_order = left == 1 && (c_.euler_at_final || c_.final_sigma_zero || falls);
    const int64_t most = first_order ? 1 : left == 2 && falls ? 2 : 3;
    return std::min({c_.solver_order, static_cast<int64_t>(i) + 1, most});
  }

  double Alpha(size_t i) const { return 1 / std::sqrt(sigmas_[i] * sigmas_[i] + 1); }
  double Sigma(size_t i) const { return sigmas_[i] * Alpha(i); }
  double Lambda(size_t i) const { return -std::log(sigmas_[i]); }

  SchedulerConfig c_;
  std::vector<double> sigmas_;
  Tensor before_, earlier_;  // the predictions of the calls before
};

// Karras et al., 2022, algorithm 2 without its second-order correction and without added noise. x is not scaled by
// alpha.
class Euler : public Scheduler {
 public:
  Euler(const SchedulerConfig& c, int64_t steps) : c_(c) {
    Sigmas s = SpacedSigmas(c, steps, false);
    times_ = s.times;
    sigmas_ = s.sigmas;
  }

  double initial_sigma() const override {
    const double largest = *std::max_element(sigmas_.begin(), sigmas_.end());
    return c_.spacing == "leading" ? std::sqrt(largest * largest + 1) : largest;
  }

  Tensor ScaleInput(const Tensor& x) const override { return x / std::sqrt(sigmas_[call_] * sigmas_[call_] + 1); }

  Tensor Step(const Tensor& output, const Tensor& x) override {
    const double sigma = sigmas_[call_], next = sigmas_[call_ + 1];
    ++call_;
    Tensor picture = output;
    if (c_.prediction == Prediction::kEpsilon) picture = x - sigma * output;
    if (c_.prediction == Prediction::kV)
      picture = x / (sigma * sigma + 1) - output * (sigma / std::sqrt(sigma * sigma + 1));
    return x + (x - picture) * ((next - sigma) / sigma);
  }

 private:
  SchedulerConfig c_;
  std::vector<double> sigmas_;
};

}  // namespace

std::unique_ptr<Scheduler> MakeScheduler(const SchedulerConfig& c, int64_t steps) {
  std::unique_ptr<Scheduler> scheduler;
  if (steps < 1 || steps >= c.noise.train_steps) {
    throw UsageError({.what = Format("{} steps are asked for", steps),
                      .where = "--steps",
                      .next = Format("ask for 1 to {}", c.noise.train_steps - 1)});
  }
  switch (c.kind) {
    case SchedulerKind::kPndm:
      scheduler = std::make_unique<Pndm>(c, steps);
      break;
    case SchedulerKind::kDdim:
      scheduler = std::make_unique<Ddim>(c, steps);
      break;
    case SchedulerKind::kDpmSolverMultistep:
      scheduler = std::make_unique<DpmSolver>(c, steps);
      break;
    case SchedulerKind::kEulerDiscrete:
      scheduler = std::make_unique<Euler>(c, steps);
      break;
  }
  for (const double t : scheduler->times()) {
    if (!(t >= 0 && t < static_cast<double>(c.noise.train_steps))) {
      throw UsageError({.what = Format("{} steps would ask for time {} of {}", steps, t, c.noise.train_steps),
                        .where = "--steps",
                        .next = "ask for fewer steps"});
    }
  }
  return scheduler;
}

}  // namespace genview
