// How well weights out of kept maps of whole pictures (quality.features = "cached") rank pairs as those of the views
// themselves do: both are computed once for the first pairs of the training.
#pragma once

#include "genview/pretrain/pair_weigher.h"

namespace genview {

struct WeightAgreement {
  int64_t pairs = 0;              // 0: not measured
  double spearman = 0;            // rank correlation over them
  int64_t generated = 0;          // of the pairs
  double generated_spearman = 0;  // over those alone
};

// Over the first 256 pairs of the first epoch, or as many as one epoch has; warns where they hardly agree. `cached`
// must be prepared.
WeightAgreement MeasureWeightAgreement(const PretrainConfig& config, const PairWeigher& cached,
                                       std::shared_ptr<const ImageSource> source,
                                       std::shared_ptr<const GeneratedViews> views,
                                       std::shared_ptr<const MaskFolder> masks, at::Device device,
                                       at::ScalarType compute, Progress& progress);

Json WeightAgreementToJson(const WeightAgreement& agreement);
WeightAgreement WeightAgreementFromJson(const Json& json, std::string_view where);

}  // namespace genview
