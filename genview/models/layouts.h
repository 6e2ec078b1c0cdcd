// An encoder's weights under the names other libraries give them, both ways.
//
//   ForeignEncoder found = FromLayout(ReadWeightsFile("moco_v2_800ep_pretrain.pth.tar"), {});
//   found.layout;                                                                    // "moco"
//   WriteSafetensors("out.safetensors", ToLayout(*found.backbone, ExportLayout::kTransformers));
//
// A foreign file says neither how many heads its attention has, nor what its norms add to the variance, nor how far its
// stem reaches over the picture's edge, nor how pictures are prepared: the first two come from the layout, the width or
// the caller, the others from the caller.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "genview/models/backbone.h"
#include "genview/tensor/weights.h"

namespace genview {

enum class ImportLayout {
  kAuto,
  kTorchvision,
  kTimm,
  kMmpretrain,
  kMoco,
  kMocoV3,
  kSimsiam,
  kByol,
  kSwav,
  kDino,
  kTransformers,
  kDetectron2
};
enum class ExportLayout {
  kTorchvision,
  kTimm,
  kMmpretrain,
  kMoco,
  kTransformers,
  kTransformers4,
  kDetectron2,
  kMmdetection
};

template <>
struct EnumNames<ImportLayout> {
  static constexpr std::pair<ImportLayout, const char*> kNames[] = {{ImportLayout::kAuto, "auto"},
                                                                    {ImportLayout::kTorchvision, "torchvision"},
                                                                    {ImportLayout::kTimm, "timm"},
                                                                    {ImportLayout::kMmpretrain, "mmpretrain"},
                                                                    {ImportLayout::kMoco, "moco"},
                                                                    {ImportLayout::kMocoV3, "moco-v3"},
                                                                    {ImportLayout::kSimsiam, "simsiam"},
                                                                    {ImportLayout::kByol, "byol"},
                                                                    {ImportLayout::kSwav, "swav"},
                                                                    {ImportLayout::kDino, "dino"},
                                                                    {ImportLayout::kTransformers, "transformers"},
                                                                    {ImportLayout::kDetectron2, "detectron2"}};
};
template <>
struct EnumNames<ExportLayout> {
  static constexpr std::pair<ExportLayout, const char*> kNames[] = {
      {ExportLayout::kTorchvision, "torchvision"},   {ExportLayout::kTimm, "timm"},
      {ExportLayout::kMmpretrain, "mmpretrain"},     {ExportLayout::kMoco, "moco"},
      {ExportLayout::kTransformers, "transformers"}, {ExportLayout::kTransformers4, "transformers-4"},
      {ExportLayout::kDetectron2, "detectron2"},     {ExportLayout::kMmdetection, "mmdetection"}};
};

struct ForeignOptions {
  ImportLayout layout = ImportLayout::kAuto;
  std::string prefix{};              // of the encoder's names; empty: found
  int64_t heads = 0;                 // ViT; 0: by layout and width
  int64_t image_size = 0;            // px; 0: a ViT's positions say, 224 for a ResNet, 32 for one with the small stem
  int64_t stem_padding = 0;          // of a ResNet's small stem: 1 or 2, which no file says; 0: 1
  std::optional<double> norm_eps{};  // of transformers' ViT; nothing: its own default
  std::optional<BackboneConfig> backbone{};  // where the network is known; its other members are then not looked at
};

struct ForeignEncoder {
  std::unique_ptr<Backbone> backbone;  // loaded
  std::string layout;                  // "moco"
  std::string prefix;                  // "state_dict.module.encoder_q."
  std::vector<std::string> others{};   // prefixes of the encoders in the file that were not taken
  int64_t left_out = 0;                // tensors of the file that are not the encoder's: heads, queues, optimiser
};

// Finds the encoder among the tensors, by its first layer; of several (a student and its teacher, an encoder and its
// average) the one that the layout's own evaluation takes: the encoder beside its average, the teacher beside its
// student. Copies that are the same count as one. Throws one Error that names all missing, misshapen and
// surplus tensors.
ForeignEncoder FromLayout(const WeightMap& weights, const ForeignOptions& options);

// The heads of a ViT of this width as nearly everyone builds it, 64 wide but for ViT-H and MoCo v3's ViT-S: its weights
// fit any number. 0: none is usual.
int64_t UsualHeads(int64_t width, bool moco_v3);

// Throws UsageError where the layout has no such network.
std::vector<std::pair<std::string, Tensor>> ToLayout(Backbone& backbone, ExportLayout layout);

// Throws Error where the file holds far less than such a network: one wide tensor must not ask for the rest of its
// width.
void CheckBackboneSize(const BackboneConfig& config, const WeightMap& weights);

// config.json for transformers' ResNetModel or ViTModel.
Json TransformersConfig(Backbone& backbone);

}  // namespace genview
