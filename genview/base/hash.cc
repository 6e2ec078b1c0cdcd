#define XXH_INLINE_ALL
#include "genview/base/hash.h"

#include <sys/mman.h>
#include <xxhash.h>

#include <algorithm>

#include "genview/base/files.h"
#include "genview/base/text.h"

namespace genview {

uint64_t Hash64(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

static std::string Hex(XXH128_hash_t hash) { return Format("{:016x}{:016x}", hash.high64, hash.low64); }

std::string Fingerprint(std::string_view bytes) { return Hex(XXH3_128bits(bytes.data(), bytes.size())); }

std::string FingerprintFile(const std::filesystem::path& file) {
  const MappedFile mapped(file);
  constexpr uint64_t kPiece = uint64_t{16} << 20;  // a multiple of every page size
  if (mapped.size() <= kPiece) return Fingerprint(mapped.text());
  // Piece by piece, each given back after it has been read: a file of weights is as large as all else that is in
  // memory.
  XXH3_state_t* state = XXH3_createState();
  XXH3_128bits_reset(state);
  for (uint64_t begin = 0; begin < mapped.size(); begin += kPiece) {
    const uint64_t size = std::min(kPiece, mapped.size() - begin);
    XXH3_128bits_update(state, mapped.data() + begin, size);
    (void)::madvise(const_cast<uint8_t*>(mapped.data() + begin), size, MADV_DONTNEED);  // read-only pages of a file
  }
  const XXH128_hash_t hash = XXH3_128bits_digest(state);
  XXH3_freeState(state);
  return Hex(hash);
}

}  // namespace genview
