#include "tests/source_dir.h"

namespace genview {

const std::filesystem::path& SourceDir() {
  static const std::filesystem::path folder = GENVIEW_SOURCE_DIR;
  return folder;
}

}  // namespace genview
