// What the stage `views` is asked to do.
#pragma once

#include <string>
#include <vector>

#include "genview/base/fields.h"
#include "genview/diffusion/residency.h"
#include "genview/tensor/run_options.h"

namespace genview {

enum class NoisePolicy { kAdaptive, kConstant, kRandom };

template <>
struct EnumNames<NoisePolicy> {
  static constexpr std::pair<NoisePolicy, const char*> kNames[] = {
      {NoisePolicy::kAdaptive, "adaptive"}, {NoisePolicy::kConstant, "constant"}, {NoisePolicy::kRandom, "random"}};
};

enum class ViewFormat { kPng, kJpeg, kWebp };

template <>
struct EnumNames<ViewFormat> {
  static constexpr std::pair<ViewFormat, const char*> kNames[] = {
      {ViewFormat::kPng, "png"}, {ViewFormat::kJpeg, "jpeg"}, {ViewFormat::kWebp, "webp"}};
};

// How latents become a picture: at once, or in tiles that overlap and fade into each other (DecodeVaeInTiles).
enum class DecodeChoice { kAuto, kWhole, kTiles };

template <>
struct EnumNames<DecodeChoice> {
  static constexpr std::pair<DecodeChoice, const char*> kNames[] = {
      {DecodeChoice::kAuto, "auto"}, {DecodeChoice::kWhole, "whole"}, {DecodeChoice::kTiles, "tiles"}};
};

inline const std::vector<int64_t> kUsualLevels{0, 100, 200, 300, 400};

struct ViewsConfig {
  std::string images;  // IMAGES, see OpenSource
  Path generator;      // diffusers pipeline folder
  Path out;            // pictures, manifest.jsonl, skipped.tsv
  NoisePolicy policy = NoisePolicy::kAdaptive;
  Path ratios;                  // ratios.tsv, or for adaptive a list of paths and ratios or levels
  int64_t noise_level = -1;     // constant; -1: 0
  std::vector<int64_t> levels;  // empty: the table's own in steps, else kUsualLevels
  double curve = 0;             // adaptive: exponent; 0: steps
  int64_t per_image = 1;
  int64_t steps = 20;
  double guidance = 10;
  int64_t size = 0;  // px; 0: as the generator makes them
  ViewFormat format = ViewFormat::kPng;
  int64_t quality = 95;   // of jpeg and webp
  int64_t per_shard = 0;  // views in a tar file; 0: a file for each
  DecodeChoice decode = DecodeChoice::kAuto;
  Residency keep = Residency::kAuto;
  std::string scheduler;
  std::string prompt;  // {class}: the name of the picture's class
  std::string negative_prompt;
  Path noise, dump;
  bool deterministic = false;
  bool forget = false;
  RunOptions run;
};

template <class Visit>
void VisitFields(ViewsConfig& c, Visit&& visit) {
  visit("images", c.images, Required{}, "pictures to make views of: folder, list, tar shards or shapes:...");
  visit("generator", c.generator, Required{}, "Stable unCLIP: a pipeline folder, or the single file of version 2-1");
  visit("out", c.out, Required{}, "folder for the views");
  visit("policy", c.policy, Any{}, "how the noise level of a picture is chosen; --noise-level alone means constant");
  visit("ratios", c.ratios, Any{},
        "foreground ratios for the adaptive policy, from `genview foreground score`; columns guidance and prompt, "
        "where the table has them, go before the options under every policy");
  visit("noise_level", c.noise_level, Range<int64_t>{-1, 100000}, "noise level of every view, for the constant policy");
  visit("levels", c.levels, Range<int64_t>{0, 999},
        "noise levels that the adaptive and random policies choose from; `genview views` without them takes those in "
        "the table, or 0,100,200,300,400");
  visit("curve", c.curve, Range<double>{0, 10},
        "adaptive: 0 = one of the levels, in equal steps of the ratio; above 0 = lowest + (highest - lowest) * "
        "ratio^curve");
  visit("per_image", c.per_image, Range<int64_t>{1, 10000}, "views per picture");
  visit("steps", c.steps, Range<int64_t>{1, 1000}, "denoising steps per view");
  visit("guidance", c.guidance, Range<double>{0, 100}, "classifier-free guidance scale; 1 turns it off");
  visit("size", c.size, Range<int64_t>{0, 16384},
        "pixels per side of the written views; 0: as the generator makes them");
  visit("format", c.format, Any{}, "of the written pictures: png, jpeg or webp");
  visit("quality", c.quality, Range<int64_t>{1, 100}, "of jpeg and webp");
  visit("per_shard", c.per_shard, Range<int64_t>{0, 10'000'000}, "views in a tar shard; 0: each in a file of its own");
  visit("decode", c.decode, Any{},
        "pictures whole, in tiles that fade into each other, or auto: in tiles where whole ones would not fit into "
        "free memory");
  visit("keep", c.keep, Any{},
        "the generator's networks in memory: all, or the one at work; auto: all where they are small");
  visit("scheduler", c.scheduler, Any{}, "PNDM, DDIM, DPMSolverMultistep or EulerDiscrete; empty: the generator's own");
  visit("prompt", c.prompt, Any{}, "text, for generators with a text encoder; {class} stands for the picture's class");
  visit("negative_prompt", c.negative_prompt, Any{}, "text that guidance leads away from");
  visit("noise", c.noise, Any{}, "file with latents [N,4,h,w] and embedding_noise [N,D] in place of the seed's");
  visit("dump", c.dump, Any{}, "file for the tensors in between");
  visit("deterministic", c.deterministic, Any{},
        "each view by itself, so that its bytes depend neither on the batch nor on the order; small ones take several "
        "times as long");
  visit("forget", c.forget, Any{}, "drop views of the folder that are not asked for, which else end the command");
  visit("run", c.run, Section{}, "");
}

}  // namespace genview
