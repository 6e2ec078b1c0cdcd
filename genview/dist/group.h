// This process among the processes of one job. A world of one needs no special code: it neither waits nor writes.
//
//   for (int64_t batch = group.rank(); batch < batches; batch += group.size()) { Make(batch); group.Check(); }
//   const std::vector<std::string> counts = group.Gather(mine);     // in process 0: of all, by rank
//   const std::string next = group.Broadcast(what_0_says);          // in all: what process 0 said
//
// All processes make the same calls in the same order. Where another process fails, dies or falls silent, every call
// that waits, and Check, throws PeerFailed: nobody waits for ever.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "genview/base/error.h"
#include "genview/base/files.h"
#include "genview/base/progress.h"

namespace genview {

// Another process of the job could not go on; `code`: its exit code, where it gave one.
class PeerFailed : public Error {
 public:
  PeerFailed(int64_t rank, int code, bool without_a_word, ErrorText text)
      : Error(std::move(text)), rank_(rank), code_(code), without_a_word_(without_a_word) {}
  int64_t rank() const { return rank_; }
  int code() const { return code_; }
  bool without_a_word() const { return without_a_word_; }  // it was killed or fell silent

 private:
  int64_t rank_;
  int code_;
  bool without_a_word_;
};

class Group {
 public:
  virtual ~Group() = default;
  virtual int64_t rank() const { return 0; }  // process 0 writes results
  virtual int64_t size() const { return 1; }
  // What process 0 gives, in all.
  virtual std::string Broadcast(std::string text) { return text; }
  // What each gives, by rank, in process 0; nothing in the others.
  virtual std::vector<std::string> Gather(std::string text) { return {std::move(text)}; }
  // Cheap; to be called about once a batch.
  virtual void Check() {}
  // Tells the others that this process cannot go on; does not throw.
  virtual void Fail(int /*code*/, const ErrorText&) {}
  // This process is done; process 0 waits a little for the others.
  virtual void Leave() {}
  // Beside the calls: a text under a name, and the text that any process has left under it, which is waited for.
  virtual void Post(const std::string& /*name*/, const std::string& /*text*/) {}
  virtual std::string Find(const std::string& /*name*/) { return ""; }
  // True for the one process that asks for this name first, in this job; false for all that ask later.
  virtual bool Claim(const std::string& /*name*/) { return true; }
  virtual bool on_one_machine() const { return true; }  // whether all processes are
  // Comes back once all processes have called it.
  void Barrier() {
    Gather("");
    Broadcast("");
  }
};

// A world of one.
Group& Alone();

struct GroupPlace {
  int64_t rank = 0, size = 1;
  Path folder;                  // that all processes see; theirs alone, made and removed by the group
  double join_seconds = 300;    // that a process waits for the others to start
  double silence_seconds = 60;  // without a sign of life, after which a process counts as dead
};

// Processes meet in a folder beside the result, which they share anyway: no port, no address, no library of a cluster.
// What an earlier job has left there does not matter: a process counts only while it gives signs of life. `progress` is
// asked while waiting whether to stop. Throws Error when not all come in time.
std::unique_ptr<Group> JoinGroup(const GroupPlace& place, const Progress& progress);

// [begin, end) of `total` things in units of `unit`, as even as can be: unit boundaries are those of one process.
struct Share {
  int64_t begin = 0, end = 0;
};
Share ShareOf(const Group& group, int64_t begin, int64_t total, int64_t unit);
Share ShareOf(int64_t rank, int64_t size, int64_t begin, int64_t total, int64_t unit);
// Where the unit begins that holds `next`: to go on there gives the units of an undisturbed job. `total` at the end.
int64_t BeginOfUnit(int64_t next, int64_t total, int64_t unit);

}  // namespace genview
