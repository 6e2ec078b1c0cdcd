#include "genview/data/masks.h"

#include <algorithm>
#include <set>

#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/data/source_parts.h"

namespace genview {

std::vector<std::string> MaskNames(const std::vector<std::string>& ids) {
  std::set<std::string> taken = FoldersOf(ids);
  std::vector<std::string> names;
  for (const std::string& id : ids) {
    const Path path(id);
    std::string name = (path.parent_path() / path.stem()).generic_string() + ".png";
    if (taken.contains(name)) name = id + ".png";
    while (!taken.insert(name).second) name += ".png";
    names.push_back(name);
  }
  return names;
}

Outcome<GrayImage> DecodeMask(std::string_view bytes) {
  const Outcome<Image> rgb = DecodeImage(bytes);
  if (!rgb) return Outcome<GrayImage>::Failed(rgb.reason());
  GrayImage mask(rgb->width, rgb->height);
  for (size_t p = 0; p < mask.pixels.size(); ++p) mask.pixels[p] = rgb->pixels[p * 3] >= 128 ? 255 : 0;
  return mask;
}

std::shared_ptr<const MaskFolder> MaskFolder::Open(const Path& folder, const ImageSource& images) {
  std::shared_ptr<MaskFolder> masks(new MaskFolder);
  masks->folder_ = folder;
  masks->names_ = MaskNames(IdsOf(images));
  std::string all;
  bool any = false;
  for (std::string& name : masks->names_) {
    std::error_code code;
    if (!std::filesystem::exists(folder / name, code)) {
      name.clear();
      continue;
    }
    any = true;
    const Outcome<std::string> bytes = ReadFileBytes(folder / name);
    all += Format("{}\t{}\n", name, bytes ? genview::Fingerprint(*bytes) : bytes.reason());
  }
  if (!any) {
    throw Error({.what = Format("there is a mask of none of the {} pictures", images.size()),
                 .where = folder.string(),
                 .next = "make them with `genview foreground score IMAGES --masks DIR`, from the same pictures"});
  }
  masks->fingerprint_ = genview::Fingerprint(all);
  return masks;
}

bool MaskFolder::Has(int64_t i) const {
  const auto count = static_cast<int64_t>(names_.size());
  return i < count * rounds_ && !names_[static_cast<size_t>(i % count)].empty();
}

Outcome<GrayImage> MaskFolder::Read(int64_t i) const {
  if (!Has(i)) return Outcome<GrayImage>::Failed("there is no mask of it");
  const Outcome<std::string> bytes = ReadFileBytes(folder_ / names_[static_cast<size_t>(i) % names_.size()]);
  return bytes ? DecodeMask(*bytes) : Outcome<GrayImage>::Failed(bytes.reason());
}

std::shared_ptr<const MaskFolder> MaskFolder::Repeated(int64_t rounds) const {
  std::shared_ptr<MaskFolder> masks(new MaskFolder(*this));
  masks->rounds_ = rounds;
  return masks;
}

}  // namespace genview
