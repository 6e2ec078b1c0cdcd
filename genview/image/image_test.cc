#include "genview/image/image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "genview/base/random.h"
#include "genview/base/text.h"
#include "genview/image/exif.h"

namespace genview {
namespace {

Image Noise(int64_t width, int64_t height, uint64_t seed = 1) {
  Image image(width, height);
  Random random(Seed(seed).With("noise"));
  for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(random.Below(256));
  return image;
}

Image Smooth(int64_t width, int64_t height) {
  Image image(width, height);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      image.at(x, y)[0] = static_cast<uint8_t>(255 * x / width);
      image.at(x, y)[1] = static_cast<uint8_t>(255 * y / height);
      image.at(x, y)[2] = static_cast<uint8_t>(128 + x - y);
    }
  }
  return image;
}

int LargestDifference(const Image& a, const Image& b) {
  EXPECT_EQ(a.width, b.width);
  EXPECT_EQ(a.height, b.height);
  int largest = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) {
    largest = std::max(largest, std::abs(int{a.pixels[i]} - int{b.pixels[i]}));
  }
  return largest;
}

TEST(EncodePng, RoundTripIsExactAndRepeatable) {
  for (const auto& [width, height] : {std::pair{1, 1}, {17, 5}, {64, 33}}) {
    const Image image = Noise(width, height);
    const std::string bytes = EncodePng(image);
    EXPECT_EQ(bytes, EncodePng(image));
    const Outcome<Image> back = DecodeImage(bytes);
    ASSERT_TRUE(back) << back.reason();
    EXPECT_EQ(back->pixels, image.pixels);
    EXPECT_EQ(back->width, width);
  }
}

TEST(EncodePng, GrayComesBackAsThreeEqualChannels) {
  GrayImage gray(3, 2);
  gray.pixels = {0, 50, 255, 7, 8, 9};
  const Outcome<Image> back = DecodeImage(EncodePng(gray));
  ASSERT_TRUE(back);
  for (size_t i = 0; i < gray.pixels.size(); ++i) {
    for (size_t c = 0; c < 3; ++c) EXPECT_EQ(back->pixels[3 * i + c], gray.pixels[i]);
  }
}

TEST(EncodeJpeg, IsCloseAndSmallerAtLowerQuality) {
  const Image image = Smooth(40, 30);
  const std::string fine = EncodeJpeg(image, 95), coarse = EncodeJpeg(image, 60);
  EXPECT_LT(coarse.size(), fine.size());
  const Outcome<Image> back = DecodeImage(fine);
  ASSERT_TRUE(back) << back.reason();
  EXPECT_LE(LargestDifference(*back, image), 6);
}

TEST(EncodeWebp, IsClose) {
  const Image image = Smooth(40, 30);
  const Outcome<Image> back = DecodeImage(EncodeWebp(image, 95));
  ASSERT_TRUE(back) << back.reason();
  EXPECT_LE(LargestDifference(*back, image), 16);
}

TEST(EncodeWebp, TooLargeForTheFormatIsAnError) { EXPECT_THROW(EncodeWebp(Image(16384, 1)), Error); }

