// Foreground masks of pictures, as `foreground score --masks` writes them.
//
//   const auto masks = MaskFolder::Open("runs/demo/foreground/masks", *source);
//   if (masks->Has(i)) Outcome<GrayImage> mask = masks->Read(i);      // from any thread
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "genview/base/files.h"
#include "genview/data/source.h"

namespace genview {

// MASKS/<id without extension>.png. Of two ids that differ in their extension alone the second keeps it, and so does
// one whose mask would have the name of another's folder.
std::vector<std::string> MaskNames(const std::vector<std::string>& ids);

// MASKS/index.tsv says which masks have another name than <id without extension>.png, so that they are found among
// other pictures, too: those of two ids that meet are not told apart by either alone.
//
// Before the masks of `ids` are written under MaskNames: what the index says of other pictures stays, unless their
// masks are replaced. Where there is nothing to say no index is begun.
void WriteMaskIndex(const Path& folder, const std::vector<std::string>& ids);
// The names of masks that are there, or were: as the index says, and without one MaskNames. "" for an id whose mask's
// name is another's by the index. Throws Error for a damaged index.
std::vector<std::string> MaskNamesIn(const Path& folder, const std::vector<std::string>& ids);

// The index itself: the mask's name by id. Throws Error for a line that is none, or whose mask lies outside the folder.
using MaskIndex = std::map<std::string, std::string>;
MaskIndex ParseMaskIndex(std::string_view text, const std::string& where);
std::string MaskIndexText(const MaskIndex& masks);

// The mask in a picture file: 255 where it is light, 0 elsewhere.
Outcome<GrayImage> DecodeMask(std::string_view bytes);

class MaskFolder {
 public:
  // Looks at every mask. Throws Error when the folder is not there or has one of none of the pictures.
  static std::shared_ptr<const MaskFolder> Open(const Path& folder, const ImageSource& images);

  // i: of `images`; after the last they begin anew as long as `rounds` says, and what comes then has no mask.
  bool Has(int64_t i) const;
  Outcome<GrayImage> Read(int64_t i) const;
  // The same masks for pictures that are there several times over (RepeatSource).
  std::shared_ptr<const MaskFolder> Repeated(int64_t rounds) const;
  std::string Fingerprint() const { return fingerprint_; }  // of names and contents

 private:
  MaskFolder() = default;

  Path folder_;
  std::vector<std::string> names_;  // "" for a picture without a mask
  int64_t rounds_ = 1;
  std::string fingerprint_;
};

}  // namespace genview
