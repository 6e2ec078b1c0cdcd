#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <functional>

#include <c10/core/CPUAllocator.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/models/unet.h"
#include "genview/models/vae.h"
#include "genview/tensor/safetensors.h"
#include "tests/golden/compare.h"

namespace genview {
namespace {

const Path kGolden = SourceDir() / "tests/golden/diffusion";

Tensor Get(const WeightMap& io, const char* name) { return io.Has(name) ? io.At(name) : Tensor(); }

class UnetGolden : public testing::TestWithParam<const char*> {};

TEST_P(UnetGolden, OutputEqualsDiffusers) {
  const c10::InferenceMode guard;
  const Unet unet = ReadUnetFolder(kGolden / GetParam());
  const WeightMap io = ReadSafetensors(kGolden / GetParam() / "io.safetensors");
  const Tensor out = ForwardUnet(unet, io.At("sample"), io.At("timesteps"), Get(io, "class_labels"), Get(io, "prompt"));
  ExpectClose(out, io.At("output"), 4e-6, GetParam());  // another epsilon in the norms before attention makes 6e-6
  EXPECT_TRUE(out.is_contiguous(at::MemoryFormat::ChannelsLast));
}

TEST_P(UnetGolden, GradientsEqualAFiniteDifference) {
  Unet unet = ReadUnetFolder(kGolden / GetParam());
  const WeightMap io = ReadSafetensors(kGolden / GetParam() / "io.safetensors");
  const WeightList list = ListWeights(unet);
  ConvertWeights(list, at::kDouble);
  SetRequiresGrad(list, true);
  const auto loss = [&] {
    const auto wide = [&](const char* name) { return io.Has(name) ? io.At(name).to(at::kDouble) : Tensor(); };
    return (ForwardUnet(unet, wide("sample"), io.At("timesteps"), wide("class_labels"), wide("prompt")))
        .square()
        .mean();
  };
  loss().backward();
  double slope = 0;  // along one random direction of all weights at once
  std::vector<Tensor> direction;
  for (const WeightRef& ref : list) {
    direction.push_back(NormalTensor(Seed(5).With(ref.name), ref.tensor->sizes()).to(at::kDouble));
    ASSERT_TRUE(ref.tensor->grad().defined()) << ref.name;
    slope += (ref.tensor->grad() * direction.back()).sum().item<double>();
  }
  const double step = 1e-6;
  const auto moved = [&](double by) {
    const c10::AutoGradMode off(false);
    for (size_t i = 0; i < list.size(); ++i) list[i].tensor->add_(direction[i], by);
    return loss().item<double>();
  };
  const double ahead = moved(step), behind = moved(-2 * step);
  EXPECT_NEAR((ahead - behind) / (2 * step), slope, 1e-5 * std::abs(slope) + 1e-8);
}

TEST_P(UnetGolden, WrittenFolderGivesTheSameModel) {
  Unet unet = ReadUnetFolder(kGolden / GetParam());
  const Path folder = Path(testing::TempDir()) / (std::string("genview-unet-") + GetParam());
  WriteUnetFolder(unet, folder);
  Unet again = ReadUnetFolder(folder);
  const WeightList a = ListWeights(unet), b = ListWeights(again);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(at::equal(*a[i].tensor, *b[i].tensor)) << a[i].name;
  EXPECT_EQ(UnetConfigToJson(unet.config), UnetConfigToJson(again.config));
  std::filesystem::remove_all(folder);
}

INSTANTIATE_TEST_SUITE_P(All, UnetGolden, testing::Values("unet_plain", "unet_text", "unet_lists", "unet_heads"),
                         [](const auto& each) { return std::string(each.param); });

class VaeGolden : public testing::TestWithParam<const char*> {};

TEST_P(VaeGolden, MomentsAndPictureEqualDiffusers) {
  const c10::InferenceMode guard;
  const Vae vae = ReadVaeFolder(kGolden / GetParam());
  const WeightMap io = ReadSafetensors(kGolden / GetParam() / "io.safetensors");
  const VaeMoments moments = EncodeVae(vae, io.At("pixels"));
  ExpectClose(moments.mean, io.At("mean"), 1e-5, "mean");
  ExpectClose(moments.logvar, io.At("logvar"), 1e-5, "logvar");
  ExpectClose(DecodeVae(vae, io.At("latents")), io.At("decoded"), 1e-5, "decoded");
}

// One picture that ends in tiles smaller than their overlap, two that are less than a tile high.
TEST_P(VaeGolden, TilesEqualDiffusers) {
  const c10::InferenceMode guard;
  const Vae vae = ReadVaeFolder(kGolden / GetParam());
  const WeightMap io = ReadSafetensors(kGolden / GetParam() / "io.safetensors");
  EXPECT_EQ(VaeTileSide(vae.config), 8);
  for (const std::string key : {"wide", "flat"})
    ExpectClose(DecodeVaeInTiles(vae, io.At(key)), io.At(key + "_tiled"), 1e-5, key);
}

TEST_P(VaeGolden, ASingleTileIsThePlainPicture) {
  const c10::InferenceMode guard;
  const Vae vae = ReadVaeFolder(kGolden / GetParam());
  for (const auto& shape : {std::array<int64_t, 2>{8, 8}, {3, 7}, {8, 1}}) {
    const Tensor latents = NormalTensor(Seed(1), {2, vae.config.latent_channels, shape[0], shape[1]});
    EXPECT_TRUE(at::equal(DecodeVaeInTiles(vae, latents), DecodeVae(vae, latents))) << shape[0] << " x " << shape[1];
  }
  const Tensor more = NormalTensor(Seed(1), {1, vae.config.latent_channels, 9, 8});
  EXPECT_EQ(DecodeVaeInTiles(vae, more).sizes(), DecodeVae(vae, more).sizes());
}

INSTANTIATE_TEST_SUITE_P(All, VaeGolden, testing::Values("vae", "vae_bare"),
                         [](const auto& each) { return std::string(each.param); });

// Counts what tensors take, on top of the allocator that was there: each block has its size before it.
class CountingAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    auto* block = static_cast<char*>(inner_->raw_allocate(bytes + kHead));
    std::memcpy(block, &bytes, sizeof bytes);
    live_ += bytes;
    peak_ = std::max(peak_.load(), live_.load());
    return {block + kHead, block + kHead, &Free, at::kCPU};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &Free; }
  void copy_data(void* to, const void* from, size_t count) const override { default_copy_data(to, from, count); }

