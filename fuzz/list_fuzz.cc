#include "fuzz/inside.h"
#include "fuzz/try.h"
#include "genview/base/text.h"
#include "genview/data/source_parts.h"

// Lines of a list file, its braces and ids. What is accepted must stay inside any folder.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const std::string& line : genview::Split(text, '\n')) {
    genview::Try<genview::UsageError>([&] {
      const auto parts = genview::ParseListLine(line, "fuzz");
      if (parts && parts->path.empty()) __builtin_trap();
    });
    const std::string id = genview::SafeId(line);
    if (!genview::IsUtf8(id) || !genview::StaysInside(id)) __builtin_trap();
    genview::Try<genview::UsageError>([&] { (void)genview::ParseShapesSpec("shapes:" + line); });
    if (line.size() > 64) continue;  // ranges of a million names are allowed, but slow to fuzz
    genview::Try<genview::UsageError>([&] {
      if (line.find("..") == std::string::npos) (void)genview::ExpandBraces(line);
    });
  }
  return 0;
}
