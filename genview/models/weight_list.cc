#include "genview/models/weight_list.h"

#include <cmath>

#include <c10/core/GradMode.h>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/tensor/packed_matrix.h"

namespace genview {

LinearWeights MakeLinear(int64_t in, int64_t out, bool bias) {
  return {at::empty({out, in}), bias ? at::empty({out}) : Tensor()};
}

ConvWeights MakeConv(int64_t in, int64_t out, int64_t kernel, bool bias, int64_t groups) {
  return {at::empty({out, in / groups, kernel, kernel}), bias ? at::empty({out}) : Tensor()};
}

NormWeights MakeNorm(int64_t channels) { return {at::empty({channels}), at::empty({channels})}; }

BatchNormWeights MakeBatchNorm(int64_t channels, bool affine) {
  return {affine ? at::empty({channels}) : Tensor(), affine ? at::empty({channels}) : Tensor(), at::empty({channels}),
          at::empty({channels}), at::empty({}, at::kLong)};
}

void Append(WeightList& list, const std::string& name, Tensor& tensor, WeightRole role) {
  if (tensor.defined()) list.push_back({name, &tensor, role});
}

void Append(WeightList& list, const std::string& weight, const std::string& bias, LinearWeights& block) {
  Append(list, weight, block.weight, WeightRole::kWeight);
  if (block.weight.defined()) list.back().linear = true;
  Append(list, bias, block.bias, WeightRole::kBias);
}

void Append(WeightList& list, const std::string& prefix, LinearWeights& block) {
  Append(list, prefix + ".weight", prefix + ".bias", block);
}

void Append(WeightList& list, const std::string& prefix, ConvWeights& block) {
  Append(list, prefix + ".weight", block.weight, WeightRole::kWeight);
  Append(list, prefix + ".bias", block.bias, WeightRole::kBias);
}

void Append(WeightList& list, const std::string& prefix, NormWeights& block) {
  Append(list, prefix + ".weight", block.weight, WeightRole::kNormScale);
  Append(list, prefix + ".bias", block.bias, WeightRole::kNormShift);
}

void Append(WeightList& list, const std::string& prefix, BatchNormWeights& block) {
  Append(list, prefix + ".weight", block.weight, WeightRole::kNormScale);
  Append(list, prefix + ".bias", block.bias, WeightRole::kNormShift);
  Append(list, prefix + ".running_mean", block.running_mean, WeightRole::kBuffer);
  Append(list, prefix + ".running_var", block.running_var, WeightRole::kBuffer);
  Append(list, prefix + ".num_batches_tracked", block.num_batches_tracked, WeightRole::kBuffer);
}

void AppendAll(WeightList& list, const std::string& prefix, WeightList inner) {
  for (WeightRef& ref : inner) {
    ref.name = prefix + "." + ref.name;
    list.push_back(std::move(ref));
  }
}

void LoadWeights(const WeightList& list, WeightReader& reader, bool channels_last) {
  for (const WeightRef& ref : list) {
    const at::IntArrayRef shape = ref.tensor->sizes();
    const auto order =
        channels_last && shape.size() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
    const bool counter = ref.tensor->scalar_type() == at::kLong;
    *ref.tensor =
        ref.role == WeightRole::kWeight ? reader.TakeMatrix(ref.name, shape, order) : reader.Take(ref.name, shape);
    if (counter) *ref.tensor = ref.tensor->to(at::kLong);  // whatever the file has it in
  }
}

std::vector<std::pair<std::string, Tensor>> NamedTensors(const WeightList& list, const std::string& prefix,
                                                         at::ScalarType dtype) {
  std::vector<std::pair<std::string, Tensor>> pairs;
  for (const WeightRef& ref : list) {
    Tensor tensor = ref.tensor->detach();
    if (dtype != at::kFloat && tensor.scalar_type() == at::kFloat) tensor = tensor.to(dtype);
    pairs.emplace_back(prefix + ref.name, tensor);
  }
  return pairs;
}

void InitWeights(const WeightList& list, Seed seed) {
  double fan_in = 1;  // of the weight before, which is the one a bias belongs to
  for (const WeightRef& ref : list) {
    Tensor& tensor = *ref.tensor;
    const Seed own = seed.With(ref.name);
    switch (ref.role) {
      case WeightRole::kWeight: {
        fan_in = static_cast<double>(tensor.numel()) / static_cast<double>(tensor.size(0));
        const double bound = 1 / std::sqrt(fan_in);
        tensor = UniformTensor(own, tensor.sizes(), -bound, bound);
        break;
      }
      case WeightRole::kBias: {
        const double bound = 1 / std::sqrt(fan_in);
        tensor = UniformTensor(own, tensor.sizes(), -bound, bound);
        break;
      }
      case WeightRole::kNormScale:
        tensor = at::ones(tensor.sizes());
        break;
      case WeightRole::kNormShift:
        tensor = at::zeros(tensor.sizes());
        break;
      case WeightRole::kEmbedding:
        tensor = NormalTensor(own, tensor.sizes()).mul_(0.02);
        break;
      case WeightRole::kBuffer:
        tensor = ref.name.ends_with("running_var") ? at::ones(tensor.sizes()) : at::zeros_like(tensor);
        break;
    }
  }
}

std::vector<Tensor> Trainable(const WeightList& list) {
  std::vector<Tensor> tensors;
  for (const WeightRef& ref : list) {
    if (ref.role != WeightRole::kBuffer) tensors.push_back(*ref.tensor);
  }
  return tensors;
}

void SetRequiresGrad(const WeightList& list, bool on) {
  for (const WeightRef& ref : list) {
    if (ref.role != WeightRole::kBuffer) ref.tensor->set_requires_grad(on);
  }
}

void ZeroGrad(const WeightList& list) {
  for (const WeightRef& ref : list) ref.tensor->mutable_grad() = Tensor();
}

int64_t CountParameters(const WeightList& list) {
  int64_t count = 0;
  for (const Tensor& tensor : Trainable(list)) count += tensor.numel();
  return count;
}

void MoveWeights(const WeightList& list, at::Device device) {
  for (const WeightRef& ref : list) *ref.tensor = ref.tensor->to(device);
}

void ConvertWeights(const WeightList& list, at::ScalarType dtype) {
  for (const WeightRef& ref : list) {
    if (at::isFloatingType(ref.tensor->scalar_type())) *ref.tensor = ref.tensor->to(dtype);
  }
}

void CloneWeights(const WeightList& list) {
  for (const WeightRef& ref : list) *ref.tensor = ref.tensor->clone();
}

void PackLinears(const WeightList& list, at::Device device, at::ScalarType compute) {
  if (!PackingPays(device, compute)) return;
  for (const WeightRef& ref : list) {
    if (ref.linear && ref.tensor->dim() == 2) *ref.tensor = PackMatrix(*ref.tensor);
  }
}

void UseChannelsLast(const WeightList& list) {
  for (const WeightRef& ref : list) {
    if (ref.tensor->dim() == 4) *ref.tensor = ref.tensor->contiguous(at::MemoryFormat::ChannelsLast);
  }
}

static void CheckSameWeights(const WeightList& to, const WeightList& from) {
  GENVIEW_CHECK(to.size() == from.size(), "the lists of weights differ in length");
  for (size_t i = 0; i < to.size(); ++i) {
    GENVIEW_CHECK(to[i].tensor->sizes() == from[i].tensor->sizes(),
                  Format("{} and {} differ in shape", to[i].name, from[i].name));
  }
}

void CopyWeights(const WeightList& to, const WeightList& from) {
  CheckSameWeights(to, from);
  const c10::AutoGradMode no_grad(false);
  for (size_t i = 0; i < to.size(); ++i) to[i].tensor->copy_(*from[i].tensor);
}

void AverageWeights(const WeightList& to, const WeightList& from, double momentum) {
  CheckSameWeights(to, from);
  const c10::AutoGradMode no_grad(false);
  std::vector<Tensor> old_values = Trainable(to), new_values = Trainable(from);
  at::_foreach_mul_(old_values, momentum);
  at::_foreach_add_(old_values, new_values, 1 - momentum);
}

}  // namespace genview
