#include "genview/tensor/safetensors.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>

#include "genview/base/error.h"
#include "genview/base/sorted_json.h"
#include "genview/base/text.h"
#include "genview/tensor/mapped_tensor.h"

namespace genview {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;

struct Dtype {
  const char* name;
  int64_t bits;
  std::optional<at::ScalarType> scalar;  // none: known to the format, not to this program
};

// In the order in which the original writer stores them.
constexpr Dtype kDtypes[] = {
    {"U64", 64, at::kUInt64},
    {"I64", 64, at::kLong},
    {"F64", 64, at::kDouble},
    {"C64", 64, at::kComplexFloat},
    {"F32", 32, at::kFloat},
    {"U32", 32, at::kUInt32},
    {"I32", 32, at::kInt},
    {"BF16", 16, at::kBFloat16},
    {"F16", 16, at::kHalf},
    {"U16", 16, at::kUInt16},
    {"I16", 16, at::kShort},
    {"F8_E5M2FNUZ", 8, at::kFloat8_e5m2fnuz},
    {"F8_E4M3FNUZ", 8, at::kFloat8_e4m3fnuz},
    {"F8_E8M0", 8, std::nullopt},
    {"F8_E4M3", 8, at::kFloat8_e4m3fn},
    {"F8_E5M2", 8, at::kFloat8_e5m2},
    {"I8", 8, at::kChar},
    {"U8", 8, at::kByte},
    {"F6_E3M2", 6, std::nullopt},
    {"F6_E2M3", 6, std::nullopt},
    {"F4", 4, std::nullopt},
    {"BOOL", 8, at::kBool},
};

const Dtype* FindDtype(std::string_view name) {
  for (const Dtype& dtype : kDtypes) {
    if (name == dtype.name) return &dtype;
  }
  return nullptr;
}

[[noreturn]] void Refuse(std::string what, const std::string& where) {
  throw Error({.what = std::move(what),
               .where = where,
               .next = "get the file again from where it came; a whole file is never written like this"});
}

// A list in a header is a shape or two offsets. Of names a tensor has four, its own and those of its members.
constexpr size_t kMaxListed = 64, kMaxNames = 2'000'000, kMaxDepth = 8;

// Refuses, while a header is read, what would take many times the memory of its text, and names that stand twice: of
// those nlohmann would keep the last one silently. (Its parser's callback would do, but walks over all members of an
// object at the end of each of them.)
class HeaderLimits : public nlohmann::json_sax<SortedJson> {
 public:
  explicit HeaderLimits(const std::string& where) : where_(where) {}