std::string Number(uint64_t value, size_t bytes) {
  std::string text;
  for (size_t i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}
std::string Chunk(const std::string& name, const std::string& data) {
  return name + Number(data.size(), 4) + data + std::string(data.size() & 1, '\0');
}

// An animation of one frame, a still picture at a place on a canvas of 40 x 30.
std::string Animated(const Image& frame, uint64_t left, uint64_t top) {
  const std::string still = EncodeWebp(frame, 95).substr(12);  // without "RIFF" size "WEBP"
  const std::string place = Number(left / 2, 3) + Number(top / 2, 3) +
                            Number(static_cast<uint64_t>(frame.width) - 1, 3) +
                            Number(static_cast<uint64_t>(frame.height) - 1, 3) + Number(100, 3) + Number(0, 1);
  const std::string chunks = "WEBP" + Chunk("VP8X", Number(2, 4) + Number(39, 3) + Number(29, 3)) +
                             Chunk("ANIM", std::string(6, '\0')) + Chunk("ANMF", place + still);
  return "RIFF" + Number(chunks.size(), 4) + chunks;
}

TEST(DecodeImage, OfAnAnimatedWebpTheFirstFrameOnWhite) {
  const Image frame = Smooth(20, 10);
  const Outcome<Image> back = DecodeImage(Animated(frame, 6, 8));
  ASSERT_TRUE(back) << back.reason();
  ASSERT_EQ(std::pair(back->width, back->height), std::pair(int64_t{40}, int64_t{30}));
  for (int64_t y = 0; y < 30; ++y) {
    for (int64_t x = 0; x < 40; ++x) {
      const bool inside = x >= 6 && x < 26 && y >= 8 && y < 18;
      for (int64_t c = 0; c < 3; ++c) {
        if (inside) EXPECT_NEAR(back->at(x, y)[c], frame.at(x - 6, y - 8)[c], 16);
        else EXPECT_EQ(back->at(x, y)[c], 255);
      }
    }
  }
  EXPECT_FALSE(DecodeImage(Animated(frame, 22, 0)));  // reaches over the canvas
  const std::string whole = Animated(frame, 0, 0);
  for (size_t size = 0; size < whole.size(); size += 7) (void)DecodeImage(whole.substr(0, size));
  EXPECT_FALSE(DecodeImage(whole.substr(0, 60)));
}

TEST(DecodeImage, NamesWhatIsWrong) {
  EXPECT_EQ(DecodeImage("").reason(), "an empty file");
  EXPECT_EQ(DecodeImage("GIF89a....").reason(), "not a JPEG, PNG or WebP picture (GIF)");
  EXPECT_EQ(DecodeImage("hello").reason(), "not a JPEG, PNG or WebP picture");
  EXPECT_FALSE(DecodeImage("\xff\xd8\xff"));
  EXPECT_FALSE(DecodeImage("\x89PNG\r\n\x1a\n"));
  EXPECT_FALSE(DecodeImage("RIFF\x10\0\0\0WEBPVP8 "));
}

TEST(DecodeImage, RefusesWhatTakesMoreMemoryThanAllowed) {
  const Image image = Smooth(40, 30);
  for (const std::string& bytes : {EncodeJpeg(image), EncodeWebp(image)}) {
    EXPECT_TRUE(DecodeImage(bytes, 3600));
    EXPECT_EQ(DecodeImage(bytes, 3599).reason(),
              "40 x 30 pixels take 3.6 kB to decode, more than the 3.6 kB that a picture may take");
  }
  EXPECT_TRUE(DecodeImage(EncodePng(image), 3600 + 20 * 40));
  EXPECT_FALSE(DecodeImage(EncodePng(image), 3599 + 20 * 40));
}

// A chunk of a PNG: length, name, data, and the checksum of the latter two (CRC-32).
std::string PngChunk(const std::string& name, const std::string& data) {
  const auto big_endian = [](uint32_t value) {
    std::string text;
    for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(value >> shift & 0xff);
    return text;
  };
  uint32_t sum = 0xffffffff;
  for (const char c : name + data) {
    sum ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) sum = sum >> 1 ^ ((sum & 1) != 0 ? 0xedb88320 : 0);
  }
  return big_endian(static_cast<uint32_t>(data.size())) + name + data + big_endian(~sum);
}
// A PNG up to where its pixels would begin. `sides`: width and height as they are stored, big-endian.
std::string PngBegin(const std::string& sides, int bits, int colour, bool interlaced, const std::string& more = "") {
  const std::string form = {static_cast<char>(bits), static_cast<char>(colour), 0, 0, static_cast<char>(interlaced)};
  return "\x89PNG\r\n\x1a\n" + PngChunk("IHDR", sides + form) + more + PngChunk("IDAT", "");
}
// A lossless WebP of 16383 x 16383 pixels up to the first bits of its data.
std::string LargestLosslessWebp(bool alpha) {
  const uint64_t sides = 16382 | uint64_t{16382} << 14 | uint64_t{alpha} << 28;
  const std::string chunks = "WEBP" + Chunk("VP8L", "\x2f" + Number(sides, 4) + std::string(11, '\0'));
  return "RIFF" + Number(chunks.size(), 4) + chunks;
}

// Each would take 1.6 GB or more; nothing of it is taken.
TEST(DecodeImage, AFewBytesThatPromiseGigabytesAreRefused) {
  const std::string square("\0\0\x40\0\0\0\x40\0", 8);  // 16384 x 16384
  const std::string turned("MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0", 26);
  const std::string files[] = {LargestLosslessWebp(true),
                               LargestLosslessWebp(false),
                               PngBegin(square, 1, 0, false, PngChunk("eXIf", turned)),
                               PngBegin(square, 8, 6, true),
                               PngBegin(std::string("\x7f\xff\xff\xf0\0\0\0\x01", 8), 8, 0, false),
                               PngBegin(std::string("\x7f\xff\xff\xf0\x7f\xff\xff\xf0", 8), 16, 6, true)};
  for (const std::string& bytes : files) {
    const std::string reason = DecodeImage(bytes).reason();
    EXPECT_NE(reason.find("to decode, more than the 1.1 GB that a picture may take"), std::string::npos) << reason;
  }
}

TEST(DecodeImage, AHeaderThatPromisesMoreThanTheFileHoldsIsRefused) {
  std::string png = EncodePng(Smooth(8, 8));
  // Width and height of the header, and its checksum, which is then wrong; the JPEG's are not protected.
  png[16] = 0x00, png[17] = 0x01;
  EXPECT_FALSE(DecodeImage(png));
  std::string jpeg = EncodeJpeg(Smooth(8, 8));
  const size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  jpeg[frame + 5] = jpeg[frame + 7] = 0x3f;
  EXPECT_EQ(DecodeImage(jpeg).reason(), "truncated JPEG");
}

