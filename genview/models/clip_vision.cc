#include "genview/models/clip_vision.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "genview/base/error.h"
#include "genview/base/text.h"

namespace genview {
namespace {

[[noreturn]] void Unsupported(const std::string& what, std::string_view where) {
  throw Error({.what = what,
               .where = std::string(where),
               .next = "use a CLIP ViT such as ViT-B-32, ViT-L-14 or ViT-H-14, of CLIPA or CoCa too"});
}

// A size given as one number or as [height, width] of a square.
int64_t SquareSize(const Json& object, const char* key, int64_t fallback, std::string_view where) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return fallback;
  if (!found->is_array()) return JsonInt(object, key, fallback, where);
  const auto sides = JsonInts(object, key, {}, where);
  if (sides.size() != 2 || sides[0] != sides[1]) {
    Unsupported(Format("`{}` is {}, which is not a square", key, found->dump()), where);
  }
  return sides[0];
}

void CheckBounds(const ClipVisionConfig& c, std::string_view where) {
  const auto check = [&](const char* name, int64_t value, int64_t high) {
    if (value >= 1 && value <= high) return;
    throw Error({.what = Format("`{}` is {}, allowed are 1 to {}", name, value, high),
                 .where = std::string(where),
                 .next = "correct the config, or get it again from where it came"});
  };
  check("width", c.width, 1 << 14);
  check("layers", c.layers, 256);
  check("heads", c.heads, c.width);
  check("mlp width", c.mlp_width, 1 << 17);
  check("patch_size", c.patch_size, 512);
  check("image_size", c.image_size, 4096);
  check("embedding width", c.embedding_width, 1 << 16);
  check("patches per side", c.grid(), 512);
  if (c.query_pooling != QueryPooling::kNone) {
    check("attn_pooler_queries", c.queries, 1 << 14);
    check("attn_pooler_heads", c.query_heads, c.embedding_width);
    if (c.embedding_width % c.query_heads != 0)
      Unsupported(
          Format("`embed_dim` {} is not a multiple of `attn_pooler_heads` {}", c.embedding_width, c.query_heads),
          where);
    if (c.query_pooling != QueryPooling::kPlain && c.embedding_width != c.width)
      Unsupported(Format("`attentional_pool` of two parts with a width of {} and `embed_dim` {}, which differ", c.width,
                         c.embedding_width),
                  where);
    if (c.mean_pool && c.queries < 2) Unsupported("`pool_type` is \"avg\" over a single query", where);
  }
  if (c.width % c.heads != 0) Unsupported(Format("width {} is not a multiple of {} heads", c.width, c.heads), where);
  if (!(c.eps > 0 && c.eps < 1)) Unsupported(Format("the norm's eps is {}", c.eps), where);
}

// Hugging Face stores q, k and v apart and the projection transposed: which part of which tensor one of its names is.
struct FileEntry {
  std::string name;
  Tensor* tensor;
  int64_t third = -1;  // 0, 1, 2: rows of q, k, v; -1: the whole tensor
  bool transposed = false;
};

constexpr const char* kHuggingFaceRoot = "vision_model.";

std::vector<FileEntry> HuggingFaceEntries(ClipVision& m, const std::string& root) {
  std::vector<FileEntry> entries;
  const auto add = [&](const std::string& name, Tensor& tensor, bool transposed = false) {
    if (tensor.defined()) entries.push_back({name, &tensor, -1, transposed});
  };
  const auto pair = [&](const std::string& name, Tensor& weight, Tensor& bias) {
    add(name + ".weight", weight);
    add(name + ".bias", bias);
  };
  add(root + "embeddings.class_embedding", m.class_token);
  add(root + "embeddings.patch_embedding.weight", m.patch.weight);
  add(root + "embeddings.position_embedding.weight", m.positions);
  pair(root + "pre_layrnorm", m.norm_before.weight, m.norm_before.bias);  // spelled so in every file
  for (size_t i = 0; i < m.blocks.size(); ++i) {
    EncoderBlock& b = m.blocks[i];
    const std::string layer = Format("{}encoder.layers.{}.", root, i);
    pair(layer + "layer_norm1", b.norm1.weight, b.norm1.bias);
    for (int64_t third = 0; third < 3; ++third) {
      const std::string name = layer + "self_attn." + "qkv"[third] + "_proj";
      entries.push_back({name + ".weight", &b.qkv.weight, third});
      entries.push_back({name + ".bias", &b.qkv.bias, third});
    }
    pair(layer + "self_attn.out_proj", b.proj.weight, b.proj.bias);
    pair(layer + "layer_norm2", b.norm2.weight, b.norm2.bias);
    pair(layer + "mlp.fc1", b.fc1.weight, b.fc1.bias);
    pair(layer + "mlp.fc2", b.fc2.weight, b.fc2.bias);
  }
  pair(root + "post_layernorm", m.norm_after.weight, m.norm_after.bias);
  add("visual_projection.weight", m.projection, /*transposed=*/true);
  return entries;
}

constexpr const char* kOpenClipPrefix = "visual.";

// Those of open_clip's CLIPVisionCfg, in version 2.22 (`n_queries`) and today, that decide nothing here or are read
// below.
constexpr std::array kVisionKeys{"layers",
                                 "width",
                                 "head_width",
                                 "mlp_ratio",
                                 "patch_size",
                                 "image_size",
                                 "ls_init_value",
                                 "attentional_pool",
                                 "n_queries",
                                 "attn_pooler_queries",
                                 "attn_pooler_heads",
                                 "no_ln_pre",
                                 "pos_embed_type",
                                 "final_ln_after_pool",
                                 "pool_type",
                                 "act_kwargs",
                                 "norm_kwargs",
                                 "block_type",
                                 "patch_dropout",
                                 "output_tokens"};

// What is not known must be without effect.
void CheckVisionKeys(const Json& vision, std::string_view where) {
  for (const auto& [key, value] : vision.items()) {
    if (key.starts_with("timm_") || std::find(kVisionKeys.begin(), kVisionKeys.end(), key) != kVisionKeys.end())
      continue;
    if (value.is_null() || value == Json(false) || value == Json::object()) continue;
    Unsupported(Format("`{}` is {}, which is not supported", key, Printable(value.dump(), 100)), where);
  }
}

// Of a member that is only known with these values; the first is what its absence means.
std::string OneOf(const Json& object, const char* key, std::initializer_list<const char*> values,
                  std::string_view where) {
  const std::string value = JsonString(object, key, *values.begin(), where);
  if (std::find(values.begin(), values.end(), value) == values.end())
    Unsupported(Format("`{}` is \"{}\", supported: {}", key, value, fmt::join(values, ", ")), where);
  return value;
}

void ReadPooling(const Json& vision, ClipVisionConfig& c, std::string_view where) {
  if (const auto found = vision.find("attentional_pool"); found != vision.end() && found->is_string()) {
    c.query_pooling = OneOf(vision, "attentional_pool", {"parallel", "cascade"}, where) == "cascade"
                          ? QueryPooling::kCascade
                          : QueryPooling::kParallel;
  } else if (JsonBool(vision, "attentional_pool", false, where)) {
    c.query_pooling = QueryPooling::kPlain;
  }
  const bool two_parts = c.query_pooling == QueryPooling::kParallel || c.query_pooling == QueryPooling::kCascade;
  if (!two_parts) c.mean_pool = OneOf(vision, "pool_type", {"tok", "avg"}, where) == "avg";
  c.norm_after_pool =
      JsonBool(vision, "final_ln_after_pool", false, where) && c.query_pooling == QueryPooling::kNone;  // as open_clip
  c.queries = JsonInt(vision, "attn_pooler_queries", JsonInt(vision, "n_queries", c.queries, where), where);
  c.query_heads = JsonInt(vision, "attn_pooler_heads", c.query_heads, where);
}

Activation OpenClipActivation(const Json& model, const Json& vision, std::string_view where) {
  const bool quick = JsonBool(model, "quick_gelu", false, where);
  const Json settings = vision.value("act_kwargs", Json());
  if (settings.is_null() || settings.empty()) return quick ? Activation::kQuickGelu : Activation::kGelu;
  if (quick || !settings.is_object() || settings.size() != 1 || !settings.contains("approximate"))
    Unsupported(Format("`act_kwargs` is {}, which is not supported", Printable(settings.dump(), 100)), where);
  return OneOf(settings, "approximate", {"none", "tanh"}, where) == "tanh" ? Activation::kGeluTanh : Activation::kGelu;
}

}  // namespace

