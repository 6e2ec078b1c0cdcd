#include "genview/tensor/zip_index.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "genview/base/error.h"
#include "genview/base/text.h"

namespace genview {
namespace {

constexpr uint32_t kEntrySignature = 0x02014b50, kLocalSignature = 0x04034b50, kEndSignature = 0x06054b50;
constexpr uint32_t kEnd64Signature = 0x06064b50, kLocator64Signature = 0x07064b50;
constexpr size_t kEntrySize = 46, kLocalSize = 30, kEndSize = 22, kEnd64Size = 56, kLocator64Size = 20;
constexpr uint64_t kMaxFiles = 1'000'000;

[[noreturn]] void Refuse(std::string what, const std::string& where) {
  throw Error(
      {.what = std::move(what),
       .where = where,
       .next = "get the file again from where it came, or save it again with torch.save of PyTorch 1.6 or newer"});
}

// The caller has checked that the bytes are there. Zip files are little-endian, as is every machine this program runs
// on.
template <class T>
T Get(std::string_view bytes, size_t place) {
  static_assert(std::is_unsigned_v<T>);
  T value;
  std::memcpy(&value, bytes.data() + place, sizeof(T));
  return value;
}

struct Directory {
  uint64_t begin = 0, size = 0, files = 0;
};

Directory FindDirectory(std::string_view archive, const std::string& where) {
  if (archive.size() < kEndSize) Refuse("the file is too short for a zip archive", where);
  // The end record is followed by a comment of at most 65,535 bytes.
  const size_t last = archive.size() - kEndSize, first = last > 65'535 ? last - 65'535 : 0;
  size_t end = last + 1;
  while (end-- > first) {
    if (Get<uint32_t>(archive, end) == kEndSignature &&
        end + kEndSize + Get<uint16_t>(archive, end + 20) == archive.size())
      break;
    if (end == first) Refuse("the archive is cut off: its directory, which stands at the end, is missing", where);
  }
  Directory directory{.begin = Get<uint32_t>(archive, end + 16),
                      .size = Get<uint32_t>(archive, end + 12),
                      .files = Get<uint16_t>(archive, end + 10)};
  if (Get<uint16_t>(archive, end + 4) != 0 && Get<uint16_t>(archive, end + 4) != 0xffff)
    Refuse("the archive is split over several files", where);
  const bool zip64 = directory.begin == 0xffffffff || directory.size == 0xffffffff || directory.files == 0xffff;
  if (zip64 && end >= kLocator64Size && Get<uint32_t>(archive, end - kLocator64Size) == kLocator64Signature) {
    const auto place = Get<uint64_t>(archive, end - kLocator64Size + 8);
    if (place > end || end - place < kEnd64Size || Get<uint32_t>(archive, place) != kEnd64Signature) {
      Refuse("the archive's 64-bit directory is not where it says", where);
    }
    directory = {.begin = Get<uint64_t>(archive, place + 48),
                 .size = Get<uint64_t>(archive, place + 40),
                 .files = Get<uint64_t>(archive, place + 32)};
  }
  if (directory.begin > end || directory.size > end - directory.begin)
    Refuse("the archive's directory lies outside the file", where);
  if (directory.files > kMaxFiles || directory.files > directory.size / kEntrySize) {
    Refuse(Format("the archive claims {} files, more than its directory can hold", directory.files), where);
  }
  return directory;
}

struct Place {
  uint64_t packed = 0, size = 0, header = 0;
};

// In an entry of a large archive the sizes that do not fit 32 bits are in the extra field 1, in this order.
void ReadLargeSizes(std::string_view extra, Place& place, const std::string& name, const std::string& where) {
  for (size_t at = 0; at + 4 <= extra.size();) {
    const auto id = Get<uint16_t>(extra, at);
    const size_t length = Get<uint16_t>(extra, at + 2);
    if (length > extra.size() - at - 4) return;
    std::string_view field = extra.substr(at + 4, length);
    at += 4 + length;
    if (id != 1) continue;
    for (uint64_t* value : {&place.size, &place.packed, &place.header}) {
      if (*value != 0xffffffff) continue;
      if (field.size() < 8) Refuse(Format("`{}` has sizes that are cut off", name), where);
      *value = Get<uint64_t>(field, 0);
      field.remove_prefix(8);
    }
    return;
  }
}

}  // namespace

ZipIndex ReadZipIndex(std::string_view archive, const std::string& where) {
  const Directory directory = FindDirectory(archive, where);
  const std::string_view entries = archive.substr(directory.begin, directory.size);
  ZipIndex index;
  std::vector<std::pair<uint64_t, uint64_t>> spans;
  size_t at = 0;
  for (uint64_t i = 0; i < directory.files; ++i) {
    if (entries.size() - at < kEntrySize || Get<uint32_t>(entries, at) != kEntrySignature)
      Refuse("the archive's directory is damaged", where);
    const size_t name_length = Get<uint16_t>(entries, at + 28), extra_length = Get<uint16_t>(entries, at + 30);
    const size_t whole = kEntrySize + name_length + extra_length + Get<uint16_t>(entries, at + 32);
    if (entries.size() - at < whole) Refuse("the archive's directory is damaged", where);
    const std::string name(entries.substr(at + kEntrySize, name_length));
    const std::string shown = IsUtf8(name) ? Printable(name) : "a file with a name that is not UTF-8";
    const auto flags = Get<uint16_t>(entries, at + 8), method = Get<uint16_t>(entries, at + 10);
    Place place{.packed = Get<uint32_t>(entries, at + 20),
                .size = Get<uint32_t>(entries, at + 24),
                .header = Get<uint32_t>(entries, at + 42)};
    ReadLargeSizes(entries.substr(at + kEntrySize + name_length, extra_length), place, shown, where);
    at += whole;
    if ((flags & 1) != 0) Refuse(Format("`{}` is encrypted", shown), where);
    if (method != 0) Refuse(Format("`{}` is compressed, which PyTorch never does", shown), where);
    if (place.packed != place.size)
      Refuse(Format("`{}` claims {} bytes stored as {}", shown, place.size, place.packed), where);

    if (place.header > directory.begin || directory.begin - place.header < kLocalSize ||
        Get<uint32_t>(archive, place.header) != kLocalSignature) {
      Refuse(Format("`{}` is not where the archive's directory says", shown), where);
    }
    const uint64_t begin = place.header + kLocalSize + Get<uint16_t>(archive, place.header + 26) +
                           Get<uint16_t>(archive, place.header + 28);
    if (begin > directory.begin || place.size > directory.begin - begin)
      Refuse(Format("`{}` claims {} bytes, more than the archive holds", shown, place.size), where);
    if (!index.emplace(name, archive.substr(begin, place.size)).second)
      Refuse(Format("`{}` is twice in the archive", shown), where);
    spans.emplace_back(place.header, begin + place.size);
  }
  std::sort(spans.begin(), spans.end());
  for (size_t i = 1; i < spans.size(); ++i) {
    if (spans[i].first < spans[i - 1].second) Refuse("files of the archive overlap", where);
  }
  return index;
}

}  // namespace genview
