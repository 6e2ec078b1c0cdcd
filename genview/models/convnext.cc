#include "genview/models/convnext.h"

#include <algorithm>

#include "genview/base/error.h"
#include "genview/base/text.h"

namespace genview {
namespace {

constexpr const char* kPrefix = "visual.";

struct KnownTower {
  const char* name;
  std::array<int64_t, 4> depths, widths;
  double eps = 1e-6;
  bool conv_mlp = false;
  Activation activation = Activation::kGelu;
  std::array<int64_t, 4> kernels{7, 7, 7, 7};
};
constexpr KnownTower kTowers[] = {
    {"convnext_atto", {2, 2, 6, 2}, {40, 80, 160, 320}, 1e-6, true},
    {"convnext_femto", {2, 2, 6, 2}, {48, 96, 192, 384}, 1e-6, true},
    {"convnext_pico", {2, 2, 6, 2}, {64, 128, 256, 512}, 1e-6, true},
    {"convnext_nano", {2, 2, 8, 2}, {80, 160, 320, 640}, 1e-6, true},
    {"convnext_tiny", {3, 3, 9, 3}, {96, 192, 384, 768}},
    {"convnext_small", {3, 3, 27, 3}, {96, 192, 384, 768}},
    {"convnext_base", {3, 3, 27, 3}, {128, 256, 512, 1024}},
    {"convnext_large", {3, 3, 27, 3}, {192, 384, 768, 1536}},
    {"convnext_xlarge", {3, 3, 27, 3}, {256, 512, 1024, 2048}},
    {"convnext_xxlarge", {3, 4, 30, 3}, {384, 768, 1536, 3072}, 1e-5},
    {"test_convnext", {1, 2, 4, 2}, {24, 32, 48, 64}, 1e-5, false, Activation::kGeluTanh},
    {"test_convnext2", {1, 1, 1, 1}, {32, 64, 96, 128}, 1e-5, false, Activation::kGeluTanh},
    {"test_convnext3", {1, 1, 1, 1}, {32, 64, 96, 128}, 1e-5, false, Activation::kSilu, {7, 5, 5, 3}},
};

[[noreturn]] void Unsupported(const std::string& what, std::string_view where) {
  std::vector<std::string> names;
  for (const KnownTower& tower : kTowers) names.emplace_back(tower.name);
  names.resize(names.size() - 3);  // timm's own test models
  throw Error({.what = what,
               .where = std::string(where),
               .next = Format("of timm's towers these are read here: {}", fmt::join(names, ", "))});
}

const Json& VisionOf(const Json& config) {
  static const Json kNone = Json::object();
  const Json& model = config.is_object() && config.contains("model_cfg") ? config["model_cfg"] : config;
  const bool has = model.is_object() && model.contains("vision_cfg") && model["vision_cfg"].is_object();
  return has ? model["vision_cfg"] : kNone;
}

int64_t SquareSide(const Json& vision, std::string_view where) {
  const auto size = vision.find("image_size");
  if (size == vision.end() || !size->is_array()) return JsonInt(vision, "image_size", 224, where);
  if (size->size() != 2 || (*size)[0] != (*size)[1] || !(*size)[0].is_number_integer())
    Unsupported(Format("`image_size` is {}, which is not a square", size->dump()), where);
  return (*size)[0].get<int64_t>();
}

ClipProjection ProjectionOf(const Json& vision, std::string_view where) {
  const std::string pool = JsonString(vision, "timm_pool", "avg", where),
                    projection = JsonString(vision, "timm_proj", "linear", where);
  if (pool != "" && pool != "avg")
    Unsupported(Format("`timm_pool` is \"{}\", supported are \"\" and \"avg\"", pool), where);
  if (projection == "linear") return ClipProjection::kLinear;
  if (projection == "mlp") return ClipProjection::kMlp;
  if (projection != "none" && projection != "")
    Unsupported(Format("`timm_proj` is \"{}\", supported are \"linear\", \"mlp\", \"none\" and \"\"", projection),
                where);
  if (pool.empty()) Unsupported("`timm_pool` is \"\" without a projection: the tower gives a map, no embedding", where);
  return projection == "none" ? ClipProjection::kNone : ClipProjection::kTrunk;
}

}  // namespace

bool IsConvNext(const Json& config) {
  const auto name = VisionOf(config).find("timm_model_name");
  return name != VisionOf(config).end() && name->is_string() &&
         name->get<std::string>().find("convnext") != std::string::npos;
}

ConvNextConfig ConvNextConfigFromOpenClip(const Json& config, std::string_view where) {
  const Json& vision = VisionOf(config);
  std::string name = JsonString(vision, "timm_model_name", "", where);
  name = name.substr(0, name.find('.'));  // "convnext_base.clip_laion2b": what follows names weights
  const auto* known =
      std::find_if(std::begin(kTowers), std::end(kTowers), [&](const KnownTower& tower) { return name == tower.name; });
  if (known == std::end(kTowers))
    Unsupported(Format("`timm_model_name` asks for the tower {}, which is not read here", name), where);
  ConvNextConfig c;
  c.depths = known->depths;
  c.widths = known->widths;
  c.kernels = known->kernels;
  c.activation = known->activation;
  c.eps = known->eps;
  c.conv_mlp = known->conv_mlp;
  c.projection = ProjectionOf(vision, where);
  c.projection_bias = c.projection == ClipProjection::kTrunk || JsonBool(vision, "timm_proj_bias", false, where);
  const Json& model = config.contains("model_cfg") ? config["model_cfg"] : config;
  c.embedding_width = c.projection == ClipProjection::kNone ? c.widths[3] : JsonInt(model, "embed_dim", 512, where);
  c.image_size = SquareSide(vision, where);
  if (c.embedding_width < 1 || c.embedding_width > 1 << 16)
    Unsupported(Format("`embed_dim` is {}", c.embedding_width), where);
  if (c.image_size < 32 || c.image_size > 4096)
    Unsupported(Format("`image_size` is {}, allowed are 32 to 4096", c.image_size), where);
  return c;
}

double CountConvNextParameters(const ConvNextConfig& c) {
  double count = 0, before = 3;
  for (size_t s = 0; s < 4; ++s) {
    const auto w = static_cast<double>(c.widths[s]), k = static_cast<double>(c.kernels[s]);
    count += before * w * (s == 0 ? 16 : 4) + 2 * before + 3 * w;
    count += static_cast<double>(c.depths[s]) * (8 * w * w + k * k * w + 10 * w);
    before = w;
  }
  const auto d = static_cast<double>(c.embedding_width);
  return count + (c.projection == ClipProjection::kMlp ? 2 * d * before + 2 * d * d : d * before) + 4 * d;
}

ConvNext MakeConvNext(const ConvNextConfig& c) {
  ConvNext m;
  m.config = c;
  m.stem = MakeConv(3, c.widths[0], 4);
  m.stem_norm = MakeNorm(c.widths[0]);
  for (size_t s = 0; s < 4; ++s) {
    ConvNextStage stage;
    const int64_t width = c.widths[s];
    if (s > 0) {
      stage.norm = MakeNorm(c.widths[s - 1]);
      stage.down = MakeConv(c.widths[s - 1], width, 2);
    }
    for (int64_t b = 0; b < c.depths[s]; ++b) {
      stage.blocks.push_back({MakeConv(width, width, c.kernels[s], true, width), MakeNorm(width),
                              MakeLinear(width, 4 * width), MakeLinear(4 * width, width), at::empty({width})});
    }
    m.stages.push_back(std::move(stage));
  }
  const int64_t width = c.widths[3], out = c.embedding_width;
  m.norm = MakeNorm(width);
  if (c.projection == ClipProjection::kLinear || c.projection == ClipProjection::kTrunk)
    m.proj = MakeLinear(width, out, c.projection_bias);
  if (c.projection == ClipProjection::kMlp) {
    m.fc1 = MakeLinear(width, 2 * out);
    m.fc2 = MakeLinear(2 * out, out, c.projection_bias);
  }
  return m;
}

WeightList ListWeights(ConvNext& m) {
  WeightList list;
  Append(list, "trunk.stem.0", m.stem);
  Append(list, "trunk.stem.1", m.stem_norm);
  for (size_t s = 0; s < m.stages.size(); ++s) {
    const std::string stage = Format("trunk.stages.{}.", s);
    Append(list, stage + "downsample.0", m.stages[s].norm);
    Append(list, stage + "downsample.1", m.stages[s].down);
    for (size_t b = 0; b < m.stages[s].blocks.size(); ++b) {
      ConvNextBlock& block = m.stages[s].blocks[b];
      const std::string name = Format("{}blocks.{}.", stage, b);
      Append(list, name + "gamma", block.gamma, WeightRole::kNormScale);
      Append(list, name + "conv_dw", block.spatial);
      Append(list, name + "norm", block.norm);
      Append(list, name + "mlp.fc1", block.fc1);
      Append(list, name + "mlp.fc2", block.fc2);
    }
  }
  Append(list, "trunk.head.norm", m.norm);
  Append(list, m.config.projection == ClipProjection::kTrunk ? "trunk.head.fc" : "head.proj", m.proj);
  Append(list, "head.mlp.fc1", m.fc1);
  Append(list, "head.mlp.fc2", m.fc2);
  return list;
}

void LoadConvNext(ConvNext& m, WeightReader& reader) {
  const WeightList list = ListWeights(m);
  for (const WeightRef& ref : list) {
    std::vector<int64_t> shape = ref.tensor->sizes().vec();
    const bool as_conv = m.config.conv_mlp && ref.name.find(".mlp.fc") != std::string::npos &&
                         ref.name.starts_with("trunk.") && shape.size() == 2;
    if (as_conv) shape.insert(shape.end(), {1, 1});
    const Tensor tensor = reader.Take(kPrefix + ref.name, shape);
    *ref.tensor = as_conv ? tensor.flatten(1) : tensor;
  }
  UseChannelsLast(list);
}

void FuseConvNext(ConvNext& m) {
  for (ConvNextStage& stage : m.stages) {
    for (ConvNextBlock& block : stage.blocks) {
      if (!block.gamma.defined()) continue;
      block.fc1.bias = block.fc1.bias + at::mv(block.fc1.weight, block.norm.bias);
      block.fc1.weight = block.fc1.weight * block.norm.weight;
      block.norm = {};
      block.fc2.weight = block.fc2.weight * block.gamma.unsqueeze(1);
      block.fc2.bias = block.fc2.bias * block.gamma;
      block.gamma = Tensor();
    }
  }
}

namespace {

// Over the channels of [N,C,H,W], which lie side by side in channels-last memory: a view, a norm, a view.
Tensor ChannelNorm(const NormWeights& w, const Tensor& x, double eps) {
  return LayerNorm(w, x.permute({0, 2, 3, 1}), eps).permute({0, 3, 1, 2});
}

Tensor ForwardBlock(const ConvNextBlock& w, const Tensor& x, const ConvNextConfig& c) {
  Tensor y = Conv(w.spatial, x, 1, w.spatial.weight.size(2) / 2, x.size(1)).permute({0, 2, 3, 1});  // [N,H,W,C]
  y = Linear(w.fc2, LinearThen(c.activation, w.fc1, LayerNorm(w.norm, y, c.eps)));
  if (w.gamma.defined()) y = y * w.gamma;
  return x + y.permute({0, 3, 1, 2});
}

}  // namespace

ConvNextOutput ForwardConvNext(const ConvNext& w, const Tensor& pixels) {
  const ConvNextConfig& c = w.config;
  ExpectShape(pixels, {-1, 3, -1, -1}, "pixels");
  Tensor x = ChannelNorm(w.stem_norm, Conv(w.stem, pixels.contiguous(at::MemoryFormat::ChannelsLast), 4), c.eps);
  for (const ConvNextStage& stage : w.stages) {
    if (stage.down.weight.defined()) x = Conv(stage.down, ChannelNorm(stage.norm, x, c.eps), 2);
    for (const ConvNextBlock& block : stage.blocks) x = ForwardBlock(block, x, c);
  }
  const Tensor tokens = x.permute({0, 2, 3, 1}).flatten(1, 2);  // [N,T,C]
  Tensor embedding = LayerNorm(w.norm, tokens.mean(1), c.eps);  // [N,C]
  if (w.proj.weight.defined()) embedding = Linear(w.proj, embedding);
  if (w.fc1.weight.defined()) embedding = Linear(w.fc2, LinearThen(Activation::kGelu, w.fc1, embedding));
  return {.embedding = embedding, .tokens = tokens};
}

}  // namespace genview
