// genview export: an encoder under the names that another library loads it by.
#include <stdexcept>

#include "cli/commands.h"
#include "cli/print.h"
#include "genview/base/hash.h"
#include "genview/models/backbone_file.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

struct ExportConfig {
  Path checkpoint;
  ExportLayout layout = ExportLayout::kTorchvision;
  Path out;
};
template <class Visit>
void VisitFields(ExportConfig& c, Visit&& visit) {
  visit("checkpoint", c.checkpoint, Required{}, "checkpoint of this program");
  visit("layout", c.layout, Any{}, "whose names; transformers-4: of its versions 4, and of its hub");
  visit("out", c.out, Required{},
        "weights file; always safetensors, whatever its ending: this program writes no pickle");
}

bool IsVit(const BackboneConfig& config) { return config.type.starts_with("vit"); }

// Of a ResNet: its stem's and its first stage's.
int64_t Channels(const Backbone& backbone) {
  return backbone.width() / (backbone.config().type == "resnet50" ? 32 : 8);
}

// torchvision's network, made as wide and with the same stem as ours.
std::string TorchvisionModel(const Backbone& backbone) {
  const BackboneConfig& config = backbone.config();
  const int64_t c = Channels(backbone);
  std::string text = Format("model = torchvision.models.{}()\n", config.type);
  if (config.width != 1 || config.small_stem) {
    text += Format("model.conv1 = torch.nn.Conv2d(3, {}, {}, bias=False)\n", c,
                   config.small_stem ? Format("3, 1, {}", config.stem_padding) : "7, 2, 3");
  }
  if (config.small_stem) text += "model.maxpool = torch.nn.Identity()\n";
  if (config.width != 1) {
    text += Format(
        "model.bn1 = torch.nn.BatchNorm2d({0})\n"
        "model.inplanes, block = {0}, type(model.layer1[0])\n"
        "for i in range(4):\n"
        "    blocks = len(getattr(model, f\"layer{{i + 1}}\"))\n"
        "    setattr(model, f\"layer{{i + 1}}\", model._make_layer(block, {0} << i, blocks, 1 if i == 0 else 2))\n",
        c);
  }
  return text + "model.fc = torch.nn.Identity()\n";
}

std::string NormLayer(const BackboneConfig& config) {
  return Format("norm_layer=functools.partial(torch.nn.LayerNorm, eps={})", config.norm_eps);
}

std::string TimmModel(const Backbone& backbone) {
  const BackboneConfig& config = backbone.config();
  std::string options;
  if (config.image_size != 224) options += Format(", img_size={}", config.image_size);
  if (config.patch_size != 16) options += Format(", patch_size={}", config.patch_size);
  if (config.width != 1) options += Format(", embed_dim={}", backbone.width());
  if (config.layers != 0) options += Format(", depth={}", config.layers);
  if (config.heads != 0) options += Format(", num_heads={}", config.heads);
  if (config.norm_eps != kVitNormEps) options += ", " + NormLayer(config);
  return Format("model = timm.create_model(\"vit_{}_patch16_224\", num_classes=0{})\n", config.type.substr(4), options);
}

std::string TorchvisionVit(const Backbone& backbone) {
  const BackboneConfig& config = backbone.config();
  return Format(
      "model = torchvision.models.VisionTransformer(image_size={}, patch_size={}, num_layers={}, num_heads={}, "
      "hidden_dim={}, mlp_dim={}{})\nmodel.heads = torch.nn.Identity()\n",
      config.image_size, config.patch_size, LayersOf(config), HeadsOf(config), backbone.width(), 4 * backbone.width(),
      config.norm_eps == kVitNormEps ? "" : ", " + NormLayer(config));
}

std::string TransformersModel(const Path& out, const Backbone& backbone) {
  const std::string file = Json((out.parent_path() / "config.json").string()).dump();
  if (IsVit(backbone.config())) {
    return Format(
        "config = transformers.ViTConfig.from_json_file({})\nmodel = transformers.ViTModel(config, "
        "add_pooling_layer=False)\n",
        file);
  }
  return Format("config = transformers.ResNetConfig.from_json_file({})\nmodel = transformers.ResNetModel(config)\n",
                file);
}

