#include "genview/data/masks.h"

#include <algorithm>
#include <set>

#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/data/source_parts.h"

namespace genview {

namespace {

constexpr const char* kHeader = "id\tmask";

Path IndexOf(const Path& folder) { return folder / "index.tsv"; }

std::string OrdinaryName(const std::string& id) {
  const Path path(id);
  return (path.parent_path() / path.stem()).generic_string() + ".png";
}

MaskIndex ReadMaskIndex(const Path& folder) {
  const Path file = IndexOf(folder);
  std::error_code code;
  if (!std::filesystem::is_regular_file(file, code)) return {};
  return ParseMaskIndex(MappedFile(file).text(), file.string());
}

}  // namespace

MaskIndex ParseMaskIndex(std::string_view text, const std::string& where) {
  MaskIndex masks;
  for (LineWalk lines(text); lines.Next();) {
    const std::vector<std::string> row = Split(lines.line(), '\t');
    if (lines.number() == 1 && lines.line() == kHeader) continue;
    if (lines.number() == 1 || row.size() != 2 || row[0].empty() || row[1].empty() || SafeId(row[1]) != row[1]) {
      throw Error({.what = "a line of the masks' index is not an id and the name of a mask",
                   .where = Format("{}, line {}", where, lines.number()),
                   .next = "correct the line, or take the file out of the folder if it is something else"});
    }
    masks[row[0]] = row[1];
  }
  return masks;
}

std::string MaskIndexText(const MaskIndex& masks) {
  std::string text = Format("{}\n", kHeader);
  for (const auto& [id, mask] : masks) text += Format("{}\t{}\n", id, mask);
  return text;
}

std::vector<std::string> MaskNames(const std::vector<std::string>& ids) {
  std::set<std::string> taken = FoldersOf(ids);
  std::vector<std::string> names;
  for (const std::string& id : ids) {
    std::string name = OrdinaryName(id);
    if (taken.contains(name)) name = id + ".png";
    while (!taken.insert(name).second) name += ".png";
    names.push_back(name);
  }
  return names;
}

void WriteMaskIndex(const Path& folder, const std::vector<std::string>& ids) {
  const MaskIndex before = ReadMaskIndex(folder);
  const std::vector<std::string> names = MaskNames(ids);
  MaskIndex masks = before;
  if (!before.empty()) {
    const std::set<std::string> replaced(names.begin(), names.end());
    std::erase_if(masks, [&](const auto& row) { return replaced.contains(row.second); });
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    if (names[i] == OrdinaryName(ids[i])) masks.erase(ids[i]);
    else masks[ids[i]] = names[i];
  }
  if (masks == before) return;
  SweepPartFiles(folder);  // of a killed call
  WriteFile(IndexOf(folder), MaskIndexText(masks));
}

std::vector<std::string> MaskNamesIn(const Path& folder, const std::vector<std::string>& ids) {
  const MaskIndex masks = ReadMaskIndex(folder);
  if (masks.empty()) return MaskNames(ids);
  std::set<std::string> taken;
  for (const auto& [id, mask] : masks) taken.insert(mask);
  std::vector<std::string> names;
  for (const std::string& id : ids) {
    const auto known = masks.find(id);
    const std::string ordinary = OrdinaryName(id);
    names.push_back(known != masks.end() ? known->second : taken.contains(ordinary) ? "" : ordinary);
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
  masks->names_ = MaskNamesIn(folder, IdsOf(images));
  std::string all;
  bool any = false;
  for (std::string& name : masks->names_) {
    std::error_code code;
    if (name.empty() || !std::filesystem::exists(folder / name, code)) {
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
