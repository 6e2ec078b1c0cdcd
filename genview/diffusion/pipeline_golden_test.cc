#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <c10/core/InferenceMode.h>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/diffusion/pipeline.h"
#include "genview/diffusion/python_json.h"
#include "genview/image/image.h"
#include "genview/tensor/safetensors.h"
#include "tests/golden/compare.h"

namespace genview {
namespace {

const Path kGolden = SourceDir() / "tests/golden/diffusion";

struct Case {
  const char* name;
  int64_t steps;
  double guidance;
  const char* scheduler;
};
constexpr Case kCases[] = {{"a", 20, 10, ""},
                           {"b", 4, 1, ""},
                           {"c", 6, 3, "DPMSolverMultistepScheduler"},
                           {"d", 5, 3, "EulerDiscreteScheduler"}};

UnclipRequest RequestOf(const WeightMap& io, const Case& one, const Tensor& embeddings) {
  const Tensor levels = io.At("levels");
  const auto n = static_cast<size_t>(levels.size(0));
  UnclipRequest request{.embeddings = embeddings,
                        .levels = {},
                        .guidance = std::vector<double>(n, one.guidance),
                        .embedding_noise = io.At("embedding_noise"),
                        .latents = io.At("latents_in"),
                        .latents_as_given = true,
                        .steps = one.steps,
                        .scheduler = one.scheduler,
                        .prompts = {},
                        .negative_prompt = ""};
  for (size_t i = 0; i < n; ++i) request.levels.push_back(levels[static_cast<int64_t>(i)].item<int64_t>());
  return request;
}

class PipelineGolden : public testing::TestWithParam<const char*> {
 protected:
  // Operations this small are slower on several threads, on a busy machine by far.
  static void SetUpTestSuite() { at::set_num_threads(1); }
  Path folder_ = kGolden / GetParam();
  WeightMap io_ = ReadSafetensors(folder_ / "io.safetensors");
};

// The original takes one level a call; here three pictures of three levels are one batch.
TEST_P(PipelineGolden, ThreeLevelsInOneBatchEqualDiffusers) {
  const c10::InferenceMode guard;
  const auto pipeline = UnclipPipeline::Open(folder_);
  std::vector<Tensor> pixels;
  for (int i = 0; i < 3; ++i) {
    const auto picture = DecodeImage(ReadFile(folder_ / Format("picture{}.png", i)));
    ASSERT_TRUE(picture) << picture.reason();
    const Image seen = ApplyGeometry(pipeline->preprocess(), *picture);
    pixels.push_back(at::empty({3, seen.height, seen.width}));
    Normalise(seen, pipeline->preprocess().mean, pipeline->preprocess().std,
              {pixels.back().data_ptr<float>(), static_cast<size_t>(pixels.back().numel())});
  }
  const Tensor batch = at::stack(pixels);
  ExpectClose(batch, io_.At("pixel_values"), 1e-6, "pixel_values");
  const Tensor embeddings = pipeline->EncodeImages(batch);
  ExpectClose(embeddings, io_.At("image_embeds"), 1e-5, "image_embeds");
  for (const Case& one : kCases) {
    UnclipTrace trace;
    const UnclipViews views = pipeline->Generate(RequestOf(io_, one, embeddings), &trace);
    const auto wanted = [&](const char* key) { return io_.At(Format("{}.{}", one.name, key)); };
    ExpectClose(trace.class_labels, wanted("class_labels"), 1e-5, "class_labels");
    EXPECT_EQ(trace.prompt_embeds.defined(), io_.Has("a.prompt_embeds"));
    if (trace.prompt_embeds.defined()) ExpectClose(trace.prompt_embeds, wanted("prompt_embeds"), 1e-5, "prompt_embeds");
    ExpectClose(trace.unet_first, wanted("unet_first"), 1e-5, "unet_first");
    ExpectClose(trace.latents, wanted("latents"), 1e-4, "latents");
    const Tensor difference = (views.pictures.to(at::kInt) - wanted("image").to(at::kInt)).abs();
    EXPECT_LE(difference.max().item<int>(), 1) << one.name;
    EXPECT_EQ(views.faults, std::vector<std::string>(3, ""));
  }
}

TEST_P(PipelineGolden, ARowDoesNotDependOnItsNeighbours) {
  const c10::InferenceMode guard;
  const auto pipeline = UnclipPipeline::Open(folder_);
  UnclipRequest all = RequestOf(io_, kCases[2], io_.At("image_embeds"));
  all.guidance = {3, 1, 7};  // each its own, one without guidance
  UnclipTrace trace;
  pipeline->Generate(all, &trace);
  for (int64_t i = 0; i < 3; ++i) {
    UnclipRequest one = all;
    for (Tensor* tensor : {&one.embeddings, &one.embedding_noise, &one.latents}) *tensor = tensor->slice(0, i, i + 1);
    one.levels = {all.levels[static_cast<size_t>(i)]};
    one.guidance = {all.guidance[static_cast<size_t>(i)]};
    UnclipTrace alone;
    pipeline->Generate(one, &alone);
    ExpectClose(alone.latents[0], trace.latents[i], 1e-5, Format("row {}", i));
  }
}

// Several rounds, so that every network is let go and read again.
TEST_P(PipelineGolden, ANetworkAtATimeGivesTheSame) {
  const c10::InferenceMode guard;
  const auto all = UnclipPipeline::Open(folder_, at::kCPU, at::kFloat, Residency::kAll),
             one = UnclipPipeline::Open(folder_, at::kCPU, at::kFloat, Residency::kOne);
  EXPECT_TRUE(all->keeps_all());
  EXPECT_FALSE(one->keeps_all());
  EXPECT_TRUE(UnclipPipeline::Open(folder_)->keeps_all());  // as small as these are
  EXPECT_EQ(one->fingerprint(), all->fingerprint());
  for (int round = 0; round < 2; ++round) {
    const Tensor embeddings = all->EncodeImages(io_.At("pixel_values"));
    EXPECT_TRUE(at::equal(one->EncodeImages(io_.At("pixel_values")), embeddings));
    UnclipRequest request = RequestOf(io_, kCases[1], embeddings);
    if (all->has_text()) request.prompts = {"a", "", Format("round {}", round)};
    EXPECT_TRUE(at::equal(one->Generate(request).pictures, all->Generate(request).pictures));
  }
}

TEST_P(PipelineGolden, PartsAreWhatGenerateDoes) {
  const c10::InferenceMode guard;
  const auto pipeline = UnclipPipeline::Open(folder_);
  UnclipTrace trace;
  const UnclipViews views = pipeline->Generate(RequestOf(io_, kCases[1], io_.At("image_embeds")), &trace);
  const Tensor decoded = pipeline->Decode(trace.latents, /*tiles=*/false);
  EXPECT_TRUE(
      at::equal(((decoded * 0.5 + 0.5).clamp(0, 1) * 255).round().to(at::kByte).permute({0, 2, 3, 1}), views.pictures));
  EXPECT_EQ(pipeline->CallUnet(trace.latents, /*guided=*/true).size(0), 6);
  EXPECT_EQ(pipeline->CallUnet(trace.latents, /*guided=*/false).sizes(), trace.latents.sizes());
}

TEST_P(PipelineGolden, PicturesLargerThanATileCanBeMadeInTiles) {
  const c10::InferenceMode guard;
  const auto pipeline = UnclipPipeline::Open(folder_);
  EXPECT_FALSE(pipeline->HasTiles(pipeline->latent_shape()));
  UnclipRequest request = RequestOf(io_, kCases[1], io_.At("image_embeds"));
  request.latents = NormalTensor(Seed(4), {3, 4, 12, 8});
  EXPECT_TRUE(pipeline->HasTiles({4, 12, 8}));
  EXPECT_GT(pipeline->DecodeBytes({4, 12, 8}, 3), pipeline->DecodeBytes({4, 6, 8}, 3));
  const UnclipViews whole = pipeline->Generate(request);
  request.tiles = true;
  const UnclipViews tiles = pipeline->Generate(request);
  EXPECT_EQ(tiles.pictures.sizes(), whole.pictures.sizes());
  EXPECT_FALSE(at::equal(tiles.pictures, whole.pictures));
  request.latents = request.latents.slice(2, 0, 4).slice(3, 0, 4);
  const UnclipViews single = pipeline->Generate(request);
  request.tiles = false;
  EXPECT_TRUE(at::equal(single.pictures, pipeline->Generate(request).pictures));
}

INSTANTIATE_TEST_SUITE_P(All, PipelineGolden, testing::Values("pipeline_pndm", "pipeline_ddim", "pipeline_text"),
                         [](const auto& each) { return std::string(each.param); });

// A text for each picture, an empty one and one with a padding token among them, and one that guidance leads away from.
TEST(UnclipPipeline, TextsLeadAsInDiffusers) {
  const c10::InferenceMode guard;
  const WeightMap io = ReadSafetensors(kGolden / "pipeline_text/io.safetensors");
  const auto pipeline = UnclipPipeline::Open(kGolden / "pipeline_text");
  UnclipRequest request = RequestOf(io, Case{"e", 3, 3, ""}, io.At("image_embeds"));
  request.prompts = {"a cat", "", "the hat!"};
  request.negative_prompt = "a photo";
  UnclipTrace trace;
  pipeline->Generate(request, &trace);
  ExpectClose(trace.prompt_embeds, io.At("e.prompt_embeds"), 1e-5, "prompt_embeds");
  ExpectClose(trace.unet_first, io.At("e.unet_first"), 1e-5, "unet_first");
  ExpectClose(trace.latents, io.At("e.latents"), 1e-4, "latents");
}

TEST(UnclipPipeline, ABrokenPictureIsMarkedAndItsNeighboursAreNot) {
  const c10::InferenceMode guard;
  const WeightMap io = ReadSafetensors(kGolden / "pipeline_pndm/io.safetensors");
  const auto pipeline = UnclipPipeline::Open(kGolden / "pipeline_pndm");
  UnclipRequest request = RequestOf(io, kCases[1], io.At("image_embeds"));
  request.latents = request.latents.clone();
  request.latents[1].fill_(NAN);
  EXPECT_EQ(pipeline->Generate(request).faults, (std::vector<std::string>{"", "not a number", ""}));
}

TEST(UnclipPipeline, WrittenFolderOpensAndGivesTheSame) {
  const c10::InferenceMode guard;
  const Path source = kGolden / "pipeline_pndm", folder = Path(testing::TempDir()) / "genview-unclip";
  Unet unet = ReadUnetFolder(source / "unet");
  Vae vae = ReadVaeFolder(source / "vae");
  ClipVision tower = MakeClipVision(ClipConfigFromHuggingFace(ReadJson(source / "image_encoder/config.json"), "test"));
  const WeightMap weights = ReadSafetensors(source / "image_encoder/model.safetensors");
  WeightReader reader(weights);
  LoadClipVision(tower, reader, ClipLayout::kHuggingFace);
  const auto original = UnclipPipeline::Open(source);
  WriteUnclipFolder({&tower,
                     {},
                     original->preprocess(),
                     ReadEmbeddingNoiser(source, 6),
                     ParseSchedulerConfig(ReadPythonJson(source / "scheduler/scheduler_config.json"), "", "test"),
                     unet,
                     vae},
                    folder);
  const auto again = UnclipPipeline::Open(folder);
  EXPECT_NE(again->fingerprint(), original->fingerprint());  // fp32 weights instead of fp16
  EXPECT_EQ(again->preprocess().ToJson(), original->preprocess().ToJson());
  const WeightMap io = ReadSafetensors(source / "io.safetensors");
  EXPECT_TRUE(at::equal(original->EncodeImages(io.At("pixel_values")), again->EncodeImages(io.At("pixel_values"))));
  const UnclipRequest request = RequestOf(io, kCases[1], io.At("image_embeds"));
  EXPECT_TRUE(at::equal(original->Generate(request).pictures, again->Generate(request).pictures));
  std::filesystem::remove_all(folder);
}

// Opens a copy of a pipeline folder with one JSON file changed, and asks for its scheduler.
std::string FailureWith(const char* file, const char* key, const Json& value) {
  const Path folder = Path(testing::TempDir()) / "genview-unclip-broken";
  std::filesystem::remove_all(folder);
  std::filesystem::copy(kGolden / "pipeline_pndm", folder, std::filesystem::copy_options::recursive);
  Json json = ReadJson(folder / file);
  json[key] = value;
  WriteJson(folder / file, json);
  std::string failure = "opened";
  try {
    (void)UnclipPipeline::Open(folder)->SchedulerFor("", 20);
  } catch (const Error& error) {
    failure = error.text().what;
  }
  std::filesystem::remove_all(folder);
  return failure;
}

// With one network at a time: what would show last, after all steps, is said at once; the others' contents before the
// steps.
TEST(UnclipPipeline, NumbersThatAreNoneAreSaidBeforeLongWork) {
  const c10::InferenceMode guard;
  const WeightMap io = ReadSafetensors(kGolden / "pipeline_pndm/io.safetensors");
  for (const std::string part : {"vae", "unet"}) {
    const Path folder = Path(testing::TempDir()) / ("genview-unclip-nan-" + part);
    std::filesystem::remove_all(folder);
    std::filesystem::copy(kGolden / "pipeline_pndm", folder, std::filesystem::copy_options::recursive);
    const Path file = folder / part / "diffusion_pytorch_model.safetensors";
    std::vector<std::pair<std::string, Tensor>> tensors;
    const WeightMap weights = ReadSafetensors(file);
    for (const auto& [name, tensor] : weights.tensors()) tensors.emplace_back(name, tensor.clone());
    tensors.back().second.flatten()[0] = NAN;
    WriteSafetensors(file, tensors);
    EXPECT_THROW(UnclipPipeline::Open(folder, at::kCPU, at::kFloat, Residency::kAll), Error);
    if (part == "vae") {
      EXPECT_THROW(UnclipPipeline::Open(folder, at::kCPU, at::kFloat, Residency::kOne), Error);
    } else {
      const auto pipeline = UnclipPipeline::Open(folder, at::kCPU, at::kFloat, Residency::kOne);
      EXPECT_THROW(pipeline->Generate(RequestOf(io, kCases[1], io.At("image_embeds"))), Error);
    }
    std::filesystem::remove_all(folder);
  }
}

TEST(UnclipPipeline, FoldersThatDoNotFitAreRefusedInWords) {
  EXPECT_NE(FailureWith("model_index.json", "_class_name", "StableDiffusionPipeline").find("StableDiffusionPipeline"),
            std::string::npos);
  EXPECT_NE(FailureWith("model_index.json", "unet", Json::array({"diffusers", "UNet2DModel"})).find("`unet`"),
            std::string::npos);
  EXPECT_NE(FailureWith("unet/config.json", "projection_class_embeddings_input_dim", 16).find("class_embedding"),
            std::string::npos);
  EXPECT_NE(FailureWith("scheduler/scheduler_config.json", "_class_name", "DDPMScheduler").find("DDPMScheduler"),
            std::string::npos);
  try {
    (void)UnclipPipeline::Open(kGolden / "pipeline_pndm/io.safetensors", at::kCPU, at::kFloat);
    ADD_FAILURE() << "a file of other tensors was taken for a generator";
  } catch (const Error& error) {
    EXPECT_NE(error.text().what.find("no Stable unCLIP model"), std::string::npos) << error.text().what;
    EXPECT_TRUE(error.text().where.ends_with("io.safetensors")) << error.text().where;
  }
  EXPECT_NE(FailureWith("vae/config.json", "norm_num_groups", 3).find("norm_num_groups"), std::string::npos);
}

}  // namespace
}  // namespace genview
