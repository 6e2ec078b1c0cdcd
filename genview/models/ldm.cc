#include "genview/models/ldm.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/models/encoder.h"
#include "genview/tensor/torch_file.h"

namespace genview {
namespace {

constexpr const char *kStateDict = "state_dict.", *kEmbedder = "embedder.model.";
constexpr int64_t kHeadWidth = 64, kTowerHeads = 16, kGroups = 32, kLatentSize = 96, kPictureSize = 768;

constexpr const char* kNext =
    "give a single file of Stable unCLIP 2-1, such as sd21-unclip-h.safetensors, or the folder that holds "
    "model_index.json";

[[noreturn]] void Refuse(std::string what, const WeightMap& file) {
  throw Error({.what = std::move(what), .where = file.where(), .next = kNext});
}

bool HasUnder(const WeightMap& weights, const std::string& prefix) {
  const auto found = weights.tensors().lower_bound(prefix);
  return found != weights.tensors().end() && found->first.starts_with(prefix);
}

// What a network's tensors say of it.
class Shapes {
 public:
  Shapes(const WeightMap& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}

  bool Has(const std::string& name) const { return file_.Has(prefix_ + name); }
  int64_t Extent(const std::string& name, int64_t dim, int64_t high = 8192) const {
    const auto found = file_.tensors().find(prefix_ + name);
    if (found == file_.tensors().end()) Refuse(Format("the tensor `{}{}` is missing", prefix_, name), file_);
    const Tensor& tensor = found->second;
    if (tensor.dim() <= dim || tensor.size(dim) < 1 || tensor.size(dim) > high)
      Refuse(Format("the tensor `{}` has the shape [{}]", found->first, fmt::join(tensor.sizes(), ",")), file_);
    return tensor.size(dim);
  }
  int64_t Dim(const std::string& name) const {
    const auto found = file_.tensors().find(prefix_ + name);
    return found == file_.tensors().end() ? 0 : found->second.dim();
  }
  // How many tensors of a numbered name there are, from 0 on.
  int64_t Count(const std::string& before, const std::string& after) const {
    int64_t count = 0;
    while (Has(Format("{}{}{}", before, count, after))) ++count;
    return count;
  }
  // `width`, which `parts` must divide.
  int64_t Divided(int64_t width, int64_t parts, const char* what) const {
    if (width % parts != 0)
      Refuse(Format("a width of {} under `{}` does not divide into {} {}", width, prefix_, parts, what), file_);
    return width;
  }
  [[noreturn]] void Fail(const std::string& what) const { Refuse(what, file_); }

