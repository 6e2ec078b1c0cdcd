#include "cli/stage_progress.h"

#include <algorithm>

#include "genview/base/text.h"

namespace genview {

void StageProgress::Enter(const std::string& name) {
  ++entered_;
  name_ = name;
}

void StageProgress::Say(const std::string& summary) {
  Begin(name_, 0, "");
  End(summary);
}

void StageProgress::Begin(std::string_view stage, int64_t total, std::string_view unit) {
  const bool whole = name_.empty() || name_.starts_with(stage);  // else a part of the stage
  const std::string shown = name_.empty() ? std::string(stage) : whole ? name_ : Format("{}, {}", name_, stage);
  ForwardingProgress::Begin(entered_ > 0 ? Format("[{}/{}] {}", entered_, std::max(entered_, total_), shown) : shown,
                            total, unit);
}

}  // namespace genview