ClipVisionConfig ClipConfigFromOpenClip(const Json& config, std::string_view where) {
  if (!config.is_object()) Unsupported("the config is not a JSON object", where);
  const Json& model = config.contains("model_cfg") ? config["model_cfg"] : config;
  if (!model.is_object() || !model.contains("vision_cfg") || !model["vision_cfg"].is_object()) {
    Unsupported("the config has no `vision_cfg`", where);
  }
  const Json& vision = model["vision_cfg"];
  const std::string timm = JsonString(vision, "timm_model_name", "", where);
  if (!timm.empty())
    Unsupported(Format("`timm_model_name` asks for the tower {}, which is not read here", timm), where);
  if (vision.contains("layers") && vision["layers"].is_array()) {
    Unsupported("`layers` is a list: the tower is CLIP's ResNet, which is not read here", where);
  }
  CheckVisionKeys(vision, where);
  OneOf(vision, "pos_embed_type", {"learnable", "sin_cos_2d"}, where);  // both are in the file
  OneOf(vision, "block_type", {"default"}, where);

  ClipVisionConfig c;
  c.width = JsonInt(vision, "width", 768, where);
  c.layers = JsonInt(vision, "layers", 12, where);
  const int64_t head_width = JsonInt(vision, "head_width", 64, where);
  if (head_width < 1 || head_width > c.width)
    Unsupported(Format("`head_width` is {} at width {}", head_width, c.width), where);
  c.heads = c.width / head_width;
  const double mlp_ratio = JsonDouble(vision, "mlp_ratio", 4.0, where);
  if (!(mlp_ratio > 0 && mlp_ratio <= 64)) Unsupported(Format("`mlp_ratio` is {}", mlp_ratio), where);
  c.mlp_width = static_cast<int64_t>(static_cast<double>(c.width) * mlp_ratio);
  c.patch_size = SquareSize(vision, "patch_size", 16, where);
  c.image_size = SquareSize(vision, "image_size", 224, where);
  c.embedding_width = JsonInt(model, "embed_dim", 512, where);
  c.activation = OpenClipActivation(model, vision, where);
  c.norm_before = !JsonBool(vision, "no_ln_pre", false, where);
  c.layer_scale = !vision.value("ls_init_value", Json()).is_null();
  ReadPooling(vision, c, where);
  if (const auto norm = vision.find("norm_kwargs"); norm != vision.end() && norm->is_object()) {
    for (const auto& [key, value] : norm->items()) {
      if (key != "eps") Unsupported(Format("`norm_kwargs` has `{}`, which is not supported", key), where);
    }
    c.eps = JsonDouble(*norm, "eps", c.eps, where);
  }
  CheckBounds(c, where);
  return c;
}

