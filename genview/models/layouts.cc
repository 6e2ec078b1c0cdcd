#include "genview/models/layouts.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "genview/base/error.h"
#include "genview/base/text.h"

namespace genview {
namespace {

// How the layers are called, apart from what stands in front of them.
enum class Naming {
  kTorchvision,
  kSequential,  // Sequential(*resnet.children()): numbers in place of the outermost names
  kTimm,
  kTorchvisionVit,
  kOldTorchvisionVit,  // before torchvision 0.13
  kMmpretrainVit,
  kOldMmpretrainVit,
  kDetectron2,
  kTransformersResnet,
  kTransformersVit,
  kTransformers4Vit
};

bool IsTransformers(Naming naming) {
  return naming == Naming::kTransformersResnet || naming == Naming::kTransformersVit ||
         naming == Naming::kTransformers4Vit;
}

constexpr double kTransformersNormEps = 1e-12;  // ViTConfig's default, where no config.json says another

bool IsTorchvisionResnet(Naming naming) { return naming == Naming::kTorchvision || naming == Naming::kSequential; }

bool IsVit(Naming naming) {
  return !IsTorchvisionResnet(naming) && naming != Naming::kDetectron2 && naming != Naming::kTransformersResnet;
}

// The first layer, which tells the naming and where the encoder's names begin. The second name must be there too, so
// that one common word ("conv1.weight") is not taken for a network.
struct Anchor {
  Naming naming;
  std::string_view first, also;
};
constexpr Anchor kAnchors[] = {
    {Naming::kTorchvision, "conv1.weight", "layer1.0.conv1.weight"},
    {Naming::kSequential, "0.weight", "4.0.conv1.weight"},
    {Naming::kTimm, "patch_embed.proj.weight", "blocks.0.attn.qkv.weight"},
    {Naming::kTorchvisionVit, "conv_proj.weight", "encoder.layers.encoder_layer_0.mlp.0.weight"},
    {Naming::kOldTorchvisionVit, "conv_proj.weight", "encoder.layers.encoder_layer_0.mlp.linear_1.weight"},
    {Naming::kMmpretrainVit, "patch_embed.projection.weight", "layers.0.ln1.weight"},
    {Naming::kOldMmpretrainVit, "patch_embed.projection.weight", "layers.0.norm1.weight"},
    {Naming::kDetectron2, "stem.conv1.weight", "res2.0.conv1.weight"},
    {Naming::kTransformersResnet, "embedder.embedder.convolution.weight",
     "encoder.stages.0.layers.0.layer.0.convolution.weight"},
    {Naming::kTransformersVit, "embeddings.patch_embeddings.projection.weight", "layers.0.attention.q_proj.weight"},
    {Naming::kTransformers4Vit, "embeddings.patch_embeddings.projection.weight",
     "encoder.layer.0.attention.attention.query.weight"},
};

std::string Replaced(std::string text, std::string_view from, std::string_view to) {
  if (const size_t at = text.find(from); at != std::string::npos) text.replace(at, from.size(), to);
  return text;
}

std::string TransformersResnetName(const std::string& own) {
  std::string name = own;
  if (name.starts_with("conv1.")) return "embedder.embedder.convolution" + name.substr(5);
  if (name.starts_with("bn1.")) return "embedder.embedder.normalization" + name.substr(3);
  // layerS.B.convK.weight
  const auto parts = Split(name, '.');
  const std::string block = Format("encoder.stages.{}.layers.{}", parts[0].back() - '1', parts[1]);
  const std::string leaf = parts.back();
  if (parts[2] == "downsample")
    return Format("{}.shortcut.{}.{}", block, parts[3] == "0" ? "convolution" : "normalization", leaf);
  return Format("{}.layer.{}.{}.{}", block, parts[2].back() - '1',
                parts[2].starts_with("conv") ? "convolution" : "normalization", leaf);
}

// Stages are counted from the stem on, and a norm belongs to its convolution.
std::string Detectron2Name(const std::string& own) {
  const auto parts = Split(own, '.');
  const std::string leaf = parts.back();
  if (parts[0] == "conv1") return "stem.conv1." + leaf;
  if (parts[0] == "bn1") return "stem.conv1.norm." + leaf;
  const std::string block = Format("res{}.{}", parts[0].back() - '0' + 1, parts[1]);
  if (parts[2] == "downsample") return Format("{}.shortcut.{}{}", block, parts[3] == "0" ? "" : "norm.", leaf);
  return Format("{}.conv{}.{}{}", block, parts[2].back(), parts[2].starts_with("conv") ? "" : "norm.", leaf);
}

// Children 2 and 3 are the ReLU and the pooling, which hold no tensors.
std::string SequentialName(const std::string& own) {
  if (own.starts_with("conv1.")) return "0" + own.substr(5);
  if (own.starts_with("bn1.")) return "1" + own.substr(3);
  return Format("{}{}", own[5] - '0' + 3, own.substr(6));  // layerN.
}

std::string TorchvisionVitName(const std::string& own, bool old) {
  if (own == "cls_token") return "class_token";
  if (own == "pos_embed") return "encoder.pos_embedding";
  if (own.starts_with("patch_embed.proj.")) return "conv_proj." + own.substr(17);
  if (own.starts_with("norm.")) return "encoder.ln." + own.substr(5);
  std::string name = Replaced(own, "blocks.", "encoder.layers.encoder_layer_");
  name = Replaced(name, ".norm1.", ".ln_1.");
  name = Replaced(name, ".norm2.", ".ln_2.");
  name = Replaced(name, ".attn.qkv.", ".self_attention.in_proj_");
  name = Replaced(name, ".attn.proj.", ".self_attention.out_proj.");
  name = Replaced(name, ".mlp.fc1.", old ? ".mlp.linear_1." : ".mlp.0.");
  return Replaced(name, ".mlp.fc2.", old ? ".mlp.linear_2." : ".mlp.3.");
}

// The names of the tensors that this one is made of: q, k and v are one tensor here and three in transformers.
std::vector<std::string> ForeignNames(Naming naming, const std::string& own) {
  if (naming == Naming::kTorchvision || naming == Naming::kTimm) return {own};
  if (naming == Naming::kTorchvisionVit || naming == Naming::kOldTorchvisionVit)
    return {TorchvisionVitName(own, naming == Naming::kOldTorchvisionVit)};
  if (naming == Naming::kSequential) return {SequentialName(own)};
  if (naming == Naming::kTransformersResnet) return {TransformersResnetName(own)};
  if (naming == Naming::kDetectron2) return {Detectron2Name(own)};
  std::string name = own;
  if (naming == Naming::kMmpretrainVit || naming == Naming::kOldMmpretrainVit) {
    name = Replaced(name, "patch_embed.proj.", "patch_embed.projection.");
    name = Replaced(name, "blocks.", "layers.");
    name = Replaced(name, "mlp.fc1", "ffn.layers.0.0");
    name = Replaced(name, "mlp.fc2", "ffn.layers.1");
    if (name.starts_with("norm.")) name = "norm1" + name.substr(4);
    if (naming == Naming::kMmpretrainVit) {
      name = Replaced(name, "norm1.", "ln1.");
      name = Replaced(name, "norm2.", "ln2.");
    }
    return {name};
  }
  const bool old = naming == Naming::kTransformers4Vit;
  if (name == "cls_token") return {"embeddings.cls_token"};
  if (name == "pos_embed") return {"embeddings.position_embeddings"};
  if (name.starts_with("patch_embed.proj.")) return {"embeddings.patch_embeddings.projection." + name.substr(17)};
  if (name.starts_with("norm.")) return {"layernorm." + name.substr(5)};
  name = Replaced(name, "blocks.", old ? "encoder.layer." : "layers.");
  name = Replaced(name, ".norm1.", ".layernorm_before.");
  name = Replaced(name, ".norm2.", ".layernorm_after.");
  if (old) {
    name = Replaced(name, ".attn.proj.", ".attention.output.dense.");
    name = Replaced(name, ".mlp.fc1.", ".intermediate.dense.");
    name = Replaced(name, ".mlp.fc2.", ".output.dense.");
  } else {
    name = Replaced(name, ".attn.proj.", ".attention.o_proj.");
  }
  if (name.find(".attn.qkv.") == std::string::npos) return {name};
  std::vector<std::string> names;
  for (const char* part : {"query", "key", "value"}) {
    names.push_back(Replaced(name, ".attn.qkv.",
                             old ? Format(".attention.attention.{}.", part) : Format(".attention.{}_proj.", part[0])));
  }
  return names;
}

// What a file may hold under the encoder's prefix beside it: its classifier, projector or pooler.
std::vector<std::string> Tolerated(Naming naming) {
  if (!IsVit(naming)) return {"fc.", "projection_head.", "prototypes.", "classifier."};
  return {"heads.", "head.", "head_dist.", "pre_logits.", "pooler.", "projection_head.", "prototypes."};
}

struct Place {
  Naming naming;
  std::string prefix;
};

std::vector<Place> FindEncoders(const WeightMap& weights) {
  std::vector<Place> places;
  for (const auto& [name, tensor] : weights.tensors()) {
    for (const Anchor& anchor : kAnchors) {
      if (!name.ends_with(anchor.first)) continue;
      const std::string prefix = name.substr(0, name.size() - anchor.first.size());
      if (!prefix.empty() && prefix.back() != '.') continue;
      if (weights.Has(prefix + std::string(anchor.also))) places.push_back({anchor.naming, prefix});
    }
  }
  return places;
}

bool Holds(const std::string& text, std::string_view word) { return text.find(word) != std::string::npos; }

// Whether tensors beside the encoder have such a word in their names.
bool Beside(const WeightMap& weights, std::string_view word) {
  return std::any_of(weights.tensors().begin(), weights.tensors().end(),
                     [&](const auto& pair) { return Holds(pair.first, word); });
}

ImportLayout LayoutOf(const WeightMap& weights, const Place& place) {
  const std::string& p = place.prefix;
  if (place.naming == Naming::kDetectron2) return ImportLayout::kDetectron2;
  if (IsTransformers(place.naming)) return ImportLayout::kTransformers;
  if (place.naming == Naming::kTorchvisionVit || place.naming == Naming::kOldTorchvisionVit)
    return ImportLayout::kTorchvision;
  if (place.naming == Naming::kMmpretrainVit || place.naming == Naming::kOldMmpretrainVit)
    return ImportLayout::kMmpretrain;
  if (Holds(p, "encoder_q.") || Holds(p, "encoder_k.")) return ImportLayout::kMoco;
  if (Holds(p, "base_encoder.") || Holds(p, "momentum_encoder.")) return ImportLayout::kMocoV3;
  if (Holds(p, "teacher.") || Holds(p, "student.") || Holds(p, "teacher_") || Holds(p, "student_"))
    return ImportLayout::kDino;
  if (Holds(p, "online_")) return ImportLayout::kByol;
  if (Beside(weights, "prototypes.weight") && !Holds(p, "backbone.")) return ImportLayout::kSwav;
  if (p.ends_with("module.encoder.")) return ImportLayout::kSimsiam;
  if (p.ends_with("backbone.")) return ImportLayout::kMmpretrain;
  return place.naming == Naming::kTimm ? ImportLayout::kTimm : ImportLayout::kTorchvision;
}

// Smaller is better: the encoder that the authors evaluate before its average or its student, weights before an
// optimiser's. A teacher stands behind only where a plain one of its name is there (lightly's BYOL).
int Rank(const std::string& prefix, const std::vector<Place>& all) {
  int rank = 0;
  for (const std::string_view word : {"encoder_k.", "momentum_encoder.", "momentum_backbone.", "backbone_momentum.",
                                      "student.", "student_", "target", "ema", "optimizer"})
    rank += Holds(prefix, word) ? 1 : 0;
  const std::string plain = Replaced(prefix, "teacher_", "");
  const bool beside =
      plain != prefix && std::any_of(all.begin(), all.end(), [&](const Place& place) { return place.prefix == plain; });
  return rank + (beside ? 1 : 0);
}

// The encoder's tensors at a place, by name: without the prefix and what else may be there.
std::map<std::string, Tensor> TensorsAt(const WeightMap& weights, const Place& place) {
  std::map<std::string, Tensor> own = weights.WithPrefixRemoved(place.prefix).tensors();
  const auto beside = Tolerated(place.naming);
  std::erase_if(own, [&](const auto& pair) {
    return std::any_of(beside.begin(), beside.end(), [&](const auto& word) { return pair.first.starts_with(word); });
  });
  return own;
}

// A network that was stored twice, as byol-pytorch does with its `net` and `online_encoder.net`.
bool Same(const WeightMap& weights, const Place& a, const Place& b) {
  if (a.naming != b.naming) return false;
  const auto first = TensorsAt(weights, a), second = TensorsAt(weights, b);
  return std::equal(first.begin(), first.end(), second.begin(), second.end(), [](const auto& x, const auto& y) {
    return x.first == y.first && x.second.scalar_type() == y.second.scalar_type() && at::equal(x.second, y.second);
  });
}

struct Choice {
  Place place;
  std::vector<std::string> others;  // prefixes
};

Choice Choose(const WeightMap& weights, const ForeignOptions& options) {
  const auto places = FindEncoders(weights);
  const std::string_view wanted = options.prefix;
  std::vector<Place> best;
  for (const Place& place : places) {
    if (!wanted.empty() && place.prefix != wanted && place.prefix != Format("{}.", wanted)) continue;
    const bool family = options.layout == ImportLayout::kAuto || LayoutOf(weights, place) == options.layout ||
                        (options.layout == ImportLayout::kTorchvision && IsTorchvisionResnet(place.naming)) ||
                        (options.layout == ImportLayout::kTimm &&
                         (place.naming == Naming::kTimm || IsTorchvisionResnet(place.naming))) ||
                        (options.layout == ImportLayout::kDino &&
                         (place.naming == Naming::kTimm || IsTorchvisionResnet(place.naming))) ||
                        (options.layout == ImportLayout::kByol && IsTorchvisionResnet(place.naming)) ||
                        (options.layout == ImportLayout::kSwav && IsTorchvisionResnet(place.naming));
    if (!family) continue;
    const int rank = Rank(place.prefix, places), so_far = best.empty() ? rank : Rank(best[0].prefix, places);
    if (rank > so_far) continue;
    if (rank < so_far) best.clear();
    best.push_back(place);
  }
  if (!best.empty() &&
      std::all_of(best.begin() + 1, best.end(), [&](const Place& place) { return Same(weights, best[0], place); })) {
    Choice choice{.place = best[0], .others = {}};
    for (const Place& place : places) {
      if (place.prefix != best[0].prefix) choice.others.push_back(place.prefix);
    }
    return choice;
  }
  std::vector<std::string> found;
  for (const Place& place : best.empty() ? places : best) {
    found.push_back(Format("\"{}\" ({})", place.prefix, EnumName(LayoutOf(weights, place))));
  }
  if (found.size() > 10) found.resize(10);
  if (places.empty()) {
    throw Error(
        {.what = Format(
             "none of the file's {} tensors is the first layer of a ResNet or ViT in a layout this program knows",
             weights.tensors().size()),
         .where = weights.where(),
         .next = "`genview inspect` lists what the file holds; known are torchvision, timm, mmpretrain, MoCo, SimSiam, "
                 "SwAV, DINO, transformers and detectron2"});
  }
  if (best.empty()) {
    throw Error({.what = Format("the file holds no encoder {}; found: {}",
                                !wanted.empty() ? Format("under \"{}\"", wanted)
                                                : Format("in the layout {}", EnumName(options.layout)),
                                fmt::join(found, ", ")),
                 .where = weights.where(),
                 .next = "use `--layout auto`, or `--prefix` with one of the names found"});
  }
  throw Error({.what = Format("the file holds {} encoders: {}", best.size(), fmt::join(found, ", ")),
               .where = weights.where(),
               .next = "choose one with `--prefix`"});
}

[[noreturn]] void RefuseNetwork(std::string what, const WeightMap& weights) {
  throw Error({.what = std::move(what),
               .where = weights.where(),
               .next = "known are ResNet-18, -34 and -50 and plain ViTs with a class token, of any width"});
}

BackboneConfig ResnetFrom(const WeightMap& weights, const Place& place) {
  const auto has = [&](const std::string& own) {
    return weights.Has(place.prefix + ForeignNames(place.naming, own)[0]);
  };
  const Tensor& stem = weights.At(place.prefix + ForeignNames(place.naming, "conv1.weight")[0]);
  std::vector<int64_t> blocks;
  for (int stage = 1; stage <= 4; ++stage) {
    int64_t count = 0;
    while (has(Format("layer{}.{}.conv1.weight", stage, count))) ++count;
    blocks.push_back(count);
  }
  const bool bottleneck = has("layer1.0.conv3.weight");
  BackboneConfig config;
  using Blocks = std::vector<int64_t>;
  if (!bottleneck && blocks == Blocks{2, 2, 2, 2}) config.type = "resnet18";
  else if (!bottleneck && blocks == Blocks{3, 4, 6, 3}) config.type = "resnet34";
  else if (bottleneck && blocks == Blocks{3, 4, 6, 3}) config.type = "resnet50";
  else
    RefuseNetwork(Format("the file holds a ResNet of {} {} blocks, which this program does not have",
                         fmt::join(blocks, "+"), bottleneck ? "bottleneck" : "plain"),
                  weights);
  if (stem.dim() != 4 || stem.size(1) != 3 || (stem.size(2) != 7 && stem.size(2) != 3)) {
    RefuseNetwork(Format("the first convolution has the shape [{}]", fmt::join(stem.sizes(), ",")), weights);
  }
  config.small_stem = stem.size(2) == 3;
  config.width = static_cast<double>(stem.size(0)) / 64;
  return config;
}

}  // namespace

int64_t UsualHeads(int64_t width, bool moco_v3) {
  if (moco_v3 && width == 384) return 12;
  if (width == 1280) return 16;  // ViT-H
  return width % 64 == 0 ? width / 64 : 0;
}

namespace {

// Whether these are MoCo v3's fixed positions [1,1+grid*grid,width], which mmpretrain's, solo-learn's and converted
// checkpoints of it keep under other names.
bool AreMocoV3Positions(const Tensor& positions, int64_t grid, int64_t width) {
  constexpr int64_t kLargestGrid = 128;  // a file may claim any number of equal positions
  if (grid > kLargestGrid || width % 4 != 0 || !at::isFloatingType(positions.scalar_type())) return false;
  if (positions.size(0) != 1 || positions.size(2) != width) return false;
  constexpr float kRounding = 1e-2F;  // of 16 bits
  return (positions[0].to(at::kFloat) - SinCosPositions(grid, width)).abs().max().item<float>() < kRounding;
}

BackboneConfig VitFrom(const WeightMap& weights, const Place& place, ImportLayout layout, int64_t heads) {
  const auto own = [&](const std::string& name) { return place.prefix + ForeignNames(place.naming, name)[0]; };
  const Tensor& patch = weights.At(own("patch_embed.proj.weight"));
  const Tensor& positions = weights.At(own("pos_embed"));
  if (patch.dim() != 4 || patch.size(1) != 3 || patch.size(2) != patch.size(3) || patch.size(2) < 1) {
    RefuseNetwork(Format("the patch projection has the shape [{}]", fmt::join(patch.sizes(), ",")), weights);
  }
  if (positions.dim() != 3)
    RefuseNetwork(Format("the positions have the shape [{}]", fmt::join(positions.sizes(), ",")), weights);
  const auto grid = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(positions.size(1) - 1))));
  if (grid < 1 || grid > 4096 || grid * grid + 1 != positions.size(1)) {
    RefuseNetwork(Format("{} positions are no square of patches and a class token", positions.size(1)), weights);
  }
  const int64_t width = patch.size(0);
  if (const std::string fc1 = own("blocks.0.mlp.fc1.weight");
      weights.Has(fc1) && weights.At(fc1).dim() == 2 && weights.At(fc1).size(0) != 4 * width) {
    RefuseNetwork(
        Format("the ViT's hidden layers are {} wide and its tokens {}, where this program's are four times as "
               "wide as its tokens",
               weights.At(fc1).size(0), width),
        weights);
  }
  BackboneConfig config;
  config.patch_size = patch.size(2);
  config.image_size = grid * config.patch_size;
  while (weights.Has(own(Format("blocks.{}.norm1.weight", config.layers)))) ++config.layers;
  const VitType* type = &kVitTypes[1];
  for (const VitType& known : kVitTypes) {
    if (known.width == width) type = &known;
  }
  config.type = type->name;
  config.width = static_cast<double>(width) / static_cast<double>(type->width);
  if (config.layers == 12) config.layers = 0;  // the type's
  if (layout == ImportLayout::kMocoV3) {
    config.positions = VitPositions::kSinCos;
    config.frozen_patch = true;
  }
  if (heads == 0)
    heads = UsualHeads(width, layout == ImportLayout::kMocoV3 || AreMocoV3Positions(positions, grid, width));
  if (heads == 0) {
    throw UsageError(
        {.what = Format("a ViT of width {} may have any number of heads, and the file does not say how many", width),
         .where = weights.where(),
         .next = "give `--heads N`"});
  }
  config.heads = heads == type->heads && type->width == width ? 0 : heads;
  return config;
}

