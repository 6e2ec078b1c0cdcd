#include "genview/models/backbone_file.h"

#include <gtest/gtest.h>

#include "genview/base/error.h"
#include "genview/base/hash.h"
#include "genview/models/encoder.h"
#include "genview/models/neighbours.h"
#include "genview/tensor/safetensors.h"
#include "genview/tensor/torch_file.h"
#include "tests/source_dir.h"
#include "tests/temporary_folder.h"

namespace genview {
namespace {

ErrorText Complaint(const Path& path, const ForeignOptions& options = {}) {
  try {
    ReadBackboneFile(path, options);
  } catch (const Error& error) {
    return error.text();
  }
  ADD_FAILURE() << "no error";
  return {};
}

Path Transformers(const char* name) { return SourceDir() / "tests" / "golden" / "layouts" / name; }

// A checkpoint of this program.
Path WriteOwn(const Path& folder, const BackboneConfig& config) {
  const auto net = MakeBackbone(config);
  net->Init(Seed(1));
  const Json meta = {{"format", 1}, {"kind", "import"}, {"backbone", FieldsToJson(config)}};
  WriteSafetensors(folder / "own.safetensors", NamedTensors(net->Weights(), "encoder."), {{"genview", meta.dump()}});
  return folder / "own.safetensors";
}

TEST(BackboneFile, ShardsAreOneModel) {
  const TemporaryFolder folder;
  const Path whole = Transformers("transformers_vit");
  std::vector<std::pair<std::string, Tensor>> shards[2];
  Json names = Json::object();
  const WeightMap weights = ReadWeightsFile(whole / "model.safetensors");
  for (const auto& [name, tensor] : weights.tensors()) {
    const size_t shard = names.size() % 2;
    shards[shard].emplace_back(name, tensor);
    names[name] = Format("model-{:05}-of-00002.safetensors", shard + 1);
  }
  for (size_t i = 0; i < 2; ++i)
    WriteSafetensors(folder.path() / Format("model-{:05}-of-00002.safetensors", i + 1), shards[i]);
  WriteJson(folder.path() / "model.safetensors.index.json", {{"metadata", Json::object()}, {"weight_map", names}});
  WriteJson(folder.path() / "config.json", ReadJson(whole / "config.json"));
  const BackboneFile one = ReadBackboneFile(whole), many = ReadBackboneFile(folder.path());
  const WeightList a = one.encoder.backbone->Weights(), b = many.encoder.backbone->Weights();
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(at::equal(*a[i].tensor, *b[i].tensor)) << a[i].name;
  EXPECT_EQ(FieldsToJson(one.encoder.backbone->config()), FieldsToJson(many.encoder.backbone->config()));
}

TEST(BackboneFile, WhatOwnFilesSayIsNotAskedFor) {
  const TemporaryFolder folder;
  const Path own = WriteOwn(
      folder.path(), {.type = "vit-tiny", .image_size = 16, .width = 0.125, .patch_size = 8, .layers = 1, .heads = 6});
  const ErrorText heads = Complaint(own, {.heads = 12});
  EXPECT_NE(heads.what.find("has 6 heads, not 12"), std::string::npos) << heads.what;
  EXPECT_EQ(heads.where, own.string());
  EXPECT_EQ(heads.next, "leave `--heads` away");
  EXPECT_NE(Complaint(own, {.image_size = 32}).what.find("have 16 px, not 32"), std::string::npos);
  EXPECT_NE(Complaint(own, {.layout = ImportLayout::kTimm}).next.find("--layout"), std::string::npos);
  EXPECT_NE(Complaint(own, {.prefix = "x."}).next.find("--prefix"), std::string::npos);
  EXPECT_EQ(ReadBackboneFile(own, {.heads = 6, .image_size = 16}).encoder.layout, "genview");
  EXPECT_NE(Complaint(WriteOwn(folder.path(), {.width = 1.0 / 64}), {.heads = 3}).what.find("no heads"),
            std::string::npos);
}

TEST(BackboneFile, OneOfANewerVersionIsRefused) {
  const TemporaryFolder folder;
  const BackboneConfig config{.type = "resnet18", .width = 1.0 / 64};
  const auto net = MakeBackbone(config);
  net->Init(Seed(1));
  for (const char* kind : {"import", "export"}) {
    const Json meta = {{"format", 2}, {"kind", kind}, {"backbone", FieldsToJson(config)}};
    const Path file = folder.path() / "new.safetensors";
    WriteSafetensors(file, NamedTensors(net->Weights(), "encoder."), {{"genview", meta.dump()}});
    const ErrorText text = Complaint(file);
    EXPECT_EQ(text.what, "made by a newer version of this program: format 2, where 1 is known");
    EXPECT_EQ(text.where, file.string());
    EXPECT_EQ(text.next, "use the version that made it, or a newer one");
  }
}

TEST(BackboneFile, PaddingOfTheStemStaysWithTheFile) {
  const TemporaryFolder folder;
  const BackboneConfig config{.type = "resnet18", .width = 1.0 / 64, .small_stem = true, .stem_padding = 2};
  const Path own = WriteOwn(folder.path(), config);
  EXPECT_EQ(ReadBackboneFile(own).encoder.backbone->config().stem_padding, 2);
  EXPECT_EQ(ReadBackboneFile(own, {.stem_padding = 2}).encoder.layout, "genview");
  EXPECT_EQ(Complaint(own, {.stem_padding = 1}).next, "leave `--stem-padding` away");
  const auto net = MakeBackbone(config);
  net->Init(Seed(1));
  const Json meta = {{"format", 1}, {"kind", "export"}, {"backbone", FieldsToJson(config)}};
  const Path exported = folder.path() / "exported.safetensors";
  WriteSafetensors(exported, ToLayout(*net, ExportLayout::kTorchvision), {{"genview", meta.dump()}});
  EXPECT_EQ(ReadBackboneFile(exported).encoder.backbone->config().stem_padding, 2);
}

TEST(BackboneFile, FoldersOfBackbonesAreNoEncodersYet) {
  for (const char* name : {"transformers_vit", "transformers_resnet"}) {
    try {
      Encoder::Open(Transformers(name));
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.text().next, Format("`genview import {} --out encoder.safetensors` makes an encoder of it",
                                          Transformers(name).string()));
    }
  }
}

TEST(BackboneFile, PicturesArePreparedAsTheFolderSays) {
  const TemporaryFolder folder;
  const Path vit = folder.path() / "vit", resnet = folder.path() / "resnet";
  std::filesystem::copy(Transformers("transformers_vit"), vit);
  std::filesystem::copy(Transformers("transformers_resnet"), resnet);
  EXPECT_FALSE(ReadBackboneFile(vit).preprocess_known);
  EXPECT_EQ(ReadBackboneFile(vit).preprocess.filter, Filter::kBicubic);

  WriteJson(vit / "preprocessor_config.json",
            {{"image_processor_type", "ViTImageProcessor"}, {"size", 16}, {"crop_size", nullptr}});
  BackboneFile file = ReadBackboneFile(vit);
  EXPECT_TRUE(file.preprocess_known);
  EXPECT_TRUE(file.preprocess.squash);
  EXPECT_EQ(file.preprocess.filter, Filter::kBilinear);
  EXPECT_EQ(file.preprocess.mean[2], 0.5);

  WriteJson(resnet / "preprocessor_config.json", {{"feature_extractor_type", "ConvNextFeatureExtractor"},
                                                  {"crop_pct", 0.875},
                                                  {"size", 64},
                                                  {"resample", 2},
                                                  {"image_mean", {0.1, 0.2, 0.3}}});
  file = ReadBackboneFile(resnet);
  EXPECT_EQ(file.preprocess.size, 64);
  EXPECT_EQ(file.preprocess.resize_shortest, 73);  // int(64 / 0.875)
  EXPECT_EQ(file.preprocess.filter, Filter::kBilinear);
  EXPECT_EQ(file.preprocess.mean[1], 0.2);
  EXPECT_EQ(file.encoder.backbone->config().image_size, 64);
  file = ReadBackboneFile(resnet, {.image_size = 128});
  EXPECT_EQ(file.preprocess.size, 128);
  EXPECT_EQ(file.preprocess.resize_shortest, 146);

  WriteJson(resnet / "preprocessor_config.json", {{"image_processor_type", "ConvNextImageProcessor"}});
  file = ReadBackboneFile(resnet);  // 384 px and above are not cropped
  EXPECT_EQ(file.preprocess.size, 384);
  EXPECT_TRUE(file.preprocess.squash);
  EXPECT_EQ(file.preprocess.filter, Filter::kBicubic);
}

TEST(BackboneFile, TimmsConfigIsRead) {
  const TemporaryFolder folder;
  const auto net = MakeBackbone(
      BackboneConfig{.type = "vit-tiny", .image_size = 32, .width = 1.0 / 3, .patch_size = 8, .layers = 1, .heads = 1});
  net->Init(Seed(1));
  WriteSafetensors(folder.path() / "model.safetensors", ToLayout(*net, ExportLayout::kTimm));
  Json rules = {{"input_size", {3, 224, 224}}, {"interpolation", "bilinear"}, {"crop_pct", 0.9},
                {"crop_mode", "center"},       {"mean", {0.5, 0.5, 0.5}},     {"std", {0.5, 0.5, 0.5}}};
  const auto write = [&] {
    WriteJson(folder.path() / "config.json", {{"architecture", "vit_tiny_patch16_224"}, {"pretrained_cfg", rules}});
  };
  write();
  const BackboneFile file = ReadBackboneFile(folder.path(), {.heads = 1});
  EXPECT_EQ(file.preprocess.filter, Filter::kBilinear);
  EXPECT_EQ(file.preprocess.mean[0], 0.5);
  EXPECT_EQ(file.preprocess.size, 32);             // by its positions
  EXPECT_EQ(file.preprocess.resize_shortest, 35);  // 248 of 224
  const Preprocess p = PreprocessFromTimm(rules, "test");
  EXPECT_EQ(p.size, 224);
  EXPECT_EQ(p.resize_shortest, 248);
  EXPECT_EQ(PreprocessFromTimm(Json::object(), "test").resize_shortest, 256);
  EXPECT_EQ(PreprocessFromTimm(Json::object(), "test").filter, Filter::kBicubic);
  rules["interpolation"] = "lanczos";
  rules["crop_mode"] = "squash";
  EXPECT_EQ(PreprocessFromTimm(rules, "test").filter, Filter::kLanczos);
  EXPECT_EQ(PreprocessFromTimm(rules, "test").resize_height, 248);
  rules["interpolation"] = "random";
  write();
  EXPECT_NE(Complaint(folder.path(), {.heads = 1}).what.find("random"), std::string::npos);
}

// Their tensors have the names and shapes of a ResNet-50 and a ResNet-18.
TEST(BackboneFile, NetworksWithOtherStridesAreRefused) {
  const TemporaryFolder folder;
  const auto deep = MakeBackbone(BackboneConfig{.type = "resnet50", .width = 1.0 / 64});
  deep->Init(Seed(1));
  WriteSafetensors(folder.path() / "model.safetensors", ToLayout(*deep, ExportLayout::kTransformers));
  Json config = TransformersConfig(*deep);
  WriteJson(folder.path() / "config.json", config);
  EXPECT_EQ(ReadBackboneFile(folder.path()).encoder.layout, "transformers");
  config["downsample_in_first_stage"] = true;
  WriteJson(folder.path() / "config.json", config);
  EXPECT_NE(Complaint(folder.path()).what.find("strides"), std::string::npos);

  WriteSafetensors(folder.path() / "model.safetensors", ToLayout(*deep, ExportLayout::kTimm));
  for (const char* name : {"resnetaa50", "resnetblur18"}) {
    WriteJson(folder.path() / "config.json", {{"architecture", name}, {"pretrained_cfg", Json::object()}});
    EXPECT_NE(Complaint(folder.path()).what.find(name), std::string::npos);
  }
  WriteJson(folder.path() / "config.json", {{"architecture", "resnet50"}, {"pretrained_cfg", Json::object()}});
  EXPECT_EQ(ReadBackboneFile(folder.path()).encoder.backbone->config().type, "resnet50");
}

// Another config beside the same weights is another encoder, whose scores and kept features are others.
TEST(BackboneFile, FingerprintsFollowWhatStandsBesideTheWeights) {
  const TemporaryFolder folder;
  const Path vit = folder.path() / "vit";
  std::filesystem::copy(Transformers("transformers_vit"), vit);
  const auto fingerprint = [&] { return Encoder::Open(vit / "model.safetensors")->fingerprint(); };
  Json rules = {{"image_processor_type", "ViTImageProcessor"}, {"size", 16}};
  WriteJson(vit / "preprocessor_config.json", rules);
  const std::string before = fingerprint();
  EXPECT_EQ(fingerprint(), before);
  rules["image_mean"] = {0.1, 0.2, 0.3};
  WriteJson(vit / "preprocessor_config.json", rules);
  const std::string other_colours = fingerprint();
  EXPECT_NE(other_colours, before);
  Json config = ReadJson(vit / "config.json");
  config["num_attention_heads"] = 3;
  WriteJson(vit / "config.json", config);
  EXPECT_NE(fingerprint(), other_colours);

  const Path own =
      WriteOwn(folder.path(), {.type = "vit-tiny", .image_size = 16, .width = 0.125, .patch_size = 8, .layers = 1});
  EXPECT_EQ(Encoder::Open(own)->fingerprint(), FingerprintFile(own));  // which says all of itself
}

}  // namespace
}  // namespace genview
