#include "cli/stage_plan.h"

#include <algorithm>
#include <set>

#include "cli/gallery.h"
#include "cli/tasks.h"
#include "genview/base/error.h"
#include "genview/data/source.h"
#include "genview/diffusion/generator_files.h"
#include "genview/eval/evaluation.h"
#include "genview/models/encoder.h"
#include "genview/report/scores.h"

namespace genview {
namespace {

// Raised when what a stage computes changes, so that runs made before are made again.
constexpr int64_t kFitVersion = 1, kScoreVersion = 1, kGeneratorVersion = 1, kViewsVersion = 1, kPretrainVersion = 1,
                  kEvalVersion = 2, kFewLabelsVersion = 3, kFewshotVersion = 3, kFinetuneVersion = 3,
                  kGalleryVersion = 3;

[[noreturn]] void NotSet(const std::string& key, const std::string& next) {
  throw UsageError({.what = Format("`{}` is not set", key), .where = Format("recipe, key `{}`", key), .next = next});
}

// A key that came later says nothing at its default: views made before stay.
Json SettingsOfViews(const ViewsSection& views) {
  Json json = FieldsToJson(views);
  if (views.config.curve == 0) json.erase("curve");
  return json;
}

// Under the name that the key had before: generators made then stay made.
Json SettingsOfGenerator(const GeneratorSection& generator) {
  const Json fields = FieldsToJson(generator);
  Json json;
  for (const auto& [key, value] : fields.items()) json[key == "weights" ? "precision" : key] = value;
  return json;
}

// skipped.tsv of that folder is the score's, of all pictures.
Path SkippedOfFit(const Path& model) { return model.parent_path() / Format("{}-skipped.tsv", model.stem().string()); }

// Of a folder of views the list of them, which says what is in their files.
std::string ManifestOf(const std::string& views) {
  return std::filesystem::is_directory(views) ? (Path(views) / "manifest.jsonl").string() : views;
}

// Of stages that count skipped images apart.
template <class Summary>
StageCounts ImagesOf(const Summary& done) {
  return {"images", done.images + done.skipped, done.images, done.skipped};
}

int64_t VersionOf(const LinearConfig& c) { return c.inputs.fraction < 1 ? kFewLabelsVersion : kEvalVersion; }
int64_t VersionOf(const KnnConfig&) { return kEvalVersion; }
int64_t VersionOf(const FewshotConfig&) { return kFewshotVersion; }
int64_t VersionOf(const FinetuneConfig&) { return kFinetuneVersion; }

EvalResult Evaluate(const LinearConfig& config, Progress& progress) { return EvalLinear(config, progress); }
EvalResult Evaluate(const KnnConfig& config, Progress& progress) { return EvalKnn(config, progress); }
EvalResult Evaluate(const FewshotConfig& config, Progress& progress) { return EvalFewshot(config, progress); }
EvalResult Evaluate(const FinetuneConfig& config, Progress& progress) { return EvalFinetune(config, progress); }

class Planner {
 public:
  Planner(const RunPlan& plan, const std::vector<std::string>& only, bool side_by_side)
      : plan_(plan), only_(only), side_by_side_(side_by_side) {}

