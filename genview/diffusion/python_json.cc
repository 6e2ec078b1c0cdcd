#include "genview/diffusion/python_json.h"

#include <array>

namespace genview {

std::string WithoutPythonNumbers(std::string_view text) {
  constexpr std::array<std::string_view, 3> kWords{"-Infinity", "Infinity", "NaN"};
  std::string result;
  result.reserve(text.size());
  bool in_string = false;
  for (size_t i = 0; i < text.size();) {
    if (!in_string) {
      bool replaced = false;
      for (const std::string_view word : kWords) {
        if (text.substr(i, word.size()) != word) continue;
        result += "null";
        i += word.size();
        replaced = true;
        break;
      }
      if (replaced) continue;
    }
    if (in_string && text[i] == '\\' && i + 1 < text.size()) result += text[i++];  // the next one is no end
    else if (text[i] == '"') in_string = !in_string;
    result += text[i++];
  }
  return result;
}

Json ReadPythonJson(const Path& path) {
  return ParseJson(WithoutPythonNumbers(ReadFile(path, uint64_t{1} << 24)), path.string());
}

}  // namespace genview
