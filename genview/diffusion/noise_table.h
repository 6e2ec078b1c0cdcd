// How much of a picture is left at each training time: alpha_bar_t = prod_{i<=t} (1 - beta_i), as diffusers' scheduler
// files describe it, in the same fp32 arithmetic.
//
//   NoiseTableConfig config;  config.schedule = "scaled_linear";  config.beta_start = 0.00085;  config.beta_end = 0.012;
//   Tensor alpha_bar = NoiseTable(config);                        // [1000]
//   Tensor noised = AddNoise(alpha_bar, x, times, noise);
#pragma once

#include <string>
#include <vector>

#include "genview/models/config_reader.h"
#include "genview/tensor/tensor.h"

namespace genview {

struct NoiseTableConfig {
  int64_t train_steps = 1000;
  double beta_start = 0.0001, beta_end = 0.02;
  // linear, scaled_linear (linear in the root), squaredcos_cap_v2, and in tables of DDPM sigmoid and laplace
  std::string schedule = "linear";
  std::vector<double> trained_betas;  // in place of a schedule
  bool zero_terminal_snr = false;     // rescaled so that nothing of the picture is left at the last time
};

NoiseTableConfig ParseNoiseTable(ConfigReader& reader, bool ddpm = false);
Tensor NoiseTable(const NoiseTableConfig& config);  // alpha_bar [train_steps], fp32

// sqrt(alpha_bar_t) x + sqrt(1 - alpha_bar_t) noise, one time per row. x, noise: [N,...]; times: [N] int64.
Tensor AddNoise(const Tensor& alpha_bar, const Tensor& x, const Tensor& times, const Tensor& noise);

}  // namespace genview