  bool null() override { return Value(); }
  bool boolean(bool) override { return Value(); }
  bool number_integer(number_integer_t) override { return Value(); }
  bool number_unsigned(number_unsigned_t) override { return Value(); }
  bool number_float(number_float_t, const string_t&) override { return Value(); }
  bool string(string_t&) override { return Value(); }
  bool binary(binary_t&) override { return Value(); }
  bool start_object(size_t) override { return Value() && Open(false); }
  bool start_array(size_t) override { return Value() && Open(true); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

  bool key(string_t& name) override {
    if (++all_names_ > kMaxNames) Refuse(Format("the header has more than {} names", kMaxNames), where_);
    if (!open_.back().names.insert(name).second)
      Refuse(Format("the name `{}` stands twice in the header", Printable(name, 200)), where_);
    return true;
  }

 private:
  struct Opened {
    bool list = false;
    size_t values = 0;              // of a list
    std::set<std::string> names{};  // of an object
  };

  bool Value() {
    if (!open_.empty() && open_.back().list && ++open_.back().values > kMaxListed)
      Refuse(Format("the header has a list of more than {} values", kMaxListed), where_);
    return true;
  }
  bool Open(bool list) {
    if (open_.size() == kMaxDepth) Refuse("the header is nested too deeply", where_);
    open_.push_back({.list = list});
    return true;
  }
  bool Close() {
    open_.pop_back();
    return true;
  }

  const std::string& where_;
  std::vector<Opened> open_;  // objects and lists, from the outermost
  size_t all_names_ = 0;
};

// Sorted: a header may hold a million names.
SortedJson ParseHeaderJson(std::string_view text, const std::string& where) {
  HeaderLimits limits(where);
  if (!SortedJson::sax_parse(text, &limits)) Refuse("the header is not valid JSON", where);
  return SortedJson::parse(text);
}

SafetensorsEntry ParseEntry(const std::string& name, const SortedJson& value, const std::string& where) {
  const std::string shown = Printable(name);
  if (!value.is_object()) Refuse(Format("tensor `{}` is not described by an object", shown), where);
  SafetensorsEntry entry;
  entry.name = name;
  bool has_dtype = false, has_shape = false, has_offsets = false;
  for (const auto& [key, member] : value.items()) {
    if (key == "dtype" && member.is_string()) {
      entry.dtype = member.get<std::string>();
      has_dtype = true;
    } else if (key == "shape" && member.is_array()) {
      for (const SortedJson& extent : member) {
        if (!extent.is_number_unsigned() || extent.get<uint64_t>() > INT64_MAX) {
          Refuse(Format("tensor `{}` has a shape that is not a list of sizes", shown), where);
        }
        entry.shape.push_back(extent.get<int64_t>());
      }
      has_shape = true;
    } else if (key == "data_offsets" && member.is_array() && member.size() == 2 && member[0].is_number_unsigned() &&
               member[1].is_number_unsigned()) {
      entry.begin = member[0].get<uint64_t>();
      entry.end = member[1].get<uint64_t>();
      has_offsets = true;
    } else {
      Refuse(Format("tensor `{}` has a wrong or unknown member `{}`", shown, key.substr(0, 50)), where);
    }
  }
  if (!has_dtype || !has_shape || !has_offsets) {
    Refuse(Format("tensor `{}` lacks dtype, shape or data_offsets", shown), where);
  }
  const Dtype* dtype = FindDtype(entry.dtype);
  if (dtype == nullptr)
    Refuse(Format("tensor `{}` has the unknown dtype `{}`", shown, entry.dtype.substr(0, 50)), where);
  if (entry.shape.size() > 64) Refuse(Format("tensor `{}` has {} dimensions", shown, entry.shape.size()), where);
  uint64_t bits = static_cast<uint64_t>(dtype->bits),
           counted = bits;  // counted: with empty extents as 1, as strides are
  for (const int64_t extent : entry.shape) {
    if (__builtin_mul_overflow(counted, static_cast<uint64_t>(std::max<int64_t>(extent, 1)), &counted) ||
        counted > INT64_MAX) {
      Refuse(Format("tensor `{}` has a shape too large to count", shown), where);
    }
    bits *= static_cast<uint64_t>(extent);
  }
  if (bits % 8 != 0) Refuse(Format("tensor `{}` does not fill whole bytes", shown), where);
  if (entry.end < entry.begin || entry.end - entry.begin != bits / 8) {
    Refuse(Format("tensor `{}` has offsets {}..{} but {} bytes by shape and dtype", shown, entry.begin, entry.end,
                  bits / 8),
           where);
  }
  return entry;
}

}  // namespace

SafetensorsHeader ParseSafetensorsHeader(std::string_view file, const std::string& where) {
  if (file.size() < 8) Refuse("the file is shorter than the 8 bytes of its header length", where);
  uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  if (length > kMaxHeader) Refuse(Format("the header claims {} bytes, more than the 100 MB allowed", length), where);
  if (length > file.size() - 8) Refuse("the header ends after the file", where);
  const std::string_view text = file.substr(8, length);
  if (text.empty() || text.front() != '{') Refuse("the header does not begin with `{`", where);
  if (!IsUtf8(text)) Refuse("the header is not UTF-8", where);
  const SortedJson json = ParseHeaderJson(text, where);

  SafetensorsHeader header;
  header.data_begin = 8 + length;
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") {
      if (!value.is_object()) Refuse("`__metadata__` is not an object", where);
      for (const auto& [key, text_value] : value.items()) {
        if (!text_value.is_string()) Refuse("`__metadata__` holds something that is not a text", where);
        header.metadata[key] = text_value.get<std::string>();
      }
      continue;
    }
    header.entries.push_back(ParseEntry(name, value, where));
  }
  std::sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  uint64_t expected = 0;
  for (const auto& entry : header.entries) {
    if (entry.begin != expected) {
      Refuse(Format("tensor `{}` begins at {} where {} was expected: a gap or an overlap", Printable(entry.name),
                    entry.begin, expected),
             where);
    }
    expected = entry.end;
  }
  if (expected != file.size() - header.data_begin) {
    Refuse(Format("the tensors end at byte {} of the data, the file at {}", expected, file.size() - header.data_begin),
           where);
  }
  return header;
}

