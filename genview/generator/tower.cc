#include "genview/generator/tower.h"

#include <algorithm>
#include <cmath>

#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>

#include "genview/base/error.h"
#include "genview/base/folder_lock.h"
#include "genview/base/text.h"
#include "genview/generator/shapes_feed.h"
#include "genview/image/preprocess.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

constexpr double kLargestScale = 100;  // of the logits, as CLIP bounds it
constexpr int64_t kTestPictures = 2048;

struct Clip {
  ClipVision vision;
  TextTower text;
  Tensor logit_scale;  // [], logarithm
};

WeightList ListWeights(Clip& clip) {
  WeightList list = ListWeights(clip.text);
  AppendAll(list, "visual", ListWeights(clip.vision));
  Append(list, "logit_scale", clip.logit_scale, WeightRole::kNormScale);
  return list;
}

Clip MakeClip(const TowerConfig& c) {
  return {MakeClipVision({.width = c.width,
                          .layers = c.layers,
                          .heads = c.heads,
                          .mlp_width = 4 * c.width,
                          .patch_size = c.patch,
                          .image_size = c.size,
                          .embedding_width = c.embedding_width}),
          MakeTextTower({.width = c.text_width,
                         .layers = c.text_layers,
                         .heads = c.text_heads,
                         .vocabulary = static_cast<int64_t>(CaptionWords().size()),
                         .context = kCaptionLength,
                         .embedding_width = c.embedding_width}),
          at::empty({})};
}

// Sine and cosine of x and y: a patch begins with knowing where it is, which would take long to learn.
Tensor GridPositions(int64_t grid, int64_t width, double scale) {
  Tensor positions = at::zeros({grid * grid, width});
  const int64_t waves = width / 4;
  float* out = positions.data_ptr<float>();
  for (int64_t y = 0; y < grid; ++y) {
    for (int64_t x = 0; x < grid; ++x, out += width) {
      for (int64_t k = 0; k < waves; ++k) {
        const double rate = std::pow(100.0, -static_cast<double>(k) / static_cast<double>(waves));
        const double px = static_cast<double>(x) * rate, py = static_cast<double>(y) * rate;
        const double values[4] = {std::sin(px), std::cos(px), std::sin(py), std::cos(py)};
        for (int64_t part = 0; part < 4; ++part) out[part * waves + k] = static_cast<float>(scale * values[part]);
      }
    }
  }
  return positions;
}

void InitClip(Clip& clip, Seed seed) {
  InitWeights(ListWeights(clip.text), seed.With("text"));
  const int64_t width = clip.text.config.width;
  clip.text.projection =
      NormalTensor(seed.With("text projection"), clip.text.projection.sizes()).div_(std::sqrt(width));
  InitClipVision(clip.vision, seed.With("vision"));
  const ClipVisionConfig& c = clip.vision.config;
  clip.vision.positions = at::cat({clip.vision.positions.narrow(0, 0, 1), GridPositions(c.grid(), c.width, 0.3)});
  clip.logit_scale = at::full({}, std::log(1 / 0.07), at::kFloat);
}

// What cannot be built is said before anything is trained.
const TowerConfig& Checked(const TowerConfig& c) {
  const auto refuse = [](const std::string& key, const std::string& what, const std::string& next) {
    throw UsageError({.what = what, .where = key, .next = next});
  };
  if (c.patch > c.size)
    refuse("patch", Format("patches of {} px in pictures of {} px", c.patch, c.size), "choose smaller patches");
  if (c.width % c.heads != 0)
    refuse("heads", Format("{} heads do not divide a width of {}", c.heads, c.width), "choose a divisor of the width");
  if (c.text_width % c.text_heads != 0) {
    refuse("text_heads", Format("{} heads do not divide a text width of {}", c.text_heads, c.text_width),
           "choose a divisor of the text width");
  }
  CheckShards(c.training, "training");
  return c;
}

Tensor TokensOf(const std::vector<std::vector<int64_t>>& rows) {
  Tensor tokens = at::empty({static_cast<int64_t>(rows.size()), kCaptionLength}, at::kLong);
  for (size_t i = 0; i < rows.size(); ++i)
    std::copy(rows[i].begin(), rows[i].end(), tokens.data_ptr<int64_t>() + i * kCaptionLength);
  return tokens;
}

// [10,T]: "a disc", "a square", ...
Tensor FormSentences() {
  std::vector<std::vector<int64_t>> rows;
  for (const std::string& name : ShapeClasses()) rows.push_back(TokenizeCaption("a " + name));
  return TokensOf(rows);
}

