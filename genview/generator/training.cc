#include "genview/generator/training.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <optional>
#include <thread>

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include "genview/base/error.h"
#include "genview/base/folder_lock.h"
#include "genview/base/text.h"
#include "genview/train/checkpoint.h"
#include "genview/train/event_log.h"
#include "genview/train/optimizer.h"
#include "genview/train/schedule.h"

namespace genview {
namespace {

constexpr const char* kWeights = "weights.";
constexpr const char* kAveraged = "averaged.";

Path CheckpointFolder(const Path& folder) { return folder / "checkpoints"; }

// In place, since the optimiser and the gradients hold on to the tensors.
void TakeWeights(const WeightList& list, const std::string& prefix, WeightReader& reader) {
  const c10::AutoGradMode no_grad(false);
  for (const WeightRef& ref : list) ref.tensor->copy_(reader.Take(prefix + ref.name, ref.tensor->sizes()));
}

// The keys under which two settings differ.
void CollectDifferences(const Json& before, const Json& now, const std::string& key, std::vector<std::string>& keys) {
  if (before == now) return;
  if (!before.is_object() || !now.is_object()) {
    keys.push_back(key);
    return;
  }
  const auto visit = [&](const std::string& name) {
    CollectDifferences(before.value(name, Json()), now.value(name, Json()),
                       key.empty() ? name : Format("{}.{}", key, name), keys);
  };
  for (const auto& [name, value] : before.items()) visit(name);
  for (const auto& [name, value] : now.items()) {
    if (!before.contains(name)) visit(name);
  }
}

// "size, autoencoder.channels and 3 more"
std::string DifferingKeys(const Json& before, const Json& now) {
  constexpr size_t kNamed = 3;
  std::vector<std::string> keys;
  const Json none = Json::object();
  CollectDifferences(before.is_object() ? before : none, now.is_object() ? now : none, "", keys);
  const size_t more = keys.size() - std::min(keys.size(), kNamed);
  keys.resize(keys.size() - more);
  return more > 0 ? Format("{} and {} more", fmt::join(keys, ", "), more) : Format("{}", fmt::join(keys, ", "));
}

std::optional<Checkpoint> Newest(const TrainingTask& task, Progress* progress) {
  std::vector<std::string> skipped;
  std::optional<Checkpoint> checkpoint = LatestCheckpoint(CheckpointFolder(task.folder), &skipped);
  if (progress != nullptr) {
    for (const std::string& reason : skipped) progress->Warn(Format("passed over {}", reason));
  }
  if (!checkpoint) return checkpoint;
  if (const Json before = checkpoint->meta.value("identity", Json()); before != task.identity) {
    throw Error({.what = Format("the {} in this folder was trained with other settings or pictures ({})", task.name,
                                DifferingKeys(before, task.identity)),
                 .where = checkpoint->path.string(),
                 .next = "choose another output folder, or remove this one to train again"});
  }
  SkippedLog known = task.skipped;  // shares the rows
  if (const std::string bad = JsonString(checkpoint->meta, "skipped", "", checkpoint->path.string()); !bad.empty())
    AddSkipped(bad, known);
  return checkpoint;
}

Json MetaOf(const TrainingTask& task) {
  Json meta = {{"format", 1}, {"kind", task.name}, {"identity", task.identity}};
  if (task.skipped.count() > 0) meta["skipped"] = SkippedToText(task.skipped);
  return meta;
}

std::vector<std::pair<std::string, Tensor>> State(const TrainingTask& task, const Optimizer& optimizer) {
  auto tensors = NamedTensors(task.weights, kWeights);
  for (auto& pair : NamedTensors(task.averaged, kAveraged)) tensors.push_back(std::move(pair));
  for (auto& pair : optimizer.State()) tensors.push_back(std::move(pair));
  return tensors;
}

// Young averages follow quickly, so that the initial weights are soon forgotten.
double AverageMomentum(double momentum, int64_t step) {
  return std::min(momentum, static_cast<double>(1 + step) / static_cast<double>(10 + step));
}

// While alive, the layers of this thread and of new ones run on one thread each: the shards are the parallel work, and
// threads that wait for each other at every layer would take the processor from them.
class SingleThreaded {
 public:
  SingleThreaded() : before_(at::get_num_threads()) { at::set_num_threads(1); }
  ~SingleThreaded() { at::set_num_threads(before_); }
  SingleThreaded(const SingleThreaded&) = delete;
  SingleThreaded& operator=(const SingleThreaded&) = delete;

