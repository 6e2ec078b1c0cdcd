// genview eval linear|knn|fewshot|finetune: how well an encoder, frozen or trained on, tells classes apart.
#include <utility>

#include "cli/args.h"
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

// Of an evaluation whose --batch is that of its training: the batch of frozen models, --batch elsewhere, by another
// name.
template <class Config>
struct WithTraining {
  Config config;
  int64_t encode_batch = 0;
};
template <class Config, class Visit>
void VisitFields(WithTraining<Config>& c, Visit&& visit) {
  VisitFields(c.config, visit);
  visit("encode_batch", c.encode_batch, RangeOrAuto<int64_t>{{0, 1 << 20}},
        "images per step of the encoder where it is not trained; 0 = chosen for this machine");
}

// `--batch auto` is the training's own batch.
template <class Config>
Config ParseWithTraining(Args args) {
  const auto batch = args.values.find("batch");
  if (batch != args.values.end() && *batch == "auto") args.values.erase(batch);
  auto given = ParseFields<WithTraining<Config>>(args);
  given.config.inputs.run.batch = given.encode_batch;
  return std::move(given.config);
}

}  // namespace

std::vector<FieldInfo> EvalLinearFields() { return DescribeFields<WithTraining<LinearConfig>>(); }

int RunEvalLinear(const Args& args, Progress& progress) {
  const auto config = ParseWithTraining<LinearConfig>(args);
  return PrintResult(EvalLinear(config, progress), config.inputs.out);
}

std::vector<FieldInfo> EvalFinetuneFields() { return DescribeFields<WithTraining<FinetuneConfig>>(); }

int RunEvalFinetune(const Args& args, Progress& progress) {
  const auto config = ParseWithTraining<FinetuneConfig>(args);
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
