#include "genview/pretrain/config.h"

#include <algorithm>
#include <cmath>

namespace genview {
namespace {

bool IsVit(const PretrainConfig& c) { return c.backbone.starts_with("vit-"); }

bool IsLars(OptimizerKind kind) {
  return kind != OptimizerKind::kAuto && kind != OptimizerKind::kSgd && kind != OptimizerKind::kAdamW;
}

struct MethodDefaults {
  OptimizerKind optimizer;
  double sgd_lr, lars_lr, adamw_lr;  // for a batch of 256; AdamW's 0: 1e-3 for any
  double temperature, ema;
  const char* augmentation;
};

// Of the papers. Where a paper has LARS alone, SGD's rate is what SGD does well with, and the other way round.
MethodDefaults DefaultsOf(const PretrainConfig& c) {
  using Kind = OptimizerKind;
  switch (c.method) {
    case MethodKind::kMocoV2:
      return {Kind::kSgd, 0.03, 0.3, 0, 0.2, 0.999, "moco-v2"};
    case MethodKind::kSimClr:
      return {Kind::kSgd, 0.12, 0.3, 0, 0.1, 0, "simclr"};
    case MethodKind::kSimSiam:
      return {Kind::kSgd, 0.05, 0.3, 0, 0.1, 0, "simsiam"};
    case MethodKind::kByol:
      return {Kind::kLars, 0.05, 0.3, 0, 0.1, 0.99, "byol"};
    case MethodKind::kSwav:
      return {Kind::kLarc, 0.05, 0.3, 0, 0.1, 0, "swav"};
    case MethodKind::kMocoV3:
      if (IsVit(c)) return {Kind::kAdamW, 0.05, 0.3, 1.5e-4, 0.2, 0.99, "moco-v3"};
      return {Kind::kLars, 0.05, 0.3, 1.5e-4, 1.0, 0.99, "moco-v3"};
    case MethodKind::kMultiPositive:
      return {Kind::kSgd, 0.12, 0.3, 0, 0.1, 0, "simclr"};
  }
  return {Kind::kSgd, 0.03, 0.3, 0, 0.2, 0.999, "moco-v2"};
}

double OwnRate(const PretrainConfig& c, const MethodDefaults& own) {
  const double batches = static_cast<double>(c.batch) / 256;
  if (c.optimizer == OptimizerKind::kSgd) return own.sgd_lr * batches;
  if (IsLars(c.optimizer)) return own.lars_lr * batches;
  return own.adamw_lr > 0 ? own.adamw_lr * batches : 1e-3;
}

double OwnWeightDecay(const PretrainConfig& c) {
  if (IsLars(c.optimizer)) return 1e-6;
  return c.optimizer == OptimizerKind::kAdamW && c.method == MethodKind::kMocoV3 ? 0.1 : 1e-4;
}

// 10 epochs of 100, 40 of 300: in shorter runs the same share.
double OwnWarmup(const PretrainConfig& c) {
  const double most = static_cast<double>(c.epochs) / 7.5;
  if (IsLars(c.optimizer) && c.optimizer != OptimizerKind::kLarc) return std::min(10.0, most);
  return c.optimizer == OptimizerKind::kAdamW && c.method == MethodKind::kMocoV3 ? std::min(40.0, most) : 0;
}

void Refuse(bool wrong, std::string what, const char* key, std::string next) {
  if (wrong)
    throw UsageError({.what = std::move(what), .where = Format("key `pretrain.{}`", key), .next = std::move(next)});
}

// Of a config whose own values are filled in.
void RefuseWhatDoesNotFit(const PretrainConfig& c) {
  Refuse(c.batch % c.accumulate != 0, Format("a batch of {} cannot be cut into {} equal parts", c.batch, c.accumulate),
         "accumulate", "use a number of parts that divides the batch");
  Refuse(c.batch / c.accumulate < 2, "a part of a batch needs at least two pairs", "accumulate", "use fewer parts");
  const int64_t nearest = std::max<int64_t>(1, c.queue / c.batch) * c.batch;
  Refuse(c.method == MethodKind::kMocoV2 && c.queue % c.batch != 0,
         Format("a queue of {} is not a multiple of the batch of {}", c.queue, c.batch), "queue",
         Format("use {}", nearest));
  Refuse(c.symmetric && c.method != MethodKind::kMocoV2,
         Format("only moco-v2 has one direction unless it is symmetric, and the method is {}", EnumName(c.method)),
         "symmetric", "leave it at false, or use `pretrain.method = \"moco-v2\"`");
  Refuse(c.ema_final > 0 && DefaultsOf(c).ema == 0, Format("the method {} has no averaged encoder", EnumName(c.method)),
         "ema_final", "leave it at 0, or use moco-v2, byol or moco-v3");
  Refuse(c.ema_final > 0 && c.ema_final < c.ema,
         Format("the average would follow ever faster: from {:g} down to {:g}", c.ema, c.ema_final), "ema_final",
         Format("use {:g} or more, or 0", c.ema));
  Refuse(c.method == MethodKind::kSwav && c.swav.local_crops > 0 && IsVit(c),
         "a ViT has positions for pictures of one size, and small crops are of another", "swav.local_crops",
         "use a ResNet, or no small crops");
  Refuse(c.method == MethodKind::kSwav && c.swav.queue > 0 && c.swav.queue < c.batch,
         Format("a queue of {} does not hold a batch of {}", c.swav.queue, c.batch), "swav.queue",
         Format("use {} or more, or 0 for none", c.batch));
  Refuse(c.pair.source != PairSource::kAugment && c.pair.views.empty(),
         "generated views are asked for, but no folder of them is named", "pair.views",
         "name the folder that `genview views` wrote");
  Refuse(c.pair.source != PairSource::kExtraData && c.pair.repeat > 1,
         "pictures are to be repeated, but there is nothing that they would have to keep up with", "pair.repeat",
         "leave it at 1, or use `pretrain.pair.source = \"extra-data\"`");
  Refuse(c.method == MethodKind::kMultiPositive && c.positives < 2, "a picture needs at least two views", "positives",
         "use 2 or more");
  Refuse(c.stem_padding != 1 && (!c.small_stem || IsVit(c)), "the padding is that of a ResNet's stem of 3 x 3",
         "stem_padding", "leave it at 1, or use a ResNet with `pretrain.small_stem = true`");
  Refuse(c.drop_path > 0 && !IsVit(c), "drop path is for a ViT; a ResNet has none", "drop_path",
         "leave it at 0, or use a ViT");
  Refuse(c.crop.rule.draw != CropDraw::kAnywhere && c.crop.masks.empty(),
         "crops are to keep to the foreground, but no masks are named", "crop.masks",
         "name the folder that `genview foreground score --masks` wrote");
  Refuse(c.quality.enabled && c.quality.encoder.empty(), "pairs are to be weighed, but no encoder is named",
         "quality.encoder", "name the encoder that the foreground model was fitted with");
  Refuse(c.quality.enabled && c.quality.foreground.empty(), "pairs are to be weighed, but no foreground model is named",
         "quality.foreground", "name the file that `genview foreground fit` wrote");
  Refuse(c.run.precision == Precision::kFp16, "training in fp16 would lose small gradients", "run.precision",
         "use bf16, fp32 or auto");
}

}  // namespace

PretrainConfig Resolved(PretrainConfig c) {
  const MethodDefaults own = DefaultsOf(c);
  if (c.optimizer == OptimizerKind::kAuto) c.optimizer = own.optimizer;
  if (c.lr == 0) c.lr = OwnRate(c, own);
  if (c.weight_decay < 0) c.weight_decay = OwnWeightDecay(c);
  if (c.warmup_epochs < 0) c.warmup_epochs = OwnWarmup(c);
  if (c.final_lr < 0) c.final_lr = c.method == MethodKind::kSwav ? c.lr / 1000 : 0;
  if (c.temperature == 0) c.temperature = own.temperature;
  if (c.ema == 0) c.ema = own.ema;
  if (c.swav.queue < 0) c.swav.queue = c.batch <= 512 ? 3840 : 0;
  if (c.method != MethodKind::kMultiPositive) c.positives = 0;
  else if (c.positives == 0) c.positives = 4;
  if (c.augmentation.empty()) c.augmentation = own.augmentation;
  RefuseWhatDoesNotFit(c);
  return c;
}

MethodConfig MethodOf(const PretrainConfig& c, int64_t steps_per_epoch) {
  const auto steps = [&](double epochs) { return std::llround(epochs * static_cast<double>(steps_per_epoch)); };
  return {.kind = c.method,
          .temperature = c.temperature,
          .queue = c.queue,
          .momentum = c.ema,
          .final_momentum = c.ema_final,
          .symmetric = c.symmetric,
          .hidden = c.projector_hidden,
          .output = c.projector_output,
          .predictor = c.predictor_hidden,
          .swav = {.prototypes = c.swav.prototypes,
                   .epsilon = c.swav.epsilon,
                   .iterations = c.swav.iterations,
                   .frozen_steps = steps(c.swav.frozen_epochs),
                   .queue = c.swav.queue,
                   .queue_from_step = steps(c.swav.queue_from_epoch)}};
}

BackboneConfig BackboneOf(const PretrainConfig& c) {
  BackboneConfig backbone;
  backbone.type = c.backbone;
  backbone.image_size = c.size;
  backbone.width = c.width;
  backbone.small_stem = c.small_stem;
  backbone.stem_padding = c.stem_padding;
  backbone.zero_init_residual = c.zero_init_residual;
  backbone.patch_size = c.patch_size;
  backbone.drop_path = c.drop_path;
  if (c.method == MethodKind::kMocoV3 && IsVit(c)) {  // the paper's
    backbone.positions = VitPositions::kSinCos;
    backbone.frozen_patch = true;
    if (c.backbone == "vit-small") backbone.heads = 12;
  }
  return backbone;
}

bool ShufflesKeys(const PretrainConfig& c) {
  return c.shuffle_bn && c.method == MethodKind::kMocoV2 && c.accumulate > 1 && !IsVit(c);
}

Schedule ScheduleOf(const PretrainConfig& c, int64_t steps_per_epoch) {
  Schedule schedule{.kind = c.schedule, .lr = c.lr, .final_lr = c.final_lr};
  schedule.total_steps = c.epochs * steps_per_epoch;
  schedule.warmup_steps = std::llround(c.warmup_epochs * static_cast<double>(steps_per_epoch));
  schedule.warmup_start = c.warmup_start;
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
  switch (c.normalisation) {
    case Normalisation::kImagenet:
      preprocess.mean = kImagenetMean;
      preprocess.std = kImagenetStd;
      break;
    case Normalisation::kClip:
      preprocess.mean = kClipMean;
      preprocess.std = kClipStd;
      break;
    case Normalisation::kCifar10:  // these and the next: solo-learn's
      preprocess.mean = {0.4914, 0.4822, 0.4465};
      preprocess.std = {0.2470, 0.2435, 0.2616};
      break;
    case Normalisation::kCifar100:
      preprocess.mean = {0.5071, 0.4865, 0.4409};
      preprocess.std = {0.2673, 0.2564, 0.2762};
      break;
  }
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
  // What these name is in the fingerprint of its contents.
  for (std::string* path :
       {&c.data, &c.init, &c.pair.views, &c.crop.masks, &c.quality.encoder, &c.quality.foreground, &c.quality.cache})
    path->clear();
  Json json = FieldsToJson(c);
  if (c.quality.features != QualityFeatures::kCached) json["quality"].erase("grid");
  json["quality"].erase("cache");
  json["quality"].erase("replace_cache");
  json.erase("init");
  json.erase("stop_when_collapsed");
  json.erase("shuffle_bn");  // came later, too, and is said where it does something
  if (ShufflesKeys(c)) json["shuffle_bn"] = true;
  const Json plain = FieldsToJson(blank);
  for (const char* key : kMachineOptions) json["run"][key] = plain["run"][key];
  // Keys that were not there in the first version say nothing at their defaults, so that what was made then stays made.
  for (const auto& [table, key] :
       {std::pair("", "jitter"), std::pair("", "drop_path"), std::pair("", "positives"), std::pair("", "stem_padding"),
        std::pair("", "interpolation"), std::pair("", "ema_final"), std::pair("", "symmetric"), std::pair("", "crop"),
        std::pair("pair", "per_image"), std::pair("pair", "repeat"), std::pair("quality", "floor"),
        std::pair("quality", "among"), std::pair("quality", "over")}) {
    Json& values = *table == 0 ? json : json[table];
    if (values[key] == (*table == 0 ? plain : plain[table])[key]) values.erase(key);
  }
  return json;
}

}  // namespace genview