ClipVisionConfig ClipConfigFromHuggingFace(const Json& config, std::string_view where) {
  if (!config.is_object()) Unsupported("the config is not a JSON object", where);
  const bool whole = config.contains("vision_config") && config["vision_config"].is_object();
  const Json& vision = whole ? config["vision_config"] : config;
  const std::string type = JsonString(config, "model_type", whole ? "clip" : "clip_vision_model", where);
  if (type != "clip" && type != "clip_vision_model") {
    Unsupported(Format("`model_type` is \"{}\", supported are \"clip\" and \"clip_vision_model\"", type), where);
  }
  ClipVisionConfig c;
  c.width = JsonInt(vision, "hidden_size", 768, where);
  c.mlp_width = JsonInt(vision, "intermediate_size", 3072, where);
  c.layers = JsonInt(vision, "num_hidden_layers", 12, where);
  c.heads = JsonInt(vision, "num_attention_heads", 12, where);
  c.patch_size = SquareSize(vision, "patch_size", 32, where);
  c.image_size = SquareSize(vision, "image_size", 224, where);
  c.eps = JsonDouble(vision, "layer_norm_eps", 1e-5, where);
  c.embedding_width = JsonInt(config, "projection_dim", 512, where);
  const int64_t channels = JsonInt(vision, "num_channels", 3, where);
  if (channels != 3) Unsupported(Format("`num_channels` is {}, supported is 3", channels), where);
  const std::string name = JsonString(vision, "hidden_act", "quick_gelu", where);
  const auto activation = ActivationOfName(name);
  if (!activation) {
    Unsupported(
        Format("`hidden_act` is \"{}\", supported: gelu, quick_gelu, gelu_new, gelu_pytorch_tanh, silu, relu", name),
        where);
  }
  c.activation = *activation;
  for (const std::string& architecture : JsonStrings(config, "architectures", {}, where)) {
    if (architecture == "CLIPVisionModel") c.projection = false;
  }
  if (!c.projection) c.embedding_width = c.width;
  CheckBounds(c, where);
  return c;
}

