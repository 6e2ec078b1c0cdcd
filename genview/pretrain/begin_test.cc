#include "genview/pretrain/begin.h"

#include <gtest/gtest.h>

#include "genview/base/error.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

Path WriteResnet(const BackboneConfig& config) {
  const Path file = Path(testing::TempDir()) / "begin.safetensors";
  const auto backbone = MakeBackbone(config);
  backbone->Init(Seed(7));
  WriteSafetensors(file, NamedTensors(backbone->Weights()));  // as torchvision names it
  return file;
}

TEST(BeginEncoderFrom, EncoderAndItsAverageBeginWithTheFile) {
  const BackboneConfig config{.type = "resnet18", .image_size = 16, .width = 1.0 / 32, .small_stem = true};
  const Path file = WriteResnet(config);
  for (const MethodKind kind : {MethodKind::kMocoV2, MethodKind::kSimSiam}) {
    const auto method = MakeMethod({.kind = kind, .queue = 8}, config, Seed(1));
    SetRequiresGrad(method->Weights(), true);
    BeginEncoderFrom(*method, file);
    const WeightMap weights = ReadSafetensors(file);
    int compared = 0;
    for (const WeightList& list : {method->Weights(), method->Extra()}) {
      for (const WeightRef& ref : list) {
        for (const std::string prefix : {"encoder.", "momentum_encoder."}) {
          if (!ref.name.starts_with(prefix)) continue;
          EXPECT_TRUE(at::equal(*ref.tensor, weights.At(ref.name.substr(prefix.size())))) << ref.name;
          ++compared;
        }
      }
    }
    EXPECT_EQ(compared, static_cast<int>(weights.tensors().size()) * (kind == MethodKind::kMocoV2 ? 2 : 1));
  }
}

// Its weights would fit.
TEST(BeginEncoderFrom, AnotherPaddingOfTheStemIsRefused) {
  BackboneConfig config{.type = "resnet18", .image_size = 16, .width = 1.0 / 32, .small_stem = true, .stem_padding = 2};
  const Path file = Path(testing::TempDir()) / "begin-padded.safetensors";
  const auto backbone = MakeBackbone(config);
  backbone->Init(Seed(7));
  const Json meta = {{"format", 1}, {"kind", "import"}, {"backbone", FieldsToJson(config)}};
  WriteSafetensors(file, NamedTensors(backbone->Weights(), "encoder."), {{"genview", meta.dump()}});
  const auto same = MakeMethod({.kind = MethodKind::kSimClr}, config, Seed(1));
  EXPECT_NO_THROW(BeginEncoderFrom(*same, file));
  config.stem_padding = 1;
  const auto other = MakeMethod({.kind = MethodKind::kSimClr}, config, Seed(1));
  try {
    BeginEncoderFrom(*other, file);
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_EQ(error.text().next, "set `pretrain.stem_padding` to 2");
  }
}

TEST(BeginEncoderFrom, AnotherNetworkIsRefused) {
  const Path file = WriteResnet({.type = "resnet18", .image_size = 16, .width = 1.0 / 32, .small_stem = true});
  const auto method = MakeMethod({.kind = MethodKind::kSimClr},
                                 BackboneConfig{.type = "resnet18", .image_size = 16, .width = 1.0 / 64}, Seed(1));
  EXPECT_THROW(BeginEncoderFrom(*method, file), Error);
}

}  // namespace
}  // namespace genview
