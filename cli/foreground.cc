// genview foreground fit|score: where the foreground of pictures is, and how much of it there is.
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/tasks.h"
#include "genview/foreground/fit.h"
#include "genview/foreground/score.h"

namespace genview {

std::vector<FieldInfo> ForegroundFitFields() { return DescribeFields<FitConfig>(); }

int RunForegroundFit(const Args& args, Progress& progress) {
  const auto config = ParseFields<FitConfig>(args);
  const FitSummary done = FitForeground(config, progress);
  Print("{}: threshold {:.5g}, {:.0f}% of the variance, from {} images ({} skipped)\n", config.out.string(),
        done.threshold, 100 * done.variance_share, done.images, done.skipped);
  return kOk;
}

std::vector<FieldInfo> ForegroundScoreFields() { return DescribeFields<ScoreConfig>(); }

int RunForegroundScore(const Args& args, Progress& progress) {
  const auto config = ParseFields<ScoreConfig>(args);
  const ScoreSummary done = Shared(*args.group, progress, config);
  Print("{}: {} images ({} skipped), {:.1f}% foreground on the mean\n", config.out.string(), done.images, done.skipped,
        100 * done.mean_ratio);
  for (const auto& [level, images] : done.per_level) Print("  level {:<4} {} images\n", level, images);
  if (done.truth_overlap)
    Print("  overlap with the true masks {:.3f} (mean IoU of {} images)\n", *done.truth_overlap, done.with_truth);
  if (done.truth_spearman) Print("  ratio against the true share {:.3f} (Spearman)\n", *done.truth_spearman);
  return kOk;
}

}  // namespace genview
