// genview inspect: what a file or folder holds, told by its contents, not by its name.
#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "cli/commands.h"
#include "cli/inspect_model.h"
#include "cli/print.h"
#include "genview/base/sorted_json.h"
#include "genview/data/source.h"
#include "genview/data/tar_index.h"
#include "genview/tensor/npy.h"
#include "genview/tensor/safetensors.h"
#include "genview/tensor/torch_file.h"

namespace genview {
namespace {

struct InspectConfig {
  Path file;
};
template <class Visit>
void VisitFields(InspectConfig& c, Visit&& visit) {
  visit("file", c.file, Required{}, "file or folder to look into");
}

std::string ShapeText(const std::vector<int64_t>& shape) { return Format("[{}]", fmt::join(shape, ",")); }

template <class AnyJson>
void PrintJsonMembers(const AnyJson& object, const std::string& indent, int depth) {
  for (const auto& [key, value] : object.items()) {
    if (value.is_object() && depth > 0 && !value.empty()) {
      Print("{}{}\n", indent, Printable(key));
      PrintJsonMembers(value, indent + "  ", depth - 1);
    } else {
      Print("{}{:<22} {}\n", indent, Printable(key),
            Printable(value.dump(-1, ' ', false, AnyJson::error_handler_t::replace)));
    }
  }
}

void InspectSafetensors(const Path& path, std::string_view bytes) {
  const SafetensorsHeader header = ParseSafetensorsHeader(bytes, path.string());
  std::map<std::string, std::pair<int64_t, uint64_t>> by_type;  // dtype -> tensors, bytes
  int64_t values = 0;
  size_t widest = 4;
  for (const auto& entry : header.entries) {
    int64_t count = 1;
    for (const int64_t extent : entry.shape) count *= extent;
    values += count;
    by_type[entry.dtype].first += 1;
    by_type[entry.dtype].second += entry.end - entry.begin;
    widest = std::max(widest, std::min<size_t>(entry.name.size(), 70));
  }
  const auto meta = header.metadata.find("genview");
  const Json ours = meta == header.metadata.end() ? Json() : ParseJson(meta->second, path.string());
  const std::string kind =
      ours.is_object() ? Format("{} file of genview", JsonString(ours, "kind", "", path.string())) : "weights";
  Print("{}: safetensors, {}, {} tensors, {} values, {}\n", path.string(), Printable(kind), header.entries.size(),
        values, HumanBytes(bytes.size()));
  for (const auto& [type, sums] : by_type) Print("  {:<5} {} tensors, {}\n", type, sums.first, HumanBytes(sums.second));
  if (!header.metadata.empty()) Print("metadata\n");
  for (const auto& [key, value] : header.metadata) {
    if (key == "genview" && ours.is_object()) PrintJsonMembers(ours, "  ", 2);
    else Print("  {:<22} {}\n", Printable(key), Printable(value));
  }
  PrintNetworksOfFile(header.entries);
  Print("tensors\n");
  auto entries = header.entries;
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  for (const auto& entry : entries) {
    Print("  {:<{}}  {:<5} {}\n", Printable(entry.name), widest, entry.dtype, ShapeText(entry.shape));
  }
}

void InspectTorchFile(const Path& path, std::string_view bytes) {
  const WeightMap weights = ParseTorchFile(bytes, path.string());
  int64_t values = 0;
  size_t widest = 4;
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, tensor] : weights.tensors()) {
    entries.push_back({name, c10::toString(tensor.scalar_type()), tensor.sizes().vec(), 0, tensor.nbytes()});
    values += tensor.numel();
    widest = std::max(widest, std::min<size_t>(name.size(), 70));
  }
  Print("{}: PyTorch checkpoint, {} tensors, {} values, {}\n", path.string(), weights.tensors().size(), values,
        HumanBytes(bytes.size()));
  for (const auto& [key, value] : weights.metadata()) Print("  {:<22} {}\n", Printable(key), Printable(value));
  PrintNetworksOfFile(entries);
  Print("tensors\n");
  for (const auto& [name, tensor] : weights.tensors()) {
    Print("  {:<{}}  {:<8} {}\n", Printable(name), widest, c10::toString(tensor.scalar_type()),
          ShapeText(tensor.sizes().vec()));
  }
}

