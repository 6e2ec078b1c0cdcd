// jpeglib.h needs what cstdio declares, and jerror.h what jpeglib.h declares.
// clang-format off
#include <cstdio>
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include <csetjmp>
#include <cstdlib>
#include <cstring>

#include "genview/base/text.h"
#include "genview/image/codecs.h"
#include "genview/image/exif.h"

namespace genview {
namespace codecs {
namespace {

// libjpeg reports errors by a call that must not return; it jumps back to the function that called the library.
struct ErrorManager {
  jpeg_error_mgr base;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void Jump(j_common_ptr info) {
  auto* errors = reinterpret_cast<ErrorManager*>(info->err);
  errors->base.format_message(info, errors->message);
  std::longjmp(errors->jump, 1);
}

// Warnings that mean lost picture data end the decoding; the others (odd headers, bytes between segments) do not.
void OnMessage(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_ARITH_BAD_CODE:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_JPEG_EOF:
    case JWRN_MUST_RESYNC:
      Jump(info);
    default:
      break;
  }
}

// The default of the library invents an end marker and leaves the rest of the picture gray.
boolean OnEndOfInput(j_decompress_ptr info) {
  ERREXIT(info, JERR_INPUT_EOF);
  return FALSE;
}

// A progressive file of a few bytes a scan can ask for any amount of work.
void OnProgress(j_common_ptr info) {
  constexpr int kMostScans = 100;
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMostScans) return;
  auto* errors = reinterpret_cast<ErrorManager*>(info->err);
  std::snprintf(errors->message, JMSG_LENGTH_MAX, "more than %d scans", kMostScans);
  std::longjmp(errors->jump, 1);
}

struct Decoder {
  jpeg_decompress_struct info{};
  ErrorManager errors{};
  jpeg_progress_mgr progress{};
  std::string_view bytes;
  int64_t max_pixels = 0;
  std::string complaint;      // of our own
  std::vector<uint8_t> cmyk;  // one row
  Decoded result;

  ~Decoder() { jpeg_destroy_decompress(&info); }
};

int ReadOrientation(const jpeg_decompress_struct& info) {
  constexpr std::string_view kExif("Exif\0\0", 6);
  for (const jpeg_marker_struct* marker = info.marker_list; marker != nullptr; marker = marker->next) {
    const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (marker->marker == JPEG_APP0 + 1 && data.starts_with(kExif)) return ExifOrientation(data.substr(kExif.size()));
  }
  return 1;
}

// Each block of 8 x 8 takes at least one bit, so a file of few bytes cannot hold a large picture. Arithmetic coding has
// no such bound.
bool TooFewBytes(const jpeg_decompress_struct& info, size_t bytes) {
  uint64_t blocks = 0;
  for (int i = 0; i < info.num_components; ++i) {
    blocks += uint64_t{info.comp_info[i].width_in_blocks} * info.comp_info[i].height_in_blocks;
  }
  return !info.arith_code && blocks > 8 * uint64_t{bytes};
}

// Photoshop's convention, which all writers follow: the stored values are inverted, 255 is no ink.
void CmykToRgb(const uint8_t* cmyk, int64_t width, uint8_t* rgb) {
  for (int64_t x = 0; x < width; ++x, cmyk += 4, rgb += 3) {
    const uint32_t white = cmyk[3];
    for (int c = 0; c < 3; ++c) {
      const uint32_t ink = 255u - cmyk[c];
      rgb[c] = static_cast<uint8_t>(white - (ink * white + 127) / 255);
    }
  }
}

void ReadRows(Decoder& d) {
  Image& image = d.result.image;
  if (d.info.out_color_space == JCS_CMYK) {
    while (d.info.output_scanline < d.info.output_height) {
      uint8_t* target = image.at(0, d.info.output_scanline);
      JSAMPROW row = d.cmyk.data();
      jpeg_read_scanlines(&d.info, &row, 1);
      CmykToRgb(row, image.width, target);
    }
    return;
  }
  constexpr int kRows = 8;
  while (d.info.output_scanline < d.info.output_height) {
    JSAMPROW rows[kRows];
    int count = 0;
    for (int64_t y = d.info.output_scanline; count < kRows && y < image.height; ++y) rows[count++] = image.at(0, y);
    jpeg_read_scanlines(&d.info, rows, static_cast<JDIMENSION>(count));
  }
}

// False when it fails; the reason is in `complaint` or `errors.message`. Nothing here has a destructor, since errors of
// the library jump over it.
bool Run(Decoder& d) {
  if (setjmp(d.errors.jump) != 0) return false;
  jpeg_create_decompress(&d.info);
  jpeg_mem_src(&d.info, reinterpret_cast<const unsigned char*>(d.bytes.data()), d.bytes.size());
  d.info.src->fill_input_buffer = OnEndOfInput;
  d.progress.progress_monitor = OnProgress;
  d.info.progress = &d.progress;
  jpeg_save_markers(&d.info, JPEG_APP0 + 1, 0xffff);
  jpeg_read_header(&d.info, TRUE);
  d.complaint = SizeComplaint(d.info.image_width, d.info.image_height, d.max_pixels);
  if (d.complaint.empty() && TooFewBytes(d.info, d.bytes.size())) d.complaint = "truncated JPEG";
  if (!d.complaint.empty()) return false;

  d.info.out_color_space = d.info.num_components == 4 ? JCS_CMYK : JCS_RGB;
  d.result.orientation = ReadOrientation(d.info);
  d.result.image = Image(d.info.image_width, d.info.image_height);
  if (d.info.num_components == 4) d.cmyk.resize(size_t{d.info.image_width} * 4);
  jpeg_start_decompress(&d.info);
  ReadRows(d);
  return true;
}

struct Encoder {
  jpeg_compress_struct info{};
  ErrorManager errors{};
  unsigned char* bytes = nullptr;
  unsigned long size = 0;

