#include "genview/models/encoder.h"

#include <gtest/gtest.h>

#include <c10/core/InferenceMode.h>

#include "genview/base/error.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

Path EmptyFolder(const std::string& name) {
  const Path folder = Path(testing::TempDir()) / ("encoder_test_" + name);
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

ErrorText Complaint(const Path& path) {
  try {
    Encoder::Open(path);
  } catch (const Error& error) {
    return error.text();
  }
  ADD_FAILURE() << "no error for " << path;
  return {};
}

// A checkpoint as a training run writes it.
Path WriteCheckpoint(const Path& folder, Json backbone, std::shared_ptr<Backbone>* net_out = nullptr) {
  std::shared_ptr<Backbone> net = MakeBackbone(backbone);
  net->Init(Seed(4));
  auto tensors = NamedTensors(net->Weights(), "encoder.");
  tensors.emplace_back("optimizer.step", at::ones({1}));
  const int64_t size = net->config().image_size;
  const Json meta = {{"format", 1},
                     {"kind", "pretrain"},
                     {"backbone", FieldsToJson(net->config())},
                     {"preprocess", Preprocess{.size = size, .resize_shortest = size}.ToJson()}};
  const Path path = folder / "step-0000000001.safetensors";
  WriteSafetensors(path, tensors, {{"genview", meta.dump()}});
  if (net_out != nullptr) *net_out = net;
  return path;
}

TEST(Encoder, CheckpointsOfThisProgram) {
  const Json configs[] = {
      {{"type", "resnet18"}, {"width", 1.0 / 32}, {"small_stem", true}, {"image_size", 16}},
      {{"type", "vit-tiny"}, {"width", 0.125}, {"layers", 1}, {"patch_size", 4}, {"image_size", 16}}};
  for (const Json& config : configs) {
    std::shared_ptr<Backbone> net;
    const auto encoder = Encoder::Open(WriteCheckpoint(EmptyFolder("checkpoint"), config, &net));
    const c10::InferenceMode guard;
    const Tensor pixels = NormalTensor(Seed(1), {2, 3, 16, 16});
    const Encoder::Output out = encoder->Encode(pixels, true);
    const BackboneOutput expected = net->Forward(pixels, false);
    EXPECT_TRUE(at::allclose(out.embeddings, expected.pooled, 1e-4, 1e-5));
    EXPECT_TRUE(at::allclose(out.tokens, expected.tokens, 1e-4, 1e-5));
    EXPECT_EQ(encoder->compute(), at::kFloat);
    EXPECT_EQ(out.tokens.sizes(), (at::IntArrayRef{2, encoder->grid() * encoder->grid(), encoder->token_width()}));
    const auto same = EncoderOf(net, encoder->preprocess(), "x");
    EXPECT_TRUE(at::allclose(same->Encode(pixels, false).embeddings, out.embeddings, 1e-4, 1e-5));
  }
}

TEST(Encoder, FingerprintFollowsContentsNotPlaces) {
  const Json config = {{"type", "resnet18"}, {"width", 1.0 / 64}, {"image_size", 32}};
  const Path a = WriteCheckpoint(EmptyFolder("a"), config), b = WriteCheckpoint(EmptyFolder("b"), config);
  EXPECT_EQ(Encoder::Open(a)->fingerprint(), Encoder::Open(b)->fingerprint());
  Json other = config;
  other["image_size"] = 40;
  EXPECT_NE(Encoder::Open(a)->fingerprint(), Encoder::Open(WriteCheckpoint(EmptyFolder("c"), other))->fingerprint());
}

TEST(Encoder, ErrorsSayWhatIsMissingAndWhatIsThere) {
  const Path folder = EmptyFolder("errors");
  EXPECT_EQ(Complaint(folder / "none").what, "there is no such encoder");
  WriteFile(folder / "weights.bin", "x");
  EXPECT_NE(Complaint(folder).what.find("config.json are missing; it holds weights.bin"), std::string::npos);
  WriteJson(folder / "config.json", {{"model_type", "clip_vision_model"}});
  EXPECT_NE(Complaint(folder).where.find("weights.bin"), std::string::npos);  // read as PyTorch's, which it is not
  WriteFile(folder / "open_clip_config.json", "[]");
  EXPECT_EQ(Complaint(folder).what, "the config is not a JSON object");
  std::filesystem::remove(folder / "open_clip_config.json");
  std::filesystem::remove(folder / "weights.bin");
  EXPECT_NE(Complaint(folder).what.find("no weights"), std::string::npos);
  WriteSafetensors(folder / "plain.safetensors", {{"a", at::ones({2})}});
  EXPECT_NE(Complaint(folder / "plain.safetensors").what.find("none of the file's 1 tensors"), std::string::npos);
  EXPECT_NE(Complaint(folder).what.find("describes a model of"), std::string::npos);
  WriteFile(folder / "plain.safetensors", "too short");
  EXPECT_NE(Complaint(folder).where.find("plain.safetensors"), std::string::npos);
}

TEST(Encoder, CheckpointsWithoutBackboneOrWithForeignOnesAreErrors) {
  const Path folder = EmptyFolder("bad");
  const auto with = [&](const Json& meta) {
    WriteSafetensors(folder / "c.safetensors", {{"encoder.a", at::ones({2})}}, {{"genview", meta.dump()}});
    return Complaint(folder / "c.safetensors").what;
  };
  EXPECT_NE(with({{"kind", "generator"}}).find("kind \"generator\""), std::string::npos);
  EXPECT_NE(with({{"backbone", {{"type", "resnet99"}}}}).find("resnet99"), std::string::npos);
  EXPECT_NE(with({{"backbone", {{"type", "vit-base"}, {"width", 8}, {"layers", 64}}}}).find("describes a model"),
            std::string::npos);
  const Json narrow = {{"type", "vit-base"}, {"width", 1.0 / 64}, {"heads", 1}, {"layers", 1}};
  for (const auto& [image, patch] : {std::pair(2048, 1), std::pair(256, 256)}) {  // positions, patch projection
    Json config = narrow;
    config["image_size"] = image;
    config["patch_size"] = patch;
    EXPECT_NE(with({{"backbone", config}}).find("describes a model"), std::string::npos);
  }
  EXPECT_NE(
      with({{"backbone", {{"type", "resnet18"}, {"width", 1.0 / 64}}}, {"preprocess", {{"size", -1}}}}).find("size"),
      std::string::npos);
}

TEST(Encoder, PreprocessWithoutAUsefulSizeIsThatOfEachLibrary) {
  for (const Json& size : {Json(64), Json::array({32, 16}), Json(nullptr)}) {
    const Preprocess p = PreprocessFromOpenClip({{"size", size}}, 32, "x");
    EXPECT_EQ(p.size, 32);
    EXPECT_EQ(p.resize_shortest, 32);
  }
  EXPECT_EQ(PreprocessFromHuggingFace({{"crop_size", 32}}, 32, "x").resize_shortest, 224);
  EXPECT_EQ(PreprocessFromHuggingFace(Json::object(), 32, "x").resize_shortest, 32);
}

TEST(Encoder, PreprocessOfOtherKindsIsRefusedByName) {
  const auto open_clip = [](const Json& json) {
    try {
      PreprocessFromOpenClip(json, 32, "x");
    } catch (const Error& error) {
      return error.text().what;
    }
    return std::string();
  };
  const auto hugging_face = [](const Json& json) {
    try {
      PreprocessFromHuggingFace(json, 32, "x");
    } catch (const Error& error) {
      return error.text().what;
    }
    return std::string();
  };
  EXPECT_EQ(open_clip({{"size", {32, 32}}, {"mean", nullptr}}), "");
  EXPECT_NE(open_clip({{"resize_mode", "fit"}}).find("fit"), std::string::npos);
  EXPECT_NE(open_clip({{"resize_mode", "longest"}, {"fill_color", 256}}).find("fill_color"), std::string::npos);
  EXPECT_NE(open_clip({{"std", 0}}).find("deviation"), std::string::npos);
  EXPECT_EQ(hugging_face({{"size", 40}}), "");
  EXPECT_EQ(hugging_face({{"size", {{"shortest_edge", 40}, {"longest_edge", nullptr}}}}), "");
  EXPECT_NE(hugging_face({{"size", {{"shortest_edge", 40}, {"longest_edge", 60}}}}).find("both edges"),
            std::string::npos);
  EXPECT_NE(hugging_face({{"do_resize", false}, {"do_center_crop", false}}).find("do_resize"), std::string::npos);
  EXPECT_NE(hugging_face({{"size", {{"height", 32}, {"width", 40}}}, {"do_center_crop", false}}).find("not a square"),
            std::string::npos);
  EXPECT_NE(hugging_face({{"size", {{"height", 40}}}}).find("`size` is"), std::string::npos);
  EXPECT_NE(hugging_face({{"resample", 6}}).find("`resample` is 6"), std::string::npos);
  EXPECT_NE(hugging_face({{"rescale_factor", 0}}).find("rescale_factor"), std::string::npos);
  const Json pad = {{"height", 40}, {"width", 40}};
  EXPECT_NE(hugging_face({{"do_pad", true}, {"pad_size", pad}}).find("pad_size"), std::string::npos);
  EXPECT_EQ(hugging_face({{"pad_size", pad}}), "");
}

// What a generator's folder says of its pictures is what it is read from, but for what a processor has no words for.
TEST(Encoder, PreprocessIsWrittenAsTransformersReadsIt) {
  const Json cases[] = {
      {{"size", {{"shortest_edge", 40}}}, {"crop_size", 32}, {"resample", 1}},
      {{"size", {{"height", 36}, {"width", 40}}}, {"do_rescale", false}, {"image_mean", 127.5}, {"image_std", 100}},
      {{"size", {{"height", 32}, {"width", 32}}}, {"do_center_crop", false}, {"do_normalize", false}},
      {{"do_resize", false}}};
  for (const Json& rules : cases) {
    const Preprocess p = PreprocessFromHuggingFace(rules, 32, "x");
    EXPECT_EQ(PreprocessFromHuggingFace(PreprocessToHuggingFace(p, "x"), 32, "x").ToJson(), p.ToJson()) << rules;
  }
  EXPECT_THROW(PreprocessToHuggingFace(PreprocessFromOpenClip({{"resize_mode", "longest"}}, 32, "x"), "x"), Error);
}

}  // namespace
}  // namespace genview