 private:
  int before_;
};

// Loss and gradients of one step: every shard on a thread of its own, then the mean of the gradients in shard order.
double Differentiate(const TrainingTask& task, int64_t step, Json& row) {
  const size_t shards = task.replicas.size();
  std::vector<double> losses(shards);
  std::vector<std::exception_ptr> failures(shards);
  const auto run = [&](size_t shard) {
    try {
      at::set_num_threads(1);
      Json unused = Json::object();
      const Tensor loss = task.loss(step, static_cast<int64_t>(shard), shard == 0 ? row : unused);
      loss.backward();
      losses[shard] = loss.item<double>();
    } catch (...) {
      failures[shard] = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> threads;  // joined, also where one cannot be started
    for (size_t shard = 0; shard < shards; ++shard) threads.emplace_back(run, shard);
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
  const c10::AutoGradMode no_grad(false);
  for (size_t i = 0; i < task.weights.size(); ++i) {
    Tensor sum;
    for (const WeightList& replica : task.replicas) {
      const Tensor& grad = replica[i].tensor->grad();
      if (grad.defined()) sum = sum.defined() ? sum.add_(grad) : grad;
      replica[i].tensor->mutable_grad() = Tensor();
    }
    if (sum.defined()) task.weights[i].tensor->mutable_grad() = sum.div_(static_cast<double>(shards));
  }
  double mean = 0;
  for (const double loss : losses) mean += loss / static_cast<double>(shards);
  return mean;
}

// From the newest checkpoint, or from the initial weights. Returns the steps that are made.
int64_t Resume(const TrainingTask& task, Optimizer& optimizer, Progress& progress) {
  const auto checkpoint = Newest(task, &progress);
  if (!checkpoint) {
    CopyWeights(task.averaged, task.weights);
    return 0;
  }
  WeightReader reader(checkpoint->weights);
  TakeWeights(task.weights, kWeights, reader);
  TakeWeights(task.averaged, kAveraged, reader);
  optimizer.LoadState(reader);
  reader.Finish();
  return checkpoint->step;
}

void CheckLoss(const TrainingTask& task, double loss, int64_t step) {
  if (std::isfinite(loss)) return;
  throw Error({.what = Format("the loss of the {} is no longer a number at step {}", task.name, step),
               .where = task.folder.string(),
               .next = "use a smaller learning rate, or --precision fp32"});
}

}  // namespace

void CheckShards(const TrainingOptions& options, const std::string& section) {
  if (options.batch % options.shards == 0) return;
  throw UsageError({.what = Format("{} shards do not divide a batch of {}", options.shards, options.batch),
                    .where = section + ".shards",
                    .next = "choose a batch that is a multiple of the shards"});
}

std::shared_ptr<const std::vector<int64_t>> EndlessOrder::Epoch(int64_t epoch) const {
  const std::lock_guard lock(mutex_);
  auto& order = epochs_[epoch];
  if (!order)
    order = std::make_shared<const std::vector<int64_t>>(Permutation(seed_.With(static_cast<uint64_t>(epoch)), size_));
  const auto result = order;
  while (epochs_.size() > 2)
    epochs_.erase(epochs_.begin()->first == epoch ? std::prev(epochs_.end()) : epochs_.begin());
  return result;
}

std::vector<int64_t> EndlessOrder::Indices(int64_t position, int64_t count) const {
  std::vector<int64_t> indices;
  std::shared_ptr<const std::vector<int64_t>> order;
  for (int64_t i = position; i < position + count; ++i) {
    if (!order || i % size_ == 0) order = Epoch(i / size_);
    indices.push_back((*order)[static_cast<size_t>(i % size_)]);
  }
  return indices;
}

Json TrainingIdentity(const TrainingOptions& options) {
  Json json = FieldsToJson(options);
  for (const char* key : {"stop_after", "save_every", "log_every"}) json.erase(key);
  return json;
}

bool IsOfTraining(const Path& folder, const Json& identity, int64_t last_step) {
  const std::optional<Checkpoint> checkpoint = LatestCheckpoint(CheckpointFolder(folder));
  return !checkpoint || (checkpoint->meta.value("identity", Json()) == identity && checkpoint->step <= last_step);
}

Path MoveAside(const Path& folder) {
  Path aside = folder.string() + "-before";
  for (int i = 2; std::filesystem::exists(aside); ++i) aside = Format("{}-before-{}", folder.string(), i);
  std::filesystem::rename(folder, aside);
  return aside;
}

bool LoadFinished(const TrainingTask& task) {
  const auto checkpoint = Newest(task, nullptr);
  if (!checkpoint || checkpoint->step < task.options.last_step()) return false;
  WeightReader reader(checkpoint->weights);
  TakeWeights(task.averaged, kAveraged, reader);
  reader.Finish({kWeights, "optimizer."});
  return true;
}

void RunTraining(const TrainingTask& task, Progress& progress) {
  if (LoadFinished(task)) return;
  const FolderLock lock(task.folder);
  const TrainingOptions& o = task.options;
  const Schedule schedule{.kind = ScheduleKind::kCosine,
                          .lr = o.lr,
                          .final_lr = o.final_lr,
                          .warmup_steps = o.warmup,
                          .total_steps = o.steps};
  for (const WeightList& replica : task.replicas) SetRequiresGrad(replica, true);
  auto optimizer = MakeAdamW(
      task.weights, {.beta2 = o.beta2, .weight_decay = o.weight_decay},
      {NoDecayForBiasAndNorms(),
       {.matches = [](const WeightRef& ref) { return ref.role == WeightRole::kEmbedding; }, .weight_decay = 0}});
  const SingleThreaded single;
  int64_t step = Resume(task, *optimizer, progress);
  SweepPartFiles(CheckpointFolder(task.folder));
  EventLog log(task.folder, step > 0 ? step : -1);
  progress.Begin(task.name, o.last_step(), "steps");
  while (step < o.last_step()) {
    Json row = Json::object();
    const double value = Differentiate(task, step, row);
    const double norm = ClipGradients(task.weights, o.clip);
    optimizer->Step(schedule.At(step));
    ZeroGrad(task.weights);
    if (o.average > 0) AverageWeights(task.averaged, task.weights, AverageMomentum(o.average, step));
    CheckLoss(task, value, step);
    ++step;
    const bool last = step == o.last_step();
    const bool review = task.review && task.review_every > 0 && (step % task.review_every == 0 || last);
    if (o.average <= 0 && (last || review)) CopyWeights(task.averaged, task.weights);
    if (review) {
      const c10::AutoGradMode no_grad(false);
      task.review(step, row);
    }
    if (review || step % o.log_every == 0 || last) {
      Json line = {{"loss", value}, {"lr", schedule.At(step - 1)}, {"gradient_norm", norm}};
      line.update(row);
      log.Write(step, line);
    }
    progress.Update(step, task.reading != nullptr ? task.reading->Share(std::ssize(task.replicas)) : -1,
                    Format("loss {:.4f}", value));
    const bool stop = progress.Stopped();
    if (step % o.save_every == 0 || last || stop) {
      log.Sync();
      SaveCheckpoint(CheckpointFolder(task.folder), step, State(task, *optimizer), MetaOf(task), last ? 1 : 2);
    }
    if (stop && !last) throw Interrupted();
  }
  progress.End(Format("{} steps", o.last_step()));
}

}  // namespace genview
