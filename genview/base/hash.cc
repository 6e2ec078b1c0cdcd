#define XXH_INLINE_ALL
#include "genview/base/hash.h"

#include <xxhash.h>

#include "genview/base/files.h"
#include "genview/base/text.h"

namespace genview {

uint64_t Hash64(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

static std::string Hex(XXH128_hash_t hash) { return Format("{:016x}{:016x}", hash.high64, hash.low64); }

std::string Fingerprint(std::string_view bytes) { return Hex(XXH3_128bits(bytes.data(), bytes.size())); }

std::string FingerprintFile(const std::filesystem::path& file) {
  const MappedFile mapped(file);
  return Fingerprint(mapped.text());
}

}  // namespace genview