namespace {

[[noreturn]] void CannotHold(const char* library, const std::string& what) {
  throw Error({.what = Format("{} has no CLIP tower with {}", library, what),
               .where = "the image tower",
               .next = "use a tower as OpenAI's, such as ViT-B-32, ViT-L-14 or ViT-H-14"});
}

}  // namespace

Json ClipConfigToOpenClip(const ClipVisionConfig& c) {
  if (c.activation == Activation::kSilu || c.activation == Activation::kRelu)
    CannotHold("open_clip", Format("`hidden_act` \"{}\"", ActivationName(c.activation)));
  Json vision = {{"image_size", c.image_size},
                 {"layers", c.layers},
                 {"width", c.width},
                 {"head_width", c.width / c.heads},
                 {"mlp_ratio", static_cast<double>(c.mlp_width) / static_cast<double>(c.width)},
                 {"patch_size", c.patch_size}};
  if (!c.norm_before) vision["no_ln_pre"] = true;
  if (c.eps != ClipVisionConfig{}.eps) vision["norm_kwargs"] = {{"eps", c.eps}};
  if (c.activation == Activation::kGeluTanh) vision["act_kwargs"] = {{"approximate", "tanh"}};
  if (c.layer_scale) vision["ls_init_value"] = 1e-5;  // where a training begins
  if (c.mean_pool) vision["pool_type"] = "avg";
  if (c.norm_after_pool) vision["final_ln_after_pool"] = true;
  if (c.query_pooling != QueryPooling::kNone) {
    vision["attentional_pool"] = c.query_pooling == QueryPooling::kPlain      ? Json(true)
                                 : c.query_pooling == QueryPooling::kParallel ? Json("parallel")
                                                                              : Json("cascade");
    vision["attn_pooler_queries"] = c.queries;
    vision["attn_pooler_heads"] = c.query_heads;
  }
  Json config = {{"embed_dim", c.embedding_width}, {"vision_cfg", vision}};
  if (c.activation == Activation::kQuickGelu) config["quick_gelu"] = true;
  return config;
}

Json ClipConfigToHuggingFace(const ClipVisionConfig& c) {
  if (!c.norm_before) CannotHold("transformers", "`no_ln_pre`");
  if (c.layer_scale) CannotHold("transformers", "`ls_init_value`");
  if (c.query_pooling != QueryPooling::kNone) CannotHold("transformers", "`attentional_pool`");
  if (c.mean_pool || c.norm_after_pool) CannotHold("transformers", "`pool_type` \"avg\" or `final_ln_after_pool`");
  return {{"architectures", {c.projection ? "CLIPVisionModelWithProjection" : "CLIPVisionModel"}},
          {"attention_dropout", 0.0},
          {"hidden_act", ActivationName(c.activation)},
          {"hidden_size", c.width},
          {"image_size", c.image_size},
          {"initializer_factor", 1.0},
          {"initializer_range", 0.02},
          {"intermediate_size", c.mlp_width},
          {"layer_norm_eps", c.eps},
          {"model_type", "clip_vision_model"},
          {"num_attention_heads", c.heads},
          {"num_channels", 3},
          {"num_hidden_layers", c.layers},
          {"patch_size", c.patch_size},
          {"projection_dim", c.embedding_width},
          {"torch_dtype", "float32"}};
}

