#include "genview/data/tar_writer.h"

#include "genview/base/text.h"

namespace genview {
namespace {

constexpr uint64_t kBlock = 512;
constexpr uint64_t kLargestOctal = uint64_t{1} << 33;  // eleven octal digits

std::string Header(std::string_view name, uint64_t size, char type) {
  std::string block(kBlock, '\0');
  const auto put = [&](size_t at, std::string_view text) { block.replace(at, text.size(), text); };
  put(0, name.substr(0, 100));
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  put(124, Format("{:011o}", size < kLargestOctal ? size : 0));
  put(136, Format("{:011o}", 0));
  put(148, "        ");
  block[156] = type;
  put(257, std::string_view("ustar\0"
                            "00",
                            8));
  uint64_t sum = 0;
  for (const char c : block) sum += static_cast<uint8_t>(c);
  put(148, Format("{:06o}", sum) + std::string("\0 ", 2));
  return block;
}

// A line that begins with its own length in decimal digits.
std::string PaxLine(std::string_view key, std::string_view value) {
  const size_t rest = key.size() + value.size() + 3;  // blank, "=", newline
  size_t length = rest + 1;
  while (Format("{}", length).size() + rest != length) ++length;
  return Format("{} {}={}\n", length, key, value);
}

}  // namespace

std::string TarHeader(std::string_view name, uint64_t size) {
  std::string pax;
  if (name.size() > 100) pax += PaxLine("path", name);
  if (size >= kLargestOctal) pax += PaxLine("size", Format("{}", size));
  const std::string header = Header(name, size, '0');
  if (pax.empty()) return header;
  return Header("././@PaxHeader", pax.size(), 'x') + pax + TarPadding(pax.size()) + header;
}

std::string TarPadding(uint64_t size) { return std::string((kBlock - size % kBlock) % kBlock, '\0'); }

std::string TarEnd() { return std::string(2 * kBlock, '\0'); }

}  // namespace genview
