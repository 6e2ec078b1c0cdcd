// Pictures: whatever the bytes are, a picture of the promised size and number of pixels comes out, or a reason, and a
// part of it agrees with the whole. What was decoded is also resized, so that the loops that read behind a row meet
// every shape.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "genview/image/color.h"
#include "genview/image/preprocess.h"

namespace {

constexpr int64_t kMostBytes = 3 << 20;

void Use(genview::Image image) {
  using genview::Filter;
  genview::Preprocess preprocess;
  preprocess.size = preprocess.resize_shortest = 24;
  const genview::Image seen = genview::ApplyGeometry(preprocess, image);
  if (seen.width != 24 || seen.height != 24 || seen.pixels.size() != 24 * 24 * 3) std::abort();
  const genview::Box box{image.width / 3, image.height / 4, (image.width + 1) / 2, (image.height + 1) / 2};
  genview::Image part = genview::ResizeBox(image, box, 9, 31, Filter::kBilinear);
  genview::AdjustHue(part, 0.1);
  genview::AdjustContrast(part, 1.3);
  genview::GaussianBlur(part, 1.0);
}

void ComparePart(std::string_view bytes, const genview::Outcome<genview::Image>& whole) {
  genview::Box box;
  const auto middle = [&](int64_t width, int64_t height) {
    box = {width / 3, height / 3, (width + 2) / 3, (height + 2) / 3};
    return box;
  };
  const genview::Outcome<genview::ImagePart> part = genview::DecodePart(bytes, middle, kMostBytes);
  if (part.reason() != whole.reason()) std::abort();
  if (!whole) return;
  const genview::Box inside{box.x - part->box.x, box.y - part->box.y, box.width, box.height};
  if (part->width != whole->width || part->height != whole->height) std::abort();
  if (genview::Crop(part->image, inside).pixels != genview::Crop(*whole, box).pixels) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  genview::Outcome<genview::Image> image = genview::DecodeImage(bytes, kMostBytes);
  ComparePart(bytes, image);
  if (!image) {
    if (image.reason().empty()) std::abort();
    return 0;
  }
  if (image->width < 1 || image->height < 1 || image->width * image->height * 3 > kMostBytes) std::abort();
  if (image->pixels.size() != static_cast<size_t>(image->width * image->height * 3)) std::abort();
  Use(std::move(*image));
  return 0;
}
