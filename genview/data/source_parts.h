// What the kinds of source share. For the sources of this folder alone.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "genview/base/files.h"
#include "genview/base/json.h"
#include "genview/data/shapes.h"
#include "genview/data/source.h"

namespace genview {

bool IsPictureName(std::string_view name);  // .jpg .jpeg .png .webp, in any case
// ".gif" of a name that a picture of another format has; "" of any other.
std::string OtherPictureEnding(const std::string& name);

// A path from outside as an id: without a root, "." and empty parts; ".." becomes "__". Control characters become %XX,
// and so does every byte beyond ASCII of a name that is not UTF-8. What is left stays inside any folder.
std::string SafeId(std::string_view path);

constexpr uint64_t kLargestFile = uint64_t{1} << 30;  // that is taken for a picture
constexpr const char* kTooLarge = "more than 1 GB";

// The whole file, or why not. Does not wait on pipes and does not read more than kLargestFile.
Outcome<std::string> ReadFileBytes(const Path& path);
// `size` bytes of it from `offset` on.
Outcome<std::string> ReadFilePart(const Path& path, uint64_t offset, uint64_t size);

// What tells one picture's file from another, whatever its name and times: its size, and all of up to 16 KB, or as much
// in four parts from begin to end. `read`(offset, size) gives that part, or why not.
std::string ContentSample(uint64_t size, const std::function<Outcome<std::string>(uint64_t, uint64_t)>& read);
// The same of a file; "" where it cannot be read.
std::string ContentSampleOf(const Path& path);
// Of pictures' ids, labels and samples, the latter taken on several threads.
std::string FingerprintOfItems(const std::vector<SourceItem>& items, const std::function<std::string(int64_t)>& sample);

// Class names in sorted order, and the index of each item's name; an empty name gives -1.
struct ClassIndex {
  std::vector<std::string> names;
  std::vector<int64_t> labels;
};
ClassIndex IndexClasses(const std::vector<std::string>& class_of_item);

// Throws Error when two items share an id, naming both paths.
void CheckUniqueIds(const std::vector<SourceItem>& items, const std::string& where);

// One line of a list file, without its line end. Empty when the line is blank.
struct ListLine {
  std::string path, value;  // value: the class or ratio, may be empty
};
std::optional<ListLine> ParseListLine(std::string_view line, std::string_view where);  // throws UsageError

// The file names of `name-{0000..0127}.tar`; a spec without braces gives itself. Throws UsageError.
std::vector<std::string> ExpandBraces(const std::string& spec);

// The names of the pictures in a shard, in order, as written. Throws Error where it cannot be read or is damaged.
std::vector<std::string> PicturesOfShard(const Path& shard);

std::shared_ptr<const ImageSource> OpenFolder(const Path& folder);
std::shared_ptr<const ImageSource> OpenList(const Path& list);
std::shared_ptr<const ImageSource> OpenShards(const std::string& spec);
std::shared_ptr<const ImageSource> OpenShapes(const std::string& spec);
std::shared_ptr<const ImageSource> OpenSubset(const std::string& spec);
ShapesConfig ParseShapesSpec(const std::string& spec);  // throws UsageError

// "count=64,seed=0" as an object; numbers are numbers. `form`: how it is written, for the message. Throws UsageError.
Json ParseSourceSettings(const std::string& settings, const std::string& spec, const char* form);

}  // namespace genview