template <class AnyJson>
void InspectJson(const Path& path, const AnyJson& json) {
  if (json.is_array()) {
    Print("{}: JSON, a list of {}\n", path.string(), json.size());
    return;
  }
  Print("{}: JSON\n", path.string());
  if (json.is_object()) PrintJsonMembers(json, "  ", 1);
}

// Of each column how far its numbers go and their mean, or its first value.
void InspectTable(const Path& path, std::string_view text) {
  struct Column {
    std::string first;
    bool numbers = true;
    double low = INFINITY, high = -INFINITY, sum = 0;
  };
  constexpr size_t kLongestRow = 1 << 20;
  std::vector<std::string> names;
  std::vector<Column> columns;
  int64_t rows = 0;
  for (LineWalk lines(text); lines.Next();) {
    if (lines.line().size() > kLongestRow) {
      throw Error({.what = Format("a row of {} is more than tables have", HumanBytes(lines.line().size())),
                   .where = Format("{}, line {}", path.string(), lines.number()),
                   .next = "check that this is the file you mean"});
    }
    std::vector<std::string> fields = Split(lines.line(), '\t');
    if (lines.number() == 1) {
      names = std::move(fields);
      columns.resize(names.size());
      continue;
    }
    ++rows;
    for (size_t c = 0; c < columns.size(); ++c) {
      Column& column = columns[c];
      double value = 0;
      if (rows == 1 && c < fields.size()) column.first = fields[c];
      column.numbers = column.numbers && c < fields.size() && ParseDouble(fields[c], value);
      column.low = std::min(column.low, value);
      column.high = std::max(column.high, value);
      column.sum += value;
    }
  }
  Print("{}: table, {} rows, {} columns\n", path.string(), rows, names.size());
  for (size_t c = 0; c < columns.size(); ++c) {
    const Column& column = columns[c];
    if (rows > 0 && column.numbers) {
      Print("  {:<20} {:g} to {:g}, mean {:.4g}\n", Printable(names[c]), column.low, column.high,
            column.sum / static_cast<double>(rows));
    } else {
      Print("  {:<20} {}\n", Printable(names[c]), Printable(column.first));
    }
  }
}

// A log or a manifest: one object a line. Of each member how far its numbers go, or its first value and how many
// others.
void InspectJsonLines(const Path& path, std::string_view text) {
  struct Column {
    int64_t rows = 0;
    bool numbers = true;
    double low = INFINITY, high = -INFINITY;
    std::string first;
    std::set<std::string> values;
  };
  constexpr size_t kMostValues = 1000;
  std::vector<std::pair<std::string, Column>> columns;
  LineWalk lines(text);
  while (lines.Next()) {
    const Json row = ParseJson(lines.line(), Format("{}, line {}", path.string(), lines.number()));
    if (!row.is_object()) continue;
    for (const auto& [key, value] : row.items()) {
      auto found = std::find_if(columns.begin(), columns.end(),
                                [&key = key](const auto& column) { return column.first == key; });
      if (found == columns.end() && columns.size() == kMostValues) continue;
      if (found == columns.end()) found = columns.insert(columns.end(), {key, {}});
      Column& column = found->second;
      const std::string shown =
          value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, Json::error_handler_t::replace);
      if (column.rows++ == 0) column.first = shown;
      if (column.values.size() <= kMostValues) column.values.insert(shown);
      column.numbers = column.numbers && value.is_number();
      if (!value.is_number()) continue;
      column.low = std::min(column.low, value.get<double>());
      column.high = std::max(column.high, value.get<double>());
    }
  }
  Print("{}: JSON lines, {} rows\n", path.string(), lines.number());
  for (const auto& [name, column] : columns) {
    const std::string different =
        column.values.size() > kMostValues ? Format("more than {}", kMostValues) : Format("{}", column.values.size());
    if (column.numbers)
      Print("  {:<20} {:.6g} to {:.6g}, {} different\n", Printable(name), column.low, column.high, different);
    else Print("  {:<20} {} different, first {}\n", Printable(name), different, Printable(column.first, 100));
  }
}

