// Where pictures come from: a folder, a list file, tar shards, or the built-in shapes, all read the same way.
//
//   const auto source = OpenSource("photos/");                    // or list.txt, name-{0000..0127}.tar, shapes:count=64
//   for (int64_t i = 0; i < source->size(); ++i) {
//     Outcome<Image> image = source->Read(i);                     // from any thread
//     if (!image) skipped.Add(source->item(i).id, image.reason());
//   }
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "genview/base/error.h"
#include "genview/base/files.h"
#include "genview/base/progress.h"
#include "genview/image/image.h"

namespace genview {

struct SourceItem {
  std::string id;      // path relative to the source, "/" between folders, never absolute, never upwards; unique
  std::string path;    // for people: file, "shard.tar#member" or "shapes:...#17"
  int64_t label = -1;  // index into classes(); -1: unknown
};

// Thread-safe for reading once it is open.
class ImageSource {
 public:
  ImageSource() = default;
  ImageSource(const ImageSource&) = delete;
  ImageSource& operator=(const ImageSource&) = delete;
  virtual ~ImageSource() = default;

  virtual int64_t size() const = 0;
  virtual const SourceItem& item(int64_t i) const = 0;
  virtual Outcome<Image> Read(int64_t i) const = 0;
  // What is wanted of it, as DecodePart gives it: sooner, where the source has JPEGs. Fails where Read does.
  virtual Outcome<ImagePart> ReadPart(int64_t i, const WantedBox& wanted) const;
  // The picture file's bytes as they are; drawn pictures as PNG.
  virtual Outcome<std::string> ReadBytes(int64_t i) const = 0;
  // The file that the picture is; empty where it is part of one, or drawn.
  virtual Path FileOf(int64_t /*i*/) const { return {}; }
  // Nanoseconds since 1970 at which the file that the picture is in was last changed, or put in its place; nothing
  // where that is not known: of a drawn picture, or a file that is gone.
  virtual std::optional<int64_t> ChangedAt(int64_t /*i*/) const { return std::nullopt; }
  // The truth, 255 = foreground, where the source has it: the built-in shapes, and a folder `images` written by
  // `dataset make`, whose masks lie in the folder `masks` beside it.
  virtual Outcome<GrayImage> ReadMask(int64_t i) const;
  // Pictures of formats that are not read here and were passed over: how many by ending (".gif").
  const std::map<std::string, int64_t>& passed_over() const { return passed_over_; }
  const std::vector<std::string>& classes() const { return classes_; }  // sorted names; empty without labels
  // Another one when ids, classes, files or parameters change, but the same of a copy: nothing depends on where or when
  // pictures were written. The first call may look into every file (16 KB of it).
  virtual std::string Fingerprint() const = 0;

 protected:
  std::vector<std::string> classes_;
  std::map<std::string, int64_t> passed_over_;
};

// `spec`:
//   folder            walked in sorted order; first-level folders are the classes where there are any
//   list file         a path per line, then optionally a tab or blank and a class or ratio; paths with blanks need the
//                     tab. Relative to the list's folder, else to the working directory.
//   a.tar, a-{0000..0127}.tar   WebDataset: pictures, and classes in `.cls` files of the same name
//   shapes:count=4096,size=64,seed=0
//   subset:count=5000,seed=0,of=SPEC   drawn from another source, from every class in proportion
// Pictures are .jpg .jpeg .png .webp files in any case; others are passed over. Throws Error when nothing is there.
std::shared_ptr<const ImageSource> OpenSource(const std::string& spec);

// What a list file names. Throws as OpenSource does for one that cannot be used.
struct ListFacts {
  int64_t images = 0, classes = 0;
  bool ratios = false;  // the second column is one of ratios, not of classes
  int64_t missing = 0;  // files that are not there
};
ListFacts FactsOfList(const Path& list);

std::vector<std::string> IdsOf(const ImageSource& source);
std::vector<std::string> IdsOf(const ImageSource& source, const std::vector<int64_t>& indices);
// Every folder that an id lies in: "a/b/c.png" lies in "a" and "a/b".
std::set<std::string> FoldersOf(const std::vector<std::string>& ids);

// Says so where the source has passed pictures over.
void WarnOfOtherFormats(const ImageSource& source, Progress& progress);

// Throws UsageError when one of `files`, which are to be written, is one of the source's pictures.
void RefuseToOverwrite(const ImageSource& source, const std::vector<Path>& files);

// Throws UsageError where pictures that are written to `folder` would be the source's own the next time: it is in the
// folder that `spec` names, or draws from.
void RefuseAmongPictures(const std::string& spec, const Path& folder);

inline constexpr std::string_view kSubset = "subset:";
// Where SPEC begins in `subset:...,of=SPEC`; npos for any other spec.
size_t SubsetSourceStart(std::string_view spec);
// Where the pictures themselves are named, behind every `subset:...,of=`; 0 without one.
size_t SubsetsEnd(std::string_view spec);

// The pictures of `source` at `indices`, in their order. `choice` says which they are: it is part of the fingerprint.
std::shared_ptr<const ImageSource> ChooseOf(std::shared_ptr<const ImageSource> source, std::vector<int64_t> indices,
                                            std::string choice);

// All of `first`, then all of `second`; classes are joined by name. Throws Error when both have an id.
std::shared_ptr<const ImageSource> ConcatSources(std::shared_ptr<const ImageSource> first,
                                                 std::shared_ptr<const ImageSource> second);

// All of `source`, `rounds` times over, one round after the other: for sets of which one part is to count for more.
// From the second round on ids are "round-2/ID", so that each copy is augmented in its own way.
std::shared_ptr<const ImageSource> RepeatSource(std::shared_ptr<const ImageSource> source, int64_t rounds);

}  // namespace genview
