#include "genview/eval/finetune.h"

#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "genview/base/hash.h"
#include "genview/data/loader.h"
#include "genview/eval/kept_training.h"
#include "genview/eval/knn_votes.h"
#include "genview/eval/labelled_crops.h"
#include "genview/models/backbone_file.h"
#include "genview/train/optimizer.h"

namespace genview {
namespace {

std::string FileName(const std::string& id) { return id.substr(id.rfind('/') + 1); }

// The pictures that a list names by id or by file name. All names must be there, and every picture must have a class.
std::vector<int64_t> Listed(const ImageSource& source, const Path& list) {
  std::map<std::string, int64_t> by_id;
  std::map<std::string, std::vector<int64_t>> by_name;
  for (int64_t i = 0; i < source.size(); ++i) {
    by_id.emplace(source.item(i).id, i);
    by_name[FileName(source.item(i).id)].push_back(i);
  }
  std::set<int64_t> chosen;
  std::vector<std::string> missing, without_class;
  for (const std::string& line : ReadLines(list)) {
    const std::string name = line.substr(0, line.find_first_of("\t\r"));
    if (name.empty()) continue;
    const auto id = by_id.find(name);
    const auto same = by_name.find(FileName(name));
    int64_t found = -1;
    if (id != by_id.end()) found = id->second;
    else if (same != by_name.end() && same->second.size() == 1) found = same->second[0];
    if (found < 0) missing.push_back(name);
    else if (source.item(found).label < 0) without_class.push_back(name);
    else chosen.insert(found);
  }
  if (!missing.empty()) {
    throw Error(
        {.what = Format(
             "{} of the list's pictures are not among the training pictures, or several have the name; the first is {}",
             missing.size(), missing[0]),
         .where = list.string(),
         .next = "check that list and pictures belong together"});
  }
  if (!without_class.empty()) {
    throw Error({.what = Format("{} of the list's pictures have no class; the first is {}", without_class.size(),
                                without_class[0]),
                 .where = list.string(),
                 .next = "put the pictures into one folder per class"});
  }
  if (chosen.empty())
    throw Error(
        {.what = "the list names no picture", .where = list.string(), .next = "give a list with one file name a line"});
  return {chosen.begin(), chosen.end()};
}

// The encoder, a fresh classifier on top of it, and what trains both.
class Network {
 public:
  Network(const FinetuneConfig& config, BackboneFile file, int64_t classes, Seed seed, at::Device device,
          at::ScalarType compute)
      : backbone_(std::move(file.encoder.backbone)), seed_(seed), device_(device), compute_(compute) {
    if (config.drop_path > 0 && !backbone_->UseDropPath(config.drop_path)) {
      throw UsageError({.what = "drop path is for a ViT, and the encoder is another network",
                        .where = "eval.finetune.drop_path",
                        .next = "leave it at 0"});
    }
    head_ = MakeLinear(backbone_->width(), classes);
    head_.weight = NormalTensor(seed.With("head"), head_.weight.sizes()).mul_(0.01);
    head_.bias = at::zeros({classes});
    AppendAll(weights_, "encoder", backbone_->Weights());
    // MoCo v3 keeps these of a ViT as they are while it pretrains; the whole network is trained here.
    for (WeightRef& ref : weights_) {
      if (ref.name.starts_with("encoder.patch_embed.") || ref.name == "encoder.pos_embed")
        ref.role = WeightRole::kEmbedding;
    }
    Append(weights_, "head", head_);
    MoveWeights(weights_, device);
    UseChannelsLast(weights_);
    SetRequiresGrad(weights_, true);
    optimizer_ = MakeSgd(weights_, {.momentum = config.momentum, .weight_decay = config.weight_decay},
                         {{.matches = NameBegins("encoder."), .lr_factor = config.lr},
                          {.matches = NameBegins("head."), .lr_factor = config.head_lr}});
  }

  Tensor Scores(const Tensor& pixels, bool training) const {  // [N,classes] fp32
    const ComputeScope scope(device_, compute_);
    const Tensor x = pixels.to(device_).contiguous(at::MemoryFormat::ChannelsLast);
    return Linear(head_, backbone_->Forward(x, training).pooled).to(at::kFloat);
  }

