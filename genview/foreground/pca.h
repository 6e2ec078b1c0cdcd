// The foreground model: what `foreground fit` finds once, and scoring and pair quality use.
//
//   ForegroundModel model = ReadForegroundModel("FG.safetensors");     // or the original code's pca_vectors.npy
//   Tensor mask = TokenScores(tokens, model.component) > model.Threshold("FG.safetensors");
#pragma once

#include <optional>
#include <string>

#include "genview/base/files.h"
#include "genview/foreground/threshold.h"
#include "genview/foreground/token_statistics.h"

namespace genview {

struct ForegroundModel {
  Tensor component;                 // [C] fp32; score = <token, component>, tokens uncentred
  Tensor mean;                      // [C] fp32; not part of the score. Undefined: not known
  std::optional<double> threshold;  // score > threshold: foreground
  double share = 0.4;               // of the sample's tokens above the threshold, as asked for
  ThresholdMode mode = ThresholdMode::kQuantile;
  double margin = 0;               // how sure the sign is, in standard deviations of a score; see FirstComponent
  double variance_share = 0;       // of all variance, along the component
  int64_t images = 0, tokens = 0;  // it was fitted on
  std::string encoder;             // fingerprint; empty: not known
  std::string encoder_name;
  std::string request;  // fingerprint of all that the fit depends on

  int64_t width() const { return component.size(0); }
  // Throws Error that names `where` when there is none (a bare component).
  double Threshold(const Path& where) const;
};

// .safetensors as written here, or .npy with one vector ([C], [C,1], or the first column of [C,k]). Throws Error.
ForegroundModel ReadForegroundModel(const Path& path);
void WriteForegroundModel(const Path& path, const ForegroundModel& model);

// Throws Error when the model was fitted with another encoder, or its width is another.
void CheckModelFits(const ForegroundModel& model, const Path& where, int64_t token_width,
                    const std::string& encoder_fingerprint, const std::string& encoder_name);

}  // namespace genview
