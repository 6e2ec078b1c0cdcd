// genview import: an encoder out of another library's weights file.
#include "cli/commands.h"
#include "cli/print.h"
#include "genview/models/backbone_file.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

struct ImportConfig {
  Path file;
  ForeignOptions from;
  std::vector<double> mean, std;
  int64_t resize = 0;
  Path out;
};
template <class Visit>
void VisitFields(ImportConfig& c, Visit&& visit) {
  visit("file", c.file, Required{},
        "weights: .safetensors, PyTorch's .pth, .pt or .bin, or a folder of transformers or timm");
  visit("layout", c.from.layout, Any{}, "whose file it is; auto tells it by the names of the tensors");
  visit("prefix", c.from.prefix, Any{}, "what the encoder's names begin with, where the file holds several encoders");
  visit("heads", c.from.heads, Range<int64_t>{0, 1024},
        "ViT: attention heads, which few files say; 0 = by layout and width");
  visit("size", c.from.image_size, Range<int64_t>{0, 2048},
        "side of the pictures in pixels; 0 = as the weights have it");
  visit("stem_padding", c.from.stem_padding, Range<int64_t>{0, 2},
        "ResNet with a 3 x 3 stem: its padding, which no file says; 2 for solo-learn's of CIFAR, 0 = 1");
  visit("resize", c.resize, Range<int64_t>{0, 4096},
        "shortest side before the centre crop; 0 = size / 0.875, or size below 100 px");
  visit("mean", c.mean, Range<double>{-10, 10}, "of the colours in [0, 1]: three numbers; empty = ImageNet's");
  visit("std", c.std, Range<double>{1e-6, 10}, "of the colours: three numbers; empty = ImageNet's");
  visit("out", c.out, Required{}, "the encoder (.safetensors)");
}

std::array<double, 3> Three(const std::vector<double>& given, const std::array<double, 3>& fallback, const char* flag) {
  if (given.empty()) return fallback;
  if (given.size() == 3) return {given[0], given[1], given[2]};
  throw UsageError({.what = Format("{} numbers where three colours have one each", given.size()),
                    .where = Format("{}, {}", kCommandLine, flag),
                    .next = "give three numbers"});
}

void PrintPlace(const ForeignEncoder& encoder) {
  if (encoder.prefix.empty() && encoder.others.empty()) return;
  constexpr size_t kShown = 4;
  std::vector<std::string> others;
  for (const std::string& prefix : encoder.others) {
    if (others.size() < kShown) others.push_back(Format("\"{}\"", prefix));
  }
  const std::string more = encoder.others.size() > kShown ? Format(" and {} more", encoder.others.size() - kShown) : "";
  Print("its names begin with \"{}\"{}\n", encoder.prefix,
        others.empty() ? "" : Format("; --prefix takes another: {}{}", fmt::join(others, ", "), more));
}

}  // namespace

std::vector<FieldInfo> ImportFields() { return DescribeFields<ImportConfig>(); }

int RunImport(const Args& args, Progress& progress) {
  const auto config = ParseFields<ImportConfig>(args);
  RefuseToReplaceInput(config.out, {config.file});
  SweepPartFilesBeside({config.out});  // of a killed call
  const BackboneFile file = ReadBackboneFile(config.file, config.from);
  Backbone& backbone = *file.encoder.backbone;
  Preprocess preprocess = file.preprocess;
  if (config.resize > 0) {  // in place of what the folder says
    preprocess.resize_shortest = config.resize;
    preprocess.resize_width = preprocess.resize_height = 0;
    preprocess.squash = false;
  }
  preprocess.mean = Three(config.mean, preprocess.mean, "--mean");
  preprocess.std = Three(config.std, preprocess.std, "--std");
  if (config.resize > 0 && config.resize < preprocess.size) {
    throw UsageError({.what = Format("a shortest side of {} px holds no crop of {} px", config.resize, preprocess.size),
                      .where = Format("{}, --resize", kCommandLine),
                      .next = "give at least the size"});
  }
  const Json meta = {{"format", 1},
                     {"kind", "import"},
                     {"backbone", FieldsToJson(backbone.config())},
                     {"preprocess", preprocess.ToJson()},
                     {"layout", file.encoder.layout},
                     {"source", config.file.filename().string()}};
  WriteSafetensors(config.out, NamedTensors(backbone.Weights(), "encoder."),
                   {{"format", "pt"}, {"genview", meta.dump()}});
  Print("{}: {} of width {}, {} px, from the layout {}\n", config.out.string(), backbone.config().type,
        backbone.width(), backbone.config().image_size, file.encoder.layout);
  PrintPlace(file.encoder);
  if (file.encoder.left_out > 0)
    Print("{} other tensors (heads, averages, queues, optimisers) were left out\n", file.encoder.left_out);
  if (!file.preprocess_known && config.mean.empty()) {
    progress.Warn(
        "the file does not say how its pictures were prepared: ImageNet's mean and deviation are assumed (--mean, "
        "--std, --resize)");
  }
  return kOk;
}

}  // namespace genview