// Of batches that a norm has seen, on which no result depends: files of PyTorch before 0.4.1 have none, and those whose
// tensors were all brought to one type have it in that, which may hold infinity for it.
int64_t CounterIn(const WeightMap& weights, const std::string& name) {
  if (!weights.Has(name) || weights.At(name).numel() != 1) return 0;
  const auto count = weights.At(name).to(at::kDouble).item<double>();
  return count >= 0 && count < 1e15 ? static_cast<int64_t>(count) : 0;
}

[[noreturn]] void RefuseStemPadding(const WeightMap& weights, const char* has) {
  throw UsageError({.what = Format("a padding of the stem is for a ResNet's of 3 x 3, and the file has the {}", has),
                    .where = weights.where(),
                    .next = "leave `--stem-padding` away"});
}

BackboneConfig Recognise(const WeightMap& weights, const Place& place, ImportLayout layout,
                         const ForeignOptions& options) {
  if (!IsVit(place.naming)) {
    BackboneConfig config = ResnetFrom(weights, place);
    config.image_size = options.image_size > 0 ? options.image_size : config.small_stem ? 32 : 224;
    if (options.stem_padding > 0) config.stem_padding = options.stem_padding;
    if (config.stem_padding > 1 && !config.small_stem) RefuseStemPadding(weights, "usual stem of 7 x 7");
    return config;
  }
  if (options.stem_padding > 1) RefuseStemPadding(weights, "patches of a ViT");
  BackboneConfig config = VitFrom(weights, place, layout, options.heads);
  if (IsTransformers(place.naming)) config.norm_eps = options.norm_eps.value_or(kTransformersNormEps);
  if (options.image_size > 0 && options.image_size != config.image_size) {
    throw UsageError(
        {.what = Format("the ViT has positions for pictures of {} px, not {}", config.image_size, options.image_size),
         .where = weights.where(),
         .next = "leave the size away"});
  }
  return config;
}

}  // namespace