double CountClipParameters(const ClipVisionConfig& c) {
  const auto w = static_cast<double>(c.width), m = static_cast<double>(c.mlp_width);
  const auto p = static_cast<double>(c.pooled_width()), q = static_cast<double>(c.queries);
  const double block = 3 * w * w + 3 * w + w * w + w + 2 * w * m + m + w + 4 * w + (c.layer_scale ? 2 * w : 0);
  const double ends = w + static_cast<double>(c.tokens() + 1) * w +
                      3 * w * static_cast<double>(c.patch_size * c.patch_size) + (c.norm_before ? 2 * w : 0) + 2 * p;
  const double pool = 2 * p * p + 2 * p * w + 4 * p + 2 * p + 2 * w;  // without its queries
  const double pools = c.query_pooling == QueryPooling::kNone    ? 0
                       : c.query_pooling == QueryPooling::kPlain ? pool + q * p
                                                                 : 2 * pool + (q + 1) * p;
  return static_cast<double>(c.layers) * block + ends + pools +
         (c.projection ? p * static_cast<double>(c.embedding_width) : 0);
}

namespace {

QueryPool MakeQueryPool(int64_t queries, int64_t width, int64_t token_width) {
  QueryPool p;
  p.query = at::empty({queries, width});
  p.norm_query = MakeNorm(width);
  p.norm_tokens = MakeNorm(token_width);
  if (token_width == width) {
    p.in_proj = at::empty({3 * width, width});
  } else {
    p.q_proj = at::empty({width, width});
    p.k_proj = at::empty({width, token_width});
    p.v_proj = at::empty({width, token_width});
  }
  p.in_proj_bias = at::empty({3 * width});
  p.proj = MakeLinear(width, width);
  return p;
}

void Append(WeightList& list, const std::string& name, QueryPool& p) {
  Append(list, name + ".query", p.query, WeightRole::kEmbedding);
  Append(list, name + ".attn.in_proj_weight", p.in_proj, WeightRole::kWeight);
  Append(list, name + ".attn.q_proj_weight", p.q_proj, WeightRole::kWeight);
  Append(list, name + ".attn.k_proj_weight", p.k_proj, WeightRole::kWeight);
  Append(list, name + ".attn.v_proj_weight", p.v_proj, WeightRole::kWeight);
  Append(list, name + ".attn.in_proj_bias", p.in_proj_bias, WeightRole::kBias);
  Append(list, name + ".attn.out_proj", p.proj);
  Append(list, name + ".ln_q", p.norm_query);
  Append(list, name + ".ln_k", p.norm_tokens);
}

// [N,T,C] -> [N,Q,D]
Tensor PoolByQueries(const QueryPool& p, int64_t heads, const Tensor& x) {
  constexpr double kEps = 1e-5;  // open_clip has no setting for these norms
  const auto weights = p.in_proj.defined() ? p.in_proj.chunk(3) : std::vector<Tensor>{p.q_proj, p.k_proj, p.v_proj};
  const auto biases = p.in_proj_bias.chunk(3);
  const Tensor tokens = LayerNorm(p.norm_tokens, x, kEps);
  const Tensor q = Linear({weights[0], biases[0]}, LayerNorm(p.norm_query, p.query, kEps));  // [Q,D]
  const Tensor k = Linear({weights[1], biases[1]}, tokens), v = Linear({weights[2], biases[2]}, tokens);
  return Linear(p.proj, Attention(q.to(k.scalar_type()).expand({x.size(0), -1, -1}), k, v, heads));
}

}  // namespace