  std::vector<PlannedStage> List() {
    const bool trains = Allowed("pretrain") || Allowed("eval");
    if (!only_.empty() && Allowed("foreground")) (void)Ratios();
    // What --only leaves out and would have to be made again is found before the first arm is trained.
    const std::vector<const ArmPlan*> arms = plan_.Chosen();
    for (const ArmPlan* arm : arms) {
      if (Allowed("pretrain") && (side_by_side_ || !only_.empty())) (void)PretrainInputs(*arm);
    }
    for (const ArmPlan* arm : arms) {
      for (const uint64_t seed : plan_.seeds) {
        if (trains) (void)Pretrained(*arm, seed);
        if (Allowed("eval") && !side_by_side_) Scores(*arm, seed);
      }
      if (trains || arm->views.empty()) continue;
      if (Allowed("views")) (void)Views(*arm);
      else if (Allowed("generator")) (void)Generator(arm->recipe.views.config.generator.string());
    }
    for (const ArmPlan* arm : arms) {
      for (const uint64_t seed : plan_.seeds) {
        if (Allowed("eval") && side_by_side_) Scores(*arm, seed);
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

  // False where the stage is in the list already.
  bool Begin(const std::string& stage) {
    if (begun_.insert(stage).second) return true;
    if (std::any_of(stages_.begin(), stages_.end(), [&](const PlannedStage& known) { return known.name == stage; }))
      return false;
    throw UsageError({.what = Format("`{}` would need what it is made for", stage),
                      .where = "recipe, keys `foreground.encoder`, `generator.encoder`, `pretrain.quality.encoder`",
                      .next = "take the encoder of an arm that uses augmented pictures alone"});
  }

  StageInput Train() const { return {"data", plan_.recipe.data.train, "data.train", "", InputKind::kPictures}; }

  // Each plans what it is named after, once, after what that needs, and says where it will be.

  StageInput Encoder(const std::string& name, const std::string& key, const std::string& text) {
    if (text.empty())
      NotSet("foreground.encoder", "name an encoder folder or checkpoint, or arm:NAME for one that this run trains");
    const ArmPlan* arm = EncoderArm(plan_, text);
    if (arm == nullptr) return {name, text, key, "", InputKind::kEncoder};
    StageInput trained = Pretrained(*arm, plan_.seeds.front());
    trained.name = name;
    return trained;
  }

  // The first, chosen or not, whose quality has this encoder of its own.
  std::string FirstArmThatWeighsBy(const std::string& encoder) const {
    const auto first = std::find_if(plan_.arms.begin(), plan_.arms.end(), [&](const ArmPlan& arm) {
      const QualityConfig& quality = arm.recipe.pretrain.config.quality;
      return quality.enabled && quality.foreground.empty() && quality.encoder == encoder;
    });
    GENVIEW_CHECK(first != plan_.arms.end(), "an arm asks for the foreground model of its own encoder");
    return first->name;
  }

  // Of the run's encoder, or of one that an arm's quality has of its own; that stage is named after the first such arm.
  StageInput ForegroundModel(const std::string& encoder) {
    const ForegroundSection& asked = plan_.recipe.foreground;
    const bool own = encoder != asked.encoder;
    FitConfig config = asked.fit;
    config.out = QualityModelFile(plan_, encoder);
    const StageInput made = {"model", config.out.string(), "",
                             own ? Format("foreground fit for {}", FirstArmThatWeighsBy(encoder)) : "foreground fit"};
    if (!Begin(made.stage)) return made;
    Inputs inputs = {Train(), Encoder("encoder", own ? "pretrain.quality.encoder" : "foreground.encoder", encoder)};
    Json settings = FieldsToJson(asked);
    if (own) {
      config.component.clear();
      settings.erase("component");
    }
    if (!config.component.empty()) inputs.push_back({"component", config.component.string(), "foreground.component"});
    config.images = plan_.recipe.data.train;
    config.encoder = inputs[1].value;
    config.skipped = SkippedOfFit(config.out);
    config.run = plan_.recipe.run;
    stages_.push_back(
        {.name = made.stage,
         .version = kFitVersion,
         .settings = SettingsOf(std::move(settings), config.run),
         .inputs = std::move(inputs),
         .outputs = {config.out},
         .owned = {},
         .places = {"encoder", "component"},
         .work = [config](Group&, StageProgress& progress) { return ImagesOf(FitForeground(config, progress)); }});
    return made;
  }

  StageInput Ratios() {
    const Path folder = plan_.folder / "foreground";
    const StageInput made = {"ratios", (folder / "ratios.tsv").string(), "", "foreground score"};
    if (!Begin(made.stage)) return made;
    const std::string& encoder = plan_.recipe.foreground.encoder;
    const StageInput model = ForegroundModel(encoder), seen_by = Encoder("encoder", "foreground.encoder", encoder);
    ScoreConfig config;
    config.images = plan_.recipe.data.train;
    config.model = model.value;
    config.encoder = seen_by.value;
    config.out = made.value;
    config.masks = folder / "masks";
    config.skipped = folder / "skipped.tsv";
    config.levels = plan_.recipe.views.config.levels;
    config.run = plan_.recipe.run;
    stages_.push_back({.name = made.stage,
                       .version = kScoreVersion,
                       .settings = SettingsOf({{"levels", config.levels}}, config.run),
                       .inputs = {Train(), seen_by, model},
                       .outputs = {config.out, config.masks},
                       .owned = {},
                       .work = [config](Group& group, StageProgress& progress) {
                         return ImagesOf(Shared(group, progress, config));
                       }});
    return made;
  }

  StageInput Generator(const std::string& text) {
    if (!text.empty() && text != "train") return {"generator", text, "views.generator", "", InputKind::kGenerator};
    const Path out = plan_.folder / "generator";
    const StageInput made = {"generator", out.string(), "", "generator", InputKind::kGenerator};
    if (!Begin(made.stage)) return made;
    const GeneratorConfig& own = plan_.recipe.generator.config;
    StageInput images = Train();
    if (!own.images.empty()) images = {"data", own.images, "generator.images", "", InputKind::kPictures};
    const StageInput encoder =
        Encoder("encoder", own.encoder.empty() ? "foreground.encoder" : "generator.encoder", GeneratorEncoder(plan_));
    const GeneratorConfig config = GeneratorConfigOf(plan_, out);
    stages_.push_back(
        {.name = made.stage,
         .version = kGeneratorVersion,
         .settings = SettingsOf(SettingsOfGenerator(plan_.recipe.generator), config.run),
         .inputs = {images, encoder},
         .outputs = {out / "model_index.json"},
         .owned = {out},
         .cleared_by = std::vector<std::string>{},  // its checkpoints say what they are of
         .places = {"images", "encoder", "autoencoder.training.save_every", "autoencoder.training.log_every",
                    "denoiser.training.save_every", "denoiser.training.log_every"},
         .work = [config](Group&, StageProgress& progress) {
           return ImagesOf(TrainGenerator(config, progress, OtherTraining::kMovedAside));
         }});
    return made;
  }

  StageInput Views(const ArmPlan& arm) {
    const Path out = plan_.folder / arm.views;
    const std::string stage =
        arm.views == "views" ? "views" : Format("views {}", arm.views.substr(sizeof("views-") - 1));
    const StageInput made = {"views", (out / "manifest.jsonl").string(), "", stage};
    if (!Begin(stage)) return made;
    ViewsConfig config = arm.recipe.views.config;
    Inputs inputs = {Train()};
    if (config.policy == NoisePolicy::kAdaptive) {
      inputs.push_back(Ratios());
      config.ratios = inputs.back().value;
    }
    inputs.push_back(Generator(config.generator.string()));
    config.generator = inputs.back().value;
    config.forget = true;  // the folder is the run's own
    config.images = plan_.recipe.data.train;
    config.out = out;
    config.run = plan_.recipe.run;
    stages_.push_back({.name = stage,
                       .version = kViewsVersion,
                       .settings = SettingsOf(SettingsOfViews(arm.recipe.views), config.run),
                       .inputs = std::move(inputs),
                       .outputs = {out / "manifest.jsonl"},
                       .owned = {out},
                       // Rows say what else their views are of. A picture of another source may be older than its view.
                       .cleared_by = std::vector<std::string>{"data"},
                       .places = {"generator", "keep"},
                       .work = [config](Group& group, StageProgress& progress) {
                         const ViewsSummary done = Shared(group, progress, config);
                         return StageCounts{"views", done.asked, done.written, done.asked - done.written};
                       }});
    return made;
  }

  Inputs PretrainInputs(const ArmPlan& arm) {
    const PretrainConfig config = PretrainConfigOf(plan_, arm, plan_.seeds.front()), &own = arm.recipe.pretrain.config;
    Inputs inputs = {Train()};
    if (!own.init.empty()) inputs.push_back({"init", own.init, "pretrain.init"});
    if (own.pair.source != PairSource::kAugment) {
      inputs.push_back(!arm.views.empty() ? Views(arm)
                                          : StageInput{"views", ManifestOf(own.pair.views), "pretrain.pair.views"});
    }
    if (own.crop.rule.draw != CropDraw::kAnywhere) {
      inputs.push_back(own.crop.masks.empty() ? StageInput{"masks", config.crop.masks, "", Ratios().stage}
                                              : StageInput{"masks", own.crop.masks, "pretrain.crop.masks"});
    }
    if (own.quality.enabled) {
      const bool shared = own.quality.encoder.empty();
      const std::string& encoder = shared ? plan_.recipe.foreground.encoder : own.quality.encoder;
      StageInput model = own.quality.foreground.empty()
                             ? ForegroundModel(encoder)
                             : StageInput{"", own.quality.foreground, "pretrain.quality.foreground"};
      model.name = "quality model";
      inputs.push_back(std::move(model));
      inputs.push_back(Encoder("quality encoder", shared ? "foreground.encoder" : "pretrain.quality.encoder", encoder));
    }
    return inputs;
  }

  StageInput Pretrained(const ArmPlan& arm, uint64_t seed) {
    const Path out = EncoderFile(plan_, arm, seed);
    const StageInput made = {"checkpoint", out.string(), "", StageName(plan_, "pretrain", arm, seed)};
    if (!Begin(made.stage)) return made;
    Inputs inputs = PretrainInputs(arm);
    const PretrainConfig config = PretrainConfigOf(plan_, arm, seed);
    stages_.push_back(
        {.name = made.stage,
         .version = kPretrainVersion,
         .settings = SettingsOf(WhatIsComputed(Resolved(config)), config.run),
         .inputs = std::move(inputs),
         .outputs = {out},
         .owned = {out},
         .keeps_sizes = true,
         .work = [config](Group& group, StageProgress& progress) { return CountsOf(Shared(group, progress, config)); },
         .pretraining = config});
    return made;
  }

  void Scores(const ArmPlan& arm, uint64_t seed) {
    const DataSection& data = plan_.recipe.data;
    if (data.test.empty()) return;
    const StageInput checkpoint = Pretrained(arm, seed);
    const Path cache = plan_.folder / "state" / "features";
    const size_t before = stages_.size();
    VisitScores(arm.recipe.eval, [&](const char* kind, const auto& part) {
      if (!part.enabled) return;
      auto config = part.config;
      config.inputs.train = data.train;
      config.inputs.test = data.test;
      config.inputs.checkpoint = checkpoint.value;
      config.inputs.out = ScoreFile(plan_, arm, seed, kind);
      config.inputs.cache = cache;
      config.inputs.run = plan_.recipe.run;
      config.inputs.run.seed = seed;
      Inputs inputs = {{"train", data.train, "data.train", "", InputKind::kPictures},
                       {"test", data.test, "data.test", "", InputKind::kPictures},
                       checkpoint};
      if constexpr (requires { config.list; }) {
        if (!config.list.empty()) inputs.push_back({"list", config.list.string(), "eval.finetune.list"});
      }
      stages_.push_back({.name = StageName(plan_, Format("eval {}", kind), arm, seed),
                         .version = VersionOf(config),
                         .settings = SettingsOf(FieldsToJson(part), config.inputs.run),
                         .inputs = std::move(inputs),
                         .outputs = {config.inputs.out},
                         .owned = {config.inputs.out},
                         .places = PlacesOfScores(),
                         .keeps_sizes = true,
                         .work = [config](Group&, StageProgress& progress) {
                           const EvalResult result = Evaluate(config, progress);
                           const int64_t skipped = SkippedOf(result);
                           progress.Say(
                               Format("top-1 {:.2f}% of {} images, {} skipped", result.top1, result.images, skipped));
                           return StageCounts{"images", result.images + skipped, result.images, skipped};
                         }});
    });
    // Features of one checkpoint are of no use to the next.
    if (stages_.size() > before) stages_.back().scratch = cache;
  }

  // What the arms did not need is not made for the report alone.
  void Gallery() {
    const auto first = [&](auto&& wanted) {
      const std::vector<const ArmPlan*> arms = plan_.Chosen();
      const auto arm = std::find_if(arms.begin(), arms.end(), [&](const ArmPlan* each) { return wanted(*each); });
      return arm == arms.end() ? nullptr : *arm;
    };
    const ArmPlan* adaptive = first([](const ArmPlan& arm) {
      return !arm.views.empty() && arm.recipe.views.config.policy == NoisePolicy::kAdaptive;
    });
    const ArmPlan* weighs = first([](const ArmPlan& arm) { return arm.recipe.pretrain.config.quality.enabled; });
    if (adaptive == nullptr && weighs == nullptr) return;
    const ArmPlan* shown =
        adaptive != nullptr ? adaptive : first([](const ArmPlan& arm) { return !arm.views.empty(); });
    const ReportSection& asked = plan_.recipe.report;
    const Path out = plan_.folder / "gallery";
    GalleryConfig config;
    config.images = plan_.recipe.data.train;
    config.pictures = asked.pictures;
    config.pairs = asked.pairs;
    config.likeness = asked.likeness;
    config.out = out;
    config.run = plan_.recipe.run;
    Inputs inputs = {Train()};
    if (adaptive != nullptr) {
      inputs.push_back(Ratios());
      config.ratios = inputs.back().value;
      config.masks = config.ratios.parent_path() / "masks";
    }
    if (weighs != nullptr) {
      for (StageInput& input : PretrainInputs(*weighs)) inputs.push_back(std::move(input));
      config.pairs_of = PretrainConfigOf(plan_, *weighs, plan_.seeds.front());
      config.arm = weighs->name;
    }
    if (shown != nullptr) {
      const ViewsConfig& views = shown->recipe.views.config;
      inputs.push_back(Views(*shown));
      config.views = plan_.folder / shown->views;
      config.generator = Generator(views.generator.string()).value;
      config.levels = views.levels;
      config.steps = views.steps;
      config.guidance = views.guidance;
      config.scheduler = views.scheduler;
      config.prompt = views.prompt;
      config.negative_prompt = views.negative_prompt;
      if (const std::string& encoder = plan_.recipe.foreground.encoder; config.likeness > 0 && !encoder.empty()) {
        inputs.push_back(Encoder("encoder", "foreground.encoder", encoder));
        config.encoder = inputs.back().value;
      }
    }
    Json settings = FieldsToJson(asked);
    settings["levels"] = config.levels;
    for (const auto& [key, text] :
         {std::pair("prompt", &config.prompt), std::pair("negative_prompt", &config.negative_prompt)}) {
      if (!text->empty()) settings[key] = *text;  // a gallery without them is what it was
    }
    if (config.pairs_of) settings["pairs_of"] = WhatIsComputed(Resolved(*config.pairs_of));
    stages_.push_back({.name = "gallery",
                       .version = kGalleryVersion,
                       .settings = SettingsOf(std::move(settings), config.run),
                       .inputs = std::move(inputs),
                       .outputs = {out / "gallery.json"},
                       .owned = {out},
                       .work = [config](Group&, StageProgress& progress) {
                         const GallerySummary done = MakeGallery(config, progress);
                         return StageCounts{"pictures", done.pictures, done.pictures, 0};
                       }});
  }

  const RunPlan& plan_;
  const std::vector<std::string>& only_;
  const bool side_by_side_;
  std::set<std::string> begun_;  // stages
  std::vector<PlannedStage> stages_;
};

// A training takes over what its own settings have left, by `genview pretrain` as well, and moves other results aside.
// An encoder of which no training says that it is its own is somebody's.
bool IsOfATraining(const Path& folder) {
  std::error_code code;
  return std::filesystem::exists(folder / "summary.json", code) ||
         std::filesystem::exists(folder / "checkpoints", code);
}

// Of a model's folder what the model says: training/ of a generator, a read-me or a clone's .git may go.
std::string FingerprintOf(const StageInput& input, StageBook& book) {
  const Path path = input.value;
  std::error_code code;
  const bool folder = std::filesystem::is_directory(path, code);
  if (input.kind == InputKind::kPictures) return book.FingerprintOfPictures(input.value);
  if (input.kind == InputKind::kEncoder && folder) {
    return book.FingerprintOfModel(
        "encoder", path, [&] { return Encoder::Open(path, at::kCPU, at::kFloat, Reads::kNames)->fingerprint(); });
  }
  if (input.kind == InputKind::kGenerator && folder)
    return book.FingerprintOfModel("generator", path, [&] { return GeneratorFiles::Open(path)->Fingerprint(); });
  return book.FingerprintOf(path);
}

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
  if (input.key == "views.generator" && !std::filesystem::is_regular_file(path, code) &&
      !std::filesystem::exists(path / "model_index.json", code)) {
    refuse(Format("`{}` is no generator: it has no model_index.json", input.value),
           "name the folder of a diffusers pipeline, a single file of Stable unCLIP, or \"train\"");
  }
}

}  // namespace

std::string StageName(const RunPlan& plan, std::string_view stage, const ArmPlan& arm, uint64_t seed) {
  return SeedStage(stage, arm.name, plan.seeds.size() > 1, seed);
}

std::vector<PlannedStage> StagesOf(const RunPlan& plan, const std::vector<std::string>& only, bool side_by_side) {
  return Planner(plan, only, side_by_side).List();
}

StageRequest RequestOf(const PlannedStage& stage, StageBook& book) {
  StageRequest request{.name = stage.name,
                       .version = stage.version,
                       .settings = stage.settings,
                       .inputs = {},
                       .outputs = stage.outputs,
                       .owned = stage.owned,
                       .cleared_by = stage.cleared_by,
                       .places = stage.places,
                       .keeps_sizes = stage.keeps_sizes};
  for (const StageInput& input : stage.inputs) request.inputs[input.name] = FingerprintOf(input, book);
  if (stage.pretraining && IsOfATraining(stage.pretraining->out)) request.owned.clear();
  return request;
}

Json SettingsOf(Json own, const RunOptions& run) {
  own["run"] = FieldsToJson(run);
  return WithoutMachine(std::move(own));
}

Path ScoreFile(const RunPlan& plan, const ArmPlan& arm, uint64_t seed, std::string_view kind) {
  return ArmFolder(plan, arm, seed) / "eval" / Format("{}.json", kind);
}

std::vector<std::string> PlacesOfScores() { return {"list"}; }

bool AsksForScores(const RunPlan& plan) {
  bool asks = false;
  for (const ArmPlan* arm : plan.Chosen())
    VisitScores(arm->recipe.eval, [&](const char*, const auto& part) { asks = asks || part.enabled; });
  return asks;
}

void CheckInputs(const RunPlan& plan, const std::vector<std::string>& only) {
  const DataSection& data = plan.recipe.data;
  const std::vector<PlannedStage> stages = StagesOf(plan, only);
  std::set<std::string> opened;  // sources of pictures, each once
  const bool scores = std::any_of(stages.begin(), stages.end(),
                                  [](const PlannedStage& stage) { return stage.name.starts_with("eval "); });
  if (scores && !data.train.empty()) {
    CheckClasses(data.train, data.test);
    opened = {data.train, data.test};
  }
  for (const PlannedStage& stage : stages) {
    for (const StageInput& input : stage.inputs) {
      if (input.key.empty()) continue;
      if (input.value.empty()) NotSet(input.key, "name a folder of pictures, or shapes:count=4096,size=64,seed=0");
      if (input.kind != InputKind::kPictures) CheckFile(input);
      else if (opened.insert(input.value).second) (void)OpenSource(input.value);
    }
  }
}

}  // namespace genview
