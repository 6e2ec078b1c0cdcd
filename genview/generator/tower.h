// A small CLIP trained from nothing on the built-in procedural pictures and their captions: the image tower that the
// demo's foreground masks, pair qualities and generator stand on.
//
//   TowerConfig config{.out = "models/tower"};
//   TowerSummary summary = TrainTower(config, progress);
//   auto encoder = Encoder::Open("models/tower");            // open_clip layout, fp16
//
// Loss: InfoNCE in both directions between pictures and captions of which words are dropped at random, plus the
// classification of each picture among the ten sentences "a disc", "a square", ... by the same text tower: without it a
// young tower tells captions apart by colours and places alone, and never looks at the form.
#pragma once

#include "genview/base/fields.h"
#include "genview/base/progress.h"
#include "genview/generator/text_tower.h"
#include "genview/generator/training.h"
#include "genview/models/clip_vision.h"
#include "genview/tensor/run_options.h"

namespace genview {

struct TowerConfig {
  Path out;
  int64_t size = 32, patch = 4;  // px
  int64_t width = 128, layers = 4, heads = 4;
  int64_t embedding_width = 128;
  int64_t text_width = 64, text_layers = 1, text_heads = 4;
  uint64_t pictures_seed = 1'000'000;  // of the procedural pictures; each step draws new ones
  double keep_word = 0.7;              // probability that a word other than the form stays in a caption
  double form_share = 0.5;             // of the loss, for the classification by form
  TrainingOptions training{
      .steps = 3000, .batch = 128, .lr = 1e-3, .weight_decay = 0.05, .beta2 = 0.98, .average = 0.995};
  RunOptions run;
};

template <class Visit>
void VisitFields(TowerConfig& c, Visit&& visit) {
  visit("out", c.out, Required{}, "folder to write");
  visit("size", c.size, Range<int64_t>{8, 512}, "width and height of the pictures, in pixels");
  visit("patch", c.patch, Range<int64_t>{1, 64}, "width and height of a patch, in pixels");
  visit("width", c.width, Range<int64_t>{8, 4096}, "channels of the image tower");
  visit("layers", c.layers, Range<int64_t>{1, 64}, "blocks of the image tower");
  visit("heads", c.heads, Range<int64_t>{1, 64}, "attention heads of the image tower");
  visit("embedding_width", c.embedding_width, Range<int64_t>{2, 4096}, "length of an embedding");
  visit("text_width", c.text_width, Range<int64_t>{8, 4096}, "channels of the text tower");
  visit("text_layers", c.text_layers, Range<int64_t>{1, 64}, "blocks of the text tower");
  visit("text_heads", c.text_heads, Range<int64_t>{1, 64}, "attention heads of the text tower");
  visit("pictures_seed", c.pictures_seed, Any{}, "seed of the procedural pictures; use one that no evaluation uses");
  visit("keep_word", c.keep_word, Range<double>{0, 1},
        "probability that a word other than the form stays in a caption");
  visit("form_share", c.form_share, Range<double>{0, 1}, "share of the loss for the classification by form");
  visit("training", c.training, Section{}, "how it is trained");
  visit("run", c.run, Section{}, "where it is computed");
}

struct TowerSummary {
  int64_t steps = 0, pictures = 0;
  double form_accuracy = 0;  // zero-shot, by the sentences "a disc", ..., on pictures of another seed; percent
  double retrieval = 0;      // share of pictures whose own caption is the nearest of 256; percent
};

// Resumes. What is trained is not trained again; it is scored and written anew, to the same bytes:
// open_clip_config.json, open_clip_model.safetensors (fp16), tower.json, and under training/ the log and the
// checkpoints. Throws Error for a folder that another process works on, and for one of other settings.
TowerSummary TrainTower(const TowerConfig& config, Progress& progress);

// Scales the projection so that the embeddings' standard deviation over pictures is 1 in the mean over dimensions: a
// factor that no cosine sees, and that a generator's condition wants.
void NormaliseEmbeddingScale(ClipVision& tower, const Tensor& embeddings);

}  // namespace genview
