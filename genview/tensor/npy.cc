#include "genview/tensor/npy.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "genview/base/error.h"
#include "genview/base/text.h"

namespace genview {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr uint64_t kMaxHeader = 1 << 16;
constexpr size_t kMaxDimensions = 64;

[[noreturn]] void Refuse(std::string what, const std::string& where) {
  throw Error(
      {.what = std::move(what), .where = where, .next = "save the array again with numpy.save, as plain numbers"});
}

struct NpyType {
  const char* name;  // without the byte order
  at::ScalarType dtype;
};
constexpr NpyType kTypes[] = {{"f2", at::kHalf}, {"f4", at::kFloat}, {"f8", at::kDouble},
                              {"i1", at::kChar}, {"i2", at::kShort}, {"i4", at::kInt},
                              {"i8", at::kLong}, {"u1", at::kByte},  {"b1", at::kBool}};

at::ScalarType TypeOf(std::string_view descr, const std::string& where) {
  if (descr.size() == 3) {
    const char order = descr[0];
    for (const NpyType& type : kTypes) {
      if (descr.substr(1) != type.name) continue;
      const bool one_byte = type.name[1] == '1';
      if (order == '<' || (order == '|' && one_byte)) return type.dtype;
      if (order == '>') Refuse(Format("the array is big-endian (`{}`)", descr), where);
    }
  }
  Refuse(Format("the array has the type `{}`, which this program does not read", Printable(descr, 40)), where);
}

// The header is a Python dictionary of three known members; this reads that much of Python and no more.
class HeaderText {
 public:
  HeaderText(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  void Space() {
    while (place_ < text_.size() && (text_[place_] == ' ' || text_[place_] == '\n')) ++place_;
  }
  bool Try(char c) {
    Space();
    if (place_ == text_.size() || text_[place_] != c) return false;
    ++place_;
    return true;
  }
  void Expect(char c) {
    if (!Try(c)) Refuse(Format("the header has no `{}` at byte {}", c, place_), where_);
  }
  std::string_view Quoted() {
    Space();
    const char quote = place_ < text_.size() ? text_[place_] : ' ';
    if (quote != '\'' && quote != '"') Refuse(Format("the header has no text at byte {}", place_), where_);
    const size_t end = text_.find(quote, place_ + 1);
    if (end == std::string_view::npos) Refuse("the header has a text without end", where_);
    const std::string_view word = text_.substr(place_ + 1, end - place_ - 1);
    place_ = end + 1;
    return word;
  }
  bool Boolean() {
    Space();
    for (const std::string_view word : {"True", "False"}) {
      if (text_.substr(place_).starts_with(word)) {
        place_ += word.size();
        return word == "True";
      }
    }
    Refuse(Format("the header has neither True nor False at byte {}", place_), where_);
  }
  int64_t Number() {
    Space();
    size_t end = place_;
    while (end < text_.size() && text_[end] >= '0' && text_[end] <= '9') ++end;
    int64_t value = 0;
    if (!ParseInt(text_.substr(place_, end - place_), value))
      Refuse(Format("the header has no size at byte {}", place_), where_);
    place_ = end;
    return value;
  }
  bool AtEnd() {
    Space();
    return place_ == text_.size();
  }

 private:
  std::string_view text_;
  const std::string& where_;
  size_t place_ = 0;
};

std::vector<int64_t> ReadShape(HeaderText& text, const std::string& where) {
  std::vector<int64_t> shape;
  text.Expect('(');
  while (!text.Try(')')) {
    shape.push_back(text.Number());
    if (shape.size() > kMaxDimensions) Refuse(Format("the array has more than {} dimensions", kMaxDimensions), where);
    if (text.Try(',')) continue;
    text.Expect(')');
    break;
  }
  return shape;
}

}  // namespace

NpyHeader ParseNpyHeader(std::string_view file, const std::string& where) {
  if (file.size() < 12 || !file.starts_with(kMagic)) Refuse("the file is not a .npy array", where);
  const auto byte = [&](size_t i) { return static_cast<uint64_t>(static_cast<uint8_t>(file[i])); };
  const uint64_t major = byte(6);
  if (major < 1 || major > 3) Refuse(Format("version {} of the format is not known", major), where);
  const uint64_t begin = major == 1 ? 10 : 12;
  const uint64_t length = byte(8) | byte(9) << 8 | (major == 1 ? 0 : byte(10) << 16 | byte(11) << 24);
  if (length > kMaxHeader) Refuse(Format("the header claims {} bytes", length), where);
  if (length > file.size() - begin) Refuse("the header ends after the file", where);

  NpyHeader header;
  header.data_begin = begin + length;
  std::optional<std::string_view> descr;
  bool has_order = false, has_shape = false;
  HeaderText text(file.substr(begin, length), where);
  text.Expect('{');
  while (!text.Try('}')) {
    const std::string_view key = text.Quoted();
    text.Expect(':');
    if (key == "descr" && !descr) {
      descr = text.Quoted();
    } else if (key == "fortran_order" && !has_order) {
      header.fortran_order = text.Boolean();
      has_order = true;
    } else if (key == "shape" && !has_shape) {
      header.shape = ReadShape(text, where);
      has_shape = true;
    } else {
      Refuse(Format("the header has a second or unknown member `{}`", Printable(key, 40)), where);
    }
    if (text.Try(',')) continue;
    text.Expect('}');
    break;
  }
  if (!text.AtEnd()) Refuse("the header goes on after its dictionary", where);
  if (!descr || !has_order || !has_shape) Refuse("the header lacks descr, fortran_order or shape", where);
  header.dtype = TypeOf(*descr, where);

  uint64_t bytes = at::elementSize(header.dtype), counted = bytes;  // counted: with empty extents as 1, as strides are
  for (const int64_t extent : header.shape) {
    if (__builtin_mul_overflow(counted, static_cast<uint64_t>(std::max<int64_t>(extent, 1)), &counted) ||
        counted > INT64_MAX) {
      Refuse("the shape is too large to count", where);
    }
    bytes *= static_cast<uint64_t>(extent);
  }
  if (bytes != file.size() - header.data_begin) {
    Refuse(
        Format("the array has {} bytes by shape and type, the file holds {}", bytes, file.size() - header.data_begin),
        where);
  }
  return header;
}

Tensor ParseNpy(std::string_view file, const std::string& where) {
  const NpyHeader header = ParseNpyHeader(file, where);
  std::vector<int64_t> stored = header.shape;
  if (header.fortran_order) std::reverse(stored.begin(), stored.end());
  Tensor tensor = at::empty(stored, at::TensorOptions().dtype(header.dtype));
  const std::string_view data = file.substr(header.data_begin);
  if (!data.empty()) std::memcpy(tensor.data_ptr(), data.data(), data.size());
  if (header.dtype == at::kBool) {
    // Any byte but 0 and 1 would be a bool that is neither true nor false.
    tensor = tensor.view(at::kByte).ne(0);
  }
  if (!header.fortran_order) return tensor;
  std::vector<int64_t> order(stored.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(order.size() - 1 - i);
  return tensor.permute(order).contiguous();
}

Tensor ReadNpy(const Path& path) {
  const MappedFile mapped(path);
  return ParseNpy(mapped.text(), path.string());
}

}  // namespace genview
