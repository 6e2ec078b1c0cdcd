// Under --strict a result that is there already is refused, as making it would have been, when pictures are missing
// from it.
//
//   if (config.run.strict) RefuseSkipped(summary.skipped, "these features", folder / "skipped.tsv");
#pragma once

#include <string_view>

#include "genview/base/files.h"

namespace genview {

// Throws Error when skipped > 0. what: "these features"; list: where the pictures are named.
void RefuseSkipped(int64_t skipped, std::string_view what, const Path& list);

}  // namespace genview
