// What commands say on stdout and stderr. The formatter is compiled once, in base/text.cc.
#pragma once

#include <cstdio>
#include <string_view>
#include <utility>

#include "genview/base/text.h"

namespace genview {

inline void PrintText(std::FILE* to, std::string_view text) { std::fwrite(text.data(), 1, text.size(), to); }

template <class... Args>
void Print(std::FILE* to, fmt::format_string<Args...> format, Args&&... args) {
  PrintText(to, Format(format, std::forward<Args>(args)...));
}
template <class... Args>
void Print(fmt::format_string<Args...> format, Args&&... args) {
  PrintText(stdout, Format(format, std::forward<Args>(args)...));
}

}  // namespace genview
