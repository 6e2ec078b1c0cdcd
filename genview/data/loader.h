// Threads that read, change and normalise pictures while the model computes. What comes out does not depend on the
// number of threads.
//
//   EncodeLoader loader(source, indices, encoder->preprocess(), 64, threads, skipped, strict);
//   for (EncodeBatch batch; loader.Next(batch);) encoder->Encode(batch.pixels, ...);
//
//   PairLoader pairs(source, views, config, skipped);
//   for (pairs.Start(epoch); pairs.Next(batch);) Step(batch.view1, batch.view2);
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "genview/data/augment.h"
#include "genview/data/generated_views.h"
#include "genview/data/masks.h"
#include "genview/data/source.h"
#include "genview/image/preprocess.h"
#include "genview/records/records.h"
#include "genview/tensor/tensor.h"

namespace genview {

struct EncodeBatch {
  std::vector<int64_t> indices;          // into the source, ascending in the order asked for
  std::vector<int64_t> widths, heights;  // of the pictures as they are
  Tensor pixels;                         // [N,3,S,S] fp32, normalised, channels last
};

// For frozen models: each index once, in order. A picture that cannot be read is left out of its batch and put into
// `skipped`; under `strict` Next throws Error. `threads` 0: as many as cores. `skipped` must outlive the loader.
class EncodeLoader {
 public:
  EncodeLoader(std::shared_ptr<const ImageSource> source, std::vector<int64_t> indices, const Preprocess& preprocess,
               int64_t batch, int64_t threads, SkippedLog& skipped, bool strict);
  ~EncodeLoader();

  bool Next(EncodeBatch& batch);  // false after the last; a batch is never empty
  double WaitShare() const;       // share of the time since the start spent waiting in Next

 private:
  struct Work;
  std::unique_ptr<Work> work_;
};

// What a view shows of the picture it was made of.
struct ViewCrop {
  float left = 0, top = 0, right = 1, bottom = 1;  // shares of width and height
  bool generated = false;                          // of the generated view, not of the picture
};

struct PairBatch {
  std::vector<int64_t> indices;  // into the source: of the picture used, also where it stands in for another
  Tensor view1, view2;           // [N,3,S,S] fp32, normalised, channels last; of one view the second is undefined
  std::vector<Tensor> more;      // further views, each [N,3,s,s], if asked for: small crops, then those of full size
  int64_t generated = 0;         // pairs with a generated view
  std::vector<int64_t> generated_view;   // per pair: which of the picture's generated views takes part; -1: none
  std::vector<ViewCrop> crops1, crops2;  // per pair
};

// The batches that are one process's to make: of every `of` in a row those at `first`, `first` + `every`, ... What is
// left over at the end of an epoch and does not make `of` batches is nobody's.
struct BatchShare {
  int64_t of = 1, first = 0, every = 1;
};

struct PairLoaderConfig {
  AugmentConfig view1, view2, local;
  bool one_view = false;    // view 1 alone, as it would be beside the second, for training with labels
  int64_t local_crops = 0;  // drawn like further views, from the picture itself
  int64_t more_views = 0;   // further views of full size, augmented by turns as view 1 and view 2
  int64_t batch = 256;
  int64_t least_rest = 0;  // so many pictures left over after the last full batch make a smaller one; 0: never
  int64_t threads = 0;     // 0: as many as cores
  uint64_t seed = 0;
  bool strict = false;
  std::array<double, 3> mean = kImagenetMean, std = kImagenetStd;
  double generated_probability = 1;  // that a generated view replaces one of the two, where there is one
  int64_t views_used = 0;            // of a picture's generated views the first so many; 0: all. One of them is drawn
  ForegroundCrop crop{};             // how crops of pictures with a mask are drawn; generated views have none
  std::shared_ptr<const MaskFolder> masks{};  // may be null
  BatchShare share{};
};

// Training pairs. An epoch's order is Permutation(seed, epoch) of the whole source, without what is left over after the
// last full batch unless `least_rest` asks for it. In the place of a picture that cannot be read stands the next good
// one in source order. View v of image `id` in epoch e is drawn from
// Seed(seed).With("augment").With(e).With(id).With(v) alone. Each further view of full size is generated with the same
// probability, of another of the picture's generated views while there are any left.
// Views are drawn before their picture is decoded: of a JPEG only the part that they show is made into pixels, but all
// of it is read, so that a bad picture is bad in every epoch.
class PairLoader {
 public:
  // `views` may be null. Throws Error when the source holds fewer pictures than a batch. `skipped` must outlive the
  // loader.
  PairLoader(std::shared_ptr<const ImageSource> source, std::shared_ptr<const GeneratedViews> views,
             const PairLoaderConfig& config, SkippedLog& skipped);
  ~PairLoader();

  int64_t batches_per_epoch() const;  // of all processes
  // The threads run on from one epoch into the next, so that starting the following one loses no time. `first_batch`,
  // of all processes': a multiple of the share's `of`.
  void Start(int64_t epoch, int64_t first_batch = 0);
  bool Next(PairBatch& batch);  // false at the end of the epoch
  double WaitShare() const;

 private:
  struct Work;
  std::unique_ptr<Work> work_;
};

}  // namespace genview
