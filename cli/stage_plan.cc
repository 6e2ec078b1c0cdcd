#include "cli/stage_plan.h"

#include <algorithm>
#include <set>

#include "genview/data/source.h"

namespace genview {
namespace {

class Lister {
 public:
  Lister(const RunPlan& plan, const std::vector<std::string>& only) : plan_(plan), only_(only) {}

  std::vector<PlannedStage> List() {
    if (!only_.empty() && Allowed("foreground")) Score();
    for (const ArmPlan& arm : plan_.arms) {
      if (!only_.empty() && !Allowed("pretrain") && !Allowed("eval")) {
        if (arm.views.empty()) continue;
        if (Allowed("views")) Views(arm);
        else if (Allowed("generator")) (void)Generator(arm.recipe.views.config.generator.string());
        continue;
      }
      for (const uint64_t seed : plan_.seeds) {
        Pretrain(arm, seed);
        if (Allowed("eval")) Evaluate(arm, seed);
      }
    }
    if (Allowed("gallery")) Gallery();
    return std::move(stages_);
  }

 private:
  using Inputs = std::vector<StageInput>;

  bool Allowed(std::string_view stage) const {
    return only_.empty() || std::find(only_.begin(), only_.end(), stage) != only_.end();
  }
  bool Begin(const std::string& name) { return seen_.insert(name).second; }
  void Add(const std::string& name, Path output, Inputs inputs) {
    std::erase_if(inputs, [](const StageInput& input) { return input.value.empty(); });
    stages_.push_back({name, std::move(output), std::move(inputs)});
  }
  StageInput Train() const { return {"data.train", plan_.recipe.data.train}; }

  // An encoder that the run trains is a stage, and no input.
  StageInput Encoder(const std::string& key, const std::string& text) {
    const ArmPlan* arm = EncoderArm(plan_, text);
    if (arm == nullptr) return {key, text};
    Pretrain(*arm, plan_.seeds.front());
    return {key, ""};
  }
  StageInput ForegroundEncoder() { return Encoder("foreground.encoder", plan_.recipe.foreground.encoder); }

  void Fit() {
    if (!Begin("foreground fit")) return;
    Inputs inputs = {
        Train(), ForegroundEncoder(), {"foreground.component", plan_.recipe.foreground.fit.component.string()}};
    Add("foreground fit", plan_.folder / "foreground" / "model.safetensors", std::move(inputs));
  }

  void Score() {
    if (!Begin("foreground score")) return;
    Fit();
    Add("foreground score", plan_.folder / "foreground" / "ratios.tsv", {Train(), ForegroundEncoder()});
  }

  void QualityFit(const ArmPlan& arm, const std::string& encoder) {
    if (encoder == plan_.recipe.foreground.encoder) return Fit();
    const Path out = QualityModelFile(plan_, encoder);
    if (!Begin(out.string())) return;
    Inputs inputs = {Train(), Encoder("pretrain.quality.encoder", encoder)};
    Add(Format("foreground fit for {}", arm.name), out, std::move(inputs));
  }

  StageInput Generator(const std::string& text) {
    if (!text.empty() && text != "train") return {"views.generator", text};
    if (!Begin("generator")) return {};
    const GeneratorConfig& config = plan_.recipe.generator.config;
    Inputs inputs = {
        config.images.empty() ? Train() : StageInput{"generator.images", config.images},
        Encoder(config.encoder.empty() ? "foreground.encoder" : "generator.encoder", GeneratorEncoder(plan_))};
    Add("generator", plan_.folder / "generator" / "model_index.json", std::move(inputs));
    return {};
  }

  void Views(const ArmPlan& arm) {
    if (!Begin(arm.views)) return;
    const ViewsConfig& config = arm.recipe.views.config;
    if (config.policy == NoisePolicy::kAdaptive) Score();
    Inputs inputs = {Train(), Generator(config.generator.string())};
    Add(ViewsStageName(arm), plan_.folder / arm.views / "manifest.jsonl", std::move(inputs));
  }

  void Pretrain(const ArmPlan& arm, uint64_t seed) {
    const std::string name = StageName(plan_, "pretrain", arm, seed);
    if (!Begin(name)) return;
    const PretrainConfig& own = arm.recipe.pretrain.config;
    Inputs inputs = {Train(), {"pretrain.init", own.init}};
    if (own.pair.source != PairSource::kAugment) {
      if (!arm.views.empty()) Views(arm);
      inputs.push_back({"pretrain.pair.views", own.pair.views});
    }
    if (own.crop.rule.draw != CropDraw::kAnywhere) {
      if (own.crop.masks.empty()) Score();
      inputs.push_back({"pretrain.crop.masks", own.crop.masks});
    }
    if (own.quality.enabled) {
      const bool shared = own.quality.encoder.empty();
      const std::string encoder = shared ? plan_.recipe.foreground.encoder : own.quality.encoder;
      if (own.quality.foreground.empty()) QualityFit(arm, encoder);
      inputs.push_back(Encoder(shared ? "foreground.encoder" : "pretrain.quality.encoder", encoder));
      inputs.push_back({"pretrain.quality.foreground", own.quality.foreground});
    }
    Add(name, EncoderFile(plan_, arm, seed), std::move(inputs));
  }

