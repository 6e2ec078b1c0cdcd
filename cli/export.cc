// genview export: an encoder under the names that another library loads it by.
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

// How to load it, in two lines of Python.
std::string HowToLoad(const ExportConfig& config, const BackboneConfig& backbone) {
  const std::string load =
      Format("load_state_dict(safetensors.torch.load_file(\"{}\"), strict=True)", config.out.string());
  const bool vit = backbone.type.starts_with("vit");
  switch (config.layout) {
    case ExportLayout::kTorchvision:
      return Format("model = torchvision.models.{}(); model.fc = torch.nn.Identity()\nmodel.{}", backbone.type, load);
    case ExportLayout::kTimm:
      return Format("model = timm.create_model(\"{}\", num_classes=0)\nmodel.{}",
                    vit ? Format("vit_{}_patch{}_{}", backbone.type.substr(4), backbone.patch_size, backbone.image_size)
                        : backbone.type,
                    load);
    case ExportLayout::kTransformers:
      return Format("model = transformers.{}\nmodel.{}",
                    vit ? "ViTModel(config, add_pooling_layer=False)" : "ResNetModel(config)", load);
    case ExportLayout::kTransformers4:
      return Format("model = transformers.{}Model.from_pretrained(FOLDER)   # config.json beside it",
                    vit ? "ViT" : "ResNet");
    case ExportLayout::kDetectron2:
      return Format(
          "state = safetensors.torch.load_file(\"{}\")\ntorch.save({{\"model\": state, \"__author__\": \"GenView\", "
          "\"matching_heuristics\": True}}, \"backbone.pth\")   # MODEL.WEIGHTS; see configs/detection",
          config.out.string());
    case ExportLayout::kMmdetection:
      return Format(
          "state = safetensors.torch.load_file(\"{}\")\ntorch.save({{\"state_dict\": state}}, \"backbone.pth\")   # init_cfg of "
          "type Pretrained, prefix \"backbone.\"; see configs/detection",
          config.out.string());
    case ExportLayout::kMmpretrain:
      return Format(
          "state = safetensors.torch.load_file(\"{}\")\ntorch.save({{\"state_dict\": state}}, \"mmpretrain.pth\")   # "
          "init_cfg of type Pretrained",
          config.out.string());
    default:
      return Format(
          "state = safetensors.torch.load_file(\"{}\")\ntorch.save({{\"state_dict\": state, \"arch\": \"{}\"}}, "
          "\"moco.pth.tar\")",
          config.out.string(), backbone.type);
  }
}

}  // namespace

std::vector<FieldInfo> ExportFields() { return DescribeFields<ExportConfig>(); }

int RunExport(const Args& args, Progress& progress) {
  const auto config = ParseFields<ExportConfig>(args);
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
  if (backbone.config().small_stem)
    progress.Warn(
        "the ResNet has the 3 x 3 stem for small pictures: give the other library's network the same conv1 and no "
        "max-pool");
  Print("\nin Python:\n{}\n", HowToLoad(config, backbone.config()));
  return kOk;
}

}  // namespace genview