// How to load it, in a few lines of Python.
std::string HowToLoad(const ExportConfig& config, const Backbone& backbone) {
  const std::string file = Format("safetensors.torch.load_file({})", Json(config.out.string()).dump());
  const auto loaded = [&](const char* modules, const std::string& model) {
    return Format("import safetensors.torch, {}\n{}model.load_state_dict({}, strict=True)", modules, model, file);
  };
  const auto saved = [&](const std::string& contents, const char* name, const char* comment) {
    return Format("import safetensors.torch, torch\nstate = {}\ntorch.save({{{}}}, \"{}\"){}", file, contents, name,
                  comment);
  };
  const bool vit = IsVit(backbone.config()), usual = backbone.config().norm_eps == kVitNormEps;
  switch (config.layout) {
    case ExportLayout::kTorchvision:
      if (vit) return loaded(usual ? "torch, torchvision" : "functools, torch, torchvision", TorchvisionVit(backbone));
      return loaded("torch, torchvision", TorchvisionModel(backbone));
    case ExportLayout::kTimm:
      if (vit) return loaded(usual ? "timm" : "functools, torch, timm", TimmModel(backbone));
      if (backbone.config().width == 1 && !backbone.config().small_stem) {
        return loaded("timm", Format("model = timm.create_model(\"{}\", num_classes=0)\n", backbone.config().type));
      }
      return loaded("torch, torchvision   # timm has no such ResNet; torchvision's names are the same",
                    TorchvisionModel(backbone));
    case ExportLayout::kTransformers:
      return loaded("transformers", TransformersModel(config.out, backbone));
    case ExportLayout::kTransformers4:
      return Format(
          "import transformers\nmodel = transformers.{}   # of model.safetensors and config.json",
          vit ? "ViTModel.from_pretrained(FOLDER, add_pooling_layer=False)" : "ResNetModel.from_pretrained(FOLDER)");
    case ExportLayout::kDetectron2:
      return saved("\"model\": state, \"__author__\": \"GenView\", \"matching_heuristics\": True", "backbone.pth",
                   "   # MODEL.WEIGHTS; see configs/detection");
    case ExportLayout::kMmdetection:
      return saved("\"state_dict\": state", "backbone.pth",
                   "   # init_cfg of type Pretrained, prefix \"backbone.\"; see configs/detection");
    case ExportLayout::kMmpretrain:
      return saved("\"state_dict\": state", "mmpretrain.pth", "   # init_cfg of type Pretrained");
    case ExportLayout::kMoco:
      return saved(Format("\"state_dict\": state, \"arch\": \"{}\"", backbone.config().type), "moco.pth.tar", "");
  }
  throw std::logic_error("a layout has no lines of Python");
}

// The lines of Python above make the network themselves for three of the layouts; elsewhere it is up to the user.
void WarnOfOtherNetwork(ExportLayout layout, const Backbone& backbone, Progress& progress) {
  const BackboneConfig& config = backbone.config();
  const bool made =
      layout == ExportLayout::kTorchvision || layout == ExportLayout::kTimm || layout == ExportLayout::kTransformers;
  const std::string what = made ? "the lines of Python below make" : "give the other library's network";
  if (config.width != 1) {
    progress.Warn(Format("the {} has {:g} of its usual width, {} of {} channels: {} the same", config.type,
                         config.width, IsVit(config) ? "tokens" : "a stem",
                         IsVit(config) ? backbone.width() : Channels(backbone), what));
  }
  const bool said = made || layout == ExportLayout::kTransformers4;  // by the lines of Python, or by config.json
  if (config.norm_eps != kVitNormEps && !said) {
    progress.Warn(Format("the ViT's norms add {} to the variance, usual are {} in {}: {} the same", config.norm_eps,
                         kVitNormEps, EnumName(layout), what));
  }
  if (const int64_t heads = IsVit(config) ? UsualHeads(backbone.width(), layout == ExportLayout::kMoco) : 0;
      !said && heads > 0 && heads != HeadsOf(config)) {
    progress.Warn(Format("the ViT has {} heads, usual are {} in {}, and the weights fit either: {} the same",
                         HeadsOf(config), heads, EnumName(layout), what));
  }
  if (config.small_stem) {
    progress.Warn(Format("the ResNet has the 3 x 3 stem for small pictures: {} the same conv1{} and no max-pool", what,
                         config.stem_padding == 1 ? "" : Format(" with padding {}", config.stem_padding)));
  }
}

}  // namespace

std::vector<FieldInfo> ExportFields() { return DescribeFields<ExportConfig>(); }

int RunExport(const Args& args, Progress& progress) {
  const auto config = ParseFields<ExportConfig>(args);
  RefuseToReplaceInput(config.out, {config.checkpoint});
  SweepPartFilesBeside({config.out});  // of a killed call
  const BackboneFile file = ReadBackboneFile(config.checkpoint);
  Backbone& backbone = *file.encoder.backbone;
  const auto tensors = ToLayout(backbone, config.layout);
  const Json meta = {{"format", 1},
                     {"kind", "export"},
                     {"layout", EnumName(config.layout)},
                     {"backbone", FieldsToJson(backbone.config())},
                     {"preprocess", file.preprocess.ToJson()},
                     {"checkpoint", FingerprintFile(config.checkpoint)}};
  WriteSafetensors(config.out, tensors, {{"format", "pt"}, {"genview", meta.dump()}});
  Print("{}: {} tensors\n", config.out.string(), tensors.size());
  if (config.layout == ExportLayout::kTransformers || config.layout == ExportLayout::kTransformers4) {
    const Path beside = config.out.parent_path() / "config.json";
    std::error_code code;
    const Json wanted = TransformersConfig(backbone);
    if (!std::filesystem::exists(beside, code)) WriteJson(beside, wanted);
    else if (ReadJson(beside) != wanted)
      progress.Warn(
          Format("{} is there already and was left as it is; transformers needs: {}", beside.string(), wanted.dump()));
  }
  WarnOfOtherNetwork(config.layout, backbone, progress);
  Print("\nin Python:\n{}\n", HowToLoad(config, backbone));
  return kOk;
}

}  // namespace genview
