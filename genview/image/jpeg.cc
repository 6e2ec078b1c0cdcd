// jpeglib.h needs what cstdio declares, and jerror.h what jpeglib.h declares.
// clang-format off
#include <cstdio>
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include <algorithm>
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
  int64_t max_bytes = 0;
  const WantedBox* wanted = nullptr;
  std::string complaint;     // of our own
  std::vector<uint8_t> row;  // one that is not the result's
  DecodedPart result;

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

// At its peak. In several scans (progressive) the coefficients of the whole picture are kept, 2 bytes each, until it is
// made.
double BytesNeeded(Decoder& d) {
  double coefficients = 0;
  for (int i = 0; i < d.info.num_components && jpeg_has_multiple_scans(&d.info); ++i) {
    const jpeg_component_info& component = d.info.comp_info[i];
    coefficients += 2.0 * DCTSIZE2 * component.width_in_blocks * component.height_in_blocks;
  }
  const int64_t width = d.info.image_width, height = d.info.image_height;
  return std::max(PictureBytes(width, height, 1) + coefficients,
                  PictureBytes(width, height, d.result.decoded.orientation));
}

// Whether the library can leave out pixels: pictures in one scan of Huffman codes, in gray or with colours stored in
// the picture's size or half of it. Nearly all JPEGs are such. (Pixels stored without loss come in blocks of one.)
bool CanLeaveOut(jpeg_decompress_struct& info) {
  if (info.arith_code || jpeg_has_multiple_scans(&info)) return false;
  if (info.num_components != 1 && info.num_components != 3) return false;
  const jpeg_component_info& first = info.comp_info[0];
  const int most = info.num_components == 1 ? 1 : 2;
  if (first.h_samp_factor > most || first.v_samp_factor > most) return false;
  for (int i = 1; i < info.num_components; ++i) {
    if (info.comp_info[i].h_samp_factor != 1 || info.comp_info[i].v_samp_factor != 1) return false;
  }
  return first.width_in_blocks == (info.image_width + 7) / 8 && first.height_in_blocks == (info.image_height + 7) / 8;
}

// The stored box that is decoded. Its columns are whole blocks, with two pixels to spare at both sides: colours stored
// at half the width are made of their neighbours, too, and the library takes the part's sides for those of the picture,
// where there are none. Of rows it looks after the neighbours itself.
Box PartOf(Decoder& d) {
  const int64_t width = d.info.image_width, height = d.info.image_height;
  const Box whole{0, 0, width, height};
  if (d.wanted == nullptr) return whole;
  const int orientation = d.result.decoded.orientation;
  const int64_t upright_width = SwapsSides(orientation) ? height : width;
  const int64_t upright_height = SwapsSides(orientation) ? width : height;
  const Box box =
      StoredBox(AskFor(*d.wanted, upright_width, upright_height), upright_width, upright_height, orientation);
  if (!CanLeaveOut(d.info)) return whole;
  constexpr int64_t kSpare = 2;
  const int64_t column = int64_t{8} * d.info.comp_info[0].h_samp_factor;
  const int64_t left = std::max<int64_t>(box.x - kSpare, 0) / column * column;
  const int64_t right = std::min((box.x + box.width + kSpare + column - 1) / column * column, width);
  return {left, box.y, right - left, box.height};
}

// Leaves out the columns beside the part, and the rows above it.
void GoToPart(Decoder& d) {
  const Box& box = d.result.box;
  if (box.width < d.result.width) {
    auto left = static_cast<JDIMENSION>(box.x), width = static_cast<JDIMENSION>(box.width);
    jpeg_crop_scanline(&d.info, &left, &width);
  }
  if (box.y > 0) jpeg_skip_scanlines(&d.info, static_cast<JDIMENSION>(box.y));
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
  Image& image = d.result.decoded.image;
  if (d.info.out_color_space == JCS_CMYK) {
    while (d.info.output_scanline < d.info.output_height) {
      uint8_t* target = image.at(0, d.info.output_scanline);
      JSAMPROW row = d.row.data();
      jpeg_read_scanlines(&d.info, &row, 1);
      CmykToRgb(row, image.width, target);
    }
    return;
  }
  constexpr int kRows = 8;
  const int64_t top = d.result.box.y;
  while (d.info.output_scanline < top + image.height) {
    JSAMPROW rows[kRows];
    int count = 0;
    for (int64_t y = d.info.output_scanline - top; count < kRows && y < image.height; ++y) {
      rows[count++] = image.at(0, y);
    }
    jpeg_read_scanlines(&d.info, rows, static_cast<JDIMENSION>(count));
  }
}

// The rows below the part, for their damage: whether a picture is a good one must not depend on the part. Skipped rows
// are read through by the library, but for those that it skips to the end, so the last one is not skipped.
void ReadRest(Decoder& d) {
  const JDIMENSION rows = d.info.output_height - d.info.output_scanline;
  if (rows > 1) jpeg_skip_scanlines(&d.info, rows - 1);
  while (d.info.output_scanline < d.info.output_height) {
    JSAMPROW row = d.row.data();
    jpeg_read_scanlines(&d.info, &row, 1);
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
  d.result.decoded.orientation = ReadOrientation(d.info);
  d.complaint = SizeComplaint(d.info.image_width, d.info.image_height, BytesNeeded(d), d.max_bytes);
  if (d.complaint.empty() && TooFewBytes(d.info, d.bytes.size())) d.complaint = "truncated JPEG";
  if (!d.complaint.empty()) return false;

  d.info.out_color_space = d.info.num_components == 4 ? JCS_CMYK : JCS_RGB;
  d.result.width = d.info.image_width;
  d.result.height = d.info.image_height;
  d.result.box = PartOf(d);
  d.result.decoded.image = Image(d.result.box.width, d.result.box.height);
  d.row.resize(size_t{d.info.image_width} * 4);
  jpeg_start_decompress(&d.info);
  GoToPart(d);
  ReadRows(d);
  ReadRest(d);
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

Outcome<DecodedPart> DecodeJpeg(std::string_view bytes, int64_t max_bytes, const WantedBox* wanted) {
  Decoder decoder;
  UseErrors(decoder.info, decoder.errors);
  decoder.bytes = bytes;
  decoder.max_bytes = max_bytes;
  decoder.wanted = wanted;
  if (Run(decoder)) return std::move(decoder.result);
  if (!decoder.complaint.empty()) return Outcome<DecodedPart>::Failed(decoder.complaint);
  return Outcome<DecodedPart>::Failed(Format("damaged JPEG ({})", decoder.errors.message));
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
