#include "genview/diffusion/noise_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "genview/base/text.h"

namespace genview {

NoiseTableConfig ParseNoiseTable(ConfigReader& reader, bool ddpm) {
  NoiseTableConfig c;
  c.train_steps = reader.Int("num_train_timesteps", c.train_steps, 1, 100000);
  const auto is_share = [](double beta) { return beta >= 0 && beta <= 1; };
  for (const auto& [key, beta] : {std::pair("beta_start", &c.beta_start), std::pair("beta_end", &c.beta_end)}) {
    *beta = reader.Double(key, *beta);
    if (!is_share(*beta)) reader.Fail(key, "0 to 1");
  }
  c.schedule = reader.String("beta_schedule", c.schedule);
  std::vector<std::string> known{"linear", "scaled_linear", "squaredcos_cap_v2"};
  if (ddpm) known.insert(known.end(), {"sigmoid", "laplace"});
  if (std::find(known.begin(), known.end(), c.schedule) == known.end())
    reader.Fail("beta_schedule", Format("{}", fmt::join(known, ", ")));
  c.trained_betas = reader.Doubles("trained_betas", {});
  if (!c.trained_betas.empty() && static_cast<int64_t>(c.trained_betas.size()) != c.train_steps) {
    reader.Fail("trained_betas", "null, or as many numbers as num_train_timesteps");
  }
  if (!std::all_of(c.trained_betas.begin(), c.trained_betas.end(), is_share))
    reader.Fail("trained_betas", "numbers from 0 to 1");
  c.zero_terminal_snr = reader.Bool("rescale_betas_zero_snr", false);
  return c;
}

// cos^2((t + 0.008) / 1.008 * pi / 2)   (Nichol and Dhariwal, 2021)
static double CosineAlphaBar(double t) {
  const double c = std::cos((t + 0.008) / 1.008 * std::numbers::pi / 2);
  return c * c;
}

// As diffusers has it, the root of a share of the picture: ln of the signal-to-noise ratio is Laplace-distributed.
static double LaplaceAlphaBar(double t) {
  const double lambda = -0.5 * std::copysign(1.0, 0.5 - t) * std::log(1 - 2 * std::abs(0.5 - t) + 1e-6);
  return std::sqrt(1 / (1 + std::exp(-lambda)));
}

// beta_i = min(1 - f((i+1)/T) / f(i/T), 0.999)
static Tensor BetasOf(double (*f)(double), int64_t steps) {
  Tensor betas = at::empty({steps}, at::kFloat);
  for (int64_t i = 0; i < steps; ++i) {
    const double from = static_cast<double>(i) / static_cast<double>(steps),
                 to = static_cast<double>(i + 1) / static_cast<double>(steps);
    betas.data_ptr<float>()[i] = static_cast<float>(std::min(1 - f(to) / f(from), 0.999));
  }
  return betas;
}

// Shifts and scales sqrt(alpha_bar) so that the last is 0 and the first stays (Lin et al., 2023, algorithm 1).
static Tensor RescaleToZeroTerminal(const Tensor& betas) {
  Tensor root = at::cumprod(1 - betas, 0).sqrt();
  const Tensor first = root[0].clone(), last = root[-1].clone();
  root = (root - last) * (first / (first - last));
  const Tensor alpha_bar = root.square();
  const Tensor ratios = alpha_bar.slice(0, 1) / alpha_bar.slice(0, 0, -1);
  return 1 - at::cat({alpha_bar.slice(0, 0, 1), ratios});
}

Tensor NoiseTable(const NoiseTableConfig& c) {
  Tensor betas;
  if (!c.trained_betas.empty()) {
    betas = at::empty({c.train_steps}, at::kFloat);
    std::transform(c.trained_betas.begin(), c.trained_betas.end(), betas.data_ptr<float>(),
                   [](double b) { return static_cast<float>(b); });
  } else if (c.schedule == "squaredcos_cap_v2") {
    betas = BetasOf(CosineAlphaBar, c.train_steps);
  } else if (c.schedule == "laplace") {
    betas = BetasOf(LaplaceAlphaBar, c.train_steps);
  } else if (c.schedule == "sigmoid") {
    betas = at::linspace(-6, 6, c.train_steps, at::kFloat).sigmoid() * (c.beta_end - c.beta_start) + c.beta_start;
  } else if (c.schedule == "scaled_linear") {
    betas = at::linspace(std::sqrt(c.beta_start), std::sqrt(c.beta_end), c.train_steps, at::kFloat).square();
  } else {
    betas = at::linspace(c.beta_start, c.beta_end, c.train_steps, at::kFloat);
  }
  if (c.zero_terminal_snr) betas = RescaleToZeroTerminal(betas);
  return at::cumprod(1 - betas, 0);
}

Tensor AddNoise(const Tensor& alpha_bar, const Tensor& x, const Tensor& times, const Tensor& noise) {
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[0] = x.size(0);
  const Tensor left = alpha_bar.to(x.device()).index_select(0, times.to(x.device())).view(shape);
  return left.sqrt() * x + (1 - left).sqrt() * noise;
}

}  // namespace genview
