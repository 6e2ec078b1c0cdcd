// A recipe: the configs of the stages, joined. What a run fills in itself (where pictures come from, where files go,
// device and seed) is hidden from the stage tables and said once.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "genview/eval/fewshot.h"
#include "genview/eval/finetune.h"
#include "genview/eval/knn.h"
#include "genview/eval/linear.h"
#include "genview/foreground/fit.h"
#include "genview/foreground/score.h"
#include "genview/generator/train.h"
#include "genview/pretrain/config.h"
#include "genview/tensor/run_options.h"
#include "genview/views/generate.h"

namespace genview {

// Visits the fields of a stage's config but those named.
template <class Config, class Visit>
void VisitShown(Config& config, std::initializer_list<std::string_view> hidden, Visit&& visit) {
  VisitFields(config, [&](const char* name, auto& field, auto rule, const char* help) {
    for (const std::string_view other : hidden) {
      if (other == name) return;
    }
    visit(name, field, rule, help);
  });
}

struct DataSection {
  std::string train, test;
};
template <class Visit>
void VisitFields(DataSection& c, Visit&& visit) {
  visit("train", c.train, Any{}, "pictures to learn from: folder, list, shards or shapes:...");
  visit("test", c.test, Any{}, "labelled pictures to test on; without them nothing is evaluated");
}

struct ForegroundSection {
  std::string encoder;
  FitConfig fit;
};
template <class Visit>
void VisitFields(ForegroundSection& c, Visit&& visit) {
  visit("encoder", c.encoder, Any{},
        "frozen encoder folder or checkpoint; arm:NAME takes the encoder that an arm of this run trains");
  VisitShown(c.fit, {"images", "encoder", "out", "run"}, visit);
}

struct ViewsSection {
  ViewsSection() { config.levels = kUsualLevels; }  // the run's table is made with those of the recipe
  ViewsConfig config;
};
template <class Visit>
void VisitFields(ViewsSection& c, Visit&& visit) {
  VisitShown(c.config, {"images", "out", "ratios", "noise", "dump", "forget", "run"}, visit);
}

struct GeneratorSection {
  GeneratorConfig config;
};
template <class Visit>
void VisitFields(GeneratorSection& c, Visit&& visit) {
  VisitShown(c.config, {"out", "run"}, visit);
}

struct PretrainSection {
  PretrainConfig config;
};
template <class Visit>
void VisitFields(PretrainSection& c, Visit&& visit) {
  VisitShown(c.config, {"data", "out", "run"}, visit);
}

template <class Config>
struct EvalPart {
  bool enabled = true;
  Config config;
};
template <class Config, class Visit>
void VisitFields(EvalPart<Config>& c, Visit&& visit) {
  visit("enabled", c.enabled, Any{}, "whether this score is made");
  VisitShown(c.config, {"train", "test", "checkpoint", "out", "cache", "run"}, visit);
}

struct EvalSection {
  EvalPart<LinearConfig> linear;
  EvalPart<KnnConfig> knn;
  EvalPart<FewshotConfig> fewshot{.enabled = false, .config = {}};  // only where they are asked for
  EvalPart<FinetuneConfig> finetune{.enabled = false, .config = {}};
};
template <class Visit>
void VisitFields(EvalSection& c, Visit&& visit) {
  visit("linear", c.linear, Section{}, "linear classifier on frozen features");
  visit("knn", c.knn, Section{}, "nearest neighbours by frozen features");
  visit("fewshot", c.fewshot, Section{},
        "few labelled pictures per class, drawn several times; made where this table is there, unless `enabled` is "
        "false");
  visit("finetune", c.finetune, Section{},
        "whole network, trained on few labels; made where this table is there, unless `enabled` is false");
}

// The kinds of scores: visit("knn", eval.knn) and so on.
template <class Visit>
void VisitScores(const EvalSection& eval, Visit&& visit) {
  VisitFields(const_cast<EvalSection&>(eval),
              [&](const char* kind, const auto& part, auto, const char*) { visit(kind, part); });
}

struct ReportSection {
  int64_t pictures = 10;
  int64_t pairs = 4;
  int64_t likeness = 100;
};
template <class Visit>
void VisitFields(ReportSection& c, Visit&& visit) {
  visit("pictures", c.pictures, Range<int64_t>{0, 100},
        "pictures shown with mask and view, over the whole range of ratios");
  visit("pairs", c.pairs, Range<int64_t>{0, 50}, "pairs shown of highest and of lowest weight");
  visit("likeness", c.likeness, Range<int64_t>{0, 100'000},
        "pictures whose views are compared with them at every noise level, at most a twentieth of all; 0 = none");
}

struct Recipe {
  std::string name;
  std::vector<int64_t> seeds;
  DataSection data;
  ForegroundSection foreground;
  ViewsSection views;
  GeneratorSection generator;
  PretrainSection pretrain;
  EvalSection eval;
  ReportSection report;
  RunOptions run;
};
template <class Visit>
void VisitFields(Recipe& c, Visit&& visit) {
  visit("name", c.name, Any{}, "of the run; empty = the file's name");
  visit("seeds", c.seeds, Range<int64_t>{0, INT64_MAX}, "every arm is trained once per seed; empty = run.seed alone");
  visit("data", c.data, Section{}, "pictures");
  visit("foreground", c.foreground, Section{}, "foreground model");
  visit("views", c.views, Section{}, "generated views");
  visit("generator", c.generator, Section{}, "generator trained on the run's own pictures");
  visit("pretrain", c.pretrain, Section{}, "pretraining");
  visit("eval", c.eval, Section{}, "scores");
  visit("report", c.report, Section{}, "what the page shows");
  visit("run", c.run, Section{}, "device, precision, seed and the like");
}

}  // namespace genview
