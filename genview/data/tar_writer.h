// The pieces of a tar file: TarHeader(name, size), the bytes, TarPadding(size), next member, and TarEnd() at the end.
// Owner, time and rights are fixed, so that the same pictures give the same bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace genview {

std::string TarHeader(std::string_view name, uint64_t size);  // with a pax record before it for what does not fit
std::string TarPadding(uint64_t size);                        // zeros up to the next block of 512
std::string TarEnd();

}  // namespace genview
