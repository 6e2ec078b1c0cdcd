#include "genview/records/refuse_skipped.h"

#include "genview/base/error.h"
#include "genview/base/text.h"

namespace genview {

void RefuseSkipped(int64_t skipped, std::string_view what, const Path& list) {
  if (skipped == 0) return;
  throw Error({.what = Format("{} of the pictures for {} could not be read", skipped, what),
               .where = list.string(),
               .next = "mend or remove them; without --strict they are left out"});
}

}  // namespace genview
