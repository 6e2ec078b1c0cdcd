// JSON as Python's json module writes it: with -Infinity, Infinity and NaN, which are not JSON. They are read as null,
// which every reader here takes for "the default" (the only member of diffusers' files that holds one has it as
// default).
#pragma once

#include "genview/base/json.h"

namespace genview {

Json ReadPythonJson(const Path& path);                    // throws Error
std::string WithoutPythonNumbers(std::string_view text);  // outside of strings: null in place of the three

}  // namespace genview