void CheckBackboneSize(const BackboneConfig& config, const WeightMap& weights) {
  double held = 0, wanted = 0;
  for (const auto& [name, tensor] : weights.tensors()) held += static_cast<double>(tensor.numel());
  if (const VitType* type = FindVitType(config.type)) {
    const double width = config.width * static_cast<double>(type->width),
                 patch = static_cast<double>(config.patch_size),
                 tokens = std::pow(static_cast<double>(config.image_size) / patch, 2);
    wanted = width * (12 * width * static_cast<double>(LayersOf(config)) + 3 * patch * patch + tokens);
  } else {
    wanted = 2000 * std::pow(64 * config.width, 2);  // the least, of ResNet-18, is 2,700
  }
  if (wanted <= 1.1 * held + 1e5) return;
  RefuseNetwork(Format("config or first layer describes a model of {:.0f} weights ({}), the file holds {:.0f}", wanted,
                       config.type, held),
                weights);
}

ForeignEncoder FromLayout(const WeightMap& weights, const ForeignOptions& options) {
  const auto [place, others] = Choose(weights, options);
  const ImportLayout layout = options.layout == ImportLayout::kAuto ? LayoutOf(weights, place) : options.layout;
  const BackboneConfig config = options.backbone ? *options.backbone : Recognise(weights, place, layout, options);
  CheckBackboneSize(config, weights);
  ForeignEncoder result{
      .backbone = MakeBackbone(config), .layout = EnumName(layout), .prefix = place.prefix, .others = others};

  // Under their own names first, so that what is missing is named as the file would have it.
  const WeightMap encoder = weights.WithPrefixRemoved(place.prefix);
  WeightReader reader(encoder);
  int64_t taken = 0;
  for (const WeightRef& ref : result.backbone->Weights()) {
    const auto names = ForeignNames(place.naming, ref.name);
    taken += std::count_if(names.begin(), names.end(), [&](const std::string& name) { return encoder.Has(name); });
    if (ref.tensor->scalar_type() == at::kLong) {
      *ref.tensor = at::scalar_tensor(CounterIn(encoder, names[0]), at::kLong);
      reader.Ignore(names[0]);
      continue;
    }
    std::vector<Tensor> parts;
    std::vector<int64_t> shape = ref.tensor->sizes().vec();
    if (names.size() > 1) shape[0] /= static_cast<int64_t>(names.size());
    for (const std::string& name : names) parts.push_back(reader.Take(name, shape));
    *ref.tensor = parts.size() == 1 ? parts[0] : at::cat(parts);
  }
  reader.Finish(Tolerated(place.naming));
  result.left_out = static_cast<int64_t>(weights.tensors().size()) - taken;
  return result;
}

