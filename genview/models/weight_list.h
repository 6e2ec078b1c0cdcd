// The one list of a model's weights. Loading, saving, counting, initialising, the optimiser, the momentum copy and the
// exponential average all walk it, so a weight cannot be in one of them and missing from another.
//
//   Unet unet = MakeUnet(config);                       // shapes only; nothing is computed or touched
//   LoadWeights(ListWeights(unet), reader);             // or InitWeights(ListWeights(unet), Seed(0));
//
// Every model file pair offers `Make<Model>(config)` and `WeightList ListWeights(<Model>&)`.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "genview/tensor/tensor.h"
#include "genview/tensor/weights.h"

namespace genview {

enum class WeightRole {
  kWeight,  // of a linear layer or convolution, first extent = outputs
  kBias,
  kNormScale,  // gamma
  kNormShift,  // beta
  kEmbedding,  // class token, positions, tables
  kBuffer,     // running statistics and the like: saved and loaded, never trained
};

struct WeightRef {
  std::string name;  // as the file has it
  Tensor* tensor;    // lives as long as the model
  WeightRole role;
  bool linear = false;  // the matrix [out,in] of a LinearWeights, which Linear alone reads: it may be packed
};
using WeightList = std::vector<WeightRef>;

// Building blocks of models. An undefined bias means there is none.
struct LinearWeights {  // weight [out,in], bias [out]
  Tensor weight, bias;
};
struct ConvWeights {  // weight [out,in/groups,k,k], bias [out]
  Tensor weight, bias;
};
struct NormWeights {  // layer or group norm: weight [C], bias [C]; both undefined: without affine
  Tensor weight, bias;
};
struct BatchNormWeights {  // weight, bias (undefined: without affine), running_mean, running_var [C],
                           // num_batches_tracked []
  Tensor weight, bias, running_mean, running_var, num_batches_tracked;
};

LinearWeights MakeLinear(int64_t in, int64_t out, bool bias = true);
ConvWeights MakeConv(int64_t in, int64_t out, int64_t kernel, bool bias = true, int64_t groups = 1);
NormWeights MakeNorm(int64_t channels);
BatchNormWeights MakeBatchNorm(int64_t channels, bool affine = true);

// Append the tensors of one block as `prefix.weight`, `prefix.bias`, ... Undefined tensors are left out.
void Append(WeightList& list, const std::string& prefix, LinearWeights& block);
void Append(WeightList& list, const std::string& weight, const std::string& bias, LinearWeights& block);
void Append(WeightList& list, const std::string& prefix, ConvWeights& block);
void Append(WeightList& list, const std::string& prefix, NormWeights& block);
void Append(WeightList& list, const std::string& prefix, BatchNormWeights& block);
void Append(WeightList& list, const std::string& name, Tensor& tensor, WeightRole role);
void AppendAll(WeightList& list, const std::string& prefix, WeightList inner);  // names become `prefix.inner`

// Replaces every tensor by the reader's one of the same name and shape (the reader collects what is wrong).
void LoadWeights(const WeightList& list, WeightReader& reader, bool channels_last = false);
// Pairs for WriteSafetensors; `prefix` goes in front of every name, `dtype` converts floating tensors (kFloat: as they
// are).
std::vector<std::pair<std::string, Tensor>> NamedTensors(const WeightList& list, const std::string& prefix = "",
                                                         at::ScalarType dtype = at::kFloat);

// PyTorch's defaults: weights and biases U(+-1/sqrt(fan_in)), norms 1 and 0, embeddings N(0, 0.02), running statistics
// 0 and 1. Each tensor depends on (seed, its name) alone.
void InitWeights(const WeightList& list, Seed seed);

std::vector<Tensor> Trainable(const WeightList& list);              // all but buffers, in list order
void SetRequiresGrad(const WeightList& list, bool on);              // buffers never
void ZeroGrad(const WeightList& list);                              // drops the gradients
int64_t CountParameters(const WeightList& list);                    // without buffers
void MoveWeights(const WeightList& list, at::Device device);        // in place in the model
void ConvertWeights(const WeightList& list, at::ScalarType dtype);  // floating tensors
void UseChannelsLast(const WeightList& list);                       // 4-d tensors
// Matrices of linear layers in the order of the processor's matrix unit (packed_matrix.h), where that pays. Last of
// all: they are then good for Linear alone.
void PackLinears(const WeightList& list, at::Device device, at::ScalarType compute);
void CloneWeights(const WeightList& list);  // a copied model gets tensors of its own
// to <- from for every tensor. The lists must agree in order and shape.
void CopyWeights(const WeightList& to, const WeightList& from);
// to <- momentum * to + (1 - momentum) * from for trainable tensors; buffers are left alone.
void AverageWeights(const WeightList& to, const WeightList& from, double momentum);

}  // namespace genview
