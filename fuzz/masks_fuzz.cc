#include "fuzz/inside.h"
#include "fuzz/try.h"
#include "genview/data/masks.h"

// The index of a folder of masks. What is accepted stays inside the folder, and is the same when written and read
// again.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  genview::Try([&] {
    const genview::MaskIndex masks = genview::ParseMaskIndex(text, "fuzz");
    for (const auto& [id, mask] : masks) {
      if (id.empty() || !genview::StaysInside(mask)) __builtin_trap();
    }
    if (genview::ParseMaskIndex(genview::MaskIndexText(masks), "fuzz") != masks) __builtin_trap();
  });
  return 0;
}
