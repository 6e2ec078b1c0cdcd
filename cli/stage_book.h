// What a run has done, stage by stage, so that the same command goes on where it was: `state/STAGE.json` holds the
// request that a stage was made from, and a stage whose request is the same and whose outputs are there is not made
// again.
//
//   StageBook book(run / "state");
//   book.Make({.name = "views", .version = 1, .settings = ..., .inputs = {{"ratios", FingerprintFile(ratios)}},
//              .outputs = {run / "views/manifest.jsonl"}, .owned = {run / "views"}}, progress, [&] {
//     const auto done = GenerateViews(config, progress);
//     return StageCounts{"views", done.asked, done.written, done.failed};
//   });
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "genview/base/folder_lock.h"
#include "genview/base/json.h"
#include "genview/base/progress.h"

namespace genview {

struct StageCounts {
  std::string unit;
  int64_t asked = 0, made = 0, failed = 0;
};

// A stage and everything that its outputs depend on. Threads, device and batch of frozen models are no part of it:
// another machine, or more of it, is no reason to begin again.
struct StageRequest {
  std::string name;     // "pretrain genview", shown to people
  int64_t version = 1;  // of what the stage computes; raised when its results change
  Json settings;
  std::map<std::string, std::string> inputs;  // name -> fingerprint
  std::vector<Path> outputs;                  // files that are there when the stage is done
  std::vector<Path> owned;                    // files and folders that are removed before a changed request is made
  // Work that looks through `owned` itself, and keeps or moves aside what other settings have left: it is removed only
  // where the version, or one of these inputs, is another. Not set: wherever anything is.
  std::optional<std::vector<std::string>> cleared_by{};
  // Settings, dotted, of which no more counts than that they are set: they name an input, whose fingerprint counts, or
  // say how the work goes about and change nothing that it makes.
  std::vector<std::string> places{};
  // An output that is not as long any more as it was at the end is made again. Not of stages that look into their files
  // themselves, which a user may have edited.
  bool keeps_sizes = false;
};

// A stage that has been begun and is in the book as unfinished. Whoever does its work says how it ends, in whichever
// process.
struct OpenStage {
  Path file;                // its page of the book
  std::vector<Path> sized;  // outputs whose sizes are noted at the end
  Json noted;               // what is there; "seconds" of the same request before it was cut short
  std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();

  Json ToJson() const;  // for another process
  static OpenStage FromJson(const Json& json);
  std::string name() const { return noted.at("stage").get<std::string>(); }
  double Seconds() const;  // since it began
  void Start();            // the work begins now
  void Finish(const StageCounts& counts);
  void Pause();  // it was cut short: the time it took counts when it is gone on with
};

class StageBook {
 public:
  // Locks the run, the folder above: a second process is refused with an Error that says so. `only`: the stages that
  // may be made (empty: all), by the first word of their names. `strict`: a stage that is there without all that was
  // asked for is refused, too.
  StageBook(Path folder, std::vector<std::string> only, bool strict = false);
  // To be looked at: it locks, makes and writes nothing.
  explicit StageBook(Path folder);

  // Calls `work` unless the stage is done. Work that was cut short with the same request is called again and goes on
  // from its own files; with another request its `owned` files are removed first, but see `cleared_by`. Throws
  // UsageError where such files are there and the book does not know the stage: nobody says that they are the run's.
  // Returns true when something was made.
  bool Make(const StageRequest& request, Progress& progress, const std::function<StageCounts()>& work);

  // The first half of Make, for work that is done beside other work: nothing where the stage is done already.
  std::optional<OpenStage> Begin(const StageRequest& request, Progress& progress);

  // Whether a stage of this name was ever finished and its outputs are there, for whatever request.
  bool IsThere(const std::string& name, const std::vector<Path>& outputs) const;
  // For people: kDone, or how Begin would take the stage up.
  static constexpr const char* kDone = "done";
  std::string WhatIsToDo(const StageRequest& request) const;

  // Throws the Error that Make would, where a stage that `only` leaves out has never been made.
  void CheckOnly(const std::string& name, const std::vector<Path>& outputs) const;

  // What a stage was last made from, null where the book does not know it: {"version", "settings", "inputs"}.
  Json RequestOf(const std::string& name) const;

  // Gives a stage another name and its folder another place, unless something is there.
  void Move(const std::string& from, const Path& folder, const std::string& to, const Path& place);

  // A stage that the run no longer has: what it made and its page in the book go. Nothing goes without a page.
  void Forget(const std::string& name, const std::vector<Path>& made);

  // The fingerprint of a file's contents, or of all files below a folder (names and contents) but hidden ones and those
  // in hidden folders. Known ones are not read again while sizes and times of change stay the same; a folder, which may
  // hold millions of masks, is known as a whole.
  std::string FingerprintOf(const Path& path);
  // Of a folder that holds a model, which says itself which of the files have a part in its results: `read` is called
  // where any of them has changed. `kind`: what the folder is read as.
  std::string FingerprintOfModel(const std::string& kind, const Path& folder, const std::function<std::string()>& read);
  // Of a source of pictures, which is opened once.
  std::string FingerprintOfPictures(const std::string& source);

 private:
  Path FileOf(const std::string& name) const;
  void RefuseLeftOut(const std::string& name, const char* why) const;  // where `only` leaves it out
  std::string Known(const std::string& key, const Json& stamp, const std::function<std::string()>& read);

  Path folder_;
  std::vector<std::string> only_;
  bool strict_ = false;
  std::optional<FolderLock> lock_;  // none: to be looked at
  int64_t order_ = 0;               // of the next stage that has not been made before
  Json known_files_ = Json::object();
  std::map<std::string, std::string> known_pictures_;
};

// `RunOptions` without what does not change results.
Json WithoutMachine(Json settings);

// Settings in which these say no more than that they are set.
Json WithoutPlaces(Json settings, const std::vector<std::string>& places);

// The dotted names of the values in which two requests differ: "pretrain.epochs 40 -> 60".
std::vector<std::string> Differences(const Json& before, const Json& after, const std::string& prefix = "");

}  // namespace genview