ClipVision MakeClipVision(const ClipVisionConfig& c) {
  ClipVision m;
  m.config = c;
  m.patch = MakeConv(3, c.width, c.patch_size, /*bias=*/false);
  m.class_token = at::empty({c.width});
  m.positions = at::empty({1 + c.tokens(), c.width});
  if (c.norm_before) m.norm_before = MakeNorm(c.width);
  for (int64_t i = 0; i < c.layers; ++i) {
    m.blocks.push_back(MakeEncoderBlock(c.width, c.mlp_width));
    if (!c.layer_scale) continue;
    m.blocks.back().scale1 = at::empty({c.width});
    m.blocks.back().scale2 = at::empty({c.width});
  }
  if (c.query_pooling != QueryPooling::kNone) m.pool = MakeQueryPool(c.queries, c.embedding_width, c.width);
  if (c.query_pooling == QueryPooling::kParallel || c.query_pooling == QueryPooling::kCascade)
    m.second_pool = MakeQueryPool(1, c.embedding_width, c.width);
  m.norm_after = MakeNorm(c.pooled_width());
  if (c.projection) m.projection = at::empty({c.pooled_width(), c.embedding_width});
  return m;
}

WeightList ListWeights(ClipVision& m) {
  WeightList list;
  Append(list, "class_embedding", m.class_token, WeightRole::kEmbedding);
  Append(list, "positional_embedding", m.positions, WeightRole::kEmbedding);
  Append(list, "proj", m.projection, WeightRole::kWeight);
  Append(list, "conv1", m.patch);
  Append(list, "ln_pre", m.norm_before);
  for (size_t i = 0; i < m.blocks.size(); ++i) {
    EncoderBlock& b = m.blocks[i];
    const std::string name = Format("transformer.resblocks.{}.", i);
    Append(list, name + "ln_1", b.norm1);
    Append(list, name + "attn.in_proj_weight", name + "attn.in_proj_bias", b.qkv);
    Append(list, name + "attn.out_proj", b.proj);
    Append(list, name + "ls_1.gamma", b.scale1, WeightRole::kNormScale);
    Append(list, name + "ln_2", b.norm2);
    Append(list, name + "mlp.c_fc", b.fc1);
    Append(list, name + "mlp.c_proj", b.fc2);
    Append(list, name + "ls_2.gamma", b.scale2, WeightRole::kNormScale);
  }
  Append(list, "attn_pool", m.pool);
  Append(list, "attn_pool_contrastive", m.second_pool);
  Append(list, "ln_post", m.norm_after);
  return list;
}

void InitClipVision(ClipVision& m, Seed seed) {
  InitWeights(ListWeights(m), seed);
  const double scale = 1 / std::sqrt(static_cast<double>(m.config.width));
  m.class_token = NormalTensor(seed.With("class_embedding"), m.class_token.sizes()).mul_(scale);
  m.positions = NormalTensor(seed.With("positional_embedding"), m.positions.sizes()).mul_(scale);
  if (m.projection.defined()) m.projection = NormalTensor(seed.With("proj"), m.projection.sizes()).mul_(scale);
  for (size_t i = 0; i < m.blocks.size(); ++i) {
    EncoderBlock& b = m.blocks[i];
    const double bound = std::sqrt(6.0 / static_cast<double>(b.qkv.weight.size(0) + b.qkv.weight.size(1)));
    b.qkv.weight = UniformTensor(seed.With("in_proj").With(i), b.qkv.weight.sizes(), -bound, bound);
    b.qkv.bias = at::zeros_like(b.qkv.bias);
    b.proj.bias = at::zeros_like(b.proj.bias);
  }
}

void LoadClipVision(ClipVision& m, WeightReader& reader, ClipLayout layout) {
  if (layout == ClipLayout::kOpenClip) {
    WeightList list = ListWeights(m);
    for (WeightRef& ref : list) ref.name = kOpenClipPrefix + ref.name;
    return LoadWeights(list, reader);
  }
  std::map<Tensor*, std::vector<Tensor>> gathered;  // the thirds of a tensor so far
  // transformers 5 writes a tower without projection under bare names.
  const std::string root = reader.Has("embeddings.class_embedding") ? "" : kHuggingFaceRoot;
  for (const FileEntry& entry : HuggingFaceEntries(m, root)) {
    std::vector<int64_t> shape = entry.tensor->sizes().vec();
    const bool matrix = shape.size() > 1 && entry.tensor != &m.positions;
    const auto take = [&] { return matrix ? reader.TakeMatrix(entry.name, shape) : reader.Take(entry.name, shape); };
    if (entry.third >= 0) {
      shape[0] /= 3;
      auto& parts = gathered[entry.tensor];
      parts.push_back(take());
      if (parts.size() == 3) {
        *entry.tensor = at::cat(parts, 0);
        gathered.erase(entry.tensor);
      }
    } else if (entry.transposed) {
      std::swap(shape[0], shape[1]);
      *entry.tensor = take().t().contiguous();
    } else {
      *entry.tensor = take();
    }
  }
}

