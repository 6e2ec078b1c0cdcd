#include "genview/generator/faithfulness.h"

#include <c10/core/InferenceMode.h>

#include "genview/base/text.h"
#include "genview/diffusion/picture_tensors.h"
#include "genview/diffusion/plain_views.h"
#include "genview/generator/pictures.h"
#include "genview/generator/shapes_feed.h"
#include "genview/records/records.h"

namespace genview {
namespace {

constexpr std::array<double, 3> kHalf{0.5, 0.5, 0.5};
constexpr int64_t kGroup = 50;

Judge MakeJudge(const ResnetConfig& config) {
  Judge judge{MakeResnet(config), {}};
  judge.head = MakeLinear(config.output_width(), static_cast<int64_t>(ShapeClasses().size()));
  return judge;
}

Tensor ForwardJudge(const Judge& judge, const Tensor& pixels, bool training) {
  return Linear(judge.head, ForwardResnet(judge.net, pixels, training).pooled);
}

}  // namespace

WeightList ListWeights(Judge& judge) {
  WeightList list = ListWeights(judge.net);
  Append(list, "fc", judge.head);
  return list;
}

Tensor JudgeClasses(const Judge& judge, const Tensor& pixels) { return ForwardJudge(judge, pixels, false).argmax(1); }

Judge TrainJudge(const JudgeConfig& config, const Path& folder, const RunOptions& run, Progress& progress) {
  const TrainingOptions& o = config.training;
  if (o.shards != 1 || o.average != 0) {
    throw UsageError({.what = "the classifier's training takes one shard and no average",
                      .where = "judge.training",
                      .next = "leave shards at 1 and average at 0: its norms keep statistics of whole batches"});
  }
  const at::Device device = ChooseDevice(run.device);
  const at::ScalarType compute = ChooseCompute(run.precision, device);
  Judge judge = MakeJudge(config.backbone);
  const Seed seed = Seed(run.seed).With("judge");
  InitWeights(ListWeights(judge), seed);
  InitResnet(judge.net, seed);
  MoveWeights(ListWeights(judge), device);
  Judge result = judge;
  CloneWeights(ListWeights(result));
  Replicas<Judge> replicas(judge, 1);
  Json identity = FieldsToJson(config);
  identity["training"] = TrainingIdentity(o);
  identity["seed"] = run.seed;
  identity["compute"] = at::toString(compute);
  const ShapesConfig pictures{.count = o.steps * o.batch, .size = config.size, .seed = config.pictures_seed};
  ReadingTime reading;
  RunTraining({.folder = folder,
               .name = "judge",
               .identity = identity,
               .weights = ListWeights(judge),
               .averaged = ListWeights(result),
               .replicas = replicas.Lists(),
               .options = o,
               .loss =
                   [&](int64_t step, int64_t shard, Json& row) {
                     const ShapesBatch batch =
                         reading.Of([&] { return DrawShapesBatch(pictures, step * o.batch, o.batch, kHalf, kHalf); });
                     const ComputeScope scope(device, compute);
                     const Tensor logits = ForwardJudge(replicas[shard], batch.pixels.to(device), true).to(at::kFloat);
                     const Tensor labels = batch.labels.to(device);
                     row["right"] = logits.argmax(1).eq(labels).to(at::kFloat).mean().item<double>();
                     return at::cross_entropy_loss(logits, labels);
                   },
               .review = {},
               .reading = &reading},
              progress);
  return result;
}

namespace {

Tensor Cosines(const Tensor& a, const Tensor& b) {
  return at::cosine_similarity(a.to(at::kFloat), b.to(at::kFloat), 1, 1e-8);
}

struct Tally {
  int64_t kept = 0, seen = 0;
  double cosine = 0;
};

// Procedural images first .. first+count-1 with their classes.
struct Drawn {
  std::vector<Image> images;
  Tensor labels;  // [N]
};

Drawn Draw(const ShapesConfig& shapes, int64_t first, int64_t count) {
  Drawn drawn{.images = {}, .labels = at::empty({count}, at::kLong)};
  for (int64_t i = 0; i < count; ++i) {
    ShapesPicture picture = DrawShape(shapes, first + i);
    drawn.labels.data_ptr<int64_t>()[i] = picture.label;
    drawn.images.push_back(std::move(picture.image));
  }
  return drawn;
}

std::vector<Image> ViewsAt(const UnclipPipeline& pipeline, const FaithfulnessConfig& config, int64_t level,
                           const Tensor& embeddings, Seed seed) {
  const int64_t count = embeddings.size(0);
  const std::vector<int64_t> levels(static_cast<size_t>(count), level);
  return PicturesOf(PlainViews(pipeline, embeddings, levels, NoiseOf(pipeline, seed, count),
                               {.steps = config.steps, .guidance = config.guidance, .scheduler = config.scheduler})
                        .pictures);
}

Faithfulness TableOf(const FaithfulnessConfig& config, const std::vector<Tally>& tallies, int64_t right) {
  Faithfulness result{.real = 100.0 * static_cast<double>(right) / static_cast<double>(config.pictures), .rows = {}};
  for (size_t k = 0; k < tallies.size(); ++k) {
    const Tally& t = tallies[k];
    const auto [low, high] = WilsonInterval(t.kept, t.seen);
    const auto seen = static_cast<double>(t.seen);
    result.rows.push_back(
        {config.levels[k], 100 * static_cast<double>(t.kept) / seen, 100 * low, 100 * high, t.cosine / seen});
  }
  return result;
}

void WriteTable(const FaithfulnessConfig& config, const Faithfulness& table, const std::string& generator) {
  Json rows = Json::array();
  for (const FaithfulnessRow& row : table.rows) {
    rows.push_back({{"level", row.level},
                    {"kept_percent", row.kept},
                    {"low", row.low},
                    {"high", row.high},
                    {"cosine", row.cosine}});
  }
  Json settings = FieldsToJson(config);
  settings.erase("out");
  WriteJson(config.out / "faithfulness.json", {{"real_percent", table.real},
                                               {"images", config.pictures},
                                               {"rows", rows},
                                               {"generator", generator},
                                               {"settings", settings}});
}

}  // namespace

Faithfulness MeasureFaithfulness(const FaithfulnessConfig& config, Progress& progress) {
  const at::Device device = ChooseDevice(config.run.device);
  const at::ScalarType compute = ChooseCompute(config.run.precision, device);
  SweepPartFiles(config.out);  // of a killed call
  const Judge judge = TrainJudge(config.judge, config.out / "judge", config.run, progress);
  const auto pipeline = UnclipPipeline::Open(config.generator, device, compute);
  const Seed seed = Seed(config.run.seed).With("faithfulness");
  const ShapesConfig shapes{.count = config.pictures, .size = config.judge.size, .seed = config.pictures_seed};
  const c10::InferenceMode inference;
  const auto encode = [&](const std::vector<Image>& images) {
    return pipeline->EncodeImages(EncoderPixels(pipeline->preprocess(), images));
  };
  const auto judged_right = [&](const std::vector<Image>& images, const Tensor& labels) {
    return JudgeClasses(judge, FromImages(images).to(device)).cpu().eq(labels).sum().item<int64_t>();
  };

  std::vector<Tally> tallies(config.levels.size());
  std::vector<Image> sheet;
  int64_t right = 0;
  progress.Begin("faithfulness", config.pictures, "images");
  for (int64_t first = 0; first < config.pictures; first += kGroup) {
    progress.ThrowIfStopped();
    const auto [images, labels] = Draw(shapes, first, std::min(kGroup, config.pictures - first));
    right += judged_right(images, labels);
    const Tensor embeddings = encode(images);
    std::vector<std::vector<Image>> views;
    for (size_t k = 0; k < config.levels.size(); ++k) {
      const Seed own = seed.With(static_cast<uint64_t>(config.levels[k])).With(static_cast<uint64_t>(first));
      views.push_back(ViewsAt(*pipeline, config, config.levels[k], embeddings, own));
      tallies[k].kept += judged_right(views.back(), labels);
      tallies[k].cosine += Cosines(embeddings, encode(views.back())).sum().item<double>();
      tallies[k].seen += std::ssize(images);
    }
    if (first == 0) {
      for (size_t i = 0; i < std::min<size_t>(images.size(), 20); ++i) {
        sheet.push_back(images[i]);
        for (const auto& level : views) sheet.push_back(level[i]);
      }
    }
    progress.Update(first + std::ssize(images));
  }
  WriteFile(config.out / "views.png", EncodePng(Contact(sheet, static_cast<int64_t>(config.levels.size()) + 1, 2)));
  Faithfulness table = TableOf(config, tallies, right);
  WriteTable(config, table, pipeline->fingerprint());
  progress.End(Format("{} images at {} levels", config.pictures, config.levels.size()));
  return table;
}

}  // namespace genview