void InspectTar(const Path& path, std::string_view bytes) {
  const auto members = IndexTar(
      [&](uint64_t at, char* out, size_t size) {
        const std::string_view part = at < bytes.size() ? bytes.substr(at, size) : std::string_view();
        std::memcpy(out, part.data(), part.size());
        return part.size();
      },
      bytes.size(), path.string());
  std::map<std::string, std::pair<int64_t, uint64_t>> by_extension;
  for (const TarMember& member : members) {
    auto& [files, size] = by_extension[Lower(Path(member.name).extension().string())];
    ++files;
    size += member.size;
  }
  Print("{}: tar, {} files, {}\n", path.string(), members.size(), HumanBytes(bytes.size()));
  for (const auto& [extension, sum] : by_extension) {
    Print("  {:<14} {} files, {}\n", extension.empty() ? "(no ending)" : Printable(extension), sum.first,
          HumanBytes(sum.second));
  }
  const size_t shown = std::min<size_t>(members.size(), 5);
  for (size_t i = 0; i < shown; ++i) Print("  {}  {}\n", Printable(members[i].name, 160), HumanBytes(members[i].size));
  if (members.size() > shown) Print("  ... {} more\n", members.size() - shown);
}

void InspectNpy(const Path& path, std::string_view bytes) {
  const NpyHeader header = ParseNpyHeader(bytes, path.string());
  Print("{}: NumPy array, {} {}{}, {}\n", path.string(), at::toString(header.dtype), ShapeText(header.shape),
        header.fortran_order ? " in Fortran order" : "", HumanBytes(bytes.size()));
}

void InspectPicture(const Path& path, std::string_view bytes) {
  const Outcome<Image> image = DecodeImage(bytes);
  if (!image)
    throw Error({.what = Format("this picture cannot be read: {}", image.reason()),
                 .where = path.string(),
                 .next = "it would be left out of a run and named in skipped.tsv"});
  Print("{}: picture, {} x {} pixels upright, {}\n", path.string(), image->width, image->height,
        HumanBytes(bytes.size()));
}

// Images that are no single file: shards by their range, drawn shapes.
void InspectSource(const std::string& spec) {
  const auto source = OpenSource(spec);
  Print("{}: {} images", spec, source->size());
  if (!source->classes().empty()) Print(", {} classes", source->classes().size());
  Print("\n");
  std::map<int64_t, int64_t> per_class;
  for (int64_t i = 0; i < source->size(); ++i) ++per_class[source->item(i).label];
  constexpr size_t kMostClasses = 20;
  size_t shown = 0;
  for (const auto& [label, count] : per_class) {
    if (source->classes().empty() || shown++ == kMostClasses) break;
    Print("  {:<20} {}\n", label < 0 ? "(no class)" : Printable(source->classes()[static_cast<size_t>(label)]), count);
  }
  if (per_class.size() > kMostClasses) Print("  ... {} more\n", per_class.size() - kMostClasses);
}

void InspectList(const Path& path, std::string_view text) {
  constexpr size_t kShown = 5;
  std::vector<std::string_view> shown;
  LineWalk lines(text);
  while (lines.Next()) {
    if (shown.size() < kShown) shown.push_back(lines.line());
  }
  Print("{}: list, {} lines\n", path.string(), lines.number());
  try {
    const ListFacts facts = FactsOfList(path);
    Print("  {} images, {}, {} files missing\n", facts.images,
          facts.ratios ? "a column of ratios" : Format("{} classes", facts.classes), facts.missing);
  } catch (const Error& error) {
    Print("  no list of images: {}\n", Printable(error.text().what));
  }
  for (const std::string_view line : shown) Print("  {}\n", Printable(line, 160));
  if (lines.number() > std::ssize(shown)) Print("  ... {} more\n", lines.number() - std::ssize(shown));
}

