// The pictures a generator learns from. The batch at a position is a function of (seed, position) alone.
//
//   TrainingPictures pictures(OpenSource("photos/"), /*size=*/32, Seed(0));
//   Tensor batch = pictures.Batch(step * 64, 64);      // [64,3,32,32] in [-1, 1]
#pragma once

#include <memory>
#include <vector>

#include "genview/data/source.h"
#include "genview/generator/training.h"
#include "genview/image/preprocess.h"
#include "genview/records/records.h"
#include "genview/tensor/tensor.h"

namespace genview {

class TrainingPictures {
 public:
  // `size`: pictures are resized to it (shortest side, bicubic) and cropped to the middle square. With `strict` the
  // first picture that cannot be read ends the run; otherwise the next one of the source takes its place.
  TrainingPictures(std::shared_ptr<const ImageSource> source, int64_t size, Seed seed, bool strict);

  int64_t size() const { return source_->size(); }
  const ImageSource& source() const { return *source_; }
  SkippedLog& skipped() const { return skipped_; }

  // Thread-safe.
  Tensor Batch(int64_t position, int64_t count) const;  // [count,3,S,S] fp32 in [-1, 1], channels-last
  std::vector<int64_t> Indices(int64_t position, int64_t count) const { return order_.Indices(position, count); }
  Image Original(int64_t index) const;  // as the source has it, or the one that takes its place
  Image Resized(const Image& image) const { return ApplyGeometry(geometry_, image); }  // and cropped
  Image Picture(int64_t index) const { return Resized(Original(index)); }

 private:
  std::shared_ptr<const ImageSource> source_;
  Preprocess geometry_;
  EndlessOrder order_;
  bool strict_;
  mutable SkippedLog skipped_;
};

// How many pictures of side x side pixels go through a network together: `asked`, or where that is 0 few enough for the
// layers of an autoencoder to fit into memory.
int64_t PicturesAtOnce(int64_t asked, int64_t side, int64_t most);

// Several pictures of one size side by side, `columns` in a row.
Image Contact(const std::vector<Image>& pictures, int64_t columns, int64_t scale = 1);
// [N,3,H,W] in [-1, 1] to pictures, and back (fp32, channels-last).
std::vector<Image> ToImages(const Tensor& pixels);
Tensor FromImages(const std::vector<Image>& images);

}  // namespace genview
