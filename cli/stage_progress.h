// Says which of a run's stages is being made: what a stage calls "pretrain" is shown as "[3/9] pretrain genview".
//
//   StageProgress progress(terminal, /*total=*/9);
//   progress.Enter("pretrain genview");          // each stage begins with it
#pragma once

#include <string>

#include "genview/base/forwarding_progress.h"

namespace genview {

class StageProgress : public ForwardingProgress {
 public:
  StageProgress(Progress& shown, int64_t total) : ForwardingProgress(shown), total_(total) {}

  void Enter(const std::string& name);
  // For stages that say nothing at their end.
  void Say(const std::string& summary);

  void Begin(std::string_view stage, int64_t total, std::string_view unit) override;

 private:
  int64_t total_, entered_ = 0;
  std::string name_;  // of the stage
};

}  // namespace genview
