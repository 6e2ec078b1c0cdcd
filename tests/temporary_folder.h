// A folder for a test, empty at first and gone with its owner.
#pragma once

#include <stdlib.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>

namespace genview {

class TemporaryFolder {
 public:
  // A name that nobody has: numbers of processes come again, and a killed test leaves its folder behind.
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "genview-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::generic_category(), name);
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;  // the test has said what it has to say
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace genview
