#include "genview/generator/pictures.h"

#include <algorithm>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/diffusion/picture_tensors.h"
#include "genview/models/vae.h"

namespace genview {

constexpr std::array<double, 3> kHalf{0.5, 0.5, 0.5};  // mean and deviation that take [0, 1] to [-1, 1]

TrainingPictures::TrainingPictures(std::shared_ptr<const ImageSource> source, int64_t size, Seed seed, bool strict)
    : source_(std::move(source)),
      geometry_{.size = size, .resize_shortest = size},
      order_(seed.With("order"), source_->size()),
      strict_(strict) {
  if (source_->size() == 0) {
    throw Error({.what = "there are no images to learn from",
                 .where = "images",
                 .next = "name a folder, list or shards that hold some"});
  }
}

Image TrainingPictures::Original(int64_t index) const {
  const int64_t tries = std::min<int64_t>(source_->size(), 1000);
  for (int64_t k = 0; k < tries; ++k) {
    const int64_t i = (index + k) % source_->size();
    const Outcome<Image> image = source_->Read(i);
    if (image) return *image;
    if (strict_) {
      throw Error({.what = Format("the image cannot be read: {}", image.reason()),
                   .where = source_->item(i).path,
                   .next = "repair or remove it, or leave --strict away"});
    }
    skipped_.Add(source_->item(i).id, image.reason());
  }
  throw Error({.what = Format("none of {} images in a row can be read", tries),
               .where = source_->item(index).path,
               .next = "see skipped.tsv for the reasons"});
}

Tensor TrainingPictures::Batch(int64_t position, int64_t count) const {
  std::vector<Image> images;
  for (const int64_t index : Indices(position, count)) images.push_back(Picture(index));
  return FromImages(images);
}

int64_t PicturesAtOnce(int64_t asked, int64_t side, int64_t most) {
  return asked > 0 ? asked : std::min(VaePicturesAtOnce(side * side), most);
}

Tensor FromImages(const std::vector<Image>& images) {
  const int64_t height = images.at(0).height, width = images[0].width;
  Tensor pixels = at::empty({static_cast<int64_t>(images.size()), 3, height, width});
  const auto floats = static_cast<size_t>(3 * height * width);
  for (size_t i = 0; i < images.size(); ++i)
    Normalise(images[i], kHalf, kHalf, {pixels.data_ptr<float>() + i * floats, floats});
  return pixels.contiguous(at::MemoryFormat::ChannelsLast);
}

Image Contact(const std::vector<Image>& pictures, int64_t columns, int64_t scale) {
  if (pictures.empty()) return {};
  const int64_t gap = 1, side = pictures[0].width * scale;
  const int64_t rows = (static_cast<int64_t>(pictures.size()) + columns - 1) / columns;
  Image sheet(columns * (side + gap) - gap, rows * (side + gap) - gap);
  std::fill(sheet.pixels.begin(), sheet.pixels.end(), uint8_t{255});
  for (size_t k = 0; k < pictures.size(); ++k) {
    const int64_t left = static_cast<int64_t>(k) % columns * (side + gap),
                  top = static_cast<int64_t>(k) / columns * (side + gap);
    for (int64_t y = 0; y < side; ++y) {
      for (int64_t x = 0; x < side; ++x)
        std::copy_n(pictures[k].at(x / scale, y / scale), 3, sheet.at(left + x, top + y));
    }
  }
  return sheet;
}

std::vector<Image> ToImages(const Tensor& pixels) {
  return PicturesOf(
      ((pixels.to(at::kCPU, at::kFloat) / 2 + 0.5).clamp(0, 1) * 255).round().to(at::kByte).permute({0, 2, 3, 1}));
}

}  // namespace genview
