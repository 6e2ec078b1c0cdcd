// Parts of JPEGs of every layout, beside the whole picture.
// jpeglib.h needs what cstdio declares.
// clang-format off
#include <cstdio>
#include <jpeglib.h>
// clang-format on

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "genview/base/random.h"
#include "genview/base/text.h"
#include "genview/image/image.h"

namespace genview {
namespace {

struct Layout {
  const char* name;
  int across = 1, down = 1;  // pixels for each of the stored colours
  bool gray = false, progressive = false;
  unsigned int restart = 0;  // blocks between markers; 0: none
};

constexpr Layout kLayouts[] = {
    {.name = "4:4:4"},
    {.name = "4:2:2", .across = 2},
    {.name = "4:2:0", .across = 2, .down = 2},
    {.name = "4:4:0", .down = 2},
    {.name = "gray", .gray = true},
    {.name = "4:2:0 with restarts", .across = 2, .down = 2, .restart = 3},
    {.name = "progressive", .across = 2, .down = 2, .progressive = true},
};

// Noise in all colours: every pixel differs from its neighbours.
Image Noise(int64_t width, int64_t height) {
  Image image(width, height);
  Random random(Seed(1).With("noise"));
  for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(random.Below(256));
  return image;
}

std::string Write(const Image& image, const Layout& layout, int orientation = 1) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 90, TRUE);
  if (layout.gray) jpeg_set_colorspace(&info, JCS_GRAYSCALE);
  info.comp_info[0].h_samp_factor = layout.across;
  info.comp_info[0].v_samp_factor = layout.down;
  info.restart_interval = layout.restart;
  if (layout.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  std::string exif("Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x01\0\0\0\0\0\0\0", 32);
  exif[24] = static_cast<char>(orientation);
  jpeg_write_marker(&info, JPEG_APP0 + 1, reinterpret_cast<const JOCTET*>(exif.data()),
                    static_cast<unsigned int>(exif.size()));
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = const_cast<uint8_t*>(image.at(0, info.next_scanline));
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::string file(reinterpret_cast<const char*>(bytes), size);
  std::free(bytes);
  return file;
}

Box RandomBox(Random& random, int64_t width, int64_t height) {
  Box box;
  box.width = 1 + random.Below(width);
  box.height = 1 + random.Below(height);
  box.x = random.Below(width - box.width + 1);
  box.y = random.Below(height - box.height + 1);
  return box;
}

std::string TextOf(const Box& box) { return Format("{} x {} at {}, {}", box.width, box.height, box.x, box.y); }

// The part of `bytes` that holds `box` has the whole picture's pixels in the box; its size in pixels.
int64_t CheckPart(const std::string& bytes, const Image& whole, const Box& box) {
  int asked = 0;
  const Outcome<ImagePart> part = DecodePart(bytes, [&](int64_t width, int64_t height) {
    ++asked;
    EXPECT_EQ(width, whole.width);
    EXPECT_EQ(height, whole.height);
    return box;
  });
  if (!part) {
    ADD_FAILURE() << part.reason();
    return 0;
  }
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(part->width, whole.width);
  EXPECT_EQ(part->height, whole.height);
  EXPECT_EQ(part->image.width, part->box.width);
  EXPECT_EQ(part->image.height, part->box.height);
  EXPECT_TRUE(part->box.x <= box.x && part->box.x + part->box.width >= box.x + box.width) << TextOf(part->box);
  EXPECT_TRUE(part->box.y <= box.y && part->box.y + part->box.height >= box.y + box.height) << TextOf(part->box);
  const Box inside{box.x - part->box.x, box.y - part->box.y, box.width, box.height};
  EXPECT_TRUE(Crop(part->image, inside).pixels == Crop(whole, box).pixels) << TextOf(box) << " of " << whole.width;
  return part->box.width * part->box.height;
}

TEST(DecodePart, HasTheWholePicturesPixels) {
  Random random(Seed(2).With("boxes"));
  const std::vector<std::pair<int64_t, int64_t>> sizes{{97, 83}, {64, 48}, {33, 17}, {19, 50}, {3, 40}, {1, 1}};
  for (const Layout& layout : kLayouts) {
    for (const auto& [width, height] : sizes) {
      SCOPED_TRACE(Format("{}, {} x {}", layout.name, width, height));
      const std::string bytes = Write(Noise(width, height), layout);
      const Outcome<Image> whole = DecodeImage(bytes);
      ASSERT_TRUE(whole) << whole.reason();
      for (int k = 0; k < 40; ++k) CheckPart(bytes, *whole, RandomBox(random, width, height));
      // Every column and every row is once the first and the last.
      for (int64_t x = 0; x < width; ++x) CheckPart(bytes, *whole, {x, random.Below(height), 1, 1});
      for (int64_t y = 0; y < height; ++y) CheckPart(bytes, *whole, {random.Below(width), y, 1, 1});
      if (HasFailure()) return;
    }
  }
}

TEST(DecodePart, IsUprightWhicheverWayThePictureIsStored) {
  Random random(Seed(3).With("boxes"));
  for (int orientation = 1; orientation <= 8; ++orientation) {
    SCOPED_TRACE(orientation);
    const std::string bytes = Write(Noise(150, 90), kLayouts[2], orientation);
    const Outcome<Image> whole = DecodeImage(bytes);
    ASSERT_TRUE(whole) << whole.reason();
    EXPECT_EQ(whole->width, orientation >= 5 ? 90 : 150);
    for (int k = 0; k < 60; ++k) CheckPart(bytes, *whole, RandomBox(random, whole->width, whole->height));
    EXPECT_LE(CheckPart(bytes, *whole, {50, 60, 10, 20}), 52 * 20);  // in either direction some blocks more
  }
}

TEST(DecodePart, LeavesOutWhatIsNotWanted) {
  const Box box{100, 90, 20, 30};
  for (const Layout& layout : kLayouts) {
    const std::string bytes = Write(Noise(256, 200), layout);
    const Outcome<Image> whole = DecodeImage(bytes);
    ASSERT_TRUE(whole) << layout.name << whole.reason();
    const int64_t pixels = CheckPart(bytes, *whole, box);
    if (layout.progressive) EXPECT_EQ(pixels, 256 * 200) << layout.name;
    else EXPECT_LE(pixels, (box.width + 2 * 16) * box.height) << layout.name;
  }
}

TEST(DecodePart, OfOtherFormatsIsTheWhole) {
  const Image image = Noise(60, 40);
  for (const std::string& bytes : {EncodePng(image), EncodeWebp(image)}) {
    const Outcome<Image> whole = DecodeImage(bytes);
    ASSERT_TRUE(whole) << whole.reason();
    EXPECT_EQ(CheckPart(bytes, *whole, {5, 6, 7, 8}), 60 * 40);
  }
}

// The left, the middle or the right third of the width, at the top, in the middle or at the bottom.
Box Third(int64_t third, int64_t width, int64_t height) {
  return {third * width / 3, third * height / 3, (width + 2) / 3, (height + 2) / 3};
}
Outcome<ImagePart> DecodeThird(const std::string& bytes, int64_t third) {
  return DecodePart(bytes, [third](int64_t width, int64_t height) { return Third(third, width, height); }, 1 << 20);
}

TEST(DecodePart, DamageIsFoundWhateverTheBox) {
  for (const Layout& layout : kLayouts) {
    SCOPED_TRACE(layout.name);
    const std::string bytes = Write(Noise(120, 130), layout);
    ASSERT_TRUE(DecodeImage(bytes));
    for (const double share : {0.3, 0.6, 0.9, 0.99}) {
      const std::string cut = bytes.substr(0, static_cast<size_t>(share * static_cast<double>(bytes.size())));
      for (const std::string& damaged : {cut, cut + "\xff\xd9"}) {
        const Outcome<Image> whole = DecodeImage(damaged);
        ASSERT_FALSE(whole) << share;
        for (int64_t third = 0; third < 3; ++third) {
          const Outcome<ImagePart> part = DecodeThird(damaged, third);
          EXPECT_FALSE(part) << share << ", " << third;
          EXPECT_EQ(part.reason(), whole.reason()) << share << ", " << third;
        }
      }
    }
  }
}

TEST(DecodePart, AgreesWithTheWholeOnWhatIsDamaged) {
  Random random(Seed(4).With("damage"));
  int good = 0, bad = 0;
  for (const Layout& layout : kLayouts) {
    SCOPED_TRACE(layout.name);
    const std::string bytes = Write(Noise(70, 90), layout);
    for (int k = 0; k < 150; ++k) {
      std::string changed = bytes;
      const auto at = static_cast<size_t>(random.Below(static_cast<int64_t>(bytes.size())));
      changed[at] = static_cast<char>(random.Below(256));
      const Outcome<Image> whole = DecodeImage(changed, 1 << 20);
      const int64_t third = random.Below(3);
      const Outcome<ImagePart> part = DecodeThird(changed, third);
      ASSERT_EQ(part.reason(), whole.reason()) << "byte " << at;
      if (!whole) {
        ++bad;
        continue;
      }
      ++good;
      const Box box = Third(third, whole->width, whole->height);
      const Box inside{box.x - part->box.x, box.y - part->box.y, box.width, box.height};
      ASSERT_TRUE(Crop(part->image, inside).pixels == Crop(*whole, box).pixels) << "byte " << at;
    }
  }
  EXPECT_GT(good, 20);
  EXPECT_GT(bad, 20);
}

}  // namespace
}  // namespace genview