std::vector<std::pair<std::string, Tensor>> ToLayout(Backbone& backbone, ExportLayout layout) {
  const BackboneConfig& config = backbone.config();
  const bool vit = config.type.starts_with("vit"),
             transformers = layout == ExportLayout::kTransformers || layout == ExportLayout::kTransformers4,
             detection = layout == ExportLayout::kDetectron2 || layout == ExportLayout::kMmdetection;
  const auto refuse = [&](const char* what, const char* next) {
    throw UsageError({.what = Format("{} {}", EnumName(layout), what),
                      .where = Format("checkpoint of a {}", config.type),
                      .next = next});
  };
  if (vit && detection)
    refuse("is a layout of ResNets here",
           "its ViTs are built in another way: export one with `--layout timm` and rename there");
  if ((transformers || detection) && config.small_stem)
    refuse("has no ResNet with a 3 x 3 stem", "export it with `--layout timm` or torchvision");
  Naming naming = vit ? Naming::kTimm : Naming::kTorchvision;
  std::string prefix;
  if (layout == ExportLayout::kMoco) prefix = vit ? "module.base_encoder." : "module.encoder_q.";
  if (layout == ExportLayout::kMmpretrain || layout == ExportLayout::kMmdetection) prefix = "backbone.";
  if (layout == ExportLayout::kDetectron2) naming = Naming::kDetectron2;
  if (layout == ExportLayout::kTorchvision && vit) naming = Naming::kTorchvisionVit;
  if (layout == ExportLayout::kMmpretrain && vit) naming = Naming::kMmpretrainVit;
  if (transformers)
    naming = !vit                                    ? Naming::kTransformersResnet
             : layout == ExportLayout::kTransformers ? Naming::kTransformersVit
                                                     : Naming::kTransformers4Vit;
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const WeightRef& ref : backbone.Weights()) {
    const auto names = ForeignNames(naming, ref.name);
    const auto parts =
        names.size() == 1 ? std::vector<Tensor>{*ref.tensor} : ref.tensor->chunk(static_cast<int64_t>(names.size()));
    for (size_t i = 0; i < names.size(); ++i) tensors.emplace_back(prefix + names[i], parts[i].detach());
  }
  return tensors;
}

