// What a pretraining run is made of: the table [pretrain] of a recipe. 0 or an empty text means "the method's own",
// which `Resolved` fills in.
#pragma once

#include <string>

#include "genview/base/fields.h"
#include "genview/data/foreground_crop.h"
#include "genview/foreground/quality.h"
#include "genview/image/preprocess.h"
#include "genview/models/backbone.h"
#include "genview/ssl/method.h"
#include "genview/tensor/run_options.h"
#include "genview/train/schedule.h"

namespace genview {

enum class PairSource { kAugment, kGenerated, kExtraData };
enum class OptimizerKind { kAuto, kSgd, kAdamW, kLars, kLarsMmpretrain, kLarsSimclr, kLarsSolo, kLarc };
enum class Normalisation { kImagenet, kClip, kCifar10, kCifar100 };
enum class Interpolation { kAuto, kBilinear, kBicubic };
enum class QualityFeatures { kOnline, kCached };
enum class QualityAmong { kBatch, kKind };
enum class QualityOver { kPart, kBatch };

template <>
struct EnumNames<PairSource> {
  static constexpr std::pair<PairSource, const char*> kNames[] = {
      {PairSource::kAugment, "augment"}, {PairSource::kGenerated, "generated"}, {PairSource::kExtraData, "extra-data"}};
};
template <>
struct EnumNames<OptimizerKind> {
  static constexpr std::pair<OptimizerKind, const char*> kNames[] = {
      {OptimizerKind::kAuto, "auto"},
      {OptimizerKind::kSgd, "sgd"},
      {OptimizerKind::kAdamW, "adamw"},
      {OptimizerKind::kLars, "lars"},
      {OptimizerKind::kLarsMmpretrain, "lars-mmpretrain"},
      {OptimizerKind::kLarsSimclr, "lars-simclr"},
      {OptimizerKind::kLarsSolo, "lars-solo"},
      {OptimizerKind::kLarc, "larc"}};
};
template <>
struct EnumNames<Normalisation> {
  static constexpr std::pair<Normalisation, const char*> kNames[] = {{Normalisation::kImagenet, "imagenet"},
                                                                     {Normalisation::kClip, "clip"},
                                                                     {Normalisation::kCifar10, "cifar10"},
                                                                     {Normalisation::kCifar100, "cifar100"}};
};
template <>
struct EnumNames<Interpolation> {
  static constexpr std::pair<Interpolation, const char*> kNames[] = {
      {Interpolation::kAuto, "auto"}, {Interpolation::kBilinear, "bilinear"}, {Interpolation::kBicubic, "bicubic"}};
};
template <>
struct EnumNames<QualityFeatures> {
  static constexpr std::pair<QualityFeatures, const char*> kNames[] = {{QualityFeatures::kOnline, "online"},
                                                                       {QualityFeatures::kCached, "cached"}};
};
template <>
struct EnumNames<QualityAmong> {
  static constexpr std::pair<QualityAmong, const char*> kNames[] = {{QualityAmong::kBatch, "batch"},
                                                                    {QualityAmong::kKind, "kind"}};
};
template <>
struct EnumNames<QualityOver> {
  static constexpr std::pair<QualityOver, const char*> kNames[] = {{QualityOver::kPart, "part"},
                                                                   {QualityOver::kBatch, "batch"}};
};

struct PairConfig {
  PairSource source = PairSource::kAugment;
  double probability = 1.0;
  std::string views;
  int64_t per_image = 0;
  int64_t repeat = 1;
};
template <class Visit>
void VisitFields(PairConfig& c, Visit&& visit) {
  visit("source", c.source, Any{},
        "second views: augmented pictures alone, generated ones in their place, or generated ones as more pictures");
  visit("probability", c.probability, Range<double>{0, 1},
        "generated: share of the pairs in which one view is generated");
  visit("views", c.views, Any{}, "folder of generated views (manifest.jsonl)");
  visit("per_image", c.per_image, Range<int64_t>{0, 10000},
        "generated: views of a picture that are used, one of them drawn each epoch; 0 = all there are");
  visit("repeat", c.repeat, Range<int64_t>{1, 1000},
        "extra-data: how many times over the pictures themselves are in an epoch");
}

struct CropSection {
  ForegroundCrop rule;
  std::string masks;
};
template <class Visit>
void VisitFields(CropSection& c, Visit&& visit) {
  visit("draw", c.rule.draw, Any{},
        "where crops of a picture go: anywhere; box: centred in the box around its foreground; share: where a share of "
        "its foreground is in them");
  visit("share", c.rule.share, Range<double>{0, 1}, "share: of the foreground, at least, in one crop");
  visit("alpha", c.rule.alpha, Range<double>{0.1, 2},
        "box: centres are drawn from Beta(alpha, alpha) along its sides; below 1 they keep away from the middle");
  visit("masks", c.masks, Any{}, "folder of the masks that `genview foreground score --masks` wrote");
}

struct QualityConfig {
  bool enabled = false;
  double gamma = 1.0;
  std::string encoder;
  std::string foreground;
  QualityFeatures features = QualityFeatures::kOnline;
  int64_t grid = 0;
  std::string cache;
  bool replace_cache = false;
  double floor = kNoFloor;
  QualityAmong among = QualityAmong::kBatch;
  QualityOver over = QualityOver::kPart;
};
template <class Visit>
void VisitFields(QualityConfig& c, Visit&& visit) {
  visit("enabled", c.enabled, Any{}, "weigh each pair's loss by foreground likeness and background difference");
  visit("gamma", c.gamma, Range<double>{0, 100}, "how strongly: 0 gives every pair the weight 1");
  visit("encoder", c.encoder, Any{}, "frozen encoder that judges the views");
  visit("foreground", c.foreground, Any{}, "foreground model fitted with that encoder");
  visit("features", c.features, Any{},
        "online: encode the augmented views at every step; cached: pool what a crop shows from maps of whole pictures, "
        "made once");
  visit("grid", c.grid, Range<int64_t>{0, 64}, "cached: side of a kept map; 0 = the encoder's own, at most 8");
  visit("cache", c.cache, Any{},
        "cached: file of the maps (.safetensors), which trainings of the same pictures may share; one of others is "
        "refused; "
        "empty = in the run's folder");
  visit("replace_cache", c.replace_cache, Any{},
        "cached: write a file of other pictures, or anything else, anew; runs do so with those that they name");
  visit("floor", c.floor, Range<double>{-2, 2},
        "pairs whose likeness of foregrounds less that of backgrounds is below it weigh nothing; -2 = none");
  visit("among", c.among, Any{},
        "whose mean weight is 1: that of a batch, or that of its pairs with a generated view and that of those "
        "without, each by itself (kind)");
  visit(
      "over", c.over, Any{},
      "of which pairs at once: those of a part of a step, as the original's are those of one GPU; batch: those of all "
      "its parts (pretrain.accumulate), which are then loaded before the first is trained on");
}

// Of the method swav alone.
struct SwavSection {
  int64_t prototypes = 3000;
  double epsilon = 0.05;
  int64_t iterations = 3;
  double frozen_epochs = 1;
  int64_t queue = -1;
  double queue_from_epoch = 15;
  int64_t local_crops = 0;
  int64_t local_size = 96;
};
template <class Visit>
void VisitFields(SwavSection& c, Visit&& visit) {
  visit("prototypes", c.prototypes, Range<int64_t>{2, 1 << 20}, "that features are assigned to");
  visit("epsilon", c.epsilon, Range<double>{1e-3, 100}, "of the assignment: smaller = harder");
  visit("iterations", c.iterations, Range<int64_t>{1, 1000}, "rounds of the assignment");
  visit("frozen_epochs", c.frozen_epochs, Range<double>{0, 1e6}, "epochs before the prototypes begin to move");
  visit("queue", c.queue, Range<int64_t>{-1, 1 << 24},
        "features of earlier batches that take part in the assignment; -1 = 3840 for batches up to 512, else none");
  visit("local_crops", c.local_crops, Range<int64_t>{0, 64}, "small crops besides the two views, with a ResNet");
  visit("local_size", c.local_size, Range<int64_t>{8, 1024}, "their side in pixels");
  visit("queue_from_epoch", c.queue_from_epoch, Range<double>{0, 1e6}, "epochs before the queue begins to fill");
}

struct PretrainConfig {
  std::string data;
  std::string out;
  std::string init;
  MethodKind method = MethodKind::kMocoV2;
  std::string backbone = "resnet18";
  double width = 1;
  bool small_stem = false;
  int64_t stem_padding = 1;
  bool zero_init_residual = false;
  int64_t patch_size = 16;
  int64_t size = 224;
  Normalisation normalisation = Normalisation::kImagenet;
  std::string augmentation;
  double crop_min = 0;
  Interpolation interpolation = Interpolation::kAuto;
  double jitter = -1;
  double blur = -1;

