// The table of contents of a plain tar file (ustar, pax and GNU long names), so that every member can be read on its
// own.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace genview {

struct TarMember {
  std::string name;               // as written
  uint64_t offset = 0, size = 0;  // of its bytes; within the file
};

// Copies up to `size` bytes from `offset` on and returns how many there were.
using ReadAt = std::function<size_t(uint64_t offset, char* out, size_t size)>;

// The ordinary files in it, in order. `where` names the file in errors. Throws Error for what is not a tar file and for
// one that is damaged or cut off; memory is in proportion to the number of members.
std::vector<TarMember> IndexTar(const ReadAt& read, uint64_t file_size, const std::string& where);

}  // namespace genview
