// Weights of pairs: alike in the foreground, different in the background, as a frozen encoder sees them.
//
//   auto weigher = MakePairWeigher(config, source, views, device, compute);      // config.quality.enabled
//   weigher->Prepare(progress);
//   Tensor weights = weigher->Weigh(batch);                                      // [N], mean 1, no gradient
//   PairSimilarity why = weigher->Compare(batch);                                // what they are made of
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "genview/base/progress.h"
#include "genview/data/loader.h"
#include "genview/dist/tensor_group.h"
#include "genview/models/encoder.h"
#include "genview/pretrain/config.h"

namespace genview {

class PairWeigher {
 public:
  virtual ~PairWeigher() = default;
  virtual void Prepare(Progress& /*progress*/) {}
  virtual PairSimilarity Compare(const PairBatch& batch) const = 0;  // [N] each, no gradient
  // [N] with mean 1 over this batch, or over either kind of its pairs (quality.among), on the encoder's device; 0 for
  // pairs below the floor, which may be all of them.
  Tensor Weigh(const PairBatch& batch) const;
  // The same of any pairs, by what Compare says of them. generated: [N] bool, whether a pair has a generated view.
  Tensor Weigh(const PairSimilarity& similarity, const Tensor& generated) const;
  const std::string& fingerprint() const { return fingerprint_; }  // of encoder and foreground model

 protected:
  PairWeigher(const QualityConfig& config, at::Device device, at::ScalarType compute);

  std::shared_ptr<Encoder> encoder_;
  Tensor component_;  // [C]
  std::string fingerprint_;

 private:
  double gamma_, floor_;
  QualityAmong among_;
};

// Weights of the pairs of all parts of a step at once (quality.over = "batch"), also of those that other processes
// hold: of each of `mine`, whose places among the `parts` are rank, rank + size, ..., [n] as Weigh. All parts have the
// same number of pairs.
std::vector<Tensor> WeighTogether(const PairWeigher& weigher, const std::vector<PairBatch>& mine, int64_t parts,
                                  TensorGroup& processes);

// online: encodes the augmented views of each batch in the encoder's colours, and in its size where it takes no other:
// what the paper does.
// cached: encodes every picture and every generated view once, whole, and pools a crop's features from the cells of its
// map that the crop shows. It sees neither the colours' changes nor the crop's finer grid. Throws Error when encoder
// and foreground model do not fit together.
std::unique_ptr<PairWeigher> MakePairWeigher(const PretrainConfig& config, std::shared_ptr<const ImageSource> source,
                                             std::shared_ptr<const GeneratedViews> views, at::Device device,
                                             at::ScalarType compute);

}  // namespace genview