  // Of `work`, beyond what was there before.
  static size_t PeakOf(const std::function<void()>& work) {
    const size_t before = live_;
    peak_ = before;
    work();
    return peak_ - before;
  }

 private:
  static constexpr size_t kHead = 64;  // keeps the alignment
  static void Free(void* data) {
    char* block = static_cast<char*>(data) - kHead;
    size_t bytes = 0;
    std::memcpy(&bytes, block, sizeof bytes);
    live_ -= bytes;
    inner_->raw_deallocate(block);
  }
  static inline c10::Allocator* const inner_ = c10::GetCPUAllocator();
  static inline std::atomic<size_t> live_ = 0, peak_ = 0;
};

TEST(Vae, TilesTakeTheMemoryOfATile) {
  const c10::InferenceMode guard;
  c10::Allocator* before = c10::GetCPUAllocator();
  static CountingAllocator counting;
  c10::SetCPUAllocator(&counting);
  const Vae vae = ReadVaeFolder(kGolden / "vae");
  const Tensor small = NormalTensor(Seed(2), {1, 4, 24, 24}), large = NormalTensor(Seed(3), {1, 4, 64, 64});
  const auto peak = [&](const Tensor& latents, auto&& decode) {
    return static_cast<double>(CountingAllocator::PeakOf([&] { decode(vae, latents); }));
  };
  const double whole = peak(large, DecodeVae), tiled = peak(large, DecodeVaeInTiles),
               of_small = peak(small, DecodeVaeInTiles);
  c10::SetCPUAllocator(before);
  const double estimate = static_cast<double>(DecodeVaeBytes(vae.config, 64, 64)), picture = 3.0 * 128 * 128 * 4;
  EXPECT_LT(whole, 2 * estimate);
  EXPECT_GT(whole, estimate / 2);
  EXPECT_LT(tiled, whole / 3);
  EXPECT_LT(tiled - of_small, 2.5 * picture);  // the picture itself, in strips and joined, is all that grows
}

