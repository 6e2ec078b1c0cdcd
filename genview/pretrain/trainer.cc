#include "genview/pretrain/trainer.h"

#include <algorithm>
#include <stdexcept>

#include <c10/core/GradMode.h>

#include "genview/base/error.h"
#include "genview/pretrain/shuffled_parts.h"
#include "genview/tensor/finite.h"
#include "genview/train/lars.h"

namespace genview {

namespace {

// Enough to see a collapse by; more of them would take long to measure and, between processes, to send.
constexpr int64_t kProjectionsKept = 1024;

std::unique_ptr<Optimizer> MakeOptimizer(const PretrainConfig& c, const WeightList& weights,
                                         const std::vector<GroupRule>& rules) {
  switch (c.optimizer) {
    case OptimizerKind::kAuto:
      break;
    case OptimizerKind::kSgd:
      return MakeSgd(weights, {.momentum = c.momentum, .weight_decay = c.weight_decay}, rules);
    case OptimizerKind::kAdamW:
      return MakeAdamW(weights, {.weight_decay = c.weight_decay}, rules);
    case OptimizerKind::kLars:
    case OptimizerKind::kLarsMmpretrain:
    case OptimizerKind::kLarsSimclr:
    case OptimizerKind::kLarsSolo:
    case OptimizerKind::kLarc:
      return MakeLars(
          weights,
          {.variant = LarsVariantOf(EnumName(c.optimizer)), .momentum = c.momentum, .weight_decay = c.weight_decay},
          rules);
  }
  throw std::logic_error("a config that was not resolved");
}

}  // namespace

Trainer::Trainer(const PretrainConfig& config, int64_t steps_per_epoch, at::Device device, at::ScalarType compute,
                 TensorGroup& together)
    : config_(config),
      schedule_(ScheduleOf(config, steps_per_epoch)),
      device_(device),
      compute_(compute),
      together_(together),
      method_(MakeMethod(MethodOf(config, steps_per_epoch), BackboneOf(config), Seed(config.run.seed).With("init"))) {
  GENVIEW_CHECK(together.size() <= config.accumulate, "a process without a part");
  Prepare();
}

void Trainer::Prepare() {
  MoveWeights(method_->Weights(), device_);
  MoveWeights(method_->Extra(), device_);
  UseChannelsLast(method_->Weights());
  UseChannelsLast(method_->Extra());
  SetRequiresGrad(method_->Weights(), true);
  std::vector<GroupRule> rules;
  if (!config_.decay_norms) rules.push_back(NoDecayForBiasAndNorms());
  // The paper's: a predictor that keeps its rate adapts to the latest projections.
  if (config_.method == MethodKind::kSimSiam)
    rules.push_back({.matches = NameBegins("predictor."), .fixed_lr = config_.lr});
  if (config_.layer_decay < 1) {
    for (GroupRule& rule : LayerDecay(method_->Weights(), config_.layer_decay)) rules.push_back(std::move(rule));
  }
  optimizer_ = MakeOptimizer(config_, method_->Weights(), rules);
  if (config_.accumulate == 1) return;  // the norms' own running statistics are the step's
  WeightList all = method_->Weights();
  for (const WeightRef& ref : method_->Extra()) all.push_back(ref);
  statistics_.emplace(all);
}

void Trainer::Accumulate(const Tensor& view1, const Tensor& view2, const Tensor& weights,
                         const std::vector<Tensor>& more, const Tally& tally, const Tensor& marks) {
  const Given given{view1, view2, weights, more, tally, marks};
  if (!ShufflesKeys(config_)) {
    ComputePart(given);
    return;
  }
  waiting_.push_back(given);
  const auto own = (config_.accumulate - together_.rank() + together_.size() - 1) / together_.size();
  if (static_cast<int64_t>(waiting_.size()) < own) return;
  GENVIEW_CHECK(parts_.empty(), "more parts than there are");
  MakeKeys();
  for (const Given& part : waiting_) ComputePart(part);
  waiting_.clear();
  keys_.clear();
  key_statistics_.clear();
}

Tensor Trainer::Enter(const Tensor& view) const { return view.to(device_).contiguous(at::MemoryFormat::ChannelsLast); }

// ShuffleBN (K. He et al., "Momentum contrast for unsupervised visual representation learning", 2020): norms that saw
// the same pictures in queries and keys would tell which key belongs to a query. So the keys of a step are made in
// parts of a random order of its pictures and brought back into the order of the pairs.
void Trainer::MakeKeys() {
  const c10::AutoGradMode no_grad(false);
  const int64_t pairs = config_.accumulate * waiting_[0].view1.size(0);
  const Seed seed = Seed(config_.run.seed).With("shuffle").With(static_cast<uint64_t>(steps_));
  const ShuffledParts shuffled(Permutation(seed, pairs), config_.accumulate, together_);
  std::vector<std::vector<Tensor>> pictures;  // of each view: of each part
  for (const int view : method_->KeyViews()) {
    std::vector<Tensor> own;
    for (const Given& part : waiting_) own.push_back((view == 0 ? part.view1 : part.view2).to(at::kCPU));
    pictures.push_back(shuffled.Deal(own));
  }
  std::vector<std::vector<Tensor>> keys(pictures.size());
  for (size_t part = 0; part < waiting_.size(); ++part) {
    statistics_->BeginPart();
    {
      const ComputeScope scope(device_, compute_);
      for (size_t view = 0; view < pictures.size(); ++view)
        keys[view].push_back(method_->Key(Enter(pictures[view][part])));
    }
    key_statistics_.push_back(statistics_->EndPart());
  }
  for (const std::vector<Tensor>& of_view : keys) keys_.push_back(shuffled.Collect(of_view));
}

void Trainer::ComputePart(const Given& given) {
  const uint64_t number =
      parts_.size() * static_cast<uint64_t>(together_.size()) + static_cast<uint64_t>(together_.rank());
  GENVIEW_CHECK(number < static_cast<uint64_t>(config_.accumulate), "more parts than there are");
  method_->encoder()->Reseed(Seed(config_.run.seed).With("drop path").With(static_cast<uint64_t>(steps_)).With(number));
  if (statistics_) statistics_->BeginPart();
  Part part;
  part.tally = given.tally;
  part.marks = given.marks;
  const int64_t pairs = given.view1.size(0);
  std::vector<Tensor> keys;
  for (const Tensor& all : keys_) keys.push_back(all.narrow(0, static_cast<int64_t>(number) * pairs, pairs));
  Tensor loss;  // [N]
  {
    const ComputeScope scope(device_, compute_);
    std::vector<Tensor> further;
    for (const Tensor& view : given.more) further.push_back(Enter(view));
    const Tensor view1 = Enter(given.view1), view2 = Enter(given.view2);
    loss = keys.empty() ? method_->MultiViewLoss(view1, view2, further) : method_->LossWithKeys(view1, view2, keys);
  }
  if (given.weights.defined()) {
    ExpectShape(given.weights, {loss.size(0)}, "weights");
    loss = loss * given.weights;
    part.weights = given.weights.detach();
  }
  loss = loss.mean() / static_cast<double>(config_.accumulate);
  loss.backward();
  part.loss = loss.detach();
  if (statistics_) part.statistics = statistics_->EndPart();
  // Norms of the keys have seen nothing meanwhile, and the others nothing before: either gives zeros to the other.
  if (!key_statistics_.empty()) part.statistics = part.statistics + key_statistics_[parts_.size()];
  if (method_->left().size() > parts_.size()) part.left = method_->left().back();
  const int64_t kept = config_.accumulate == 1 ? pairs : std::max<int64_t>(1, kProjectionsKept / config_.accumulate);
  part.projections = method_->projections().narrow(0, 0, std::min(kept, pairs));
  parts_.push_back(std::move(part));
  if (together_.size() > 1) ShareGradients(/*has_part=*/true);
}

// All gradients in a row are cut into a slice for each process. A process gets its slice of the parts of this round,
// one of each process, and adds them to its sum one after another: the order in which one process would have added
// them. Then its own gradients make room for those of the next part.
void Trainer::ShareGradients(bool has_part) {
  const c10::AutoGradMode no_grad(false);
  if (rounds_ == 0) {
    for (const Tensor& weight : Trainable(method_->Weights())) {
      if (weight.grad().defined()) with_gradient_.push_back(weight);
    }
  }
  int64_t length = 0;
  for (const Tensor& weight : with_gradient_) length += weight.numel();
  const int64_t width = (length + together_.size() - 1) / together_.size();
  Tensor row = at::zeros({together_.size() * width});
  if (has_part) {
    std::vector<Tensor> pieces;
    for (const Tensor& weight : with_gradient_) {
      Tensor whole = at::empty_like(weight);  // numbers in the order of memory, which is the weight's in all processes
      whole.copy_(weight.grad());
      pieces.push_back(whole.as_strided({whole.numel()}, {1}));
    }
    row.narrow(0, 0, length).copy_(at::cat(pieces));
    ZeroGrad(method_->Weights());
  }
  const Tensor slices = together_.Exchange(row.view({together_.size(), width}));
  const int64_t parts = std::min(together_.size(), config_.accumulate - rounds_ * together_.size());
  for (int64_t r = 0; r < parts; ++r) {
    if (slice_.defined()) slice_.add_(slices[r]);
    else slice_ = slices[r].clone();
  }
  ++rounds_;
}

// The sums of all slices become the weights' gradients.
void Trainer::TakeGradients() {
  const c10::AutoGradMode no_grad(false);
  const int64_t own = static_cast<int64_t>(parts_.size());
  while (rounds_ * together_.size() < config_.accumulate) {
    GENVIEW_CHECK(rounds_ == own, "Step before all parts");
    ShareGradients(/*has_part=*/false);
  }
  const Tensor row = together_.Gather(slice_).view(-1).to(device_);
  int64_t place = 0;
  for (Tensor& weight : with_gradient_) {
    Tensor gradient = at::empty_like(weight);
    gradient.as_strided({gradient.numel()}, {1}).copy_(row.narrow(0, place, gradient.numel()));
    place += gradient.numel();
    weight.mutable_grad() = gradient;
  }
  slice_ = Tensor();
  with_gradient_.clear();
  rounds_ = 0;
}

Tensor Trainer::Part::Pack() const {
  std::vector<Tensor> pieces{at::tensor(at::ArrayRef<int64_t>(tally.data(), tally.size()), at::kLong).to(at::kFloat)};
  for (const Tensor& tensor : {loss, weights, marks, statistics, left, projections}) {
    if (tensor.defined()) pieces.push_back(tensor.to(at::kCPU, at::kFloat).reshape({-1}));
  }
  return at::cat(pieces);
}

Trainer::Part Trainer::Part::Unpack(const Tensor& packed) const {
  int64_t place = 0;
  const auto next = [&](int64_t count) {
    const Tensor piece = packed.narrow(0, place, count);
    place += count;
    return piece;
  };
  Part part;
  const Tensor numbers = next(static_cast<int64_t>(tally.size()));
  for (size_t i = 0; i < tally.size(); ++i)
    part.tally[i] = static_cast<int64_t>(numbers[static_cast<int64_t>(i)].item<float>());
  const auto like = [&](const Tensor& own) {
    return own.defined() ? next(own.numel()).view(own.sizes()).to(own.options()) : Tensor();
  };
  part.loss = like(loss);
  part.weights = like(weights);
  part.marks = like(marks);
  part.statistics = like(statistics);
  part.left = like(left);
  part.projections = like(projections);
  return part;
}

// Those of all processes, in the order of the parts.
std::vector<Trainer::Part> Trainer::AllParts() {
  if (together_.size() == 1) return std::move(parts_);
  const int64_t rounds = (config_.accumulate + together_.size() - 1) / together_.size();
  std::vector<Tensor> rows;
  for (const Part& part : parts_) rows.push_back(part.Pack());
  while (static_cast<int64_t>(rows.size()) < rounds)
    rows.push_back(at::zeros_like(rows[0]));             // no part in the last round
  const Tensor all = together_.Gather(at::stack(rows));  // [W,rounds,L]
  std::vector<Part> parts;
  for (int64_t p = 0; p < config_.accumulate; ++p)
    parts.push_back(parts_[0].Unpack(all[p % together_.size()][p / together_.size()]));
  return parts;
}

StepReport Trainer::Step() {
  GENVIEW_CHECK(!parts_.empty() && waiting_.empty(), "Step without Accumulate, or before all parts");
  if (together_.size() > 1) TakeGradients();
  std::vector<Part> parts = AllParts();
  StepReport report{.loss = {}, .weight_std = {}, .lr = schedule_.At(steps_), .weights = {}, .marks = {}};
  std::vector<Tensor> weights, marks, statistics, left, projections;
  for (const Part& part : parts) {
    report.loss = report.loss.defined() ? report.loss + part.loss : part.loss;
    for (size_t i = 0; i < part.tally.size(); ++i) report.tally[i] += part.tally[i];
    if (part.weights.defined()) weights.push_back(part.weights);
    if (part.marks.defined()) marks.push_back(part.marks);
    if (part.statistics.defined()) statistics.push_back(part.statistics);
    if (part.left.defined()) left.push_back(part.left);
    projections.push_back(part.projections);
  }
  projections_ = at::cat(projections);
  if (!marks.empty()) report.marks = at::cat(marks);
  if (!weights.empty()) {
    report.weights = at::cat(weights);
    report.weight_std = report.weights.std();
  }
  if (statistics_) statistics_->Apply(statistics);
  method_->left() = std::move(left);
  if (config_.gradient_clip > 0) ClipGradients(method_->Weights(), config_.gradient_clip);
  optimizer_->Step(report.lr);
  ZeroGrad(method_->Weights());
  method_->AfterStep(steps_, schedule_.total_steps);
  method_->left().clear();
  ++steps_;
  parts_.clear();
  return report;
}

uint64_t Trainer::WeightSum() {
  uint64_t sum = 0;
  for (const auto& list : {method_->Weights(), method_->Extra()}) {
    for (const WeightRef& ref : list) {
      const Tensor x = ref.tensor->detach();
      if (x.scalar_type() != at::kFloat || x.numel() == 0) continue;
      // Of the bits as whole numbers, whose sum does not depend on how it is computed.
      sum = sum * 1'000'003 +
            static_cast<uint64_t>(x.as_strided({x.numel()}, {1}).view(at::kInt).sum(at::kLong).item<int64_t>());
    }
  }
  return sum;
}

bool Trainer::Finite() {
  const auto state = State();
  return std::all_of(state.begin(), state.end(),
                     [](const auto& pair) { return AllFinite(pair.second.detach().to(at::kCPU)); });
}

std::vector<std::pair<std::string, Tensor>> Trainer::State() {
  auto state = NamedTensors(method_->Weights());
  for (auto& pair : NamedTensors(method_->Extra())) state.push_back(std::move(pair));
  for (auto& pair : optimizer_->State()) state.push_back(std::move(pair));
  return state;
}

void Trainer::Load(WeightReader& reader, int64_t steps) {
  SetRequiresGrad(method_->Weights(), false);
  LoadWeights(method_->Weights(), reader);
  LoadWeights(method_->Extra(), reader);
  Prepare();
  optimizer_->LoadState(reader);
  steps_ = steps;
}

}  // namespace genview
