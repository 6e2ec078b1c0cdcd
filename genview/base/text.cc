#include "genview/base/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

namespace genview {

std::string FormatValues(fmt::string_view format, fmt::format_args values) { return fmt::vformat(format, values); }

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (true) {
    const size_t end = text.find(separator, begin);
    parts.emplace_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

std::string_view Trim(std::string_view text) {
  const auto is_space = [](char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v';
  };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string Lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

static size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t substitute = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, substitute});
    }
  }
  return row.back();
}

std::string NearestName(std::string_view name, const std::vector<std::string>& known) {
  name = name.substr(0, 200);  // a name from outside may be of any length
  std::string best;
  size_t best_distance = std::max<size_t>(1, name.size() / 2) + 1;
  for (const auto& candidate : known) {
    const size_t distance = EditDistance(Lower(name), Lower(candidate));
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

// Names that are called otherwise, too, where the nearest would be another one: "gpu" is a letter away from "cpu".
static std::string MeantName(std::string_view name, const std::vector<std::string>& known) {
  const bool gpu = Lower(name) == "gpu" && std::find(known.begin(), known.end(), "cuda") != known.end();
  return gpu ? "cuda" : NearestName(name, known);
}

std::string SuggestName(std::string_view name, const std::vector<std::string>& known) {
  const std::string nearest = MeantName(name, known);
  if (!nearest.empty()) return Format("did you mean `{}`?", nearest);
  return Format("known: {}", fmt::join(known, ", "));
}

template <class T>
static bool ParseWhole(std::string_view text, T& value) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end && !text.empty();
}

bool ParseInt(std::string_view text, int64_t& value) { return ParseWhole(text, value); }
bool ParseUint(std::string_view text, uint64_t& value) { return ParseWhole(text, value); }
bool ParseDouble(std::string_view text, double& value) { return ParseWhole(text, value) && std::isfinite(value); }

std::string Grouped(int64_t number) {
  const std::string digits = Format("{}", number);
  const size_t sign = number < 0 ? 1 : 0;
  std::string grouped;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > sign && (digits.size() - i) % 3 == 0) grouped += ',';
    grouped += digits[i];
  }
  return grouped;
}

std::string HumanBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  return unit == 0 ? Format("{} B", bytes) : Format("{:.{}f} {}", value, value < 10 ? 1 : 0, kUnits[unit]);
}

std::string HumanSeconds(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  if (seconds < 10) return Format("{:.1f} s", seconds);
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 60) return Format("{} s", whole);
  if (whole < 3600) return Format("{} min {:02} s", whole / 60, whole % 60);
  return Format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    size_t length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
    if (length == 0 || i + length > text.size()) return false;
    uint32_t code = length == 1 ? lead : lead & (0x7Fu >> length);
    for (size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if (next >> 6 != 2) return false;
      code = code << 6 | (next & 0x3F);
    }
    static constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (length > 1 && code < kSmallest[length]) return false;
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return false;
    i += length;
  }
  return true;
}

std::string Printable(std::string_view text, size_t limit) {
  const auto within_letter = [&](size_t at) { return static_cast<unsigned char>(text[at]) >> 6 == 2; };
  size_t end = std::min(limit, text.size());
  while (end > 0 && end < text.size() && within_letter(end)) --end;
  std::string result;
  for (const char c : text.substr(0, end)) {
    result += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  if (!IsUtf8(result)) {
    for (char& c : result) {
      if (static_cast<unsigned char>(c) >= 0x80) c = '?';
    }
  }
  return text.size() > limit ? result + "..." : result;
}

}  // namespace genview
