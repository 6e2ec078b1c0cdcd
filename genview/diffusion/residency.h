// Which of a pipeline's networks (image tower, text tower, UNet, autoencoder) are in memory.
#pragma once

#include "genview/base/fields.h"

namespace genview {

// All of them, or the one that is at work, so that the peak is that of the largest and not the sum. kAuto: all where
// they are small, or where a GPU has room.
enum class Residency { kAuto, kAll, kOne };

template <>
struct EnumNames<Residency> {
  static constexpr std::pair<Residency, const char*> kNames[] = {
      {Residency::kAuto, "auto"}, {Residency::kAll, "all"}, {Residency::kOne, "one"}};
};

}  // namespace genview
