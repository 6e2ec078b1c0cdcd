// The stage: trains an encoder without labels, and can be stopped and taken up again at any step.
//
//   PretrainSummary done = Pretrain(config, progress);
//
// Writes into config.out:
//   checkpoints/step-NNNNNNNNNN.safetensors   the whole state; the last one remains
//   log.jsonl, events.out.tfevents.*          what the run said of itself
//   encoder.safetensors                       the trained encoder alone: what `--checkpoint` and `--encoder` take
//   skipped.tsv                               pictures that could not be read, if any
//   summary.json                              what this function returns, and `weights`: what pairs weighed, by kind (weight_tally.h)
// The same config on the same data ends with the same bytes whatever the number of loader threads and however often the
// run was killed (times in the log aside). A finished run is not run again. Checkpoints of another config are moved
// aside, with what that run said and ended with.
//
// Several processes share the parts of each step (`config.accumulate`, see trainer.h) and end with the bytes of one.
// Process 0 writes all files, and what it returns counts. They must see the same folders.
#pragma once

#include "genview/base/progress.h"
#include "genview/data/loader.h"
#include "genview/dist/group.h"
#include "genview/pretrain/config.h"
#include "genview/pretrain/weight_agreement.h"

namespace genview {

struct PretrainSummary {
  int64_t steps = 0, epochs = 0, pairs_per_step = 0;
  int64_t images = 0, skipped = 0;
  double loss = 0;                             // mean over the last row of the log
  double feature_std = 0, effective_rank = 0;  // of the projections, see ssl/collapse.h
  double knn_top1 = -1;                        // percent, of the last look; -1: none
  bool collapsed = false;                      // the last row's features no longer tell pictures apart
  WeightAgreement agreement;                   // of cached quality weights with online ones
  std::string encoder_fingerprint;             // of encoder.safetensors
};
Json PretrainSummaryToJson(const PretrainSummary& summary);

// How the pairs of a resolved config are made: augmentations, batch, share of generated views; masks are MasksOf's.
PairLoaderConfig LoaderOf(const PretrainConfig& resolved);
// Those that crops are drawn by, of the pictures that are learned from; null when crops go anywhere.
std::shared_ptr<const MaskFolder> MasksOf(const PretrainConfig& resolved, const ImageSource& images);

PretrainSummary Pretrain(const PretrainConfig& config, Progress& progress, Group& group = Alone());

}  // namespace genview
