#include "genview/data/tar_index.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "genview/base/error.h"
#include "genview/base/text.h"

namespace genview {
namespace {

constexpr uint64_t kBlock = 512;
constexpr uint64_t kLongestName = 1 << 16;
// A pax record also holds what other systems keep beside a file, such as a Mac's previews.
constexpr uint64_t kLongestPax = 1 << 24;

using Block = std::array<char, kBlock>;

class Indexer {
 public:
  Indexer(const ReadAt& read, uint64_t file_size, const std::string& where)
      : read_(read), file_size_(file_size), where_(where) {}

  std::vector<TarMember> Run() {
    std::vector<TarMember> members;
    std::string long_name;  // from a record before the header it belongs to
    uint64_t long_size = 0;
    bool has_long_size = false;
    while (Block* header = NextHeader()) {
      uint64_t size = Number(*header, 124, 12);
      const char type = (*header)[156];
      const bool is_file = type == '0' || type == '\0' || type == '7';
      if (is_file && has_long_size) size = long_size;
      if (size > file_size_ - at_) Fail(Format("a member of {} bytes runs past the end", size), at_ - kBlock);
      if (type == 'x' || type == 'L') {
        const std::string record = Record(size, type == 'L' ? kLongestName : kLongestPax);
        if (type == 'L') long_name = record.c_str();  // up to its closing zero
        else ReadPax(record, long_name, long_size, has_long_size);
      } else {
        if (is_file) members.push_back({long_name.empty() ? HeaderName(*header) : long_name, at_, size});
        long_name.clear();
        has_long_size = false;
      }
      at_ += (size + kBlock - 1) / kBlock * kBlock;
      if (at_ > file_size_) Fail("the file ends within its last member's padding", file_size_);
    }
    return members;
  }

 private:
  [[noreturn]] void Fail(const std::string& what, uint64_t at) const {
    throw Error({.what = Format("the tar file is damaged: {}", what),
                 .where = Format("{}, byte {}", where_, at),
                 .next = "get or make this shard again; compressed archives must be unpacked first"});
  }

  // Null at the end of the archive: two blocks of zeros, or the end of the file.
  Block* NextHeader() {
    if (at_ == file_size_ && at_ > 0) return nullptr;
    ReadBlock();
    if (std::all_of(block_.begin(), block_.end(), [](char c) { return c == 0; })) return nullptr;
    uint64_t sum = 0;
    for (size_t i = 0; i < kBlock; ++i) sum += i >= 148 && i < 156 ? uint64_t{' '} : static_cast<uint8_t>(block_[i]);
    if (sum != Number(block_, 148, 8)) {
      Fail(at_ == 0 ? "it does not begin as one" : "a header's check sum is wrong", at_);
    }
    at_ += kBlock;
    return &block_;
  }

  // Small members lie close together: read a little ahead.
  void ReadBlock() {
    if (at_ < window_at_ || at_ + kBlock > window_at_ + window_.size()) {
      window_.resize(4096);
      window_at_ = at_;
      window_.resize(read_(at_, window_.data(), window_.size()));
      if (window_.size() < kBlock) Fail("it is cut off", at_);
    }
    std::memcpy(block_.data(), window_.data() + (at_ - window_at_), kBlock);
  }

  // Octal text, or (first bit set) a big-endian binary number.
  uint64_t Number(const Block& header, size_t begin, size_t length) const {
    uint64_t value = 0;
    if (static_cast<uint8_t>(header[begin]) & 0x80) {
      for (size_t i = begin; i < begin + length; ++i) {
        const uint8_t byte = static_cast<uint8_t>(header[i]) & (i == begin ? 0x7f : 0xff);
        if (value >> 55) Fail("a size beyond all bounds", at_);
        value = value << 8 | byte;
      }
      return value;
    }
    bool begun = false;
    for (size_t i = begin; i < begin + length; ++i) {
      const char c = header[i];
      if (c >= '0' && c <= '7') {
        value = value << 3 | static_cast<uint64_t>(c - '0');
        begun = true;
      } else if (begun || c != ' ') {
        break;
      }
    }
    return value;
  }

  static std::string Text(const Block& header, size_t begin, size_t length) {
    return std::string(header.data() + begin, ::strnlen(header.data() + begin, length));
  }

  static std::string HeaderName(const Block& header) {
    const std::string name = Text(header, 0, 100);
    if (std::memcmp(header.data() + 257, "ustar\0", 6) != 0) return name;  // GNU and old tar have no prefix there
    const std::string prefix = Text(header, 345, 155);
    return prefix.empty() ? name : prefix + "/" + name;
  }

  std::string Record(uint64_t size, uint64_t most) const {
    if (size > most) Fail("a name record beyond all bounds", at_);
    std::string record(size, '\0');
    if (read_(at_, record.data(), record.size()) != record.size()) Fail("it is cut off", at_);
    return record;
  }

  // Lines `LENGTH key=value\n`, LENGTH counting the whole line.
  void ReadPax(std::string_view record, std::string& name, uint64_t& size, bool& has_size) const {
    while (!record.empty() && record[0] != '\0') {
      const size_t blank = record.find(' ');
      uint64_t length = 0;
      if (blank == std::string_view::npos || !ParseUint(record.substr(0, blank), length) || length < blank + 2 ||
          length > record.size() || record[length - 1] != '\n') {
        Fail("a pax record cannot be read", at_);
      }
      const std::string_view line = record.substr(blank + 1, length - blank - 2);
      const size_t equals = line.find('=');
      const std::string_view key = line.substr(0, equals);
      const std::string_view value = equals == std::string_view::npos ? "" : line.substr(equals + 1);
      if (key == "path") {
        if (value.size() > kLongestName) Fail("a name beyond all bounds", at_);
        name = value.substr(0, value.find('\0'));
      }
      if (key == "size") {
        if (!ParseUint(value, size)) Fail("a pax size cannot be read", at_);
        has_size = true;
      }
      record.remove_prefix(length);
    }
  }

  const ReadAt& read_;
  const uint64_t file_size_;
  const std::string& where_;
  uint64_t at_ = 0;
  Block block_{};
  std::string window_;
  uint64_t window_at_ = 0;
};

}  // namespace

std::vector<TarMember> IndexTar(const ReadAt& read, uint64_t file_size, const std::string& where) {
  return Indexer(read, file_size, where).Run();
}

}  // namespace genview