std::vector<std::pair<std::string, Tensor>> ClipTensors(ClipVision& m, ClipLayout layout, at::ScalarType dtype) {
  if (layout == ClipLayout::kOpenClip) return NamedTensors(ListWeights(m), kOpenClipPrefix, dtype);
  std::vector<std::pair<std::string, Tensor>> pairs;
  for (const FileEntry& entry : HuggingFaceEntries(m, kHuggingFaceRoot)) {
    Tensor tensor = entry.tensor->detach();
    if (entry.third >= 0) tensor = tensor.chunk(3, 0)[static_cast<size_t>(entry.third)];
    if (entry.transposed) tensor = tensor.t();
    if (dtype != at::kFloat && tensor.scalar_type() == at::kFloat) tensor = tensor.to(dtype);
    pairs.emplace_back(entry.name, tensor.contiguous());
  }
  return pairs;
}

std::vector<std::string> ClipIgnored(ClipLayout layout) {
  if (layout == ClipLayout::kOpenClip) {
    return {"transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection",
            "text.",        "text_decoder.",    "logit_scale",          "logit_bias"};
  }
  return {"text_model.", "text_projection.", "logit_scale", "vision_model.embeddings.position_ids",
          "embeddings.position_ids"};
}

ClipOutput ForwardClipVision(const ClipVision& w, const Tensor& pixels) {
  const ClipVisionConfig& c = w.config;
  ExpectShape(pixels, {-1, 3, c.image_size, c.image_size}, "pixels");
  const int64_t n = pixels.size(0);
  const Tensor patches = Conv(w.patch, pixels, c.patch_size).flatten(2).transpose(1, 2);  // [N,T,C]
  const Tensor first = w.class_token.to(patches.scalar_type()).expand({n, 1, c.width});   // [N,1,C]
  Tensor x = at::cat({first, patches}, 1) + w.positions;                                  // [N,1+T,C]
  if (c.norm_before) x = LayerNorm(w.norm_before, x, c.eps);
  const EncoderBlockOptions options{.heads = c.heads, .activation = c.activation, .eps = c.eps};
  for (const EncoderBlock& block : w.blocks) x = ForwardEncoderBlock(block, options, x);
  const auto pool = [&](const Tensor& all) {  // [N,1+T,C] -> [N,C]
    return c.mean_pool ? all.narrow(1, 1, all.size(1) - 1).mean(1) : all.select(1, 0);
  };
  const auto norm = [&](const Tensor& of) { return LayerNorm(w.norm_after, of, c.eps); };
  const auto queried = [&](const QueryPool& by, const Tensor& of) { return PoolByQueries(by, c.query_heads, of); };
  Tensor pooled;  // [N,C], with queries [N,D]
  switch (c.query_pooling) {
    case QueryPooling::kNone:
      if (!c.norm_after_pool) x = norm(x);
      pooled = c.norm_after_pool ? norm(pool(x)) : pool(x);
      break;
    case QueryPooling::kPlain:
      pooled = pool(norm(queried(w.pool, x)));
      break;
    case QueryPooling::kParallel:
      pooled = queried(w.second_pool, norm(x)).select(1, 0);
      break;
    case QueryPooling::kCascade:
      pooled = queried(w.second_pool, queried(w.pool, norm(x))).select(1, 0);
      break;
  }
  return {.embedding = c.projection ? at::matmul(pooled, AsWideAs(pooled, w.projection)) : pooled,
          .tokens = x.narrow(1, 1, c.tokens())};
}

}  // namespace genview
