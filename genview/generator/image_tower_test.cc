#include "genview/generator/image_tower.h"

#include <gtest/gtest.h>

#include "genview/base/error.h"
#include "genview/diffusion/picture_tensors.h"
#include "genview/generator/tiny_generator.h"
#include "tests/temporary_folder.h"

namespace genview {
namespace {

// A generator learns from pictures prepared as everything else prepares them for the same encoder.
void ExpectTheSame(const Path& place) {
  SCOPED_TRACE(place.string());
  const ImageTower tower = OpenImageTower(place);
  const auto encoder = Encoder::Open(place);
  EXPECT_EQ(tower.preprocess.ToJson(), encoder->preprocess().ToJson());
  const Image picture(20, 16);
  const Tensor seen = encoder->Encode(EncoderPixels(encoder->preprocess(), {picture}), /*tokens=*/false).embeddings;
  EXPECT_TRUE(at::allclose(Embed(tower, {picture}, at::kCPU, at::kFloat), seen, 1e-5, 1e-6));
}

TEST(ImageTower, IsWhatAnEncoderOfTheSamePlaceIs) {
  const TemporaryFolder folder;
  ExpectTheSame(WriteTinyTower(folder.path() / "tower"));
  // As diffusers keeps it: the rules of pictures beside the encoder's folder.
  const Path pipeline = folder.path() / "pipeline";
  WriteTinyTower(pipeline / "image_encoder");
  WriteJson(pipeline / "model_index.json", {{"_class_name", "StableUnCLIPImg2ImgPipeline"}});
  WriteJson(pipeline / "feature_extractor/preprocessor_config.json", {{"size", {{"shortest_edge", 20}}},
                                                                      {"crop_size", 16},
                                                                      {"image_mean", {0.5, 0.5, 0.5}},
                                                                      {"image_std", {0.25, 0.25, 0.25}}});
  ExpectTheSame(pipeline / "image_encoder");
  ExpectTheSame(pipeline);
  // A checkpoint, and a folder that holds one.
  const Json config = {{"type", "resnet18"}, {"width", 1.0 / 32}, {"small_stem", true}, {"image_size", 16}};
  const auto backbone = MakeBackbone(config);
  backbone->Init(Seed(6));
  const Path checkpoint = folder.path() / "checkpoint/encoder.safetensors";
  WriteSafetensors(checkpoint, NamedTensors(backbone->Weights(), "encoder."),
                   {{"genview", Json{{"kind", "pretrain"}, {"backbone", config}}.dump()}});
  ExpectTheSame(checkpoint);
  ExpectTheSame(checkpoint.parent_path());
}

TEST(ImageTower, AConfigLargerThanItsWeightsIsAnError) {
  const TemporaryFolder folder;
  WriteTinyTower(folder.path());
  ClipVisionConfig config{.width = 512,
                          .layers = 4,
                          .heads = 2,
                          .mlp_width = 2048,
                          .patch_size = 8,
                          .image_size = 16,
                          .embedding_width = 8};
  WriteJson(folder.path() / "config.json", ClipConfigToHuggingFace(config));
  try {
    OpenImageTower(folder.path());
    FAIL() << "it was taken";
  } catch (const Error& error) {
    EXPECT_NE(error.text().what.find("describes a model of"), std::string::npos) << error.text().what;
  }
}

}  // namespace
}  // namespace genview
