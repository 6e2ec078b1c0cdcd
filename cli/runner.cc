#include "cli/runner.h"

#include <algorithm>
#include <chrono>

#include "cli/environment.h"
#include "cli/gallery.h"
#include "cli/tasks.h"
#include "genview/base/error.h"
#include "genview/data/source.h"
#include "genview/dist/tensor_group.h"
#include "genview/report/report.h"

namespace genview {
namespace {

// Raised when what a stage computes changes, so that runs made before are made again.
constexpr int64_t kFitVersion = 1, kScoreVersion = 1, kGeneratorVersion = 1, kViewsVersion = 1, kPretrainVersion = 1,
                  kEvalVersion = 2, kGalleryVersion = 3;

[[noreturn]] void Missing(const std::string& key, const std::string& next) {
  throw UsageError({.what = Format("`{}` is not set", key), .where = Format("recipe, key `{}`", key), .next = next});
}

[[noreturn]] void NoEncoder() {
  Missing("foreground.encoder", "name an encoder folder or checkpoint, or arm:NAME for one that this run trains");
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

RunOptions WithSeed(RunOptions run, uint64_t seed) {
  run.seed = seed;
  return run;
}

}  // namespace

Runner::Runner(RunPlan plan, std::vector<std::string> only, Progress& progress, Group& group)
    : plan_(std::move(plan)),
      only_(std::move(only)),
      progress_(progress, std::ssize(StagesOf(plan_, only_))),
      group_(group),
      book_(plan_.folder / "state", only_, plan_.recipe.run.strict) {}

bool Runner::Allowed(std::string_view stage) const {
  return only_.empty() || std::find(only_.begin(), only_.end(), stage) != only_.end();
}

void Runner::Make(const StageRequest& request, const std::function<StageCounts()>& work) {
  progress_.Enter(request.name);
  book_.Make(request, progress_, work);
}

Json Runner::Settings(Json settings, const RunOptions& run) const {
  settings["run"] = FieldsToJson(run);
  return WithoutMachine(std::move(settings));
}

std::string Runner::DataFingerprint(const std::string& source) {
  if (source.empty()) Missing("data.train", "name a folder of pictures, or shapes:count=4096,size=64,seed=0");
  auto& known = data_[source];
  if (known.empty()) known = OpenSource(source)->Fingerprint();
  return known;
}

Path Runner::Encoder(const std::string& text) {
  if (text.empty()) NoEncoder();
  const ArmPlan* arm = EncoderArm(plan_, text);
  return arm != nullptr ? Pretrained(*arm, plan_.seeds.front()) : Path(text);
}

Path Runner::ForegroundModel() {
  const Path out = plan_.folder / "foreground" / "model.safetensors";
  const ForegroundSection& asked = plan_.recipe.foreground;
  return Fitted("foreground fit", asked.encoder, asked.fit.component, FieldsToJson(asked), out);
}

Path Runner::QualityModel(const ArmPlan& arm, const std::string& encoder) {
  if (encoder == plan_.recipe.foreground.encoder) return ForegroundModel();
  Json settings = FieldsToJson(plan_.recipe.foreground);
  settings.erase("component");
  return Fitted(Format("foreground fit for {}", arm.name), encoder, "", settings, QualityModelFile(plan_, encoder));
}

Path Runner::Fitted(const std::string& name, const std::string& encoder, const Path& component, const Json& settings,
                    const Path& out) {
  if (!made_.try_emplace(out.string(), out).second) return out;
  FitConfig config = plan_.recipe.foreground.fit;
  config.images = plan_.recipe.data.train;
  config.encoder = Encoder(encoder);
  config.component = component;
  config.out = out;
  config.skipped = SkippedOfFit(out);
  config.run = plan_.recipe.run;
  std::map<std::string, std::string> inputs = {{"data", DataFingerprint(config.images)},
                                               {"encoder", book_.FingerprintOf(config.encoder)}};
  if (!component.empty()) inputs["component"] = book_.FingerprintOf(component);
  Make({.name = name,
        .version = kFitVersion,
        .settings = Settings(settings, config.run),
        .inputs = inputs,
        .outputs = {out},
        .owned = {}},
       [&] {
         const FitSummary done = FitForeground(config, progress_);
         return StageCounts{"images", done.images + done.skipped, done.images, done.skipped};
       });
  return out;
}

Path Runner::Ratios() {
  const Path folder = plan_.folder / "foreground", out = folder / "ratios.tsv";
  if (!made_.try_emplace("foreground score", out).second) return out;
  ScoreConfig config;
  config.images = plan_.recipe.data.train;
  config.model = ForegroundModel();
  config.encoder = Encoder(plan_.recipe.foreground.encoder);
  config.out = out;
  config.masks = folder / "masks";
  config.skipped = folder / "skipped.tsv";
  config.levels = plan_.recipe.views.config.levels;
  config.run = plan_.recipe.run;
  Make({.name = "foreground score",
        .version = kScoreVersion,
        .settings = Settings({{"levels", config.levels}}, config.run),
        .inputs = {{"data", DataFingerprint(config.images)},
                   {"encoder", book_.FingerprintOf(config.encoder)},
                   {"model", book_.FingerprintOf(config.model)}},
        .outputs = {out, config.masks},
        .owned = {}},
       [&] {
         const ScoreSummary done = Shared(group_, progress_, config);
         return StageCounts{"images", done.images + done.skipped, done.images, done.skipped};
       });
  return out;
}

Path Runner::Generator(const std::string& text) {
  if (!text.empty() && text != "train") return text;
  const Path out = plan_.folder / "generator";
  if (!made_.try_emplace("generator", out).second) return out;
  (void)Encoder(GeneratorEncoder(plan_));
  const GeneratorConfig config = GeneratorConfigOf(plan_, out);
  Make({.name = "generator",
        .version = kGeneratorVersion,
        .settings = Settings(SettingsOfGenerator(plan_.recipe.generator), config.run),
        .inputs = {{"data", DataFingerprint(config.images)}, {"encoder", book_.FingerprintOf(config.encoder)}},
        .outputs = {out / "model_index.json"},
        .owned = {out}},
       [&] {
         const GeneratorSummary done = TrainGenerator(config, progress_);
         return StageCounts{"images", done.images + done.skipped, done.images, done.skipped};
       });
  return out;
}

Path Runner::Views(const ArmPlan& arm) {
  const Path out = plan_.folder / arm.views;
  if (!made_.try_emplace(arm.views, out).second) return out;
  ViewsConfig config = arm.recipe.views.config;
  config.forget = true;  // the folder is the run's own
  config.images = plan_.recipe.data.train;
  if (config.policy == NoisePolicy::kAdaptive) config.ratios = Ratios();
  config.generator = Generator(config.generator.string());
  config.out = out;
  config.run = plan_.recipe.run;
  std::map<std::string, std::string> inputs = {{"data", DataFingerprint(config.images)},
                                               {"generator", book_.FingerprintOf(config.generator)}};
  if (!config.ratios.empty()) inputs["ratios"] = book_.FingerprintOf(config.ratios);
  Make({.name = ViewsStageName(arm),
        .version = kViewsVersion,
        .settings = Settings(SettingsOfViews(arm.recipe.views), config.run),
        .inputs = inputs,
        .outputs = {out / "manifest.jsonl"},
        .owned = {out}},
       [&] {
         const ViewsSummary done = Shared(group_, progress_, config);
         return StageCounts{"views", done.asked, done.written, done.asked - done.written};
       });
  return out;
}

PretrainConfig Runner::PretrainOf(const ArmPlan& arm, uint64_t seed, std::map<std::string, std::string>& inputs) {
  const PretrainConfig config = PretrainConfigOf(plan_, arm, seed), &own = arm.recipe.pretrain.config;
  inputs["data"] = DataFingerprint(config.data);
  if (config.pair.source != PairSource::kAugment) {
    if (!arm.views.empty()) (void)Views(arm);
    const Path views = config.pair.views;
    inputs["views"] = book_.FingerprintOf(std::filesystem::is_directory(views) ? views / "manifest.jsonl" : views);
  }
  if (config.crop.rule.draw != CropDraw::kAnywhere) {
    if (own.crop.masks.empty()) (void)Ratios();
    inputs["masks"] = book_.FingerprintOf(config.crop.masks);
  }
  if (!config.init.empty()) inputs["init"] = book_.FingerprintOf(config.init);
  if (config.quality.enabled) {
    const std::string encoder = own.quality.encoder.empty() ? plan_.recipe.foreground.encoder : own.quality.encoder;
    if (own.quality.foreground.empty()) (void)QualityModel(arm, encoder);
    inputs["quality encoder"] = book_.FingerprintOf(Encoder(encoder));
    inputs["quality model"] = book_.FingerprintOf(config.quality.foreground);
  }
  return config;
}

Path Runner::Pretrained(const ArmPlan& arm, uint64_t seed) {
  const std::string name = StageName(plan_, "pretrain", arm, seed);
  const Path out = EncoderFile(plan_, arm, seed);
  if (const auto known = made_.find(name); known != made_.end()) return known->second;
  if (!making_.insert(name).second) {
    throw UsageError({.what = Format("arm `{}` would need its own encoder to be trained", arm.name),
                      .where = "recipe, keys `foreground.encoder`, `generator.encoder`",
                      .next = "take the encoder of an arm that uses augmented pictures alone"});
  }
  Pretraining made = PretrainingOf(arm, seed);
  if (SharesPretraining(arm)) {
    Make(made.request, [&] {
      const PretrainSummary done = Shared(group_, progress_, made.config);
      return StageCounts{"images", done.images, done.images - done.skipped, done.skipped};
    });
  } else {
    PretrainEachOf({std::move(made)});
  }
  making_.erase(name);
  made_[name] = out;
  return out;
}

Runner::Pretraining Runner::PretrainingOf(const ArmPlan& arm, uint64_t seed) {
  Pretraining result;
  result.out = EncoderFile(plan_, arm, seed);
  result.request.name = StageName(plan_, "pretrain", arm, seed);
  result.request.version = kPretrainVersion;
  result.config = PretrainOf(arm, seed, result.request.inputs);
  result.request.settings = Settings(WhatIsComputed(Resolved(result.config)), result.config.run);
  result.request.outputs = result.request.owned = {result.out};
  return result;
}

// Those that are not done, each by one process.
void Runner::PretrainEachOf(std::vector<Pretraining> all) {
  std::vector<PretrainConfig> configs;
  std::vector<std::pair<std::string, OpenStage>> stages;
  for (Pretraining& each : all) {
    if (book_.IsDone(each.request)) progress_.Enter(each.request.name);
    std::optional<OpenStage> stage = book_.Begin(each.request, progress_);
    if (!stage) continue;
    stages.emplace_back(each.request.name, std::move(*stage));
    configs.push_back(std::move(each.config));
  }
  if (configs.empty()) return;
  std::vector<PretrainOutcome> outcomes;
  size_t own = 0;  // that this process is at
  try {
    outcomes = PretrainEach(group_, progress_, configs, [&](size_t i) {
      own = i;
      stages[i].second.began = std::chrono::steady_clock::now();
      progress_.Enter(stages[i].first);
    });
  } catch (const Interrupted&) {
    book_.Pause(std::move(stages[own].second));
    throw;
  }
  for (size_t i = 0; i < stages.size(); ++i) {
    const PretrainOutcome& done = outcomes[i];
    if (done.elsewhere) {
      progress_.Enter(stages[i].first);
      progress_.Say(
          Format("made beside the others in {}, {} images skipped", HumanSeconds(done.seconds), done.skipped));
    }
    book_.Finish(std::move(stages[i].second), {"images", done.images, done.images - done.skipped, done.skipped},
                 {done.seconds, done.peak_memory_bytes});
  }
}

void Runner::PretrainSideBySide() {
  if (group_.size() == 1 || !Allowed("pretrain")) return;
  std::vector<Pretraining> all;
  for (const ArmPlan& arm : plan_.arms) {
    for (const uint64_t seed : plan_.seeds) {
      const std::string name = StageName(plan_, "pretrain", arm, seed);
      if (SharesPretraining(arm) || made_.contains(name)) continue;
      making_.insert(name);
      all.push_back(PretrainingOf(arm, seed));  // makes what it needs, other arms too
      making_.erase(name);
    }
  }
  std::erase_if(all, [&](const Pretraining& each) { return made_.contains(each.request.name); });
  for (const Pretraining& each : all) made_[each.request.name] = each.out;
  PretrainEachOf(std::move(all));
}

// Every process needs a part of a step. Where there are too few, each process makes pretrainings of its own: a batch in
// other parts would be another result.
bool Runner::SharesPretraining(const ArmPlan& arm) const {
  return group_.size() == 1 || (CanConnectTensors() && group_.size() <= arm.recipe.pretrain.config.accumulate);
}

void Runner::Evaluate(const ArmPlan& arm, uint64_t seed) {
  const DataSection& data = plan_.recipe.data;
  if (data.test.empty()) return;  // Go has said so
  const Path checkpoint = Pretrained(arm, seed), folder = ArmFolder(plan_, arm, seed) / "eval",
             cache = plan_.folder / "state" / "features";
  const auto make = [&](const std::string& kind, const auto& part, auto&& evaluate) {
    const Path out = folder / Format("{}.json", kind);
    if (!part.enabled) return;
    auto config = part.config;
    config.inputs.train = data.train;
    config.inputs.test = data.test;
    config.inputs.checkpoint = checkpoint;
    config.inputs.out = out;
    config.inputs.cache = cache;
    config.inputs.run = WithSeed(plan_.recipe.run, seed);
    std::map<std::string, std::string> inputs = {{"train", DataFingerprint(data.train)},
                                                 {"test", DataFingerprint(data.test)},
                                                 {"checkpoint", book_.FingerprintOf(checkpoint)}};
    if constexpr (requires { config.list; }) {
      if (!config.list.empty()) inputs["list"] = book_.FingerprintOf(config.list);
    }
    Make({.name = StageName(plan_, Format("eval {}", kind), arm, seed),
          .version = kEvalVersion,
          .settings = Settings(FieldsToJson(part), config.inputs.run),
          .inputs = inputs,
          .outputs = {out},
          .owned = {out}},
         [&] {
           const EvalResult result = evaluate(config);
           progress_.Say(
               Format("top-1 {:.2f}% of {} images, {} skipped", result.top1, result.images, SkippedOf(result)));
           return StageCounts{"images", result.images + SkippedOf(result), result.images, SkippedOf(result)};
         });
  };
  make("linear", arm.recipe.eval.linear, [&](const LinearConfig& config) { return EvalLinear(config, progress_); });
  make("knn", arm.recipe.eval.knn, [&](const KnnConfig& config) { return EvalKnn(config, progress_); });
  make("fewshot", arm.recipe.eval.fewshot, [&](const FewshotConfig& config) { return EvalFewshot(config, progress_); });
  make("finetune", arm.recipe.eval.finetune,
       [&](const FinetuneConfig& config) { return EvalFinetune(config, progress_); });
  std::filesystem::remove_all(cache);  // features of one checkpoint are of no use to the next
}

void Runner::Gallery() {
  const Path out = plan_.folder / "gallery";
  GalleryConfig config;
  config.images = plan_.recipe.data.train;
  config.pictures = plan_.recipe.report.pictures;
  config.pairs = plan_.recipe.report.pairs;
  config.likeness = plan_.recipe.report.likeness;
  config.out = out;
  config.run = plan_.recipe.run;
  std::map<std::string, std::string> inputs = {{"data", DataFingerprint(config.images)}};
  // What the arms did not need is not made for the report alone.
  const bool adaptive = std::any_of(plan_.arms.begin(), plan_.arms.end(), [](const ArmPlan& arm) {
    return !arm.views.empty() && arm.recipe.views.config.policy == NoisePolicy::kAdaptive;
  });
  if (adaptive) {
    config.ratios = Ratios();
    config.masks = config.ratios.parent_path() / "masks";
    inputs["ratios"] = book_.FingerprintOf(config.ratios);
  }
  for (const ArmPlan& arm : plan_.arms) {
    const ViewsConfig& views = arm.recipe.views.config;
    if (!arm.views.empty() && config.views.empty() && (views.policy == NoisePolicy::kAdaptive || !adaptive)) {
      config.views = Views(arm);
      config.generator = Generator(views.generator.string());
      config.levels = views.levels;
      config.steps = views.steps;
      config.guidance = views.guidance;
      config.scheduler = views.scheduler;
      if (config.likeness > 0 && !plan_.recipe.foreground.encoder.empty())
        config.encoder = Encoder(plan_.recipe.foreground.encoder);
    }
    if (arm.recipe.pretrain.config.quality.enabled && !config.pairs_of) {
      config.pairs_of = PretrainOf(arm, plan_.seeds.front(), inputs);
      config.arm = arm.name;
    }
  }
  if (config.ratios.empty() && !config.pairs_of) {
    book_.Forget("gallery", {out});
    return;
  }
  if (!config.views.empty()) inputs["views"] = book_.FingerprintOf(config.views / "manifest.jsonl");
  if (!config.encoder.empty()) inputs["encoder"] = book_.FingerprintOf(config.encoder);
  Json settings = FieldsToJson(plan_.recipe.report);
  settings["levels"] = config.levels;
  if (config.pairs_of) settings["pairs_of"] = WhatIsComputed(Resolved(*config.pairs_of));
  Make({.name = "gallery",
        .version = kGalleryVersion,
        .settings = Settings(settings, config.run),
        .inputs = inputs,
        .outputs = {out / "gallery.json"},
        .owned = {out}},
       [&] {
         const GallerySummary done = MakeGallery(config, progress_);
         return StageCounts{"pictures", done.pictures, done.pictures, 0};
       });
}

void Runner::Report() {
  std::vector<std::string> names;
  for (const ArmPlan& arm : plan_.arms) names.push_back(arm.name);
  scores_ = CollectScores(plan_.folder, names, plan_.seeds);
  WriteJson(plan_.folder / "results.json", ScoresToJson(scores_));
  const ReportSummary page = WriteReport({plan_.folder}, report());
  headline_ = page.headline;
}

// What a killed run left beside final names. Folders of many pictures are swept by the stages that write them.
static void SweepRunFolder(const Path& folder) {
  SweepPartFiles(folder);
  std::error_code code;
  std::filesystem::recursive_directory_iterator it(folder, code), end;
  for (; !code && it != end; it.increment(code)) {
    if (!it->is_directory(code)) continue;
    const std::string name = it->path().filename().string();
    if (name == "masks" || name.starts_with("views")) it.disable_recursion_pending();
    else SweepPartFiles(it->path());
  }
}

// What would stop an arm after those before it have been trained.
void Runner::CheckArms() const {
  if (!Allowed("pretrain")) return;
  for (const ArmPlan& arm : plan_.arms) {
    const PretrainConfig& own = arm.recipe.pretrain.config;
    const bool takes_ratios = (!arm.views.empty() && arm.recipe.views.config.policy == NoisePolicy::kAdaptive) ||
                              (own.crop.rule.draw != CropDraw::kAnywhere && own.crop.masks.empty());
    const bool weighs = own.quality.enabled && own.quality.encoder.empty();
    const std::string& encoder = plan_.recipe.foreground.encoder;
    if ((takes_ratios || weighs) && encoder.empty()) NoEncoder();
    (void)EncoderArm(plan_, encoder);
    (void)Resolved(PretrainConfigOf(plan_, arm, plan_.seeds.front()));
  }
}

// What --only leaves out and is not there would stop the run after some of its work.
void Runner::CheckOnly() {
  if (only_.empty()) return;
  const std::vector<PlannedStage> stages = StagesOf(plan_, only_);
  for (const PlannedStage& stage : stages) book_.CheckOnly(stage.name, stage.output);
}

std::vector<Path> Runner::encoders() const {
  std::vector<Path> there;
  for (const ArmPlan& arm : plan_.arms) {
    for (const uint64_t seed : plan_.seeds) {
      Path encoder = EncoderFile(plan_, arm, seed);
      if (std::filesystem::exists(encoder)) there.push_back(std::move(encoder));
    }
  }
  return there;
}

// Scores of other settings, or that nobody asks for any more, would stand on the page beside those of this recipe until
// they are made again, if ever.
void Runner::RemoveOldScores(const ArmPlan& arm, uint64_t seed) {
  const EvalSection& eval = arm.recipe.eval;
  const auto look = [&](const char* kind, const auto& part) {
    const std::string name = StageName(plan_, Format("eval {}", kind), arm, seed);
    const Path out = ArmFolder(plan_, arm, seed) / "eval" / Format("{}.json", kind);
    if (!part.enabled || plan_.recipe.data.test.empty()) return book_.Forget(name, {out});
    const Json made_from = book_.RequestOf(name);
    const Json wanted = Settings(FieldsToJson(part), WithSeed(plan_.recipe.run, seed));
    if (made_from.is_object() && made_from.value("settings", Json()).dump() != wanted.dump())
      std::filesystem::remove(out);
  };
  look("linear", eval.linear);
  look("knn", eval.knn);
  look("fewshot", eval.fewshot);
  look("finetune", eval.finetune);
}

// Ratios of other pictures, which no stage may ask for again. Masks and the rest are written over when one does.
void Runner::RemoveOldRatios() {
  const Json made_from = book_.RequestOf("foreground score");
  if (plan_.recipe.data.train.empty() || !made_from.is_object()) return;
  if (made_from.value("inputs", Json::object()).value("data", "") == DataFingerprint(plan_.recipe.data.train)) return;
  for (const char* name : {"ratios.tsv", "ratios.json", "skipped.tsv", "model-skipped.tsv"})
    std::filesystem::remove(plan_.folder / "foreground" / name);
}

void Runner::WarnOfIdleProcesses() {
  const ArmPlan& first = plan_.arms.front();
  if (!Allowed("pretrain") || plan_.arms.size() * plan_.seeds.size() > 1 || SharesPretraining(first)) return;
  if (!CanConnectTensors()) {
    progress_.Warn("process 0 will pretrain alone: the headers of gloo were missing when this program was built");
    return;
  }
  progress_.Warn(
      Format("process 0 will pretrain alone: `pretrain.accumulate` = {} gives {} processes too few parts of a step",
             first.recipe.pretrain.config.accumulate, group_.size()));
}

void Runner::Go() {
  CheckArms();
  CheckOnly();
  if (Allowed("eval") && AsksForScores(plan_) && plan_.recipe.data.test.empty()) {
    progress_.Warn("no scores will be made: the recipe names no test images (`data.test`)");
  }
  SweepRunFolder(plan_.folder);
  WriteFile(plan_.folder / "recipe.toml", PlanToToml(plan_));
  WriteJson(plan_.folder / "environment.json", DescribeEnvironment(plan_.recipe.run));
  WarnOfIdleProcesses();
  for (const ArmPlan& arm : plan_.arms) {
    for (const uint64_t seed : plan_.seeds) {
      if (Allowed("pretrain") || Allowed("eval")) RemoveOldScores(arm, seed);
    }
  }
  if (only_.empty()) RemoveOldRatios();
  if (Allowed("foreground") && !only_.empty()) (void)Ratios();
  // What --only leaves out and would have to be made again is found before the first arm is trained.
  for (const ArmPlan& arm : plan_.arms) {
    std::map<std::string, std::string> inputs;
    if (!only_.empty() && Allowed("pretrain")) (void)PretrainOf(arm, plan_.seeds.front(), inputs);
  }
  PretrainSideBySide();
  for (const ArmPlan& arm : plan_.arms) {
    if (!only_.empty() && !Allowed("pretrain") && !Allowed("eval")) {
      if (arm.views.empty()) continue;
      if (Allowed("views")) (void)Views(arm);
      else if (Allowed("generator")) (void)Generator(arm.recipe.views.config.generator.string());
      continue;
    }
    for (const uint64_t seed : plan_.seeds) {
      (void)Pretrained(arm, seed);
      if (Allowed("eval")) Evaluate(arm, seed);
    }
  }
  if (Allowed("gallery")) Gallery();
  Report();
}

}  // namespace genview