TEST(Vae, TrainsThroughEncoderAndDecoder) {
  Vae vae = ReadVaeFolder(kGolden / "vae");
  const WeightList list = ListWeights(vae);
  SetRequiresGrad(list, true);
  const WeightMap io = ReadSafetensors(kGolden / "vae" / "io.safetensors");
  const Tensor pixels = io.At("pixels");
  const VaeMoments moments = EncodeVae(vae, pixels);
  (DecodeVae(vae, moments.mean + (moments.logvar * 0.5).exp()) - pixels).square().mean().backward();
  for (const WeightRef& ref : list) {
    ASSERT_TRUE(ref.tensor->grad().defined()) << ref.name;
    EXPECT_TRUE(at::isfinite(ref.tensor->grad()).all().item<bool>()) << ref.name;
  }
}

// Of attention over pixels; layers of the same names in transformer blocks were never called otherwise.
std::vector<std::pair<std::string, Tensor>> WithOldNames(std::vector<std::pair<std::string, Tensor>> tensors) {
  for (auto& [name, tensor] : tensors) {
    if (name.find(".attentions.") == std::string::npos || name.find(".transformer_blocks.") != std::string::npos)
      continue;
    for (const auto& [now, before] :
         {std::pair{".to_q.", ".query."}, {".to_k.", ".key."}, {".to_v.", ".value."}, {".to_out.0.", ".proj_attn."}}) {
      const size_t at = name.find(now);
      if (at != std::string::npos) name.replace(at, std::string(now).size(), before);
    }
  }
  return tensors;
}

TEST(Unet, OldNamesOfTheAttentionAreRead) {
  for (const char* golden : {"unet_plain", "unet_text", "unet_lists"}) {
    Unet unet = ReadUnetFolder(kGolden / golden);
    const Path folder = Path(testing::TempDir()) / "genview-unet-old";
    WriteUnetFolder(unet, folder);
    WriteSafetensors(folder / "diffusion_pytorch_model.safetensors", WithOldNames(NamedTensors(ListWeights(unet))));
    Unet again = ReadUnetFolder(folder);
    const WeightList a = ListWeights(unet), b = ListWeights(again);
    for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(at::equal(*a[i].tensor, *b[i].tensor)) << a[i].name;
    std::filesystem::remove_all(folder);
  }
}

TEST(Unet, ShardsOfAnyVariantAreRead) {
  Unet unet = ReadUnetFolder(kGolden / "unet_plain");
  const auto all = NamedTensors(ListWeights(unet));
  const Path folder = Path(testing::TempDir()) / "genview-unet-shards";
  for (const char* index : {"safetensors.index.bf16.json", "bf16.safetensors.index.json", "safetensors.fp16.index.json",
                            "safetensors.index.fp16.json"}) {
    std::filesystem::remove_all(folder);
    WriteUnetFolder(unet, folder);
    std::filesystem::remove(folder / "diffusion_pytorch_model.safetensors");
    Json map;
    for (size_t i = 0; i < all.size(); ++i) map[all[i].first] = i < 10 ? "a.safetensors" : "b.safetensors";
    WriteSafetensors(folder / "a.safetensors", {all.begin(), all.begin() + 10});
    WriteSafetensors(folder / "b.safetensors", {all.begin() + 10, all.end()});
    WriteJson(folder / (std::string("diffusion_pytorch_model.") + index), {{"weight_map", map}});
    Unet again = ReadUnetFolder(folder);
    EXPECT_TRUE(at::equal(unet.conv_out.weight, again.conv_out.weight)) << index;
  }
  std::filesystem::remove_all(folder);
}