 private:
  const WeightMap& file_;
  std::string prefix_;
};

// Only the network's own, so that what is left over in it shows.
WeightMap Under(const WeightMap& file, const std::string& prefix) {
  WeightMap part(file.where());
  const auto& tensors = file.tensors();
  for (auto it = tensors.lower_bound(prefix); it != tensors.end() && it->first.starts_with(prefix); ++it) {
    // Attention of the autoencoder was written in 1 x 1 convolutions.
    const bool convolved = it->second.dim() == 4 && it->first.find(".mid.attn_1.") != std::string::npos;
    part.Add(it->first, convolved ? it->second.flatten(1) : it->second);
  }
  return part;
}

}  // namespace

UnetConfig LdmUnetConfig(const WeightMap& file) {
  const Shapes shapes(file, kLdmUnet);
  UnetConfig c;
  c.sample_size = kLatentSize;
  c.groups = kGroups;
  c.in_channels = shapes.Extent("input_blocks.0.0.weight", 1);
  c.out_channels = shapes.Extent("out.2.weight", 0);
  c.class_width = shapes.Extent("label_emb.0.0.weight", 1, 65536);
  for (auto* list :
       {&c.channels, &c.layers_per_block, &c.attention_head_dim, &c.cross_attention_dim, &c.transformer_layers})
    list->clear();
  c.down_blocks.clear();
  c.up_blocks.clear();

  constexpr const char *kWidth = "0.out_layers.3.weight", *kTransformer = "1.proj_in.weight";
  const auto depth = [&](const std::string& block) {
    return std::max<int64_t>(1, shapes.Count(block + "1.transformer_blocks.", ".norm1.weight"));
  };
  const auto linear = [&](const std::string& block) { return shapes.Dim(block + kTransformer) == 2; };
  const std::string mid = "middle_block.";
  const bool attends = shapes.Has(mid + kTransformer);
  c.mid_block = attends ? "UNetMidBlock2DCrossAttn" : "UNetMidBlock2D";
  c.use_linear_projection = linear(mid);
  const int64_t text = attends ? shapes.Extent(mid + "1.transformer_blocks.0.attn2.to_k.weight", 1) : 1;
  for (int64_t block = 1, layers = 0;; ++block) {
    const std::string name = Format("input_blocks.{}.", block);
    if (shapes.Has(name + kWidth)) {
      if (layers++ > 0) {
        c.layers_per_block.back() = layers;
        continue;
      }
      const int64_t width = shapes.Divided(shapes.Extent(name + kWidth, 0), kGroups, "groups");
      const bool cross = shapes.Has(name + kTransformer);
      c.channels.push_back(width);
      c.layers_per_block.push_back(layers);
      c.attention_head_dim.push_back(std::max<int64_t>(1, width / kHeadWidth));
      shapes.Divided(width, c.attention_head_dim.back(), "heads");
      c.cross_attention_dim.push_back(text);
      c.transformer_layers.push_back(depth(name));
      c.down_blocks.emplace_back(cross ? "CrossAttnDownBlock2D" : "DownBlock2D");
      c.up_blocks.emplace(c.up_blocks.begin(), cross ? "CrossAttnUpBlock2D" : "UpBlock2D");
    } else if (shapes.Has(name + "0.op.weight") && layers > 0) {
      layers = 0;
    } else {
      break;
    }
  }
  if (c.channels.empty()) shapes.Fail("the UNet has no layers");
  if (std::count(c.layers_per_block.begin(), c.layers_per_block.end(), c.layers_per_block[0]) !=
      std::ssize(c.layers_per_block)) {
    shapes.Fail(Format("the UNet has {} layers at its resolutions; as many at each are read",
                       fmt::join(c.layers_per_block, ", ")));
  }
  return ParseUnetConfig(UnetConfigToJson(c), Format("{}, the UNet", file.where()));
}

VaeConfig LdmVaeConfig(const WeightMap& file) {
  const Shapes shapes(file, kLdmVae);
  VaeConfig c;
  c.sample_size = kPictureSize;
  c.groups = kGroups;
  c.in_channels = shapes.Extent("encoder.conv_in.weight", 1);
  c.out_channels = shapes.Extent("decoder.conv_out.weight", 0);
  c.latent_channels = shapes.Extent("decoder.conv_in.weight", 1);
  const int64_t levels = shapes.Count("encoder.down.", ".block.0.conv1.weight");
  c.layers_per_block = shapes.Count("encoder.down.0.block.", ".conv1.weight");
  c.channels.clear();
  for (int64_t i = 0; i < levels; ++i)
    c.channels.push_back(
        shapes.Divided(shapes.Extent(Format("encoder.down.{}.block.0.conv1.weight", i), 0), kGroups, "groups"));
  c.use_quant_conv = shapes.Has("quant_conv.weight");
  c.use_post_quant_conv = shapes.Has("post_quant_conv.weight");
  c.mid_attention = shapes.Has("encoder.mid.attn_1.q.weight");
  return ParseVaeConfig(VaeConfigToJson(c), Format("{}, the autoencoder", file.where()));
}

ClipTextConfig LdmTextConfig(const WeightMap& file) {
  const Shapes shapes(file, kLdmText);
  ClipTextConfig c;
  c.vocabulary = shapes.Extent("token_embedding.weight", 0, 1 << 20);
  c.width = shapes.Divided(shapes.Extent("token_embedding.weight", 1), kTowerHeads, "heads");
  c.positions = shapes.Extent("positional_embedding", 0, 1 << 16);
  c.layers = shapes.Count("transformer.resblocks.", ".ln_1.weight") - 1;
  if (c.layers < 1 || c.layers > 256)
    shapes.Fail(Format("the text tower has {} blocks, wanted 2 to 257", c.layers + 1));
  c.heads = kTowerHeads;
  c.mlp_width = shapes.Extent("transformer.resblocks.0.mlp.c_fc.weight", 0, 1 << 17);
  c.activation = Activation::kGelu;
  return c;
}

namespace {

// By parts of names, the longest way a name can go; what none of them begins stays as it is.
using Renaming = std::pair<std::string_view, std::string_view>;
template <size_t N>
std::string Renamed(std::string_view name, const std::array<Renaming, N>& parts) {
  for (const auto& [from, to] : parts) {
    if (name.starts_with(from)) return Format("{}{}", to, name.substr(from.size()));
  }
  return std::string(name);
}

// The number at the beginning of `rest`, which is taken off with the point after it; -1: there is none.
int64_t TakeNumber(std::string_view& rest) {
  const size_t point = rest.find('.');
  int64_t number = -1;
  if (point == std::string_view::npos || !ParseInt(rest.substr(0, point), number)) return -1;
  rest.remove_prefix(point + 1);
  return number;
}

bool TakePrefix(std::string_view& rest, std::string_view prefix) {
  if (!rest.starts_with(prefix)) return false;
  rest.remove_prefix(prefix.size());
  return true;
}

std::string UnetResnetName(std::string_view rest) {
  constexpr std::array<Renaming, 6> kParts{{{"norm1.", "in_layers.0."},
                                            {"conv1.", "in_layers.2."},
                                            {"time_emb_proj.", "emb_layers.1."},
                                            {"norm2.", "out_layers.0."},
                                            {"conv2.", "out_layers.3."},
                                            {"conv_shortcut.", "skip_connection."}}};
  return Renamed(rest, kParts);
}

std::string ClipTextName(const std::string& name) {
  constexpr std::array<Renaming, 3> kEnds{
      {{"tokens", "token_embedding.weight"}, {"positions", "positional_embedding"}, {"norm_after.", "ln_final."}}};
  constexpr std::array<Renaming, 7> kParts{{{"norm1.", "ln_1."},
                                            {"qkv.weight", "attn.in_proj_weight"},
                                            {"qkv.bias", "attn.in_proj_bias"},
                                            {"proj.", "attn.out_proj."},
                                            {"norm2.", "ln_2."},
                                            {"fc1.", "mlp.c_fc."},
                                            {"fc2.", "mlp.c_proj."}}};
  std::string_view rest = name;
  if (!TakePrefix(rest, "blocks.")) return Renamed(rest, kEnds);
  const int64_t block = TakeNumber(rest);
  return Format("transformer.resblocks.{}.{}", block, Renamed(rest, kParts));
}

template <class Rename>
void Load(WeightList list, const WeightMap& file, const char* prefix, Reads reads, bool channels_last,
          const std::vector<std::string>& tolerated, Rename&& rename) {
  for (WeightRef& ref : list) ref.name = prefix + rename(ref.name);
  const WeightMap part = Under(file, prefix);
  WeightReader reader(part, reads);
  LoadWeights(list, reader, channels_last);
  std::vector<std::string> others;
  for (const std::string& name : tolerated) others.push_back(prefix + name);
  reader.Finish(others);
}

}  // namespace

std::string LdmUnetName(const std::string& name, const UnetConfig& c) {
  const int64_t layers = c.layers_per_block[0];
  std::string_view rest = name;
  if (TakePrefix(rest, "down_blocks.")) {
    const int64_t first = 1 + TakeNumber(rest) * (layers + 1);
    if (TakePrefix(rest, "downsamplers.0.conv.")) return Format("input_blocks.{}.0.op.{}", first + layers, rest);
    const bool resnet = TakePrefix(rest, "resnets.");
    if (!resnet) TakePrefix(rest, "attentions.");
    const int64_t block = first + TakeNumber(rest);
    return Format("input_blocks.{}.{}.{}", block, resnet ? 0 : 1, resnet ? UnetResnetName(rest) : std::string(rest));
  }
  if (TakePrefix(rest, "mid_block.")) {
    const bool resnet = TakePrefix(rest, "resnets.");
    if (!resnet) TakePrefix(rest, "attentions.");
    const int64_t number = TakeNumber(rest);
    return resnet ? Format("middle_block.{}.{}", 2 * number, UnetResnetName(rest))
                  : Format("middle_block.{}.{}", 2 * number + 1, rest);
  }
  if (TakePrefix(rest, "up_blocks.")) {
    const int64_t level = TakeNumber(rest), first = level * (layers + 1);
    const bool attends = c.up_blocks[static_cast<size_t>(level)] == "CrossAttnUpBlock2D";
    if (TakePrefix(rest, "upsamplers.0.conv."))
      return Format("output_blocks.{}.{}.conv.{}", first + layers, attends ? 2 : 1, rest);
    const bool resnet = TakePrefix(rest, "resnets.");
    if (!resnet) TakePrefix(rest, "attentions.");
    const int64_t block = first + TakeNumber(rest);
    return Format("output_blocks.{}.{}.{}", block, resnet ? 0 : 1, resnet ? UnetResnetName(rest) : std::string(rest));
  }
  constexpr std::array<Renaming, 7> kEnds{{{"conv_in.", "input_blocks.0.0."},
                                           {"time_embedding.linear_1.", "time_embed.0."},
                                           {"time_embedding.linear_2.", "time_embed.2."},
                                           {"class_embedding.linear_1.", "label_emb.0.0."},
                                           {"class_embedding.linear_2.", "label_emb.0.2."},
                                           {"conv_norm_out.", "out.0."},
                                           {"conv_out.", "out.2."}}};
  return Renamed(rest, kEnds);
}

std::string LdmVaeName(const std::string& name, const VaeConfig& c) {
  constexpr std::array<Renaming, 1> kResnet{{{"conv_shortcut.", "nin_shortcut."}}};
  constexpr std::array<Renaming, 5> kAttention{
      {{"group_norm.", "norm."}, {"to_q.", "q."}, {"to_k.", "k."}, {"to_v.", "v."}, {"to_out.0.", "proj_out."}}};
  constexpr std::array<Renaming, 1> kEnds{{{"conv_norm_out.", "norm_out."}}};
  std::string_view rest = name;
  const bool encoder = TakePrefix(rest, "encoder.");
  if (!encoder && !TakePrefix(rest, "decoder.")) return name;  // the two convolutions between the halves
  const char* half = encoder ? "encoder" : "decoder";
  if (TakePrefix(rest, "mid_block.resnets.")) {
    const int64_t number = TakeNumber(rest);
    return Format("{}.mid.block_{}.{}", half, number + 1, Renamed(rest, kResnet));
  }
  if (TakePrefix(rest, "mid_block.attentions.0.")) return Format("{}.mid.attn_1.{}", half, Renamed(rest, kAttention));
  if (TakePrefix(rest, "down_blocks.") || TakePrefix(rest, "up_blocks.")) {
    // On the way up they are counted from the end.
    const int64_t number = TakeNumber(rest);
    const std::string block = encoder ? Format("encoder.down.{}.", number)
                                      : Format("decoder.up.{}.", static_cast<int64_t>(c.channels.size()) - 1 - number);
    if (TakePrefix(rest, "downsamplers.0.conv.")) return Format("{}downsample.conv.{}", block, rest);
    if (TakePrefix(rest, "upsamplers.0.conv.")) return Format("{}upsample.conv.{}", block, rest);
    TakePrefix(rest, "resnets.");
    const int64_t layer = TakeNumber(rest);
    return Format("{}block.{}.{}", block, layer, Renamed(rest, kResnet));
  }
  return Format("{}.{}", half, Renamed(rest, kEnds));
}

std::string_view LdmName(std::string_view tensor) {
  TakePrefix(tensor, kStateDict);
  return tensor;
}

WeightMap ReadLdmFile(const Path& path) {
  WeightMap file = ReadWeightsFile(path);
  if (WeightMap inner = file.WithPrefixRemoved(kStateDict); !inner.empty()) file = std::move(inner);
  struct Wanted {
    const char *prefix, *name, *what;
  };
  constexpr std::array<Wanted, 5> kWanted{{{kLdmUnet, "input_blocks.0.0.", "the UNet"},
                                           {kLdmClass, "0.0.", "its class embedding"},
                                           {kLdmVae, "decoder.", "the autoencoder"},
                                           {kLdmText, "token_embedding.", "open_clip's text tower"},
                                           {kLdmImage, "class_embedding", "the image tower"}}};
  std::vector<std::string> missing;
  for (const Wanted& one : kWanted) {
    const std::string name = std::string(one.prefix) + one.name;
    if (!HasUnder(file, name)) missing.push_back(Format("{} (`{}`)", one.what, name));
  }
  if (missing.empty()) return file;
  const auto kind = [&]() -> std::string {
    if (HasUnder(file, "conditioner.embedders.")) return "; it looks like Stable Diffusion XL";
    if (HasUnder(file, "cond_stage_model.transformer.")) return "; it looks like Stable Diffusion 1";
    if (HasUnder(file, kLdmText)) return "; it looks like Stable Diffusion 2 that takes texts, and no picture";
    if (file.Has("input_blocks.0.0.weight") || file.Has("conv_in.weight")) return "; it looks like a single network";
    return "";
  };
  Refuse(Format("the file is no Stable unCLIP model, it lacks {}{}", fmt::join(missing, ", "), kind()), file);
}

Unet ReadLdmUnet(const WeightMap& file, Reads reads) {
  Unet unet = MakeUnet(LdmUnetConfig(file));
  Load(ListWeights(unet), file, kLdmUnet, reads, /*channels_last=*/true, {},
       [&](const std::string& name) { return LdmUnetName(name, unet.config); });
  return unet;
}

Vae ReadLdmVae(const WeightMap& file, Reads reads) {
  Vae vae = MakeVae(LdmVaeConfig(file));
  Load(ListWeights(vae), file, kLdmVae, reads, /*channels_last=*/true, {"loss."},
       [&](const std::string& name) { return LdmVaeName(name, vae.config); });
  return vae;
}

ClipText ReadLdmText(const WeightMap& file, Reads reads) {
  ClipText tower = MakeClipText(LdmTextConfig(file));
  Load(ListWeights(tower), file, kLdmText, reads, /*channels_last=*/false,
       {Format("transformer.resblocks.{}.", tower.config.layers), "text_projection", "logit_scale", "attn_mask"},
       ClipTextName);
  return tower;
}

TowerFiles LdmTowerFiles(const WeightMap& file) {
  const Shapes shapes(file, kLdmImage);
  ClipVisionConfig c;
  c.width = shapes.Divided(shapes.Extent("conv1.weight", 0), kTowerHeads, "heads");
  c.patch_size = shapes.Extent("conv1.weight", 3, 512);
  const int64_t patches = shapes.Extent("positional_embedding", 0, 512 * 512 + 1) - 1;
  const auto side = static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(patches))));
  if (side < 1 || side * side != patches) shapes.Fail(Format("the image tower has {} patches, no square", patches));
  c.image_size = side * c.patch_size;
  c.embedding_width = shapes.Extent("proj", 1, 1 << 16);
  c.layers = shapes.Count("transformer.resblocks.", ".ln_1.weight");
  if (c.layers < 1 || c.layers > 256) shapes.Fail(Format("the image tower has {} blocks, wanted 1 to 256", c.layers));
  c.mlp_width = shapes.Extent("transformer.resblocks.0.mlp.c_fc.weight", 0, 1 << 17);
  c.heads = kTowerHeads;
  // The original keeps OpenAI's model whole, and of open_clip's the image tower alone. ViT-L/14 is OpenAI's even where
  // its text tower has been taken out.
  const bool of_openai = HasUnder(file, std::string(kEmbedder) + "transformer.") || c.embedding_width == 768;
  c.activation = of_openai ? Activation::kQuickGelu : Activation::kGelu;
  return {.layout = ClipLayout::kOpenClip,
          .config = c,
          .json = ClipConfigToOpenClip(c),
          .where = file.where(),
          .preprocess = PreprocessFromHuggingFace(Json::object(), c.image_size, file.where()),
          .weights = file.WithPrefixRemoved(kEmbedder),
          .files = {file.where()}};
}

}  // namespace genview
