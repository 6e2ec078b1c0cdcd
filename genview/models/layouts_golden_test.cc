// Encoders that torchvision, timm, transformers and training programs saved, and what they compute; see
// tests/golden/make_layouts.py, which also loads what this program exports into those libraries.
#include <gtest/gtest.h>

#include <map>

#include "genview/base/error.h"
#include "genview/models/backbone_file.h"
#include "genview/models/encoder.h"
#include "genview/tensor/torch_file.h"
#include "tests/golden/compare.h"

namespace genview {
namespace {

Path GoldenFile(const std::string& name) { return SourceDir() / "tests" / "golden" / "layouts" / name; }

ErrorText Complaint(const WeightMap& weights, const ForeignOptions& options = {}) {
  try {
    FromLayout(weights, options);
  } catch (const Error& error) {
    return error.text();
  }
  ADD_FAILURE() << "no error";
  return {};
}

WeightMap Renamed(const Path& file, const std::string& prefix, const std::string& to) {
  const WeightMap read = ReadWeightsFile(file);
  WeightMap result("renamed");
  const WeightMap own = read.WithPrefixRemoved(prefix);
  for (const auto& [name, tensor] : own.tensors()) result.Add(to + name, tensor.clone());
  return result;
}

TEST(LayoutsGolden, FilesOfOthersComeInAndComputeTheSame) {
  struct Case {
    const char *file, *expected, *layout, *prefix;
    int64_t heads;
  };
  const Case cases[] = {{"moco.pth.tar", "moco", "moco", "state_dict.module.encoder_q.", 0},
                        {"moco-v3.pth", "moco-v3", "moco-v3", "state_dict.module.base_encoder.", 3},
                        {"dino.pth", "dino", "dino", "teacher.backbone.", 3},
                        {"torchvision_vit.pth", "torchvision_vit", "torchvision", "", 3},
                        {"mmpretrain.pth", "mmpretrain", "mmpretrain", "state_dict.backbone.", 3},
                        {"transformers_resnet", "transformers_resnet", "transformers", "", 0},
                        {"transformers_vit", "transformers_vit", "transformers", "", 0}};  // heads: of config.json
  const WeightMap golden = Golden("layouts/expected");
  for (const Case& c : cases) {
    const BackboneFile file = ReadBackboneFile(GoldenFile(c.file), {.heads = c.heads});
    EXPECT_EQ(file.encoder.layout, c.layout) << c.file;
    EXPECT_EQ(file.encoder.prefix, c.prefix) << c.file;
    EXPECT_FALSE(file.preprocess_known);
    const bool vit = file.encoder.backbone->config().type.starts_with("vit");
    const Tensor pooled =
        file.encoder.backbone->Forward(golden.At(vit ? "pixels" : "pixels32"), /*training=*/false).pooled;
    EXPECT_CLOSE(pooled, golden.At(c.expected), 1e-4) << c.file;
  }
}

// A freshly made ViTModel has tokens of small variance, where the epsilon of its norms counts.
TEST(LayoutsGolden, NormsAddWhatTheirConfigSays) {
  const BackboneFile file = ReadBackboneFile(GoldenFile("transformers_vit_begin"));
  const BackboneConfig& config = file.encoder.backbone->config();
  EXPECT_EQ(config.norm_eps, 1e-12);
  const WeightMap golden = Golden("layouts/expected");
  const Tensor& pixels = golden.At("pixels");
  const Tensor& expected = golden.At("transformers_vit_begin");
  EXPECT_CLOSE(file.encoder.backbone->Forward(pixels, /*training=*/false).pooled, expected, 1e-5);
  EXPECT_EQ(TransformersConfig(*file.encoder.backbone)["layer_norm_eps"], 1e-12);

  BackboneConfig usual = config;
  usual.norm_eps = kVitNormEps;
  const auto other = MakeBackbone(usual);
  const WeightList from = file.encoder.backbone->Weights(), to = other->Weights();
  for (size_t i = 0; i < to.size(); ++i) *to[i].tensor = *from[i].tensor;
  EXPECT_GT((other->Forward(pixels, false).pooled - expected).abs().max().item<float>(), 1e-4);
}

TEST(Layouts, UsualNormsAreNotWrittenDown) {
  BackboneConfig config{.type = "vit-tiny"};
  EXPECT_FALSE(FieldsToJson(config).contains("norm_eps"));  // checkpoints from before there was a choice stay the same
  config.norm_eps = 1e-12;
  BackboneConfig back;
  ReadFields(back, FieldsToJson(config), {"test", "backbone"});
  EXPECT_EQ(back.norm_eps, 1e-12);
}

TEST(LayoutsGolden, ReleasesWithOtherPrefixesAreTold) {
  struct Case {
    const char *to, *layout;
    std::vector<std::string> beside;
  };
  const Case cases[] = {
      {"", "torchvision", {"fc.weight", "fc.bias"}},
      {"state_dict.module.encoder.", "simsiam", {"state_dict.module.predictor.0.weight"}},
      {"module.", "swav", {"module.projection_head.0.weight", "module.prototypes.weight"}},
      {"online_network.", "byol", {"target_network.conv1.weight", "target_network.layer1.0.conv1.weight"}},
      {"state_dict.backbone.",
       "mmpretrain",
       {"state_dict.neck.mlp.0.weight", "state_dict.target_net.module.0.conv1.weight"}}};
  for (const Case& c : cases) {
    WeightMap weights = Renamed(GoldenFile("moco.pth.tar"), "state_dict.module.encoder_q.", c.to);
    for (const std::string& name : c.beside) weights.Add(name, at::zeros({2, 2}));
    const ForeignEncoder found = FromLayout(weights, {});
    EXPECT_EQ(found.layout, c.layout);
    EXPECT_EQ(found.prefix, c.to);
    EXPECT_GE(found.left_out, static_cast<int64_t>(c.beside.size()));
  }
}

TEST(LayoutsGolden, OfSeveralEncodersTheEvaluatedOneIsTaken) {
  struct Case {
    const char *taken, *other;
  };
  const Case cases[] = {{"state_dict.backbone.", "state_dict.momentum_backbone."},  // solo-learn
                        {"state_dict.backbone.", "state_dict.backbone_momentum."},  // lightly
                        {"state_dict.backbone.", "state_dict.teacher_backbone."},
                        {"state_dict.backbone.", "state_dict.student_backbone."},  // its DINO's teacher is `backbone`
                        {"state_dict.teacher_backbone.", "state_dict.student_backbone."},
                        {"online_encoder.net.", "target_encoder.net."}};  // byol-pytorch
  for (const Case& c : cases) {
    WeightMap weights = Renamed(GoldenFile("moco.pth.tar"), "state_dict.module.encoder_q.", c.taken);
    const WeightMap other = Renamed(GoldenFile("moco.pth.tar"), "state_dict.module.encoder_q.", c.other);
    for (const auto& [name, tensor] : other.tensors()) weights.Add(name, at::zeros_like(tensor));
    const ForeignEncoder found = FromLayout(weights, {});
    EXPECT_EQ(found.prefix, c.taken);
    EXPECT_EQ(found.others, std::vector<std::string>{c.other});
    EXPECT_EQ(FromLayout(weights, {.prefix = c.other}).prefix, c.other);
  }
}

// lightly's examples cut a ResNet's head off by Sequential(*list(resnet.children())[:-1]).
TEST(LayoutsGolden, ChildrenOfAResnetAreNumbered) {
  const WeightMap named = Renamed(GoldenFile("moco.pth.tar"), "state_dict.module.encoder_q.", "");
  WeightMap weights("lightly");
  for (const auto& [name, tensor] : named.tensors()) {
    std::string numbered = name;
    for (const auto& [from, to] :
         {std::pair("conv1.", "0."), std::pair("bn1.", "1."), std::pair("layer1.", "4."), std::pair("layer2.", "5."),
          std::pair("layer3.", "6."), std::pair("layer4.", "7.")}) {
      if (name.starts_with(from)) numbered = to + name.substr(std::string_view(from).size());
    }
    if (!name.starts_with("fc.")) weights.Add("state_dict.backbone." + numbered, tensor);
  }
  weights.Add("state_dict.projection_head.layers.0.weight", at::zeros({2, 2}));
  const ForeignEncoder found = FromLayout(weights, {});
  EXPECT_EQ(found.prefix, "state_dict.backbone.");
  EXPECT_EQ(found.left_out, 1);
  const WeightMap golden = Golden("layouts/expected");
  EXPECT_CLOSE(found.backbone->Forward(golden.At("pixels32"), /*training=*/false).pooled, golden.At("moco"), 1e-4);
}

TEST(LayoutsGolden, CopiesOfAnEncoderAreOne) {
  WeightMap weights = Renamed(GoldenFile("moco.pth.tar"), "state_dict.module.encoder_q.", "net.");
  const WeightMap copy = Renamed(GoldenFile("moco.pth.tar"), "state_dict.module.encoder_q.", "online_encoder.net.");
  for (const auto& [name, tensor] : copy.tensors()) weights.Add(name, tensor);
  weights.Add("online_encoder.projector.net.0.weight", at::zeros({2, 2}));
  EXPECT_EQ(FromLayout(weights, {}).prefix, "net.");
  weights.Add("net.layer4.1.bn2.bias", copy.At("online_encoder.net.layer4.1.bn2.bias") + 1);
  EXPECT_NE(Complaint(weights).what.find("holds 2 encoders"), std::string::npos);
}

// What `export` writes has transformers' own names and shapes, at full size.
TEST(LayoutsGolden, NamesAreTransformersOwn) {
  std::map<std::string, std::map<std::string, std::string>> expected;  // network, then name and shape
  std::string network;
  for (const std::string& line : ReadLines(GoldenFile("names.txt"))) {
    const auto words = Split(line, ' ');
    if (words.size() == 1) network = line;
    else expected[network][words[0]] = words[1];
  }
  ASSERT_EQ(expected.size(), 2u);
  for (const auto& [type, names] : expected) {
    const auto backbone = MakeBackbone(BackboneConfig{.type = type, .layers = type == "vit-tiny" ? 2 : 0});
    std::map<std::string, std::string> written;
    for (const auto& [name, tensor] : ToLayout(*backbone, ExportLayout::kTransformers))
      written[name] = Format("{}", fmt::join(tensor.sizes(), ","));
    EXPECT_EQ(written, names) << type;
  }
}

TEST(LayoutsGolden, ViTsHaveTorchvisionsNames) {
  const WeightMap golden = ReadWeightsFile(GoldenFile("torchvision_vit.pth"));
  const ForeignEncoder found = FromLayout(golden, {.heads = 3});
  EXPECT_EQ(found.left_out, 2);  // heads.head
  int64_t written = 0;
  WeightMap old("old");
  for (const auto& [name, tensor] : ToLayout(*found.backbone, ExportLayout::kTorchvision)) {
    EXPECT_TRUE(golden.Has(name) && at::equal(golden.At(name), tensor)) << name;
    ++written;
    std::string before = name;  // torchvision 0.13
    for (const auto& [from, to] : {std::pair(".mlp.0.", ".mlp.linear_1."), std::pair(".mlp.3.", ".mlp.linear_2.")}) {
      if (const size_t at = before.find(from); at != std::string::npos)
        before.replace(at, std::string_view(from).size(), to);
    }
    old.Add(before, tensor);
  }
  EXPECT_EQ(written + 2, static_cast<int64_t>(golden.tensors().size()));
  const ForeignEncoder again = FromLayout(old, {.layout = ImportLayout::kTorchvision, .heads = 3});
  EXPECT_EQ(again.layout, "torchvision");
  EXPECT_TRUE(at::equal(*again.backbone->Weights().back().tensor, *found.backbone->Weights().back().tensor));
}

// A ResNet-50 and a ResNet-18 as the detectors' own networks hold them; see tests/golden/make_detection.py.
TEST(LayoutsGolden, NamesAreTheDetectorsOwn) {
  std::map<std::string, std::map<std::string, std::string>> expected;  // layout and network, then name and shape
  std::string network;
  for (const std::string& line : ReadLines(GoldenFile("names-detection.txt"))) {
    const auto words = Split(line, ' ');
    if (words[0] == "network") network = Format("{} {}", words[1], words[2]);
    else expected[network][words[0]] = words[1];
  }
  ASSERT_EQ(expected.size(), 4u);
  for (const auto& [layout, name] :
       {std::pair(ExportLayout::kDetectron2, "detectron2"), std::pair(ExportLayout::kMmdetection, "mmdetection")}) {
    for (const char* type : {"resnet18", "resnet50"}) {
      const auto backbone = MakeBackbone(BackboneConfig{.type = type});
      std::map<std::string, std::string> written;
      for (const auto& [key, tensor] : ToLayout(*backbone, layout))
        written[key] = Format("[{}]", fmt::join(tensor.sizes(), ","));
      EXPECT_EQ(written, expected[Format("{} {}", name, type)]) << name << " " << type;
    }
  }
}

TEST(LayoutsGolden, DetectorsGiveTheirEncodersBack) {
  const auto backbone = MakeBackbone(BackboneConfig{.type = "resnet50", .width = 1.0 / 64});
  backbone->Init(Seed(3));
  for (const char* prefix :
       {"", "backbone.bottom_up.", "model.backbone.bottom_up."}) {  // a feature pyramid's checkpoint
    WeightMap weights("detectron2");
    for (const auto& [name, tensor] : ToLayout(*backbone, ExportLayout::kDetectron2))
      weights.Add(prefix + name, tensor);
    const int64_t others = *prefix == 0 ? 0 : 1;
    if (others > 0) weights.Add("backbone.fpn_lateral2.weight", at::zeros({2, 2}));
    const ForeignEncoder back = FromLayout(weights, {});
    EXPECT_EQ(back.layout, "detectron2");
    EXPECT_EQ(back.prefix, prefix);
    EXPECT_EQ(back.left_out, others);
    EXPECT_TRUE(at::equal(*back.backbone->Weights().back().tensor, *backbone->Weights().back().tensor));
  }
}

TEST(LayoutsGolden, EveryLayoutComesBackAsItWent) {
  const BackboneConfig configs[] = {
      {.type = "resnet18", .width = 1.0 / 32},
      {.type = "resnet50", .width = 1.0 / 64},
      {.type = "resnet18", .image_size = 32, .width = 1.0 / 64, .small_stem = true},
      {.type = "vit-tiny", .image_size = 16, .width = 0.125, .patch_size = 8, .layers = 2}};
  for (const BackboneConfig& config : configs) {
    const auto backbone = MakeBackbone(config);
    backbone->Init(Seed(3));
    const bool vit = config.type.starts_with("vit");
    for (const auto& [layout, name] : EnumNames<ExportLayout>::kNames) {
      const bool detection = layout == ExportLayout::kDetectron2 || layout == ExportLayout::kMmdetection;
      if (vit && detection) continue;
      if (config.small_stem && (std::string_view(name).starts_with("transformers") || detection)) continue;
      WeightMap weights(name);
      for (const auto& [key, tensor] : ToLayout(*backbone, layout)) weights.Add(key, tensor);
      const ForeignEncoder back = FromLayout(weights, {.heads = vit ? 3 : 0});
      const WeightList ours = backbone->Weights(), theirs = back.backbone->Weights();
      ASSERT_EQ(ours.size(), theirs.size());
      for (size_t i = 0; i < ours.size(); ++i)
        EXPECT_TRUE(at::equal(*ours[i].tensor, *theirs[i].tensor)) << name << " " << ours[i].name;
      EXPECT_EQ(back.left_out, 0);
      EXPECT_EQ(back.backbone->config().image_size, config.small_stem || vit ? config.image_size : 224);
    }
  }
}

// No tensor tells it.
TEST(LayoutsGolden, PaddingOfTheStemIsGiven) {
  const auto backbone = MakeBackbone(
      BackboneConfig{.type = "resnet18", .image_size = 32, .width = 1.0 / 8, .small_stem = true, .stem_padding = 2});
  backbone->Init(Seed(3));
  WeightMap weights("small");
  for (const auto& [key, tensor] : ToLayout(*backbone, ExportLayout::kTorchvision)) weights.Add(key, tensor);
  const Tensor x = NormalTensor(Seed(1), {2, 3, 32, 32}), wanted = backbone->Forward(x, /*training=*/false).pooled;
  const ForeignEncoder usual = FromLayout(weights, {}), given = FromLayout(weights, {.stem_padding = 2});
  EXPECT_EQ(usual.backbone->config().stem_padding, 1);
  EXPECT_EQ(given.backbone->config().stem_padding, 2);
  EXPECT_TRUE(at::allclose(given.backbone->Forward(x, false).pooled, wanted));
  EXPECT_FALSE(at::allclose(usual.backbone->Forward(x, false).pooled, wanted));

  const WeightMap moco = ReadWeightsFile(GoldenFile("moco.pth.tar")), dino = ReadWeightsFile(GoldenFile("dino.pth"));
  EXPECT_NE(Complaint(moco, {.stem_padding = 2}).what.find("usual stem of 7 x 7"), std::string::npos);
  EXPECT_NE(Complaint(dino, {.heads = 3, .stem_padding = 2}).what.find("patches of a ViT"), std::string::npos);
  EXPECT_EQ(FromLayout(moco, {.stem_padding = 1}).layout, "moco");
}

TEST(Layouts, ExportedFilesKnowTheirPictures) {
  const Path file = Path(testing::TempDir()) / "layouts_exported.safetensors";
  const BackboneConfig config{
      .type = "vit-tiny", .image_size = 16, .width = 0.125, .patch_size = 8, .layers = 1, .heads = 6};
  const auto backbone = MakeBackbone(config);
  backbone->Init(Seed(3));
  const Json meta = {{"format", 1},
                     {"kind", "export"},
                     {"backbone", FieldsToJson(config)},
                     {"preprocess", Preprocess{.size = 16, .resize_shortest = 18, .mean = {0.1, 0.2, 0.3}}.ToJson()}};
  WriteSafetensors(file, ToLayout(*backbone, ExportLayout::kTransformers4), {{"genview", meta.dump()}});
  const BackboneFile back = ReadBackboneFile(file);
  EXPECT_TRUE(back.preprocess_known);
  EXPECT_EQ(back.preprocess.mean[1], 0.2);
  EXPECT_EQ(back.preprocess.resize_shortest, 18);
  EXPECT_EQ(back.encoder.backbone->config().heads, 6);
  EXPECT_EQ(back.encoder.layout, "transformers");
}

TEST(Layouts, WrongFilesAreRefusedWithEveryName) {
  WeightMap weights = Renamed(GoldenFile("moco.pth.tar"), "state_dict.module.encoder_q.", "");
  weights.Add("layer1.0.conv1.weight", at::zeros({9, 9, 3, 3}));
  weights.Add("layer5.surprise", at::zeros({1}));
  WeightMap missing("missing");
  for (const auto& [name, tensor] : weights.tensors()) {
    if (!name.starts_with("layer4.1.bn2")) missing.Add(name, tensor);
  }
  const std::string what = Complaint(missing).what;
  for (const char* part : {"layer1.0.conv1.weight: has [9,9,3,3], wanted [1,1,3,3]", "layer4.1.bn2.weight: missing",
                           "layer5.surprise: not part"}) {
    EXPECT_NE(what.find(part), std::string::npos) << what;
  }

  WeightMap unknown("unknown");
  unknown.Add("weight", at::zeros({2}));
  EXPECT_NE(Complaint(unknown).what.find("none of the file's 1 tensors"), std::string::npos);

  const WeightMap moco = ReadWeightsFile(GoldenFile("moco.pth.tar"));
  EXPECT_NE(Complaint(moco, {.layout = ImportLayout::kTransformers}).what.find("no encoder in the layout transformers"),
            std::string::npos);
  EXPECT_NE(Complaint(moco, {.prefix = "nowhere."}).what.find("under \"nowhere.\""), std::string::npos);

  const WeightMap dino = ReadWeightsFile(GoldenFile("dino.pth"));
  EXPECT_NE(Complaint(dino).next.find("--heads"), std::string::npos);
  EXPECT_NE(Complaint(dino, {.heads = 3, .image_size = 224}).what.find("positions for pictures of 16 px"),
            std::string::npos);

  const auto flat = MakeBackbone(BackboneConfig{.type = "vit-tiny", .image_size = 16, .patch_size = 8, .layers = 1});
  WeightMap narrow("narrow");
  for (const auto& [name, tensor] : ToLayout(*flat, ExportLayout::kTimm)) {
    narrow.Add(name, name.find("fc1") == std::string::npos ? tensor : tensor.slice(0, 0, 384));
  }
  EXPECT_NE(Complaint(narrow).what.find("hidden layers are 384 wide and its tokens 192"), std::string::npos);

  WeightMap deep("resnet101");
  for (int block = 0; block < 23; ++block) deep.Add(Format("layer3.{}.conv1.weight", block), at::zeros({1}));
  for (const char* name : {"conv1.weight", "layer1.0.conv1.weight", "layer1.0.conv3.weight"})
    deep.Add(name, at::zeros({64, 3, 7, 7}));
  EXPECT_NE(Complaint(deep).what.find("1+0+23+0 bottleneck blocks"), std::string::npos);

  WeightMap wide("wide");
  for (int stage = 1; stage <= 4; ++stage) {
    for (int block = 0; block < 2; ++block) wide.Add(Format("layer{}.{}.conv1.weight", stage, block), at::zeros({1}));
  }
  wide.Add("conv1.weight", at::zeros({1 << 16, 3, 3, 3}));
  EXPECT_NE(Complaint(wide).what.find("describes a model of"), std::string::npos);

  WeightMap two("two");
  for (const char* prefix : {"a.", "b."}) {
    for (const char* name : {"conv1.weight", "layer1.0.conv1.weight"})
      two.Add(std::string(prefix) + name, at::full({1}, *prefix));
  }
  EXPECT_NE(Complaint(two).what.find("holds 2 encoders: \"a.\" (torchvision), \"b.\" (torchvision)"),
            std::string::npos);
}

TEST(LayoutsGolden, CountersOfBatchesAreReadFromAnyType) {
  const WeightMap moco = Renamed(GoldenFile("moco.pth.tar"), "state_dict.module.encoder_q.", "");
  const auto read = [&](const Tensor& counter) {
    WeightMap weights("counters");
    for (const auto& [name, tensor] : moco.tensors())
      weights.Add(name, name.ends_with("num_batches_tracked") ? counter : tensor);
    return FromLayout(weights, {}).backbone;
  };
  for (const auto& [counter, wanted] :
       {std::pair(at::full({}, 7, at::kInt), 7), std::pair(at::full({}, 7, at::kFloat), 7),
        std::pair(at::full({1}, 7, at::kLong), 7), std::pair(at::full({}, INFINITY, at::kHalf), 0)}) {
    const auto backbone = read(counter);
    const WeightList list = backbone->Weights();
    int64_t counters = 0;
    for (const WeightRef& ref : list) {
      if (!ref.name.ends_with("num_batches_tracked")) continue;
      EXPECT_EQ(ref.tensor->scalar_type(), at::kLong);
      EXPECT_EQ(ref.tensor->dim(), 0);
      EXPECT_EQ(ref.tensor->item<int64_t>(), wanted);
      ++counters;
    }
    EXPECT_EQ(counters, 20);
    (void)backbone->Forward(at::ones({2, 3, 32, 32}).contiguous(at::MemoryFormat::ChannelsLast), /*training=*/true);
  }
}

TEST(LayoutsGolden, QuantisedWeightsAreRefused) {
  WeightMap weights = Renamed(GoldenFile("moco.pth.tar"), "state_dict.module.encoder_q.", "");
  weights.Add("layer1.0.conv1.weight", at::ones({1, 1, 3, 3}, at::kChar));
  EXPECT_NE(Complaint(weights).what.find("layer1.0.conv1.weight: stored as Char"), std::string::npos);
}

TEST(Layouts, HeadsOfTheHugeViTAreEightyWide) {
  const auto huge = MakeBackbone(BackboneConfig{
      .type = "vit-small", .image_size = 28, .width = 1280.0 / 384, .patch_size = 14, .layers = 1, .heads = 16});
  WeightMap weights("huge");
  for (const auto& [name, tensor] : ToLayout(*huge, ExportLayout::kTimm)) weights.Add(name, at::zeros_like(tensor));
  EXPECT_EQ(FromLayout(weights, {}).backbone->config().heads, 16);
}

// mmpretrain's checkpoints of MoCo v3 have its names and not MoCo v3's; the positions tell.
TEST(Layouts, HeadsOfMocoV3sSmallViTAreTwelveUnderAnyNames) {
  for (const VitPositions positions : {VitPositions::kSinCos, VitPositions::kLearned}) {
    const auto small = MakeBackbone(
        BackboneConfig{.type = "vit-small", .image_size = 32, .patch_size = 8, .layers = 1, .positions = positions});
    small->Init(Seed(3));
    for (const ExportLayout layout : {ExportLayout::kTimm, ExportLayout::kMmpretrain}) {
      for (const at::ScalarType dtype : {at::kFloat, at::kHalf}) {
        WeightMap weights("small");
        for (const auto& [name, tensor] : ToLayout(*small, layout)) weights.Add(name, tensor.to(dtype));
        EXPECT_EQ(HeadsOf(FromLayout(weights, {}).backbone->config()), positions == VitPositions::kSinCos ? 12 : 6);
        EXPECT_EQ(HeadsOf(FromLayout(weights, {.heads = 6}).backbone->config()), 6);
      }
    }
  }
}

TEST(Layouts, WhatALayoutCannotHoldIsRefused) {
  const auto vit = MakeBackbone(BackboneConfig{.type = "vit-tiny"});
  const auto small = MakeBackbone(BackboneConfig{.type = "resnet18", .small_stem = true});
  for (const ExportLayout layout :
       {ExportLayout::kTransformers, ExportLayout::kDetectron2, ExportLayout::kMmdetection}) {
    EXPECT_THROW(ToLayout(*small, layout), UsageError);
  }
  for (const ExportLayout layout : {ExportLayout::kDetectron2, ExportLayout::kMmdetection})
    EXPECT_THROW(ToLayout(*vit, layout), UsageError);
}

}  // namespace
}  // namespace genview