TEST(Vae, OldNamesOfTheAttentionAreRead) {
  Vae vae = ReadVaeFolder(kGolden / "vae");
  const Path folder = Path(testing::TempDir()) / "genview-vae-old";
  WriteVaeFolder(vae, folder);
  WriteSafetensors(folder / "diffusion_pytorch_model.safetensors", WithOldNames(NamedTensors(ListWeights(vae))));
  Vae again = ReadVaeFolder(folder);
  EXPECT_TRUE(at::equal(vae.encoder.mid.attention.out.weight, again.encoder.mid.attention.out.weight));
  EXPECT_TRUE(at::equal(vae.decoder.mid.attention.q.bias, again.decoder.mid.attention.q.bias));
  std::filesystem::remove_all(folder);
}

std::string RefusalOf(const char* key, const Json& value) {
  Json json = UnetConfigToJson(UnetConfig{});
  json[key] = value;
  try {
    ParseUnetConfig(json, "unet/config.json");
  } catch (const Error& error) {
    return error.text().what;
  }
  return "accepted";
}

TEST(UnetConfig, WhatIsNotSupportedIsRefusedByName) {
  const std::vector<std::pair<const char*, Json>> unsupported{
      {"act_fn", "gelu"},
      {"resnet_time_scale_shift", "scale_shift"},
      {"class_embed_type", "timestep"},
      {"only_cross_attention", Json::array({false, true})},
      {"addition_embed_type", "text"},
      {"time_cond_proj_dim", 256},
      {"encoder_hid_dim", 768},
      {"a_key_of_next_year", 3},
      {"mid_block_type", "UNetMidBlock2DSimpleCrossAttn"},
      {"conv_in_kernel", 5},
      {"norm_num_groups", 48},
      {"attention_head_dim", 7},
      {"down_block_types", Json::array({"DownBlock2D"})},
      {"block_out_channels", Json::array()},
      {"reverse_transformer_layers_per_block", Json::array({1})},
      {"num_class_embeds", 1000},
      {"layers_per_block", 1000000}};
  for (const auto& [key, value] : unsupported)
    EXPECT_NE(RefusalOf(key, value).find(Format("`{}`", key)), std::string::npos) << key;
  EXPECT_EQ(RefusalOf("addition_embed_type", nullptr), "accepted");
  EXPECT_EQ(RefusalOf("a_key_of_next_year", false), "accepted");
  EXPECT_EQ(RefusalOf("dropout", 0.1), "accepted");
  EXPECT_EQ(RefusalOf("only_cross_attention", Json(std::vector<bool>(UnetConfig{}.channels.size(), false))),
            "accepted");
  EXPECT_EQ(RefusalOf("_name_or_path", "somewhere"), "accepted");
  EXPECT_EQ(RefusalOf("num_attention_heads", 4), "accepted");
}

TEST(SinusoidEmbedding, PublishedValues) {
  const Tensor unet = SinusoidEmbedding(at::tensor({951}), 320, true, 0)[0];
  EXPECT_NEAR(unet[0].item<float>(), -0.619592, 1e-5);
  EXPECT_NEAR(unet[1].item<float>(), 0.768937, 1e-4);
  EXPECT_NEAR(unet[160].item<float>(), 0.784924, 1e-5);
  const Tensor level = SinusoidEmbedding(at::tensor({200}), 1024, true, 0)[0];
  EXPECT_NEAR(level[0].item<float>(), 0.487188, 1e-5);
  EXPECT_NEAR(level[512].item<float>(), -0.873297, 1e-5);
  EXPECT_NEAR(level[1023].item<float>(), 0.020362, 1e-6);
}

}  // namespace
}  // namespace genview
