// The program without its `main`, so that tests can call it: words in, exit code out.
#pragma once

#include <string>
#include <vector>

namespace genview {

// Results go to stdout, progress and errors to stderr. `words`: without the program's name.
int RunProgram(const std::vector<std::string>& words);

}  // namespace genview
