// Where the sources of this project lie, for tests that read their goldens. A function in place of a macro: the folder
// is then compiled into one small file, and a compiler cache can serve all others to any checkout.
#pragma once

#include <filesystem>

namespace genview {

const std::filesystem::path& SourceDir();

}  // namespace genview