  int64_t epochs = 200;
  int64_t batch = 256;
  int64_t accumulate = 1;
  OptimizerKind optimizer = OptimizerKind::kAuto;
  double lr = 0;
  double momentum = 0.9;
  double weight_decay = -1;
  bool decay_norms = true;
  ScheduleKind schedule = ScheduleKind::kCosine;
  double warmup_epochs = -1;
  double warmup_start = 0;
  double final_lr = -1;
  bool per_epoch = false;
  double gradient_clip = 0;
  double layer_decay = 1;
  double drop_path = 0;

  double temperature = 0;
  int64_t queue = 65536;
  double ema = 0;
  double ema_final = 0;
  bool symmetric = false;
  bool shuffle_bn = true;
  int64_t projector_hidden = 0, projector_output = 0, predictor_hidden = 0;
  int64_t positives = 0;

  int64_t log_steps = 10;
  int64_t knn_epochs = 0;
  int64_t knn_images = 2048;
  int64_t checkpoint_steps = 0;
  double checkpoint_minutes = 10;
  int64_t checkpoint_epochs = 1;
  int64_t keep = 2;
  bool stop_when_collapsed = false;

  SwavSection swav;
  PairConfig pair;
  CropSection crop;
  QualityConfig quality;
  RunOptions run;
};

template <class Visit>
void VisitFields(PretrainConfig& c, Visit&& visit) {
  using Count = Range<int64_t>;
  visit("data", c.data, Required{}, "pictures to learn from");
  visit("out", c.out, Required{}, "folder of the run");
  visit("init", c.init, Any{},
        "weights the encoder begins with: a checkpoint, or a file of another library; empty = random");
  visit("method", c.method, Any{}, "self-supervised method");
  visit("backbone", c.backbone, Any{}, "encoder: resnet18, resnet34, resnet50, vit-tiny, vit-small or vit-base");
  visit("width", c.width, Range<double>{1.0 / 64, 8}, "factor on the encoder's channel counts");
  visit("small_stem", c.small_stem, Any{}, "ResNet: 3 x 3 stem without max-pool, for pictures of 32 to 96 px");
  visit("stem_padding", c.stem_padding, Count{1, 2},
        "ResNet: padding of the 3 x 3 stem; 2 as solo-learn has it, where 32 px become 34");
  visit(
      "zero_init_residual", c.zero_init_residual, Any{},
      "ResNet: begin with every residual block as the identity, as the original SimSiam and MoCo v3 do; the default is "
      "false for all methods, recipes/imagenet has each as published");
  visit("patch_size", c.patch_size, Count{1, 256}, "ViT: side of a patch in pixels");
  visit("size", c.size, Count{8, 1024}, "side of the views in pixels");
  visit("normalisation", c.normalisation, Any{}, "mean and deviation of the colours");
  visit("augmentation", c.augmentation, Any{}, "preset of augmentations; empty = the method's own");
  visit("crop_min", c.crop_min, Range<double>{0, 1}, "smallest share of a picture that a view shows; 0 = the preset's");
  visit("interpolation", c.interpolation, Any{}, "how crops are brought to size; auto = as the preset has it");
  visit("jitter", c.jitter, Range<double>{-1, 1}, "probability of a change of colours; -1 = the preset's");
  visit("blur", c.blur, Range<double>{-1, 1}, "probability of a blur; -1 = the preset's");
  visit("epochs", c.epochs, Count{1, 1'000'000}, "passes over the pictures");
  visit("batch", c.batch, Count{2, 1 << 20}, "pairs per update");
  visit("accumulate", c.accumulate, Count{1, 4096},
        "parts that a batch is computed in, to save memory or by several processes; norms and negatives are those of a "
        "part (docs/methods.md)");
  visit(
      "optimizer", c.optimizer, Any{},
      "how weights are updated; auto = larc for swav, lars for byol and moco-v3, adamw for moco-v3 with a ViT, sgd for "
      "the others");
  visit("lr", c.lr, Range<double>{0, 1000}, "learning rate; 0 = the method's own, in proportion to the batch");
  visit("momentum", c.momentum, Range<double>{0, 0.9999}, "of sgd and the kinds of lars");
  visit("weight_decay", c.weight_decay, Range<double>{-1, 10},
        "pull of the weights towards 0; -1 = 1e-4, with the kinds of lars 1e-6, for moco-v3 with adamw 0.1");
  visit("decay_norms", c.decay_norms, Any{},
        "whether biases and norms are pulled, too; the kinds of lars but larc never do");
  visit("schedule", c.schedule, Any{}, "how the learning rate falls");
  visit("warmup_epochs", c.warmup_epochs, Range<double>{-1, 1000},
        "epochs during which the rate rises; -1 = 10 with lars, 40 for moco-v3 with adamw, in short runs less, else 0");
  visit("warmup_start", c.warmup_start, Range<double>{0, 1}, "share of the rate that it rises from");
  visit("final_lr", c.final_lr, Range<double>{-1, 1000},
        "rate at the end of the cosine; -1 = for swav a thousandth of lr, else 0");
  visit("per_epoch", c.per_epoch, Any{},
        "change the rate at each epoch instead of each update, as the original MoCo v2 and SimSiam do; the default is "
        "false for all methods, recipes/imagenet has each as published");
  visit("gradient_clip", c.gradient_clip, Range<double>{0, 1e6}, "largest length of all gradients together; 0 = any");
  visit("layer_decay", c.layer_decay, Range<double>{0.01, 1},
        "factor on the rate from each block of the encoder to the one before it");
  visit("drop_path", c.drop_path, Range<double>{0, 0.9},
        "ViT: chance that a picture passes over a branch of the last block, in earlier blocks less; 0 = off");
  visit("temperature", c.temperature, Range<double>{0, 100}, "of the contrastive loss; 0 = the method's own");
  visit("queue", c.queue, Count{1, int64_t{1} << 30}, "moco-v2: negatives kept; a multiple of the batch");
  visit("ema", c.ema, Range<double>{0, 1},
        "moco-v2, byol, moco-v3: how slowly the averaged encoder follows, in the last two ever slower; 0 = 0.999, 0.99 "
        "and 0.99");
  visit("ema_final", c.ema_final, Range<double>{0, 1},
        "what ema rises to along a half cosine; 0 = for byol and moco-v3 1, for moco-v2 ema itself");
  visit("symmetric", c.symmetric, Any{},
        "moco-v2: both views are to find each other, the keys of each in a queue of its own (MoCo v2+)");
  visit(
      "shuffle_bn", c.shuffle_bn, Any{},
      "moco-v2 with a ResNet, where accumulate is above 1: make the keys in parts of another order than the queries', "
      "as the original does on several GPUs, so that no key is given away by norms of the same pictures; all parts "
      "of a step are then loaded before the first is trained on");
  visit("projector_hidden", c.projector_hidden, Count{0, 1 << 20}, "width inside the projector; 0 = the method's own");
  visit("projector_output", c.projector_output, Count{0, 1 << 20}, "width of the projections; 0 = the method's own");
  visit("predictor_hidden", c.predictor_hidden, Count{0, 1 << 20},
        "simsiam, byol, moco-v3: width inside the predictor; 0 = the method's own");
  visit("positives", c.positives, Count{0, 32}, "multi-positive: views of a picture in one step; 0 = 4");
  visit("log_steps", c.log_steps, Count{1, 1 << 30}, "updates between two rows of the log");
  visit("knn_epochs", c.knn_epochs, Count{0, 1'000'000},
        "epochs between two looks at nearest neighbours of labelled pictures; 0 = never");
  visit("knn_images", c.knn_images, Count{10, 1 << 30}, "pictures used for that");
  visit("checkpoint_steps", c.checkpoint_steps, Count{0, int64_t{1} << 40},
        "updates between two checkpoints; 0 = by time and epoch alone");
  visit("checkpoint_minutes", c.checkpoint_minutes, Range<double>{0, 100000},
        "minutes between two checkpoints; 0 = not by time");
  visit("checkpoint_epochs", c.checkpoint_epochs, Count{0, 1'000'000},
        "epochs between two checkpoints; 0 = not by epoch");
  visit("keep", c.keep, Count{1, 1000}, "checkpoints kept");
  visit("stop_when_collapsed", c.stop_when_collapsed, Any{},
        "end with an error once features no longer tell pictures apart, instead of warning and going on");
  visit("swav", c.swav, Section{}, "prototypes and queue of the method swav");
  visit("pair", c.pair, Section{}, "where the two views of a pair come from");
  visit("crop", c.crop, Section{}, "where crops go");
  visit("quality", c.quality, Section{}, "weights of the pairs");
  visit("run", c.run, Section{}, "device, precision, seed and the like");
}

// Fills in the method's own values, and the batch-dependent ones. Throws UsageError for values that do not go together.
PretrainConfig Resolved(PretrainConfig config);

MethodConfig MethodOf(const PretrainConfig& resolved, int64_t steps_per_epoch);
BackboneConfig BackboneOf(const PretrainConfig& resolved);
// Whether the keys of a step are made in parts of another order: with one part there is nothing to shuffle, and without
// batch norms nothing to hide.
bool ShufflesKeys(const PretrainConfig& resolved);
Schedule ScheduleOf(const PretrainConfig& resolved, int64_t steps_per_epoch);

// For using the trained encoder: resize, centre crop, the colours of training.
Preprocess PreprocessOf(const PretrainConfig& resolved);

// The members that change what is computed, as JSON; paths, threads, log and checkpoint intervals are left out.
Json WhatIsComputed(const PretrainConfig& resolved);

}  // namespace genview