  double Step(const Tensor& pixels, const Tensor& labels, double factor) {
    backbone_->Reseed(seed_.With("drop path").With(steps_++));
    const Tensor loss = at::cross_entropy_loss(Scores(pixels, /*training=*/true), labels.to(device_));
    loss.backward();
    optimizer_->Step(factor);
    ZeroGrad(weights_);
    return loss.item<double>();
  }

  std::vector<std::pair<std::string, Tensor>> State() const {
    std::vector<std::pair<std::string, Tensor>> state = NamedTensors(weights_);
    for (auto& part : optimizer_->State()) state.push_back(std::move(part));
    return state;
  }

  // Into the tensors that are there: the optimiser knows them.
  void LoadState(const Checkpoint& kept) {
    const c10::AutoGradMode no_grad(false);
    WeightReader reader(kept.weights);
    for (const WeightRef& ref : weights_) ref.tensor->copy_(reader.Take(ref.name, ref.tensor->sizes()));
    optimizer_->LoadState(reader);
    reader.Finish();
    steps_ = static_cast<uint64_t>(kept.step);
  }

 private:
  std::unique_ptr<Backbone> backbone_;
  LinearWeights head_;
  WeightList weights_;
  std::unique_ptr<Optimizer> optimizer_;
  Seed seed_;
  uint64_t steps_ = 0;
  at::Device device_;
  at::ScalarType compute_;
};

Hits TestNetwork(const Network& network, Evaluation& evaluation, const Preprocess& preprocess, const RunOptions& run,
                 Progress& progress) {
  const c10::InferenceMode guard;
  const auto source = evaluation.test_source();
  const std::vector<int64_t> places = evaluation.TestPlaces();
  SkippedLog skipped;
  const std::vector<int64_t> indices = evaluation.TestIndices();
  EncodeLoader loader(source, indices, preprocess, run.batch > 0 ? run.batch : 128, run.threads, skipped, run.strict);
  Hits all;
  for (EncodeBatch batch; loader.Next(batch);) {
    progress.ThrowIfStopped();
    std::vector<int64_t> labels;
    for (const int64_t i : batch.indices) labels.push_back(places[static_cast<size_t>(source->item(i).label)]);
    const Hits hits = CountHits(network.Scores(batch.pixels, /*training=*/false).cpu(), at::tensor(labels, at::kLong));
    all.top1 += hits.top1;
    all.top5 += hits.top5;
    all.total += hits.total;
  }
  if (all.total == 0) {
    throw Error({.what = "none of the test pictures could be read",
                 .where = skipped.rows().empty() ? "" : skipped.rows().front().first,
                 .next = "check the files"});
  }
  evaluation.LeaveOut(skipped, IdsOf(*evaluation.test_source(), indices), "test", progress);
  return all;
}

// What besides the pictures and the encoder decides the result.
Json SettingsOf(const FinetuneConfig& config) {
  Json settings = FieldsToJson(config);
  for (const char* input : {"train", "test", "checkpoint", "out", "cache", "fraction", "run", "list"})
    settings.erase(input);
  if (config.drop_path == 0) settings.erase("drop_path");  // as before there was one
  if (!config.list.empty()) settings["list"] = FingerprintFile(config.list);
  settings["protocol"] =
      "whole network, SGD on cross-entropy, all pictures in each epoch, rates / 5 at 3/5 and 4/5 of the steps, "
      "crop and flip";
  return settings;
}

// With SwAV's rates where none are given, and a batch that there are pictures for.
FinetuneConfig Resolved(FinetuneConfig config, int64_t labelled, int64_t all) {
  const bool few = labelled < all / 20;
  if (config.lr == 0) config.lr = few ? 0.02 : 0.01;
  if (config.head_lr == 0) config.head_lr = few ? 5 : 0.2;
  config.batch = std::min(config.batch, labelled);
  return config;
}

PairLoaderConfig LoaderOf(const FinetuneConfig& config, const Preprocess& preprocess, Seed seed) {
  PairLoaderConfig loader = LabelledCrops(preprocess, config.batch, seed, config.inputs.run);
  loader.least_rest = 2;  // norms need two pictures
  return loader;
}

// All epochs; returns the last step's loss. Goes on from what is in `kept`, where the last state stays until the
// network has been tested.
double Train(Network& network, PairLoader& loader, const ImageSource& labelled, const FinetuneConfig& config,
             KeptTraining& kept, SkippedLog& skipped, Progress& progress) {
  const int64_t per_epoch = loader.batches_per_epoch(), steps = per_epoch * config.epochs;
  const Schedule schedule = FinetuneSchedule(steps);
  int64_t step = 0;
  double loss = 0;
  if (const auto state = kept.Latest(config.inputs.run.strict, skipped)) {
    network.LoadState(*state);
    step = state->step;
    loss = JsonDouble(state->meta, "loss", 0, state->path.string());
  }
  progress.Begin("fine-tuning", steps, "steps");
  progress.Update(step);
  while (step < steps) {
    loader.Start(step / per_epoch, step % per_epoch);
    for (PairBatch batch; loader.Next(batch);) {
      loss = network.Step(batch.view1, LabelsOf(labelled, batch.indices), schedule.At(step));
      if (!std::isfinite(loss)) {
        throw Error({.what = Format("the loss is no longer a number at step {}", step),
                     .where = "eval.finetune",
                     .next = Format("use smaller rates than `lr` {:g} and `head_lr` {:g}", config.lr, config.head_lr)});
      }
      progress.Update(step + 1, loader.WaitShare(), Format("epoch {}, loss {:.4g}", step / per_epoch + 1, loss));
      ++step;
      const bool stopped = progress.Stopped();
      if (stopped || step == steps || kept.Due()) kept.Save(step, network.State(), {{"loss", loss}}, skipped);
      if (stopped) throw Interrupted();
    }
  }
  progress.End();
  return loss;
}

// One name a line, so that another program can train on the same pictures.
void WriteImageList(const Path& out, const ImageSource& labelled) {
  std::string text;
  for (int64_t i = 0; i < labelled.size(); ++i) text += Format("{}\n", labelled.item(i).id);
  WriteFile(out.parent_path() / (out.stem().string() + "-images.txt"), text);
}

}  // namespace

Schedule FinetuneSchedule(int64_t steps) {
  const auto from = [&](int64_t fifths) { return (steps * fifths + 4) / 5; };  // the first step that is past them
  return {.kind = ScheduleKind::kStep, .lr = 1, .total_steps = steps, .milestones = {from(3), from(4)}, .decay = 0.2};
}

EvalResult EvalFinetune(const FinetuneConfig& given, Progress& progress) {
  CheckRequired(given, {"command line", "eval.finetune"});
  if (!given.list.empty() && given.inputs.fraction < 1) {
    throw UsageError({.what = "both a list and a share of the pictures are given",
                      .where = "eval.finetune.list",
                      .next = "leave one of them away"});
  }
  Json settings = SettingsOf(given);
  Evaluation evaluation("finetune", given.inputs, settings);
  EvalResult result;
  if (evaluation.Known(result, progress)) return result;

  const auto source = evaluation.train_source();
  std::vector<int64_t> indices = given.list.empty() ? evaluation.TrainIndices() : Listed(*source, given.list);
  std::string ids = Format("{}", fmt::join(IdsOf(*source, indices), "\n"));
  const auto labelled = ChooseOf(source, std::move(indices), std::move(ids));
  const FinetuneConfig config = Resolved(given, labelled->size(), source->size());
  BackboneFile file = ReadBackboneFile(config.inputs.checkpoint);
  const Preprocess preprocess = file.preprocess;
  const at::Device device = ChooseDevice(config.inputs.run.device);
  Network network(config, std::move(file), evaluation.classes(), evaluation.seed(), device,
                  ChooseCompute(config.inputs.run.precision, device));
  SkippedLog skipped;
  PairLoader loader(labelled, nullptr, LoaderOf(config, preprocess, evaluation.seed()), skipped);
  KeptTraining kept(evaluation.StateFolder(), evaluation.request());
  const double loss = Train(network, loader, *labelled, config, kept, skipped, progress);
  evaluation.LeaveOut(skipped, IdsOf(*labelled), "training", progress);
  const Hits hits = TestNetwork(network, evaluation, preprocess, config.inputs.run, progress);

  settings["lr"] = config.lr;
  settings["head_lr"] = config.head_lr;
  settings["batch"] = config.batch;
  settings["train_images"] = labelled->size();
  settings["loss"] = loss;
  if (!config.inputs.out.empty()) WriteImageList(config.inputs.out, *labelled);
  return evaluation.Finish(hits.top1, hits.top5, hits.total, std::move(settings));
}

}  // namespace genview
