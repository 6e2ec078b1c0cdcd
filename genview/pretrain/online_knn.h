// How well the features of the encoder being trained tell labelled pictures apart, by nearest neighbours: a look at the
// run while it runs. Not a score to report: a few pictures of the training set itself.
#pragma once

#include <memory>
#include <vector>

#include "genview/base/progress.h"
#include "genview/data/source.h"
#include "genview/models/encoder.h"
#include "genview/records/records.h"
#include "genview/tensor/run_options.h"

namespace genview {

class OnlineKnn {
 public:
  // Picks up to `images` labelled pictures by the seed; every fifth is a question, the others are the bank.
  OnlineKnn(std::shared_ptr<const ImageSource> source, int64_t images, const RunOptions& run);

  bool possible() const { return possible_; }  // enough labelled pictures of at least two classes
  double Top1Percent(const Encoder& encoder, SkippedLog& skipped) const;

 private:
  std::shared_ptr<const ImageSource> source_;
  RunOptions run_;
  std::vector<int64_t> indices_;  // ascending
  bool possible_ = false;
};

}  // namespace genview
