// Named tensors of one or several weights files, read-only, and the way they reach a model.
//
//   WeightReader reader(weights);
//   w.fc.weight = reader.TakeMatrix("fc.weight", {10, 64});      // for every weight the model names
//   reader.Finish();                                             // one Error for all that was missing or wrong
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "genview/base/files.h"
#include "genview/tensor/tensor.h"

namespace genview {

class WeightMap {
 public:
  WeightMap() = default;
  explicit WeightMap(std::string where) : where_(std::move(where)) {}

  // A second tensor of a name takes the place of the first.
  void Add(std::string name, Tensor tensor) { tensors_[std::move(name)] = std::move(tensor); }
  bool Has(const std::string& name) const { return tensors_.count(name) != 0; }
  const Tensor& At(const std::string& name) const;  // throws Error
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  const std::string& where() const { return where_; }  // file name, for messages
  std::map<std::string, std::string>& metadata() { return metadata_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  std::string Metadata(const std::string& key, const std::string& fallback = "") const;
  bool empty() const { return tensors_.empty(); }

  void Keep(std::shared_ptr<const void> owner) { owners_.push_back(std::move(owner)); }  // memory the tensors live in
  void Merge(const WeightMap& other);                            // throws Error for a name both have
  WeightMap WithPrefixRemoved(const std::string& prefix) const;  // only the tensors whose names begin with it

 private:
  std::string where_;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
  std::vector<std::shared_ptr<const void>> owners_;
};

// Of names and contents, in the order they come in.
std::string FingerprintTensors(const std::vector<std::pair<std::string, Tensor>>& tensors);

// How much of the weights is read.
enum class Reads {
  kNames,     // names and shapes are checked; the tensors that are given have no memory (device meta)
  kChecked,   // contents are looked through for NaN and infinity, too, and not kept
  kAll,       // in fp32
  kAsStored,  // the same, but matrices and convolutions that are stored in fp16 or bf16 stay so: half the memory, the
              // same numbers
  kInBf16,    // the same, but matrices and convolutions are rounded to bf16 on their way into memory
};
inline bool KeepsContents(Reads reads) { return reads >= Reads::kAll; }
inline Reads ContentsFor(at::ScalarType compute) {
  return compute == at::kBFloat16 ? Reads::kInBf16 : Reads::kAsStored;
}

// Collects what goes wrong while a model takes its weights. `weights` must outlive it.
class WeightReader {
 public:
  explicit WeightReader(const WeightMap& weights, Reads reads = Reads::kAll) : weights_(weights), reads_(reads) {}
  explicit WeightReader(WeightMap&& weights, Reads reads = Reads::kAll) = delete;

  // The tensor `name`, as an owned copy in fp32 (an integer alone, which is a counter, keeps its type). A missing or
  // misshapen one is noted and one without memory of the right shape is given, so that all are found in one pass. NaN
  // and infinity are noted too, and integers that are no counter.
  Tensor Take(const std::string& name, at::IntArrayRef shape);
  // Of a linear layer or convolution, whose functions in models/blocks.h take it in 16 bits as well.
  Tensor TakeMatrix(const std::string& name, at::IntArrayRef shape,
                    at::MemoryFormat order = at::MemoryFormat::Contiguous);
  bool Has(const std::string& name) const { return weights_.Has(name); }
  void Ignore(const std::string& name) { used_.push_back(name); }

  // Throws one Error if anything was wrong: every missing, misshapen and unused tensor, the first ten by name. Unused
  // names that begin with one of `tolerated` are no error.
  void Finish(const std::vector<std::string>& tolerated = {});

 private:
  Tensor Absent(at::IntArrayRef shape) const;
  Tensor Read(const std::string& name, at::IntArrayRef shape, bool matrix, at::MemoryFormat order);
  at::ScalarType TypeInMemory(at::ScalarType stored, bool matrix) const;

  const WeightMap& weights_;
  Reads reads_;
  std::vector<std::string> used_, wrong_;
};

}  // namespace genview
