#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "genview/base/text.h"
#include "genview/image/codecs.h"
#include "genview/image/exif.h"

namespace genview {
namespace codecs {
namespace {

constexpr size_t kMessageBytes = 200;

// libpng reports errors by a call that must not return; it jumps back to the function that called the library.
[[noreturn]] void OnError(png_structp png, png_const_charp message) {
  std::snprintf(static_cast<char*>(png_get_error_ptr(png)), kMessageBytes, "%s", message);
  png_longjmp(png, 1);
}
void OnWarning(png_structp, png_const_charp) {}

struct Reader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  char message[kMessageBytes] = "";
  std::string_view rest;
  size_t all_bytes = 0;
  int64_t max_bytes = 0;
  std::string complaint;      // of our own
  std::vector<uint8_t> rgba;  // one row, or the whole picture when it is interlaced
  Decoded result;

  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
};

void ReadBytes(png_structp png, png_bytep target, size_t count) {
  std::string_view& rest = static_cast<Reader*>(png_get_io_ptr(png))->rest;
  if (rest.size() < count) png_error(png, "the file ends too early");
  std::memcpy(target, rest.data(), count);
  rest.remove_prefix(count);
}

// Everything becomes 8 bits of R G B, with A where there is transparency. 16 bits lose their lower half.
void AskForRgb(Reader& r) {
  png_set_expand(r.png);  // palettes, less than 8 bits, and tRNS
  png_set_strip_16(r.png);
  png_set_gray_to_rgb(r.png);
}

// All rows of all passes into `pixels`; of an interlaced picture each pass fills in its share.
void ReadRows(Reader& r, int passes, uint8_t* pixels, size_t stride) {
  for (int pass = 0; pass < passes; ++pass) {
    for (size_t y = 0; y < static_cast<size_t>(r.result.image.height); ++y) {
      png_read_row(r.png, pixels + y * stride, nullptr);
    }
  }
}

void ReadPixels(Reader& r) {
  const int passes = png_set_interlace_handling(r.png);
  png_read_update_info(r.png, r.info);
  r.result.image = Image(png_get_image_width(r.png, r.info), png_get_image_height(r.png, r.info));
  Image& image = r.result.image;
  if (png_get_channels(r.png, r.info) != 4) {
    ReadRows(r, passes, image.pixels.data(), static_cast<size_t>(image.width) * 3);
    return;
  }
  const size_t stride = static_cast<size_t>(image.width) * 4;
  const bool whole = passes > 1;
  r.rgba.resize(whole ? stride * static_cast<size_t>(image.height) : stride);
  if (whole) ReadRows(r, passes, r.rgba.data(), stride);
  for (int64_t y = 0; y < image.height; ++y) {
    if (!whole) png_read_row(r.png, r.rgba.data(), nullptr);
    OverWhite(r.rgba.data() + (whole ? static_cast<size_t>(y) * stride : 0), image.width, image.at(0, y));
  }
}

int ReadOrientation(Reader& r) {
  png_bytep data = nullptr;
  png_uint_32 size = 0;
  if (png_get_eXIf_1(r.png, r.info, &size, &data) == 0 || data == nullptr) return 1;
  return ExifOrientation({reinterpret_cast<const char*>(data), size});
}

// At its peak, as far as it is known before the pixels. Beside the picture: all of it as R G B A where it has
// transparency and is interlaced, else a row of it, and the library's two rows of at most 8 bytes a pixel.
double BytesNeeded(Reader& r) {
  const int64_t width = png_get_image_width(r.png, r.info), height = png_get_image_height(r.png, r.info);
  const bool alpha = (png_get_color_type(r.png, r.info) & PNG_COLOR_MASK_ALPHA) != 0 ||
                     png_get_valid(r.png, r.info, PNG_INFO_tRNS) != 0;
  const bool whole = alpha && png_get_interlace_type(r.png, r.info) != PNG_INTERLACE_NONE;
  const double row = static_cast<double>(width), rgba = whole ? 4 * row * static_cast<double>(height) : 4 * row;
  return std::max(PictureBytes(width, height, 1) + rgba + 2 * 8 * row, PictureBytes(width, height, ReadOrientation(r)));
}

// deflate packs at most 1032 bytes into one, so a file of few bytes cannot hold a large picture.
bool TooFewBytes(Reader& r) {
  constexpr uint64_t kMostPacked = 1032;
  return uint64_t{png_get_rowbytes(r.png, r.info)} * png_get_image_height(r.png, r.info) > kMostPacked * r.all_bytes;
}

// False when it fails; the reason is in `complaint` or `message`. Nothing here has a destructor, since errors of the
// library jump over it.
bool Run(Reader& r) {
  if (setjmp(png_jmpbuf(r.png)) != 0) return false;
  png_set_read_fn(r.png, &r, ReadBytes);
  png_set_user_limits(r.png, 0x7fffffff, 0x7fffffff);  // the limit is the memory they take
  // Texts, colour profiles and the like are not looked at, nor unpacked.
  png_set_keep_unknown_chunks(r.png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  static const png_byte kNeeded[] = "tRNS\0eXIf";
  png_set_keep_unknown_chunks(r.png, PNG_HANDLE_CHUNK_AS_DEFAULT, kNeeded, 2);
  png_read_info(r.png, r.info);
  r.complaint = SizeComplaint(png_get_image_width(r.png, r.info), png_get_image_height(r.png, r.info), BytesNeeded(r),
                              r.max_bytes);
  if (r.complaint.empty() && TooFewBytes(r)) r.complaint = "truncated PNG";
  if (!r.complaint.empty()) return false;
  AskForRgb(r);
  ReadPixels(r);
  png_read_end(r.png, r.info);
  r.result.orientation = ReadOrientation(r);
  return true;
}

struct Writer {
  png_structp png = nullptr;
  png_infop info = nullptr;
  char message[kMessageBytes] = "";
  std::string bytes;

  ~Writer() { png_destroy_write_struct(&png, &info); }
};

void WriteBytes(png_structp png, png_bytep data, size_t count) {
  static_cast<Writer*>(png_get_io_ptr(png))->bytes.append(reinterpret_cast<const char*>(data), count);
}
void Flush(png_structp) {}

bool Run(Writer& w, const uint8_t* pixels, int64_t width, int64_t height, int channels) {
  if (setjmp(png_jmpbuf(w.png)) != 0) return false;
  png_set_write_fn(w.png, &w, WriteBytes, Flush);
  png_set_user_limits(w.png, 0x7fffffff, 0x7fffffff);
  png_set_IHDR(w.png, w.info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), 8,
               channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_BASE,
               PNG_FILTER_TYPE_BASE);
  // Photographs: one good filter and the fastest level lose a tenth in size and win a factor of five in time.
  png_set_compression_level(w.png, channels == 3 ? 1 : 6);
  png_set_filter(w.png, PNG_FILTER_TYPE_BASE, channels == 3 ? PNG_FILTER_PAETH : PNG_FILTER_UP);
  png_write_info(w.png, w.info);
  for (int64_t y = 0; y < height; ++y) png_write_row(w.png, pixels + y * width * channels);
  png_write_end(w.png, nullptr);
  return true;
}

std::string Encode(const uint8_t* pixels, int64_t width, int64_t height, int channels) {
  GENVIEW_CHECK(width > 0 && height > 0, "a picture without pixels");
  Writer writer;
  writer.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, writer.message, OnError, OnWarning);
  writer.info = writer.png == nullptr ? nullptr : png_create_info_struct(writer.png);
  if (writer.info == nullptr || !Run(writer, pixels, width, height, channels)) {
    throw Error(
        {.what = Format("a picture of {} x {} pixels cannot be written as PNG ({})", width, height, writer.message),
         .where = "PNG encoder",
         .next = "make the pictures smaller"});
  }
  return std::move(writer.bytes);
}

}  // namespace

Outcome<Decoded> DecodePng(std::string_view bytes, int64_t max_bytes) {
  Reader reader;
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, reader.message, OnError, OnWarning);
  reader.info = reader.png == nullptr ? nullptr : png_create_info_struct(reader.png);
  reader.rest = bytes;
  reader.all_bytes = bytes.size();
  reader.max_bytes = max_bytes;
  if (reader.info != nullptr && Run(reader)) return std::move(reader.result);
  if (!reader.complaint.empty()) return Outcome<Decoded>::Failed(reader.complaint);
  return Outcome<Decoded>::Failed(Format("damaged PNG ({})", reader.message));
}

}  // namespace codecs

std::string EncodePng(const Image& image) { return codecs::Encode(image.pixels.data(), image.width, image.height, 3); }
std::string EncodePng(const GrayImage& image) {
  return codecs::Encode(image.pixels.data(), image.width, image.height, 1);
}

}  // namespace genview