// Words other than the form leave with probability 1 - keep, so that no single one of them can carry the caption.
std::vector<int64_t> DropWords(const std::vector<int64_t>& caption, double keep, const std::vector<int64_t>& forms,
                               Random& random) {
  constexpr int64_t kPad = 0, kOpen = 1, kClose = 2;
  std::vector<int64_t> kept;
  for (const int64_t word : caption) {
    if (word == kPad) continue;
    const bool stays = word == kOpen || word == kClose || std::find(forms.begin(), forms.end(), word) != forms.end();
    if (stays || random.Chance(keep)) kept.push_back(word);
  }
  kept.resize(static_cast<size_t>(kCaptionLength), kPad);
  return kept;
}

std::vector<int64_t> FormWords() {
  std::vector<int64_t> words;
  for (const std::string& name : ShapeClasses()) words.push_back(TokenizeCaption(name)[1]);
  return words;
}

Tensor Directions(const Tensor& embeddings) {  // unit length, fp32
  const Tensor x = embeddings.to(at::kFloat);
  return x / x.norm(2, 1, true).clamp_min(1e-12);
}

// Mean of both directions; captions that are the same words are equally right for each other's pictures.
Tensor SymmetricInfoNce(const Tensor& logits, const Tensor& tokens) {
  const Tensor same = (tokens.unsqueeze(1) == tokens.unsqueeze(0)).all(-1).to(at::kFloat);  // [N,N]
  const Tensor target = same / same.sum(1, true);                                           // symmetric up to the sums
  const Tensor forward = -(target * at::log_softmax(logits, 1)).sum(1).mean();
  const Tensor backward = -(target * at::log_softmax(logits.t(), 1)).sum(1).mean();
  return (forward + backward) / 2;
}

class TowerTraining {
 public:
  explicit TowerTraining(const TowerConfig& config)
      : config_(Checked(config)),
        device_(ChooseDevice(config.run.device)),
        compute_(ChooseCompute(config.run.precision, device_)),
        clip_(Prepared()),
        averaged_(Copied(clip_)),
        replicas_(clip_, config.training.shards),
        forms_(FormWords()),
        sentences_(FormSentences()) {}

  TrainingTask Task() {
    Json identity = FieldsToJson(config_);
    identity.erase("out");
    identity["run"] = {{"seed", config_.run.seed}};
    identity["compute"] = at::toString(compute_);
    identity["training"] = TrainingIdentity(config_.training);
    return {.folder = config_.out / "training",
            .name = "tower",
            .identity = identity,
            .weights = ListWeights(clip_),
            .averaged = ListWeights(averaged_),
            .replicas = replicas_.Lists(),
            .options = config_.training,
            .loss = [this](int64_t step, int64_t shard, Json& row) { return Loss(step, shard, row); },
            .review = [this](int64_t, Json& row) { row["form_accuracy"] = Score(512).form_accuracy; },
            .review_every = std::max<int64_t>(1, config_.training.save_every),
            .reading = &reading_};
  }

  // Of the averaged weights, on pictures that training never draws.
  TowerSummary Score(int64_t pictures) {
    const c10::InferenceMode inference;
    const ShapesConfig test{.count = pictures, .size = config_.size, .seed = config_.pictures_seed + 1};
    const auto sentences = Directions(ForwardTextTower(averaged_.text, sentences_.to(device_)));
    double right = 0, found = 0;
    constexpr int64_t kGroup = 256;
    for (int64_t first = 0; first < pictures; first += kGroup) {
      const int64_t count = std::min(kGroup, pictures - first);
      const ShapesBatch batch = DrawShapesBatch(test, first, count, kClipMean, kClipStd);
      const Tensor features = Directions(ForwardClipVision(averaged_.vision, batch.pixels.to(device_)).embedding);
      right += at::matmul(features, sentences.t()).argmax(1).cpu().eq(batch.labels).sum().item<double>();
      std::vector<std::vector<int64_t>> rows;
      for (const std::string& caption : batch.captions) rows.push_back(TokenizeCaption(caption));
      const Tensor texts = Directions(ForwardTextTower(averaged_.text, TokensOf(rows).to(device_)));
      const Tensor nearest = at::matmul(features, texts.t()).argmax(1).cpu();
      // A caption that another picture shares word by word is a find, too.
      const Tensor tokens = TokensOf(rows);
      found += (tokens.index_select(0, nearest) == tokens).all(1).sum().item<double>();
    }
    return {.form_accuracy = 100 * right / static_cast<double>(pictures),
            .retrieval = 100 * found / static_cast<double>(pictures)};
  }

