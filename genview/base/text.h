// Text helpers: formatting, splitting, the nearest known name, units for people.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace genview {

// The formatter itself is compiled once, in text.cc: fmt is used header-only, and inlined into every caller it was half
// of the time that a file takes to compile.
std::string FormatValues(fmt::string_view format, fmt::format_args values);

template <class... Args>
std::string Format(fmt::format_string<Args...> format, Args&&... args) {
  return FormatValues(format, fmt::make_format_args(args...));
}

std::vector<std::string> Split(std::string_view text, char separator);  // keeps empty parts; "" gives one empty part
std::string_view Trim(std::string_view text);                           // without surrounding white space
std::string Lower(std::string_view text);                               // ASCII only

// The candidate with the smallest edit distance, or "" when none is near (more than half of the name differs).
std::string NearestName(std::string_view name, const std::vector<std::string>& known);

// "did you mean X?" where a near name exists, otherwise "known: a, b, c".
std::string SuggestName(std::string_view name, const std::vector<std::string>& known);

// Whole-text number parsing: no leftover characters, no locale, range checked. False when `text` is not one.
bool ParseInt(std::string_view text, int64_t& value);
bool ParseUint(std::string_view text, uint64_t& value);
bool ParseDouble(std::string_view text, double& value);  // finite values only

std::string Grouped(int64_t number);       // "2,500"
std::string HumanBytes(uint64_t bytes);    // "1.4 GB" (powers of 1000)
std::string HumanSeconds(double seconds);  // "45 s", "3 min 20 s", "2 h 05 min"

// True for well-formed UTF-8 (no surrogates, no overlong forms).
bool IsUtf8(std::string_view text);

// Text from a file, for a terminal: control characters, which would move the cursor or worse, become blanks, and of
// what is no UTF-8 every byte beyond ASCII a question mark. Of a long text `limit` bytes, in whole letters, and "...".
std::string Printable(std::string_view text, size_t limit = 200);

}  // namespace genview
