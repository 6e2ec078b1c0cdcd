// genview eval linear|knn|fewshot|finetune: how well an encoder, frozen or trained on, tells classes apart.
#include "cli/commands.h"
#include "cli/print.h"
#include "genview/eval/fewshot.h"
#include "genview/eval/finetune.h"
#include "genview/eval/knn.h"
#include "genview/eval/linear.h"

namespace genview {
namespace {

int PrintResult(const EvalResult& result, const Path& out) {
  Print("{} top-1 {:.2f}% ({:.2f} to {:.2f})", result.kind, result.top1, result.top1_low, result.top1_high);
  if (result.classes > 5) Print(", top-5 {:.2f}%", result.top5);
  Print(", {} images, {} classes ({} skipped)\n", result.images, result.classes, SkippedOf(result));
  if (!out.empty()) Print("{}\n", out.string());
  return kOk;
}

}  // namespace

std::vector<FieldInfo> EvalLinearFields() { return DescribeFields<LinearConfig>(); }

int RunEvalLinear(const Args& args, Progress& progress) {
  const auto config = ParseFields<LinearConfig>(args);
  return PrintResult(EvalLinear(config, progress), config.inputs.out);
}

std::vector<FieldInfo> EvalFinetuneFields() { return DescribeFields<FinetuneConfig>(); }

int RunEvalFinetune(const Args& args, Progress& progress) {
  const auto config = ParseFields<FinetuneConfig>(args);
  return PrintResult(EvalFinetune(config, progress), config.inputs.out);
}

std::vector<FieldInfo> EvalFewshotFields() { return DescribeFields<FewshotConfig>(); }

int RunEvalFewshot(const Args& args, Progress& progress) {
  const auto config = ParseFields<FewshotConfig>(args);
  return PrintResult(EvalFewshot(config, progress), config.inputs.out);
}

std::vector<FieldInfo> EvalKnnFields() { return DescribeFields<KnnConfig>(); }

int RunEvalKnn(const Args& args, Progress& progress) {
  const auto config = ParseFields<KnnConfig>(args);
  return PrintResult(EvalKnn(config, progress), config.inputs.out);
}

}  // namespace genview
