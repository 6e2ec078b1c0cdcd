#include "cli/stage_book.h"

#include <algorithm>
#include <chrono>

#include "genview/base/error.h"
#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/data/source.h"
#include "genview/tensor/device.h"
#include "genview/tensor/run_options.h"

namespace genview {
namespace {

constexpr const char* kKnownFiles = ".inputs.json";

// A state file that a power cut left damaged is no reason to fail: the stage is then taken up again.
Json ReadState(const Path& file) {
  std::error_code code;
  if (!std::filesystem::is_regular_file(file, code)) return Json::object();
  try {
    Json state = ReadJson(file);
    if (state.is_object()) return state;
  } catch (const Error&) {
  }
  return Json::object();
}

Json ToJson(const StageRequest& request) {
  Json inputs = Json::object();
  for (const auto& [name, fingerprint] : request.inputs) inputs[name] = fingerprint;
  return {{"version", request.version}, {"settings", request.settings}, {"inputs", inputs}};
}

void Remove(const std::vector<Path>& owned) {
  for (const Path& path : owned) {
    std::error_code code;
    std::filesystem::remove_all(path, code);
    if (code) {
      throw Error({.what = Format("cannot remove what an earlier run made: {}", code.message()),
                   .where = path.string(),
                   .next = "remove it by hand, or give another --out"});
    }
  }
}

bool Exist(const std::vector<Path>& outputs) {
  return std::all_of(outputs.begin(), outputs.end(), [](const Path& path) {
    std::error_code code;
    return std::filesystem::exists(path, code);
  });
}

// Null for a folder.
Json SizesOf(const std::vector<Path>& outputs) {
  Json sizes = Json::array();
  for (const Path& path : outputs) {
    std::error_code code;
    const auto size = std::filesystem::is_regular_file(path, code) ? std::filesystem::file_size(path, code) : 0;
    sizes.push_back(code || size == 0 ? Json() : Json(static_cast<uint64_t>(size)));
  }
  return sizes;
}

// Those that are not as long as they were when the stage ended.
std::vector<Path> Damaged(const Json& state, const std::vector<Path>& outputs) {
  const Json noted = state.value("sizes", Json()), now = SizesOf(outputs);
  std::vector<Path> damaged;
  if (!noted.is_array() || noted.size() != now.size()) return damaged;
  for (size_t i = 0; i < outputs.size(); ++i) {
    std::error_code code;
    if (!noted[i].is_null() && noted[i] != now[i] && std::filesystem::exists(outputs[i], code))
      damaged.push_back(outputs[i]);
  }
  return damaged;
}

// A stage has its page before it makes anything: without one, what is there is somebody else's.
void RefuseForeign(const Path& page, const std::vector<Path>& owned) {
  std::error_code code;
  if (std::filesystem::exists(page, code)) return;
  for (const Path& path : owned) {
    if (!std::filesystem::exists(path, code) || std::filesystem::is_empty(path, code)) continue;
    throw UsageError({.what = "the run would remove what it has not made",
                      .where = path.string(),
                      .next = "move it away, or give another --out"});
  }
}

// Size and time of change, null where they cannot be told.
Json StampOf(const Path& file) {
  std::error_code code;
  const auto size = std::filesystem::file_size(file, code);
  if (code) return {};
  const auto changed = std::filesystem::last_write_time(file, code).time_since_epoch().count();
  if (code) return {};
  return {static_cast<uint64_t>(size), changed};
}

std::string KeyOf(const Path& path) { return std::filesystem::absolute(path).lexically_normal().string(); }

// Of all files below a folder, in order; what is hidden, such as a clone's .git, is nobody's input.
std::vector<Path> FilesBelow(const Path& folder) {
  std::vector<Path> files;
  for (std::filesystem::recursive_directory_iterator it(folder), end; it != end; ++it) {
    const bool hidden = it->path().filename().string().starts_with(".");
    if (hidden && it->is_directory()) it.disable_recursion_pending();
    if (!hidden && it->is_regular_file()) files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

template <class OfFile>
std::string FingerprintOfFiles(const Path& folder, const std::vector<Path>& files, OfFile&& of_file) {
  std::string text;
  for (const Path& file : files)
    text += Format("{}\n{}\n", file.lexically_relative(folder).generic_string(), of_file(file));
  return Fingerprint(text);
}

std::string StampOfFiles(const Path& folder, const std::vector<Path>& files) {
  return FingerprintOfFiles(folder, files, [](const Path& file) { return StampOf(file).dump(); });
}

// Whether what a stage owns stays although its request is another.
bool Stays(const StageRequest& request, const Json& wanted, const Json& state) {
  if (!request.cleared_by || !state.contains("request") || !state["request"].is_object()) return false;
  const auto value = [](const Json& object, const std::string& key) {
    return object.is_object() && object.contains(key) ? object[key] : Json();
  };
  const Json made = state["request"];
  if (value(made, "version") != wanted["version"]) return false;
  return std::all_of(request.cleared_by->begin(), request.cleared_by->end(), [&](const std::string& name) {
    return value(value(made, "inputs"), name) == value(wanted["inputs"], name);
  });
}

std::string Short(const Json& value) {
  const std::string text = value.is_null() ? "nothing" : value.is_string() ? value.get<std::string>() : value.dump();
  return Printable(text, 40);
}

}  // namespace

Json WithoutMachine(Json settings) {
  if (!settings.is_object()) return settings;
  for (const char* key : kMachineOptions) {
    if (settings.contains("run") && settings["run"].is_object()) settings["run"].erase(key);
  }
  for (auto& [key, value] : settings.items()) {
    if (value.is_object() && key != "run") value = WithoutMachine(value);
  }
  return settings;
}

Json WithoutPlaces(Json settings, const std::vector<std::string>& places) {
  for (const std::string& key : places) {
    Json* place = &settings;
    for (const std::string& part : Split(key, '.'))
      place = place != nullptr && place->is_object() && place->contains(part) ? &(*place)[part] : nullptr;
    if (place != nullptr && *place != "") *place = "given";
  }
  return settings;
}

std::vector<std::string> Differences(const Json& before, const Json& after, const std::string& prefix) {
  std::vector<std::string> result;
  if (before == after) return result;
  if (!before.is_object() || !after.is_object()) {
    result.push_back(Format("{} {} -> {}", prefix, Short(before), Short(after)));
    return result;
  }
  const auto visit = [&](const std::string& key) {
    const auto a = before.find(key), b = after.find(key);
    for (auto& line : Differences(a == before.end() ? Json() : *a, b == after.end() ? Json() : *b,
                                  prefix.empty() ? key : Format("{}.{}", prefix, key))) {
      result.push_back(std::move(line));
    }
  };
  for (const auto& [key, value] : before.items()) visit(key);
  for (const auto& [key, value] : after.items()) {
    if (!before.contains(key)) visit(key);
  }
  return result;
}

StageBook::StageBook(Path folder) : folder_(std::move(folder)), known_files_(ReadState(folder_ / kKnownFiles)) {}

StageBook::StageBook(Path folder, std::vector<std::string> only, bool strict) : StageBook(std::move(folder)) {
  only_ = std::move(only);
  strict_ = strict;
  lock_.emplace(folder_.parent_path());
  std::filesystem::create_directories(folder_);
  SweepPartFiles(folder_);
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    if (entry.path().extension() != ".json" || entry.path().filename() == kKnownFiles) continue;
    order_ = std::max(order_, JsonInt(ReadState(entry.path()), "order", -1, entry.path().string()) + 1);
  }
}

Path StageBook::FileOf(const std::string& name) const {
  std::string file = name;
  for (char& c : file) {
    if (c == ' ' || c == '/') c = '-';
  }
  return folder_ / (file + ".json");
}

void StageBook::RefuseLeftOut(const std::string& name, const char* why) const {
  const std::string stage = name.substr(0, name.find(' '));
  if (only_.empty() || std::find(only_.begin(), only_.end(), stage) != only_.end()) return;
  throw Error({.what = Format("`{}` {}, and --only leaves it out", name, why),
               .where = FileOf(name).string(),
               .next = Format("add {} to --only, or run without it", stage)});
}

bool StageBook::IsThere(const std::string& name, const std::vector<Path>& outputs) const {
  const Path file = FileOf(name);
  return JsonBool(ReadState(file), "finished", false, file.string()) && Exist(outputs);
}

void StageBook::CheckOnly(const std::string& name, const std::vector<Path>& outputs) const {
  if (!IsThere(name, outputs)) RefuseLeftOut(name, "has not been made yet");
}

// The first few, for a line.
static std::string SomeDifferences(const Json& before, const Json& after) {
  auto differences = Differences(before, after);
  if (differences.size() > 3) differences.resize(3);
  return Format("{}", fmt::join(differences, ", "));
}

static bool IsPageOf(const Json& wanted, const std::vector<std::string>& places, const Json& state,
                     const std::string& where) {
  if (JsonString(state, "fingerprint", "", where) == Fingerprint(wanted.dump())) return true;
  if (places.empty() || !state.contains("request") || !state["request"].is_object()) return false;
  Json made = state["request"], asked = wanted;
  for (Json* request : {&made, &asked}) (*request)["settings"] = WithoutPlaces((*request)["settings"], places);
  return made.dump() == asked.dump();
}

std::string StageBook::WhatIsToDo(const StageRequest& request) const {
  const Path file = FileOf(request.name);
  const Json state = ReadState(file), wanted = ToJson(request);
  if (!state.contains("request")) return "to be made";
  if (!IsPageOf(wanted, request.places, state, file.string())) {
    return Format("to be {} again: {}", Stays(request, wanted, state) ? "gone through" : "made",
                  SomeDifferences(state["request"], wanted));
  }
  if (!IsThere(request.name, request.outputs)) return "to be gone on with";
  const std::vector<Path> damaged = Damaged(state, request.outputs);
  return damaged.empty() ? kDone : Format("to be made again: {} is not as long as it was", damaged[0].string());
}

std::optional<OpenStage> StageBook::Begin(const StageRequest& request, Progress& progress) {
  GENVIEW_CHECK(lock_.has_value(), "a book that is looked at is not written");
  progress.ThrowIfStopped();
  const Path file = FileOf(request.name);
  const std::string where = file.string();
  const Json wanted = ToJson(request), state = ReadState(file);
  const bool same = IsPageOf(wanted, request.places, state, where),
             finished = JsonBool(state, "finished", false, where);
  const std::vector<Path> damaged = same && finished ? Damaged(state, request.outputs) : std::vector<Path>{};
  if (same && finished && damaged.empty() && Exist(request.outputs)) {
    if (const int64_t failed = JsonInt(state, "failed", 0, where); strict_ && failed > 0) {
      throw Error({.what = Format("`{}` is there without {} of its {} {}", request.name, failed,
                                  JsonInt(state, "asked", 0, where), JsonString(state, "unit", "images", where)),
                   .where = request.outputs.front().string(),
                   .next = "the list of skipped pictures beside it says why: mend or remove them; without --strict "
                           "they are left out"});
    }
    return std::nullopt;
  }
  RefuseLeftOut(request.name, state.empty() ? "has not been made yet" : "has to be made again");
  RefuseForeign(file, request.owned);
  for (const Path& path : damaged) {
    progress.Warn(Format("{} is made again: it is not as long as it was", path.string()));
    Remove({path});
  }
  if (!same) {
    const bool stays = Stays(request, wanted, state);
    if (state.contains("request")) {
      progress.Warn(Format("{} is {} again: {}", request.name, stays ? "gone through" : "made",
                           SomeDifferences(state["request"], wanted)));
    }
    if (!stays) Remove(request.owned);  // before the new request is noted: a kill in between removes again
  }
  const int64_t order = state.contains("order") ? JsonInt(state, "order", 0, where) : order_++;
  const double earlier = same && !finished ? JsonDouble(state, "seconds", 0, where) : 0;
  OpenStage stage{.file = file,
                  .sized = request.keeps_sizes ? request.outputs : std::vector<Path>{},
                  .noted = {{"stage", request.name},
                            {"order", order},
                            {"fingerprint", Fingerprint(wanted.dump())},
                            {"finished", false},
                            {"seconds", earlier},
                            {"request", wanted}}};
  WriteJson(file, stage.noted);
  return stage;
}

Json OpenStage::ToJson() const {
  Json paths = Json::array();
  for (const Path& path : sized) paths.push_back(path.string());
  return {{"file", file.string()}, {"sized", paths}, {"noted", noted}};
}

OpenStage OpenStage::FromJson(const Json& json) {
  OpenStage stage{.file = json.at("file").get<std::string>(), .sized = {}, .noted = json.at("noted")};
  for (const Json& path : json.at("sized")) stage.sized.emplace_back(path.get<std::string>());
  return stage;
}

double OpenStage::Seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

void OpenStage::Start() {
  ResetPeakMemory();
  began = std::chrono::steady_clock::now();
}

static void NoteWithTime(OpenStage& stage) {
  stage.noted["seconds"] = stage.noted["seconds"].get<double>() + stage.Seconds();
  WriteJson(stage.file, stage.noted);
}

void OpenStage::Pause() { NoteWithTime(*this); }

void OpenStage::Finish(const StageCounts& counts) {
  noted["finished"] = true;
  if (!sized.empty()) noted["sizes"] = SizesOf(sized);
  noted["peak_memory_bytes"] = PeakMemoryBytes();
  noted["unit"] = counts.unit;
  noted["asked"] = counts.asked;
  noted["made"] = counts.made;
  noted["failed"] = counts.failed;
  NoteWithTime(*this);
}

bool StageBook::Make(const StageRequest& request, Progress& progress, const std::function<StageCounts()>& work) {
  std::optional<OpenStage> stage = Begin(request, progress);
  if (!stage) return false;
  stage->Start();
  try {
    stage->Finish(work());
  } catch (const Interrupted&) {
    stage->Pause();
    throw;
  }
  return true;
}

Json StageBook::RequestOf(const std::string& name) const { return ReadState(FileOf(name)).value("request", Json()); }

void StageBook::Move(const std::string& from, const Path& folder, const std::string& to, const Path& place) {
  std::error_code code;
  if (!std::filesystem::exists(folder, code) || std::filesystem::exists(place, code)) return;
  Json state = ReadState(FileOf(from));
  state["stage"] = to;
  WriteJson(FileOf(to), state);  // first: killed here, the next run does the rest
  std::filesystem::create_directories(place.parent_path());
  std::filesystem::rename(folder, place);
  Remove({FileOf(from)});
}

void StageBook::Forget(const std::string& name, const std::vector<Path>& made) {
  std::error_code code;
  if (!std::filesystem::exists(FileOf(name), code)) return;
  Remove(made);
  Remove({FileOf(name)});
}

std::string StageBook::FingerprintOfPictures(const std::string& source) {
  std::string& known = known_pictures_[source];
  if (known.empty()) known = OpenSource(source)->Fingerprint();
  return known;
}

std::string StageBook::Known(const std::string& key, const Json& stamp, const std::function<std::string()>& read) {
  if (const auto known = known_files_.find(key); known != known_files_.end() && known->is_array() &&
                                                 known->size() == 2 && (*known)[0] == stamp &&
                                                 (*known)[1].is_string()) {
    return (*known)[1].get<std::string>();
  }
  std::string fingerprint = read();
  known_files_[key] = {stamp, fingerprint};
  if (lock_) WriteJson(folder_ / kKnownFiles, known_files_);
  return fingerprint;
}

std::string StageBook::FingerprintOf(const Path& path) {
  if (!std::filesystem::is_directory(path)) {
    const Json stamp = StampOf(path);
    if (stamp.is_null()) return FingerprintFile(path);  // throws the Error that says why
    return Known(KeyOf(path), stamp, [&] { return FingerprintFile(path); });
  }
  const std::vector<Path> files = FilesBelow(path);
  return Known(KeyOf(path), StampOfFiles(path, files),
               [&] { return FingerprintOfFiles(path, files, [](const Path& file) { return FingerprintFile(file); }); });
}

std::string StageBook::FingerprintOfModel(const std::string& kind, const Path& folder,
                                          const std::function<std::string()>& read) {
  return Known(Format("{} {}", kind, KeyOf(folder)), StampOfFiles(folder, FilesBelow(folder)), read);
}

}  // namespace genview
