// What an encoder's folder holds, whatever program wrote it: for encoder.h, and for who needs a tower's own weights.
//
//   const EncoderPlace place = FindEncoder("models/ViT-H-14");
//   if (place.kind != EncoderKind::kCheckpoint) {
//     const TowerFiles files = ReadTowerFiles(place);
//     ClipVision tower = LoadClipTower(files, std::get<ClipVisionConfig>(files.config), Reads::kAll);
//   }
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "genview/image/preprocess.h"
#include "genview/models/clip_vision.h"
#include "genview/models/convnext.h"

namespace genview {

// kSingleFile: the tower of Stable unCLIP in one file (ldm.h).
enum class EncoderKind { kOpenClip, kHuggingFace, kSingleFile, kCheckpoint };

struct EncoderPlace {
  EncoderKind kind;
  Path path;  // folder of the tower, or a file
};

// The folders and files that Encoder::Open understands. Throws Error that says what is missing and what was found, and
// for a file that holds no weights.
EncoderPlace FindEncoder(const Path& folder_or_file);

struct TowerFiles {
  ClipLayout layout;
  std::variant<ClipVisionConfig, ConvNextConfig> config;
  Json json;          // that the config is read from
  std::string where;  // its file
  Preprocess preprocess;
  WeightMap weights;
  std::vector<Path> files;  // that the weights are in
};

// Of all but a checkpoint; weights are mapped, not read. Throws Error.
TowerFiles ReadTowerFiles(const EncoderPlace& place);

// Throw Error for weights that are not the config's, before the memory for a config far larger than the file is
// touched.
ClipVision LoadClipTower(const TowerFiles& files, const ClipVisionConfig& config, Reads reads);
ConvNext LoadConvNextTower(const TowerFiles& files, const ConvNextConfig& config, Reads reads);

// As Encoder::Open of such a folder.
class Encoder;
std::shared_ptr<Encoder> OpenTower(const TowerFiles& files, at::Device device, at::ScalarType compute, Reads reads);

}  // namespace genview