void InspectText(const Path& path, std::string_view text) {
  if (text.starts_with("{") || text.starts_with("[")) {
    // One object over the whole file, or one on every line (a log, a manifest).
    // The keys of a small file are shown in its order; a vocabulary has too many to keep it.
    constexpr size_t kLarge = 1 << 18;
    if (path.extension() != ".jsonl") {
      if (text.size() < kLarge) return InspectJson(path, ParseJson(text, path.string()));
      return InspectJson(path, ParseSortedJson(text, path.string()));
    }
  }
  LineWalk first(text);
  if (!first.Next()) return InspectList(path, text);
  if (first.line().starts_with("{")) return InspectJsonLines(path, text);
  if (first.line().find('\t') != std::string_view::npos && path.extension() == ".tsv") return InspectTable(path, text);
  InspectList(path, text);
}

bool LooksLikeText(std::string_view bytes) {
  const std::string_view head = bytes.substr(0, 4096);
  return std::none_of(head.begin(), head.end(), [](char c) {
    const auto value = static_cast<unsigned char>(c);
    return value < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != '\f';
  });
}

// A file of torch.save, of whatever age: a zip, or by its first bytes a pickle, or by its name.
bool LooksLikeTorchFile(const Path& path, std::string_view bytes) {
  constexpr std::string_view kEndings[] = {".pth", ".pt", ".ckpt"};
  const bool pickle = bytes.size() > 2 && bytes[0] == '\x80' && static_cast<uint8_t>(bytes[1]) <= 5;  // and its version
  return pickle || bytes.starts_with("PK") ||
         std::ranges::find(kEndings, Lower(path.extension().string())) != std::end(kEndings);
}

void InspectFile(const Path& path) {
  const MappedFile file(path);
  const std::string_view bytes = file.text();
  // Eight bytes of header length, then a JSON object.
  if (bytes.size() > 8 && bytes[8] == '{' && !LooksLikeText(bytes.substr(0, 8))) return InspectSafetensors(path, bytes);
  if (bytes.starts_with("\x93NUMPY")) return InspectNpy(path, bytes);
  if (LooksLikeTorchFile(path, bytes)) return InspectTorchFile(path, bytes);
  if (bytes.substr(0, 512).substr(std::min<size_t>(bytes.size(), 257)).starts_with("ustar") ||
      Lower(path.extension().string()) == ".tar")
    return InspectTar(path, bytes);
  if (!PictureEnding(bytes).empty()) return InspectPicture(path, bytes);
  if (LooksLikeText(bytes)) return InspectText(path, bytes);
  throw Error({.what = Format("a file of {} whose kind is not known", HumanBytes(bytes.size())),
               .where = path.string(),
               .next = "give a .safetensors or .pth file, a list, a .tsv, .json, .jsonl or .npy file, a picture, a tar "
                       "shard or a folder"});
}

struct FolderSums {
  std::map<std::string, std::pair<int64_t, uint64_t>> by_extension;  // files, bytes
  int64_t folders = 0;
};

FolderSums Walk(const Path& folder) {
  FolderSums sums;
  std::error_code code;
  for (std::filesystem::recursive_directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    if (it->is_directory(code)) ++sums.folders;
    if (!it->is_regular_file(code)) continue;
    auto& [files, size] = sums.by_extension[Lower(it->path().extension().string())];
    ++files;
    size += it->file_size(code);
  }
  return sums;
}

void InspectFolder(const Path& folder) {
  if (InspectModelFolder(folder)) return;
  const FolderSums sums = Walk(folder);
  Print("{}: folder, {} folders inside\n", folder.string(), sums.folders);
  for (const auto& [extension, sum] : sums.by_extension) {
    Print("  {:<14} {} files, {}\n", extension.empty() ? "(no ending)" : Printable(extension), sum.first,
          HumanBytes(sum.second));
  }
}

}  // namespace

std::vector<FieldInfo> InspectFields() { return DescribeFields<InspectConfig>(); }

int RunInspect(const Args& args, Progress&) {
  const auto config = ParseFields<InspectConfig>(args);
  const std::string spec = config.file.string();
  if (spec.starts_with("shapes:") || spec.starts_with("subset:") ||
      (spec.find('{') != std::string::npos && !std::filesystem::exists(config.file)))
    InspectSource(spec);
  else if (std::filesystem::is_directory(config.file)) InspectFolder(config.file);
  else InspectFile(config.file);
  return kOk;
}

}  // namespace genview