WeightMap ReadSafetensors(const Path& path) {
  auto mapped = std::make_shared<MappedFile>(path);
  const SafetensorsHeader header = ParseSafetensorsHeader(mapped->text(), path.string());
  WeightMap weights(path.string());
  weights.metadata() = header.metadata;
  for (const auto& entry : header.entries) {
    const Dtype* dtype = FindDtype(entry.dtype);
    if (!dtype->scalar) {
      throw Error(
          {.what = Format("tensor `{}` is stored as {}, which this program does not read", entry.name, entry.dtype),
           .where = path.string(),
           .next = "save the file in F32, F16 or BF16"});
    }
    const auto options = at::TensorOptions().dtype(*dtype->scalar);
    if (entry.begin == entry.end) {
      weights.Add(entry.name, at::empty(entry.shape, options));
      continue;
    }
    const uint8_t* data = mapped->data() + header.data_begin + entry.begin;
    const auto alignment = static_cast<uintptr_t>(std::max<int64_t>(1, dtype->bits / 8));
    if (reinterpret_cast<uintptr_t>(data) % alignment == 0) {
      weights.Add(entry.name, MappedTensor(data, entry.shape, *dtype->scalar));
    } else {
      Tensor copy = at::empty(entry.shape, options);
      std::memcpy(copy.data_ptr(), data, entry.end - entry.begin);
      weights.Add(entry.name, copy);
    }
  }
  weights.Keep(mapped);
  return weights;
}

std::string SafetensorsHeaderText(const std::vector<SafetensorsEntry>& entries,
                                  const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = Json(metadata);
  for (const SafetensorsEntry& entry : entries) {
    GENVIEW_CHECK(!header.contains(entry.name), Format("tensor `{}` is written twice", entry.name));
    header[entry.name] = {{"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", {entry.begin, entry.end}}};
  }
  return header.dump();
}

void WriteSafetensors(const Path& path, const std::vector<std::pair<std::string, Tensor>>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  struct Item {
    size_t order;  // of the dtype
    std::string name;
    Tensor tensor;
  };
  std::vector<Item> items;
  for (const auto& [name, tensor] : tensors) {
    size_t order = 0;
    while (order < std::size(kDtypes) && kDtypes[order].scalar != tensor.scalar_type()) ++order;
    GENVIEW_CHECK(order < std::size(kDtypes), Format("tensor `{}` has a dtype that safetensors cannot hold", name));
    items.push_back({order, name, tensor.detach().to(at::kCPU).contiguous()});
  }
  std::sort(items.begin(), items.end(),
            [](const Item& a, const Item& b) { return std::tie(a.order, a.name) < std::tie(b.order, b.name); });
  std::vector<SafetensorsEntry> entries;
  uint64_t offset = 0;
  for (const Item& item : items) {
    const uint64_t end = offset + item.tensor.nbytes();
    entries.push_back({item.name, kDtypes[item.order].name, item.tensor.sizes().vec(), offset, end});
    offset = end;
  }
  std::string text = SafetensorsHeaderText(entries, metadata);
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t length = text.size();
  AtomicFile file(path);
  file.Write({reinterpret_cast<const char*>(&length), 8});
  file.Write(text);
  for (const Item& item : items) file.Write({static_cast<const char*>(item.tensor.data_ptr()), item.tensor.nbytes()});
  file.Commit();
}

}  // namespace genview