TEST(DecodeImage, DamagedDataIsRefused) {
  std::string png = EncodePng(Noise(30, 30));
  png[png.size() / 2] ^= 0x10;
  EXPECT_FALSE(DecodeImage(png));
  // An end marker in the middle of the data: cut, but closed.
  std::string jpeg = EncodeJpeg(Noise(64, 64));
  EXPECT_TRUE(DecodeImage(jpeg));
  EXPECT_FALSE(DecodeImage(jpeg.substr(0, jpeg.size() / 2) + "\xff\xd9"));
}

TEST(ExifOrientation, ReadsBothByteOrders) {
  const std::string little("II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0", 26);
  const std::string big("MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0\0\0\0\0", 26);
  EXPECT_EQ(ExifOrientation(little), 6);
  EXPECT_EQ(ExifOrientation(big), 8);
}

TEST(ExifOrientation, DamagedMeansUpright) {
  const std::string whole("II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0", 26);
  for (size_t size = 0; size < 20; ++size) EXPECT_EQ(ExifOrientation(whole.substr(0, size)), 1) << size;
  std::string far = whole;
  far[4] = far[5] = far[6] = far[7] = '\xff';
  EXPECT_EQ(ExifOrientation(far), 1);
  std::string nine = whole;
  nine[18] = 9;
  EXPECT_EQ(ExifOrientation(nine), 1);
}

TEST(ApplyOrientation, TurnsAndMirrors) {
  Image image(2, 1);
  image.pixels = {1, 1, 1, 2, 2, 2};
  const auto first = [](const Image& i) { return int{i.pixels[0]}; };
  EXPECT_EQ(first(ApplyOrientation(image, 1)), 1);
  EXPECT_EQ(first(ApplyOrientation(image, 2)), 2);
  EXPECT_EQ(first(ApplyOrientation(image, 3)), 2);
  EXPECT_EQ(first(ApplyOrientation(image, 4)), 1);
  for (int turned = 5; turned <= 8; ++turned) EXPECT_EQ(ApplyOrientation(image, turned).height, 2);
  EXPECT_EQ(first(ApplyOrientation(image, 6)), 1);
  EXPECT_EQ(first(ApplyOrientation(image, 8)), 2);
}

TEST(UprightBox, IsWhereThePixelsGo) {
  const Image image = Noise(9, 6);
  for (const Box& box : {Box{0, 0, 9, 6}, Box{1, 2, 5, 3}, Box{8, 0, 1, 4}}) {
    for (int orientation = 1; orientation <= 8; ++orientation) {
      const Image upright = ApplyOrientation(image, orientation);
      EXPECT_EQ(SwapsSides(orientation), upright.width == 6);
      const Box there = UprightBox(box, image.width, image.height, orientation);
      EXPECT_EQ(Crop(upright, there).pixels, ApplyOrientation(Crop(image, box), orientation).pixels) << orientation;
      const Box back = StoredBox(there, upright.width, upright.height, orientation);
      EXPECT_EQ(std::tuple(back.x, back.y, back.width, back.height), std::tuple(box.x, box.y, box.width, box.height))
          << orientation;
    }
  }
}

TEST(Crop, OutsideIsBlack) {
  const Image image = Noise(4, 3);
  const Image crop = Crop(image, {-1, -2, 6, 7});
  for (int64_t y = 0; y < 7; ++y) {
    for (int64_t x = 0; x < 6; ++x) {
      const bool inside = x >= 1 && x < 5 && y >= 2 && y < 5;
      EXPECT_EQ(crop.at(x, y)[1], inside ? image.at(x - 1, y - 2)[1] : 0);
    }
  }
  EXPECT_EQ(Crop(image, {100, 100, 2, 2}).pixels, std::vector<uint8_t>(12, 0));
}

TEST(FlipHorizontal, TwiceIsTheSame) {
  const Image image = Noise(7, 3);
  const Image flipped = FlipHorizontal(image);
  EXPECT_EQ(flipped.at(0, 1)[2], image.at(6, 1)[2]);
  EXPECT_EQ(FlipHorizontal(flipped).pixels, image.pixels);
}

TEST(ResizeNearest, TakesThePixelUnderTheCentre) {
  GrayImage gray(4, 1);
  gray.pixels = {10, 20, 30, 40};
  EXPECT_EQ(ResizeNearest(gray, 2, 1).pixels, (std::vector<uint8_t>{20, 40}));
  EXPECT_EQ(ResizeNearest(gray, 8, 1).pixels, (std::vector<uint8_t>{10, 10, 20, 20, 30, 30, 40, 40}));
  EXPECT_EQ(ResizeNearest(gray, 4, 2).height, 2);
}

}  // namespace
}  // namespace genview