  ~Encoder() {
    jpeg_destroy_compress(&info);
    std::free(bytes);
  }
};

bool Run(Encoder& e, const Image& image, int quality) {
  if (setjmp(e.errors.jump) != 0) return false;
  jpeg_create_compress(&e.info);
  jpeg_mem_dest(&e.info, &e.bytes, &e.size);
  e.info.image_width = static_cast<JDIMENSION>(image.width);
  e.info.image_height = static_cast<JDIMENSION>(image.height);
  e.info.input_components = 3;
  e.info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&e.info);
  jpeg_set_quality(&e.info, quality, TRUE);
  const int chroma = quality < 90 ? 2 : 1;
  e.info.comp_info[0].h_samp_factor = e.info.comp_info[0].v_samp_factor = chroma;
  jpeg_start_compress(&e.info, TRUE);
  while (e.info.next_scanline < e.info.image_height) {
    JSAMPROW row = const_cast<uint8_t*>(image.at(0, e.info.next_scanline));
    jpeg_write_scanlines(&e.info, &row, 1);
  }
  jpeg_finish_compress(&e.info);
  return true;
}

template <class Info>
void UseErrors(Info& info, ErrorManager& errors) {
  info.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = Jump;
  errors.base.emit_message = OnMessage;
}

}  // namespace

Outcome<Decoded> DecodeJpeg(std::string_view bytes, int64_t max_pixels) {
  Decoder decoder;
  UseErrors(decoder.info, decoder.errors);
  decoder.bytes = bytes;
  decoder.max_pixels = max_pixels;
  if (Run(decoder)) return std::move(decoder.result);
  if (!decoder.complaint.empty()) return Outcome<Decoded>::Failed(decoder.complaint);
  return Outcome<Decoded>::Failed(Format("damaged JPEG ({})", decoder.errors.message));
}

}  // namespace codecs

std::string EncodeJpeg(const Image& image, int quality) {
  GENVIEW_CHECK(image.width > 0 && image.height > 0, "a picture without pixels");
  codecs::Encoder encoder;
  codecs::UseErrors(encoder.info, encoder.errors);
  if (!codecs::Run(encoder, image, quality)) {
    throw Error({.what = Format("a picture of {} x {} pixels cannot be written as JPEG ({})", image.width, image.height,
                                encoder.errors.message),
                 .where = "JPEG encoder",
                 .next = "make the pictures smaller, or write PNG"});
  }
  return std::string(reinterpret_cast<const char*>(encoder.bytes), encoder.size);
}

}  // namespace genview
