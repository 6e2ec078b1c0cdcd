#include "cli/command.h"

#include <algorithm>

#include "cli/commands.h"
#include "genview/tensor/run_options.h"

namespace genview {
namespace {

constexpr Command kCommands[] = {
    {"run",
     "RECIPE.toml [--out DIR] [--set KEY=VALUE]... [--only STAGE,...] [--arms NAME,...] [--dry-run]",
     "all stages of a recipe in order; goes on where it was stopped",
     {"recipe"},
     RunFields,
     RunRun,
     true,
     "use a larger pretrain.accumulate, for frozen models a smaller --batch, or a smaller picture size"},
    {"dataset make",
     "shapes --out DIR [options]",
     "writes the built-in procedural images, and the truth about their foreground",
     {"kind"},
     DatasetMakeFields,
     RunDatasetMake},
    {"dataset pack",
     "IMAGES --out SHARDS [options]",
     "images as indexed tar shards",
     {"images"},
     DatasetPackFields,
     RunDatasetPack},
    {"features",
     "IMAGES --encoder ENCODER --out FILE.safetensors [--tokens]",
     "what an encoder makes of every picture, as one file; on a processor in fp32 unless --precision is given",
     {"images"},
     FeaturesFields,
     RunFeatures,
     true},
    {"foreground fit",
     "IMAGES --encoder ENCODER --out FG.safetensors [options]",
     "finds what tells foreground from background in an encoder's features",
     {"images"},
     ForegroundFitFields,
     RunForegroundFit},
    {"foreground score",
     "IMAGES --model FG.safetensors --encoder ENCODER --out RATIOS.tsv [options]",
     "foreground ratio and noise level of each image",
     {"images"},
     ForegroundScoreFields,
     RunForegroundScore,
     true},
    {"generator train",
     "RECIPE.toml --out DIR [--set KEY=VALUE]... [options]",
     "trains a generator of views on your own images, without labels",
     {"recipe"},
     GeneratorTrainFields,
     RunGeneratorTrain},
    {"generator tower",
     "RECIPE.toml [--set KEY=VALUE]... [options]",
     "trains a small CLIP image tower on the built-in procedural images",
     {"recipe"},
     GeneratorTowerFields,
     RunGeneratorTower},
    {"generator measure",
     "RECIPE.toml [--set KEY=VALUE]... [options]",
     "how many views of a generator keep the class of their image",
     {"recipe"},
     GeneratorMeasureFields,
     RunGeneratorMeasure},
    {"views",
     "IMAGES --generator GENERATOR --out DIR (--ratios FILE | --noise-level N | --policy constant|random) [options]",
     "generated views of images",
     {"images"},
     ViewsFields,
     RunViews,
     true},
    {"views verify",
     "FOLDER [--repair]",
     "whether a folder of views is what its manifest says",
     {"folder"},
     ViewsVerifyFields,
     RunViewsVerify},
    {"pretrain",
     "RECIPE.toml [--arm NAME] [--out DIR] [--set KEY=VALUE]...",
     "one pretraining run",
     {"recipe"},
     PretrainFields,
     RunPretrain,
     true,
     "use a larger pretrain.accumulate (--set pretrain.accumulate=2), or a smaller picture size"},
    {"eval linear",
     "--checkpoint FILE --train IMAGES --test IMAGES [options]",
     "scores a linear classifier on frozen features",
     {},
     EvalLinearFields,
     RunEvalLinear,
     false,
     "use a smaller --encode-batch"},
    {"eval knn",
     "--checkpoint FILE --train IMAGES --test IMAGES [options]",
     "scores the nearest neighbours by frozen features",
     {},
     EvalKnnFields,
     RunEvalKnn},
    {"eval finetune",
     "--checkpoint FILE --train IMAGES --test IMAGES [--fraction 0.01 | --list FILE] [options]",
     "scores the whole network after training on few labels",
     {},
     EvalFinetuneFields,
     RunEvalFinetune,
     false,
     "use a smaller --batch for the training, a smaller --encode-batch for the test"},
    {"eval fewshot",
     "--checkpoint FILE --train IMAGES --test IMAGES [options]",
     "scores few labelled pictures per class, drawn several times",
     {},
     EvalFewshotFields,
     RunEvalFewshot},
    {"export",
     "CHECKPOINT --layout torchvision|timm|transformers|transformers-4|mmpretrain|detectron2|mmdetection|moco --out "
     "FILE",
     "an encoder's weights as another library loads them",
     {"checkpoint"},
     ExportFields,
     RunExport},
    {"import",
     "FILE [--layout auto] --out FILE.safetensors [options]",
     "an encoder out of another library's weights file",
     {"file"},
     ImportFields,
     RunImport},
    {"report",
     "DIR... [--out report.html]",
     "one self-contained HTML page of one or several runs",
     {"runs"},
     ReportFields,
     RunReport},
    {"bench loader",
     "IMAGES [options]",
     "how many pictures a second are read and changed on this machine",
     {"images"},
     BenchLoaderFields,
     RunBenchLoader},
    {"bench step", "[options]", "how fast one pretraining step is on this machine", {}, BenchStepFields, RunBenchStep},
    {"bench features",
     "IMAGES --encoder ENCODER [options]",
     "how fast an encoder goes through pictures on this machine",
     {"images"},
     BenchFeaturesFields,
     RunBenchFeatures},
    {"bench views",
     "--generator GENERATOR [options]",
     "how fast views are generated on this machine",
     {},
     BenchViewsFields,
     RunBenchViews},
    {"bench linear",
     "[options]",
     "how fast linear classifiers on frozen features are trained on this machine",
     {},
     BenchLinearFields,
     RunBenchLinear},
    {"bench knn", "[options]", "how fast nearest neighbours vote on this machine", {}, BenchKnnFields, RunBenchKnn},
    {"inspect",
     "FILE",
     "what a weights file, checkpoint, list, table, shard or folder holds",
     {"file"},
     InspectFields,
     RunInspect},
    {"doctor",
     "",
     "versions, devices, threads, memory, and a small model on each device compared with the CPU",
     {},
     DoctorFields,
     RunDoctor},
};

}  // namespace

CommandTable AllCommands() { return {kCommands, std::size(kCommands)}; }

const Command* FindCommand(const std::vector<std::string>& words, size_t* taken) {
  for (const size_t count : {size_t{2}, size_t{1}}) {
    if (words.size() < count) continue;
    std::string name = words[0];
    if (count == 2) name.append(" ").append(words[1]);
    for (const Command& command : AllCommands()) {
      if (command.name == name) {
        *taken = count;
        return &command;
      }
    }
  }
  return nullptr;
}

std::vector<FieldInfo> FieldsOf(const Command& command) {
  std::vector<FieldInfo> fields = command.fields();
  const auto has = [&](std::string_view name) {
    return std::any_of(fields.begin(), fields.end(), [&](const FieldInfo& field) { return field.name == name; });
  };
  std::erase_if(fields,
                [&](const FieldInfo& field) { return field.name.starts_with("run.") && has(field.name.substr(4)); });
  return fields;
}

std::vector<FieldInfo> IdleFieldsOf(const Command& command) {
  std::vector<FieldInfo> idle = DescribeFields<RunOptions>({}, "run");
  const std::vector<FieldInfo> own = FieldsOf(command);
  std::erase_if(idle, [&](const FieldInfo& field) {
    return std::any_of(own.begin(), own.end(),
                       [&](const FieldInfo& other) { return FlagName(other.name) == FlagName(field.name); });
  });
  return idle;
}

std::string_view ToSaveMemory(const Command& command) {
  if (!command.to_save_memory.empty()) return command.to_save_memory;
  const std::vector<FieldInfo> own = FieldsOf(command);
  const bool batches =
      std::any_of(own.begin(), own.end(), [](const FieldInfo& field) { return FlagName(field.name) == "batch"; });
  return batches ? "use a smaller --batch or a smaller picture size" : "";
}

std::string FlagName(std::string_view field) {
  if (field.starts_with("run.")) field.remove_prefix(4);
  std::string flag(field);
  for (char& c : flag) {
    if (c == '.' || c == '_') c = '-';
  }
  return flag;
}

}  // namespace genview
