#include "genview/models/backbone_file.h"

#include "genview/base/error.h"
#include "genview/models/neighbours.h"
#include "genview/models/weight_files.h"
#include "genview/tensor/torch_file.h"

namespace genview {
namespace {

namespace fs = std::filesystem;

// Of a file, or of a folder of transformers, in shards or not.
WeightMap WeightsIn(const Path& given) {
  std::error_code code;
  return fs::is_directory(given, code) ? ReadFolderWeights(given, {"model"}) : ReadWeightsFile(given);
}

// The member `genview` of the metadata, where this program wrote the file.
Json OwnMetadata(const WeightMap& weights) {
  const std::string text = weights.Metadata("genview");
  const Json meta = text.empty() ? Json() : ParseJson(text, weights.where());
  constexpr int64_t kFormat = 1;  // the newest that is known
  RefuseNewerFormat(meta, kFormat, weights.where());
  if (!text.empty() && (!meta.is_object() || !meta.contains("backbone"))) {
    throw Error({.what = Format("the file holds no backbone (it is of kind \"{}\")",
                                meta.is_object() ? JsonString(meta, "kind", "unknown", weights.where()) : "unknown"),
                 .where = weights.where(),
                 .next = "name a checkpoint that `genview pretrain` or `genview import` wrote"});
  }
  return meta;
}

BackboneFile FromCheckpoint(const WeightMap& weights, const BackboneConfig& config) {
  BackboneFile file;
  const WeightMap own = weights.WithPrefixRemoved("encoder.");
  CheckBackboneSize(config, own);
  file.encoder.backbone = MakeBackbone(config);
  WeightReader reader(own);
  LoadWeights(file.encoder.backbone->Weights(), reader);
  reader.Finish();
  file.encoder.layout = "genview";
  file.encoder.prefix = "encoder.";
  file.encoder.left_out = static_cast<int64_t>(weights.tensors().size() - own.tensors().size());
  return file;
}

// This program's files say themselves what those of others leave open.
void RefuseOptions(const ForeignOptions& options, const BackboneConfig& config, bool checkpoint,
                   const std::string& where) {
  const auto refuse = [&](std::string what, const char* flag) {
    throw UsageError({.what = std::move(what), .where = where, .next = Format("leave `{}` away", flag)});
  };
  if (options.heads > 0 && options.heads != HeadsOf(config)) {
    refuse(HeadsOf(config) == 0 ? Format("the file is this program's, of a {}, which has no heads", config.type)
                                : Format("the file is this program's and says that its {} has {} heads, not {}",
                                         config.type, HeadsOf(config), options.heads),
           "--heads");
  }
  if (options.image_size > 0 && options.image_size != config.image_size) {
    refuse(Format("the file is this program's and says that its pictures have {} px, not {}", config.image_size,
                  options.image_size),
           "--size");
  }
  if (options.stem_padding > 0 && options.stem_padding != config.stem_padding) {
    refuse(Format("the file is this program's and says that the padding of its stem is {}, not {}", config.stem_padding,
                  options.stem_padding),
           "--stem-padding");
  }
  if (checkpoint && options.layout != ImportLayout::kAuto)
    refuse(Format("the file is this program's checkpoint, not of the layout {}", EnumName(options.layout)), "--layout");
  if (checkpoint && !options.prefix.empty())
    refuse("the file is this program's checkpoint, with one encoder", "--prefix");
}

}  // namespace

BackboneFile ReadBackboneFile(const Path& given, ForeignOptions options) {
  const WeightMap weights = WeightsIn(given);
  const std::string where = weights.where();
  const Json meta = OwnMetadata(weights);
  std::optional<Preprocess> preprocess;
  BackboneFile file;
  if (meta.is_object()) {
    BackboneConfig config;
    try {
      ReadFields(config, meta["backbone"], {where, "backbone"});
    } catch (const UsageError& error) {
      throw Error(error.text());  // it is the file that is wrong
    }
    if (meta.contains("preprocess")) preprocess = Preprocess::FromJson(meta["preprocess"], where);
    const bool exported = JsonString(meta, "kind", "", where) == "export";
    RefuseOptions(options, config, !exported, where);
    options.backbone = config;
    if (exported) file.encoder = FromLayout(weights, options);
    else file = FromCheckpoint(weights, config);
  } else {
    std::error_code code;
    const Neighbours beside = ReadNeighbours(fs::is_directory(given, code) ? given : given.parent_path(), options);
    file.encoder = FromLayout(weights, beside.options);
    if (beside.preprocess) preprocess = ForSize(*beside.preprocess, file.encoder.backbone->config().image_size);
  }
  const int64_t size = file.encoder.backbone->config().image_size;
  file.own = meta.is_object();
  file.preprocess_known = preprocess.has_value();
  // Papers test at 224 px cut out of 256; small pictures are used whole.
  file.preprocess = preprocess.value_or(Preprocess{
      .size = size, .resize_shortest = size < 100 ? size : size * 8 / 7, .mean = kImagenetMean, .std = kImagenetStd});
  return file;
}

}  // namespace genview
