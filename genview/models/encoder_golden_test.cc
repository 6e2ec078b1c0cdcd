// Encoders opened from folders as other libraries write them; see tests/golden/make_models.py.
#include "genview/models/encoder.h"

#include <c10/core/InferenceMode.h>

#include "genview/base/error.h"
#include "tests/golden/compare.h"

namespace genview {
namespace {

Path EmptyFolder(const std::string& name) {
  const Path folder = Path(testing::TempDir()) / ("encoder_" + name);
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

using Named = std::vector<std::pair<std::string, Tensor>>;

Named WeightsOf(const WeightMap& golden) {
  Named tensors;
  const WeightMap weights = golden.WithPrefixRemoved("weights.");
  for (const auto& [name, tensor] : weights.tensors()) tensors.emplace_back(name, tensor.clone());
  return tensors;
}

Json ConfigOf(const WeightMap& golden) { return ParseJson(golden.Metadata("config"), golden.where()); }

Tensor Pixels(const Preprocess& p, const Tensor& picture) {
  Image image(picture.size(1), picture.size(0));
  std::memcpy(image.pixels.data(), picture.data_ptr(), image.pixels.size());
  Tensor pixels = at::empty({3, p.size, p.size});
  Normalise(ApplyGeometry(p, image), p.mean, p.std, {pixels.data_ptr<float>(), static_cast<size_t>(pixels.numel())});
  return pixels;
}

void ExpectGoldenOutput(const Encoder& encoder, const WeightMap& golden) {
  const c10::InferenceMode guard;
  const Encoder::Output out = encoder.Encode(golden.At("pixels"), /*tokens=*/true);
  EXPECT_CLOSE(out.embeddings, golden.At("embedding"), 1e-4);
  EXPECT_CLOSE(out.tokens, golden.At("tokens"), 1e-4);
  EXPECT_FALSE(encoder.Encode(golden.At("pixels"), false).tokens.defined());
}

TEST(EncoderGolden, OpenClipFolder) {
  const WeightMap golden = Golden("models/open_clip_gelu");
  const Path folder = EmptyFolder("open_clip");
  WriteJson(folder / "open_clip_config.json",
            {{"model_cfg", ConfigOf(golden)}, {"preprocess_cfg", {{"mean", {0.5, 0.5, 0.5}}}}});
  WriteSafetensors(folder / "open_clip_model.safetensors", WeightsOf(golden));
  const auto encoder = Encoder::Open(folder);
  ExpectGoldenOutput(*encoder, golden);
  EXPECT_EQ(encoder->embedding_width(), 12);
  EXPECT_EQ(encoder->token_width(), 32);
  EXPECT_EQ(encoder->grid(), 4);
  EXPECT_EQ(encoder->preprocess().mean[0], 0.5);
  EXPECT_EQ(encoder->preprocess().size, 32);
  EXPECT_TRUE(encoder->Takes(32));
  EXPECT_FALSE(encoder->Takes(48));  // it has a position for each patch
}

// PyTorch's own file, with the wrappers of a training program around the weights.
TEST(EncoderGolden, OpenClipFolderOfATraining) {
  const WeightMap golden = Golden("models/open_clip_quick");
  const Path folder = EmptyFolder("open_clip_pt");
  WriteJson(folder / "open_clip_config.json", {{"model_cfg", ConfigOf(golden)}});
  std::filesystem::copy(SourceDir() / "tests/golden/models/open_clip_quick.pt", folder / "epoch_3.pt");
  ExpectGoldenOutput(*Encoder::Open(folder), golden);
  WriteSafetensors(folder / "open_clip_model.safetensors", {{"x", at::ones({1})}});  // is preferred, and does not fit
  EXPECT_THROW(Encoder::Open(folder), Error);
}

TEST(EncoderGolden, HuggingFaceFolderAndItsShards) {
  const WeightMap golden = Golden("models/transformers_gelu");
  const Path whole = EmptyFolder("whole"), sharded = EmptyFolder("sharded");
  const Named all = WeightsOf(golden);
  for (const Path& folder : {whole, sharded}) WriteJson(folder / "config.json", ConfigOf(golden));
  WriteSafetensors(whole / "any-name.safetensors", all);
  Json map = Json::object();
  for (size_t i = 0; i < all.size(); ++i) map[all[i].first] = i < 10 ? "model-1.safetensors" : "model-2.safetensors";
  WriteSafetensors(sharded / "model-1.safetensors", Named(all.begin(), all.begin() + 10));
  WriteSafetensors(sharded / "model-2.safetensors", Named(all.begin() + 10, all.end()));
  WriteJson(sharded / "model.safetensors.index.json", {{"weight_map", map}});
  ExpectGoldenOutput(*Encoder::Open(whole), golden);
  ExpectGoldenOutput(*Encoder::Open(sharded), golden);
  EXPECT_TRUE(Encoder::Open(whole)->preprocess().floor_crop);
}

TEST(EncoderGolden, PipelineFolderWithItsFeatureExtractor) {
  const WeightMap golden = Golden("models/transformers_quick_whole");
  const Path folder = EmptyFolder("pipeline");
  WriteJson(folder / "model_index.json", Json::object());
  WriteJson(folder / "image_encoder" / "config.json", ConfigOf(golden));
  WriteSafetensors(folder / "image_encoder" / "model.safetensors", WeightsOf(golden));
  WriteJson(folder / "feature_extractor" / "preprocessor_config.json", {{"size", 30}, {"crop_size", 24}});
  const auto encoder = Encoder::Open(folder);
  ExpectGoldenOutput(*encoder, golden);
  EXPECT_EQ(encoder->preprocess().resize_shortest, 30);
  EXPECT_EQ(Encoder::Open(folder / "image_encoder")->fingerprint(), encoder->fingerprint());
}

TEST(EncoderGolden, PixelsAreThoseOfEachLibrary) {
  for (const char* file : {"models/preprocess", "models/preprocess_rules"}) {
    const WeightMap golden = Golden(file);
    const Json config = ConfigOf(golden);
    for (const std::string library : {"open_clip", "hugging_face"}) {
      for (size_t i = 0; i < config[library].size(); ++i) {
        for (const std::string name : {"wide", "high"}) {
          const Json& rules = config[library][i];
          const Tensor& expected = golden.At(Format("{}.{}.{}", library, i, name));
          const Preprocess p = library == "open_clip" ? PreprocessFromOpenClip(rules, expected.size(1), "test")
                                                      : PreprocessFromHuggingFace(rules, expected.size(1), "test");
          EXPECT_CLOSE(Pixels(p, golden.At("image." + name)), expected, 1e-5) << library << " " << name << " " << rules;
        }
      }
    }
  }
}

TEST(EncoderGolden, Bf16IsNear) {
  const WeightMap golden = Golden("models/open_clip_gelu");
  const Path folder = EmptyFolder("bf16");
  WriteJson(folder / "open_clip_config.json", ConfigOf(golden));
  WriteSafetensors(folder / "x.safetensors", WeightsOf(golden));
  const c10::InferenceMode guard;
  const auto out = Encoder::Open(folder, at::kCPU, at::kBFloat16)->Encode(golden.At("pixels"), true);
  EXPECT_EQ(out.tokens.scalar_type(), at::kFloat);
  EXPECT_CLOSE(out.embeddings, golden.At("embedding"), 0.05);
  EXPECT_CLOSE(out.tokens, golden.At("tokens"), 0.05);
}

}  // namespace
}  // namespace genview