  void Evaluate(const ArmPlan& arm, uint64_t seed) {
    if (plan_.recipe.data.test.empty()) return;
    const EvalSection& eval = arm.recipe.eval;
    const auto add = [&](const char* kind, const auto& part, const std::string& list) {
      const Path out = ArmFolder(plan_, arm, seed) / "eval" / Format("{}.json", kind);
      if (part.enabled)
        Add(StageName(plan_, Format("eval {}", kind), arm, seed), out,
            {Train(), {"data.test", plan_.recipe.data.test}, {"eval.finetune.list", list}});
    };
    add("linear", eval.linear, "");
    add("knn", eval.knn, "");
    add("fewshot", eval.fewshot, "");
    add("finetune", eval.finetune, eval.finetune.config.list.string());
  }

  void Gallery() {
    bool adaptive = false, weighs = false;
    for (const ArmPlan& arm : plan_.arms) {
      adaptive = adaptive || (!arm.views.empty() && arm.recipe.views.config.policy == NoisePolicy::kAdaptive);
      weighs = weighs || arm.recipe.pretrain.config.quality.enabled;
    }
    if (!adaptive && !weighs) return;
    if (adaptive) Score();
    for (const ArmPlan& arm : plan_.arms) {
      if (arm.views.empty() || (adaptive && arm.recipe.views.config.policy != NoisePolicy::kAdaptive)) continue;
      Views(arm);
      break;
    }
    Add("gallery", plan_.folder / "gallery" / "gallery.json", {Train()});
  }

  const RunPlan& plan_;
  const std::vector<std::string>& only_;
  std::set<std::string> seen_;
  std::vector<PlannedStage> stages_;
};

bool IsImages(const std::string& key) { return key == "data.train" || key == "data.test" || key == "generator.images"; }

void CheckFile(const StageInput& input) {
  std::error_code code;
  const Path path = input.value;
  const auto refuse = [&](const std::string& what, const std::string& next) {
    throw UsageError({.what = what, .where = Format("recipe, key `{}`", input.key), .next = next});
  };
  if (!std::filesystem::exists(path, code)) {
    refuse(Format("`{}` is not there", input.value),
           "check the path; it is looked for from here and beside the recipe");
  }
  if (input.key == "views.generator" && !std::filesystem::exists(path / "model_index.json", code)) {
    refuse(Format("`{}` is no generator: it has no model_index.json", input.value),
           "name the folder of a diffusers pipeline, or \"train\"");
  }
}

}  // namespace

std::string StageName(const RunPlan& plan, std::string_view stage, const ArmPlan& arm, uint64_t seed) {
  return plan.seeds.size() > 1 ? Format("{} {} seed {}", stage, arm.name, seed) : Format("{} {}", stage, arm.name);
}

std::string ViewsStageName(const ArmPlan& arm) {
  return arm.views == "views" ? "views" : Format("views {}", arm.views.substr(sizeof("views-") - 1));
}

std::vector<PlannedStage> StagesOf(const RunPlan& plan, const std::vector<std::string>& only) {
  return Lister(plan, only).List();
}

bool AsksForScores(const RunPlan& plan) {
  return std::any_of(plan.arms.begin(), plan.arms.end(), [](const ArmPlan& arm) {
    const EvalSection& eval = arm.recipe.eval;
    return eval.linear.enabled || eval.knn.enabled || eval.fewshot.enabled || eval.finetune.enabled;
  });
}

void CheckInputs(const RunPlan& plan, const std::vector<std::string>& only) {
  std::set<std::string> seen;
  bool scores = false;
  for (const PlannedStage& stage : StagesOf(plan, only)) {
    scores = scores || stage.name.starts_with("eval ");
    for (const StageInput& input : stage.inputs) {
      if (!seen.insert(Format("{}\n{}", input.key, input.value)).second) continue;
      if (IsImages(input.key)) (void)OpenSource(input.value);
      else CheckFile(input);
    }
  }
  if (scores && !plan.recipe.data.train.empty()) CheckClasses(plan.recipe.data.train, plan.recipe.data.test);
}

}  // namespace genview