  // Folder from the averaged weights.
  TowerSummary Write(int64_t steps) {
    TowerSummary summary = Score(kTestPictures);
    summary.steps = steps;
    summary.pictures = steps * config_.training.batch;
    {
      const c10::InferenceMode inference;
      const ShapesConfig test{.count = kTestPictures, .size = config_.size, .seed = config_.pictures_seed + 1};
      const ShapesBatch batch = DrawShapesBatch(test, 0, 1024, kClipMean, kClipStd);
      NormaliseEmbeddingScale(averaged_.vision,
                              ForwardClipVision(averaged_.vision, batch.pixels.to(device_)).embedding);
    }
    const ClipVisionConfig& c = averaged_.vision.config;
    Json model = ClipConfigToOpenClip(c);
    model["text_cfg"] = TextTowerToOpenClip(averaged_.text.config);
    const Json preprocess = {{"size", c.image_size},
                             {"mode", "RGB"},
                             {"mean", kClipMean},
                             {"std", kClipStd},
                             {"interpolation", "bicubic"},
                             {"resize_mode", "shortest"},
                             {"fill_color", 0}};
    WriteSafetensors(config_.out / "open_clip_model.safetensors", NamedTensors(ListWeights(averaged_), "", at::kHalf),
                     {{"format", "pt"}});
    WriteJson(config_.out / "open_clip_config.json", {{"model_cfg", model}, {"preprocess_cfg", preprocess}});
    WriteJson(config_.out / "tower.json", {{"steps", summary.steps},
                                           {"pictures", summary.pictures},
                                           {"form_accuracy", summary.form_accuracy},
                                           {"retrieval_256", summary.retrieval},
                                           {"config", Task().identity}});
    return summary;
  }

 private:
  Clip Prepared() const {
    Clip clip = MakeClip(config_);
    InitClip(clip, Seed(config_.run.seed).With("tower"));
    MoveWeights(ListWeights(clip), device_);
    return clip;
  }
  static Clip Copied(Clip& clip) {
    Clip copy = clip;
    CloneWeights(ListWeights(copy));
    return copy;
  }

  Tensor Loss(int64_t step, int64_t shard, Json& row) const {
    const TrainingOptions& o = config_.training;
    const int64_t count = o.batch / o.shards, first = step * o.batch + shard * count;
    const ShapesConfig pictures{.count = o.steps * o.batch, .size = config_.size, .seed = config_.pictures_seed};
    const ShapesBatch batch = reading_.Of([&] { return DrawShapesBatch(pictures, first, count, kClipMean, kClipStd); });
    std::vector<std::vector<int64_t>> rows;
    for (int64_t i = 0; i < count; ++i) {
      Random random(Seed(config_.run.seed).With("words").With(static_cast<uint64_t>(first + i)));
      rows.push_back(
          DropWords(TokenizeCaption(batch.captions[static_cast<size_t>(i)]), config_.keep_word, forms_, random));
    }
    const Tensor tokens = TokensOf(rows).to(device_), labels = batch.labels.to(device_);
    const Clip& w = replicas_[shard];
    Tensor pictures_out, texts_out;
    {
      const ComputeScope scope(device_, compute_);
      pictures_out = ForwardClipVision(w.vision, batch.pixels.to(device_)).embedding;
      texts_out = ForwardTextTower(w.text, at::cat({tokens, sentences_.to(device_)}));
    }
    const Tensor scale = w.logit_scale.exp().clamp_max(kLargestScale);
    const Tensor logits = at::matmul(Directions(pictures_out), Directions(texts_out).t()) * scale;  // [N,N+10]
    const Tensor by_form = logits.narrow(1, count, sentences_.size(0));
    const Tensor form = at::cross_entropy_loss(by_form, labels);
    const Tensor pairs = SymmetricInfoNce(logits.narrow(1, 0, count), tokens);
    if (shard == 0 && (step + 1) % o.log_every == 0) {
      row["form_loss"] = form.item<double>();
      row["pair_loss"] = pairs.item<double>();
      row["form_right"] = by_form.argmax(1).eq(labels).to(at::kFloat).mean().item<double>();
    }
    return form * config_.form_share + pairs * (1 - config_.form_share);
  }

  TowerConfig config_;
  at::Device device_;
  at::ScalarType compute_;
  Clip clip_, averaged_;
  Replicas<Clip> replicas_;
  std::vector<int64_t> forms_;
  Tensor sentences_;
  mutable ReadingTime reading_;
};

}  // namespace

void NormaliseEmbeddingScale(ClipVision& tower, const Tensor& embeddings) {
  const double scale = embeddings.to(at::kFloat).std(0).mean().item<double>();
  tower.projection = tower.projection / std::max(scale, 1e-12);
}

TowerSummary TrainTower(const TowerConfig& config, Progress& progress) {
  TowerTraining training(config);
  const FolderLock lock(config.out);
  SweepPartFiles(config.out);  // of a killed call
  RunTraining(training.Task(), progress);
  return training.Write(config.training.last_step());
}

}  // namespace genview
