#include "genview/pretrain/config.h"

#include <cmath>

namespace genview {
namespace {

struct MethodDefaults {
  double lr_per_256;  // learning rate for a batch of 256
  double temperature;
  const char* augmentation;
};

// Of the papers, for SGD. SimCLR's is for LARS there; this one is what SGD does well with.
MethodDefaults DefaultsOf(MethodKind method) {
  switch (method) {
    case MethodKind::kMocoV2: return {0.03, 0.2, "moco-v2"};
    case MethodKind::kSimClr: return {0.12, 0.1, "simclr"};
    case MethodKind::kSimSiam: return {0.05, 0.1, "simsiam"};
  }
  return {0.03, 0.2, "moco-v2"};
}

void Refuse(bool wrong, std::string what, const char* key, std::string next) {
  if (wrong) throw UsageError({.what = std::move(what), .where = Format("key `pretrain.{}`", key), .next = std::move(next)});
}

}  // namespace

PretrainConfig Resolved(PretrainConfig c) {
  const MethodDefaults own = DefaultsOf(c.method);
  if (c.lr == 0) c.lr = c.optimizer == OptimizerKind::kSgd ? own.lr_per_256 * static_cast<double>(c.batch) / 256 : 1e-3;
  if (c.temperature == 0) c.temperature = own.temperature;
  if (c.augmentation.empty()) c.augmentation = own.augmentation;
  Refuse(c.batch % c.accumulate != 0, Format("a batch of {} cannot be cut into {} equal parts", c.batch, c.accumulate),
         "accumulate", "use a number of parts that divides the batch");
  Refuse(c.batch / c.accumulate < 2, "a part of a batch needs at least two pairs", "accumulate", "use fewer parts");
  const int64_t nearest = std::max<int64_t>(1, c.queue / c.batch) * c.batch;
  Refuse(c.method == MethodKind::kMocoV2 && c.queue % c.batch != 0,
         Format("a queue of {} is not a multiple of the batch of {}", c.queue, c.batch), "queue", Format("use {}", nearest));
  Refuse(c.pair.source != PairSource::kAugment && c.pair.views.empty(), "generated views are asked for, but no folder of them is named",
         "pair.views", "name the folder that `genview views` wrote");
  Refuse(c.quality.enabled && c.quality.encoder.empty(), "pairs are to be weighed, but no encoder is named", "quality.encoder",
         "name the encoder that the foreground model was fitted with");
  Refuse(c.quality.enabled && c.quality.foreground.empty(), "pairs are to be weighed, but no foreground model is named",
         "quality.foreground", "name the file that `genview foreground fit` wrote");
  Refuse(c.run.precision == Precision::kFp16, "training in fp16 would lose small gradients", "run.precision", "use bf16, fp32 or auto");
  return c;
}

MethodConfig MethodOf(const PretrainConfig& c) {
  return {.kind = c.method,
          .temperature = c.temperature,
          .queue = c.queue,
          .momentum = c.ema,
          .hidden = c.projector_hidden,
          .output = c.projector_output,
          .predictor = c.predictor_hidden};
}

BackboneConfig BackboneOf(const PretrainConfig& c) {
  BackboneConfig backbone;
  backbone.type = c.backbone;
  backbone.image_size = c.size;
  backbone.width = c.width;
  backbone.small_stem = c.small_stem;
  backbone.zero_init_residual = c.zero_init_residual;
  backbone.patch_size = c.patch_size;
  return backbone;
}

Schedule ScheduleOf(const PretrainConfig& c, int64_t steps_per_epoch) {
  Schedule schedule{.kind = c.schedule, .lr = c.lr};
  schedule.total_steps = c.epochs * steps_per_epoch;
  schedule.warmup_steps = std::llround(c.warmup_epochs * static_cast<double>(steps_per_epoch));
  schedule.hold = c.per_epoch ? steps_per_epoch : 1;
  schedule.milestones = {schedule.total_steps * 6 / 10, schedule.total_steps * 8 / 10};
  return schedule;
}

Preprocess PreprocessOf(const PretrainConfig& c) {
  Preprocess preprocess;
  preprocess.size = c.size;
  // The usual margin around the crop (256 for 224); small pictures are taken whole.
  preprocess.resize_shortest = c.size >= 96 ? std::llround(static_cast<double>(c.size) * 256 / 224) : c.size;
  preprocess.filter = Filter::kBilinear;
  preprocess.mean = c.normalisation == Normalisation::kClip ? kClipMean : kImagenetMean;
  preprocess.std = c.normalisation == Normalisation::kClip ? kClipStd : kImagenetStd;
  return preprocess;
}

Json WhatIsComputed(const PretrainConfig& resolved) {
  PretrainConfig c = resolved, blank;
  c.out.clear();
  c.log_steps = blank.log_steps;
  c.checkpoint_steps = blank.checkpoint_steps;
  c.checkpoint_minutes = blank.checkpoint_minutes;
  c.checkpoint_epochs = blank.checkpoint_epochs;
  c.keep = blank.keep;
  c.run.threads = blank.run.threads;
  c.run.batch = blank.run.batch;
  // What these name is in the fingerprint of its contents.
  for (std::string* path : {&c.data, &c.pair.views, &c.quality.encoder, &c.quality.foreground, &c.quality.cache}) path->clear();
  Json json = FieldsToJson(c);
  if (c.quality.features != QualityFeatures::kCached) json["quality"].erase("grid");
  json["quality"].erase("cache");
  return json;
}

}  // namespace genview
