// Fingerprints (XXH3, through libxxhash's header): for change detection and seeds, not for security.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace genview {

uint64_t Hash64(std::string_view bytes);
std::string Fingerprint(std::string_view bytes);                 // 32 hex digits (XXH3, 128 bits)
std::string FingerprintFile(const std::filesystem::path& file);  // of its contents; throws Error if unreadable

}  // namespace genview