Json TransformersConfig(Backbone& backbone) {
  const BackboneConfig& config = backbone.config();
  std::map<std::string, const Tensor*> weights;
  const WeightList list = backbone.Weights();
  for (const WeightRef& ref : list) weights[ref.name] = ref.tensor;
  if (config.type.starts_with("vit")) {
    const int64_t width = backbone.width();
    return {{"architectures", {"ViTModel"}},
            {"model_type", "vit"},
            {"hidden_size", width},
            {"num_hidden_layers", LayersOf(config)},
            {"num_attention_heads", HeadsOf(config)},
            {"intermediate_size", weights["blocks.0.mlp.fc1.weight"]->size(0)},
            {"hidden_act", "gelu"},
            {"layer_norm_eps", config.norm_eps},
            {"image_size", config.image_size},
            {"patch_size", config.patch_size},
            {"num_channels", 3},
            {"qkv_bias", true},
            {"hidden_dropout_prob", 0.0},
            {"attention_probs_dropout_prob", 0.0}};
  }
  const bool bottleneck = weights.count("layer1.0.conv3.weight") != 0;
  Json depths = Json::array(), widths = Json::array();
  for (int stage = 1; stage <= 4; ++stage) {
    int64_t blocks = 0;
    while (weights.count(Format("layer{}.{}.conv1.weight", stage, blocks)) != 0) ++blocks;
    depths.push_back(blocks);
    widths.push_back(weights[Format("layer{}.0.conv{}.weight", stage, bottleneck ? 3 : 2)]->size(0));
  }
  return {{"architectures", {"ResNetModel"}},
          {"model_type", "resnet"},
          {"num_channels", 3},
          {"embedding_size", weights["conv1.weight"]->size(0)},
          {"hidden_sizes", widths},
          {"depths", depths},
          {"layer_type", bottleneck ? "bottleneck" : "basic"},
          {"hidden_act", "relu"},
          {"downsample_in_first_stage", false},
          {"downsample_in_bottleneck", false}};
}

}  // namespace genview
