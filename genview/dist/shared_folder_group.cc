// A group whose processes meet in a folder:
//
//   hello.R       process R has started: a number of its own, where it runs
//   beat.R        its number and a counter that goes up twice a second
//   session.json  by process 0: the numbers of all that take part
//   NUMBER/       of this session (NUMBER: that of process 0)
//     say.K       what process 0 says in call K
//     tell.K.R    what process R answers in call K
//     failed.R    why process R could not go on
//     left.R      process R is done
//     post.NAME   what a process has left under a name
//     claim.NAME  what a process has taken for itself
#include <fcntl.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

#include "genview/base/hash.h"
#include "genview/base/json.h"
#include "genview/base/text.h"
#include "genview/dist/group.h"

namespace genview {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr auto kBeat = std::chrono::milliseconds(500);
constexpr double kFarewellSeconds = 10;  // that process 0 waits for the others at the end
constexpr int64_t kForgottenHours = 24;  // after which the folder of a killed job is removed by the next one

double SecondsSince(Clock::time_point time) { return std::chrono::duration<double>(Clock::now() - time).count(); }

std::string TextOf(const Path& path) {  // "" when it cannot be read: another process may be writing it
  std::error_code code;
  if (!fs::exists(path, code)) return "";
  try {
    return ReadFile(path);
  } catch (const Error&) {
    return "";
  }
}

Json JsonOf(const Path& path) {
  const std::string text = TextOf(path);
  if (text.empty()) return Json::object();
  try {
    Json json = ParseJson(text, path.string());
    return json.is_object() ? json : Json::object();
  } catch (const Error&) {
    return Json::object();
  }
}

// Machine, boot and process namespace: where these are equal, a process number means the same to both.
std::string PlaceName() {
  char host[256] = {};
  ::gethostname(host, sizeof(host) - 1);
  std::error_code code;
  return Format("{} {} {}", host, Trim(TextOf("/proc/sys/kernel/random/boot_id")),
                fs::read_symlink("/proc/self/ns/pid", code).string());
}

// A process that has ended, and one that its parent has not asked about since.
bool HasEnded(int64_t process) {
  if (::kill(static_cast<pid_t>(process), 0) != 0 && errno == ESRCH) return true;
  const std::string status = TextOf(Format("/proc/{}/stat", process));
  const size_t name_end = status.rfind(')');
  return name_end != std::string::npos && name_end + 2 < status.size() &&
         (status[name_end + 2] == 'Z' || status[name_end + 2] == 'X');
}

std::string OwnNumber() {
  std::random_device device;
  return Format("{:08x}{:08x}{:08x}", device(), device(), static_cast<unsigned>(::getpid()));
}

class SharedFolderGroup : public Group {
 public:
  SharedFolderGroup(const GroupPlace& place, const Progress& progress);
  ~SharedFolderGroup() override { StopBeating(); }

  int64_t rank() const override { return place_.rank; }
  int64_t size() const override { return place_.size; }
  std::string Broadcast(std::string text) override;
  std::vector<std::string> Gather(std::string text) override;
  void Check() override;
  void Fail(int code, const ErrorText& text) override;
  void Leave() override;
  void Post(const std::string& name, const std::string& text) override { WriteFileUnsynced(PostOf(name), text); }
  std::string Find(const std::string& name) override { return WaitFor(PostOf(name)); }
  bool Claim(const std::string& name) override;
  bool on_one_machine() const override {
    return std::all_of(peers_.begin(), peers_.end(), [](const Peer& peer) { return peer.same_place; });
  }

 private:
  struct Peer {
    std::string number, beat;
    Clock::time_point changed;
    bool same_place = false;
    int64_t process = 0;
  };

  Path HelloOf(int64_t r) const { return place_.folder / Format("hello.{}", r); }
  Path BeatOf(int64_t r) const { return place_.folder / Format("beat.{}", r); }
  Path Message(const char* kind, int64_t r) const { return session_ / Format("{}.{}", kind, r); }
  Path PostOf(const std::string& name) const { return session_ / ("post." + Fingerprint(name)); }
  void Beat();
  void StopBeating();
  void MeetAsFirst();
  void MeetAsOther();
  bool IsReady(int64_t r);  // process 0: has shown itself and its life
  void NotePeer(int64_t r);
  void CheckPeers();
  std::string WaitFor(const Path& file);
  void AwaitFarewell(double seconds);
  template <class Done>
  void WaitUntil(Done&& done) const;

  GroupPlace place_;
  const Progress& progress_;
  std::string number_ = OwnNumber(), place_name_ = PlaceName();
  std::vector<Peer> peers_;
  Path session_;
  int64_t call_ = 0;
  Clock::time_point checked_;

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread beating_;
};

template <class Done>
void SharedFolderGroup::WaitUntil(Done&& done) const {
  for (auto pause = std::chrono::milliseconds(2); !done();
       pause = std::min(pause * 2, std::chrono::milliseconds(100))) {
    progress_.ThrowIfStopped();
    std::this_thread::sleep_for(pause);
  }
}

SharedFolderGroup::SharedFolderGroup(const GroupPlace& place, const Progress& progress)
    : place_(place), progress_(progress), peers_(static_cast<size_t>(place.size)) {
  std::error_code code;
  fs::create_directories(place_.folder, code);
  if (code) {
    throw Error({.what = Format("processes cannot meet: {}", code.message()),
                 .where = place_.folder.string(),
                 .next = "write the result into a folder that all processes may write to"});
  }
  const Json hello = {{"number", number_}, {"place", place_name_}, {"process", ::getpid()}};
  beating_ = std::thread([this] { Beat(); });
  try {
    WriteFileUnsynced(HelloOf(rank()), hello.dump());
    rank() == 0 ? MeetAsFirst() : MeetAsOther();
  } catch (...) {
    StopBeating();
    throw;
  }
  for (Peer& peer : peers_) peer.changed = Clock::now();
  checked_ = Clock::now();
}

// The one thread of a group: says twice a second that the process lives, whatever else it is busy with.
void SharedFolderGroup::Beat() {
  std::unique_lock lock(mutex_);
  for (int64_t count = 0; !stop_; ++count) {
    try {
      WriteFileUnsynced(BeatOf(rank()), Format("{} {}", number_, count));
    } catch (const std::exception&) {
      // The folder may be gone at the end; where it stays so, the others give this process up.
    }
    wake_.wait_for(lock, kBeat);
  }
}

void SharedFolderGroup::StopBeating() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (beating_.joinable()) beating_.join();
}

bool SharedFolderGroup::IsReady(int64_t r) {
  Peer& peer = peers_[static_cast<size_t>(r)];
  const std::string number = JsonOf(HelloOf(r)).value("number", "");
  const std::string beat = TextOf(BeatOf(r));
  if (number.empty() || !beat.starts_with(number + " ")) return false;
  if (peer.number != number) {  // seen for the first time: it counts when its beat goes on
    peer.number = number;
    peer.beat = beat;
    return false;
  }
  return peer.beat != beat;
}

void SharedFolderGroup::NotePeer(int64_t r) {
  const Json hello = JsonOf(HelloOf(r));
  Peer& peer = peers_[static_cast<size_t>(r)];
  peer.number = hello.value("number", "");
  peer.same_place = hello.value("place", "") == place_name_;
  peer.process = hello.value("process", int64_t{0});
}

void SharedFolderGroup::MeetAsFirst() {
  std::vector<bool> here(static_cast<size_t>(size()), false);
  here[0] = true;
  const auto start = Clock::now();
  WaitUntil([&] {
    int64_t absent = -1;
    for (int64_t r = 1; r < size(); ++r) {
      const auto i = static_cast<size_t>(r);
      if (!here[i]) here[i] = IsReady(r);
      if (!here[i]) absent = r;
    }
    if (absent >= 0 && SecondsSince(start) > place_.join_seconds) {
      throw Error({.what = Format("process {} of {} has not come", absent, size()),
                   .where = place_.folder.string(),
                   .next = "start all processes of a job at once, with the same command and working directory"});
    }
    return absent < 0;
  });
  session_ = place_.folder / number_;
  NotePeer(0);
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(place_.folder, code)) {
    if (entry.is_directory(code)) fs::remove_all(entry.path(), code);  // of a job before
  }
  fs::create_directories(session_);
  Json numbers = Json::array({number_});
  for (int64_t r = 1; r < size(); ++r) {
    NotePeer(r);
    numbers.push_back(peers_[static_cast<size_t>(r)].number);
  }
  WriteFileUnsynced(place_.folder / "session.json", Json{{"numbers", numbers}}.dump());
}

void SharedFolderGroup::MeetAsOther() {
  const auto start = Clock::now();
  WaitUntil([&] {
    const Json numbers = JsonOf(place_.folder / "session.json").value("numbers", Json::array());
    if (static_cast<int64_t>(numbers.size()) == size() && numbers[static_cast<size_t>(rank())] == number_) {
      session_ = place_.folder / numbers[0].get<std::string>();
      return true;
    }
    if (SecondsSince(start) > place_.join_seconds) {
      throw Error({.what = Format("process 0 of {} has not come", size()),
                   .where = place_.folder.string(),
                   .next = "start all processes of a job at once, with the same command and working directory"});
    }
    return false;
  });
  for (int64_t r = 0; r < size(); ++r) NotePeer(r);
}

void SharedFolderGroup::CheckPeers() {
  checked_ = Clock::now();
  const auto name = [&](int64_t r) { return Format("process {} of {}", r, size()); };
  std::error_code code;
  for (int64_t r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    const Json failure = JsonOf(Message("failed", r));
    if (failure.empty()) continue;
    throw PeerFailed(r, failure.value("code", 1), /*without_a_word=*/false,
                     {.what = failure.value("what", "it failed"),
                      .where = Format("{}: {}", name(r), failure.value("where", "")),
                      .next = failure.value("next", "")});
  }
  for (int64_t r = 0; r < size(); ++r) {
    Peer& peer = peers_[static_cast<size_t>(r)];
    if (r == rank() || fs::exists(Message("left", r), code)) continue;
    const std::string beat = TextOf(BeatOf(r));
    if (beat != peer.beat && beat.starts_with(peer.number)) {
      peer.beat = beat;
      peer.changed = Clock::now();
    }
    const bool gone = peer.same_place && peer.process > 0 && HasEnded(peer.process);
    const bool silent = SecondsSince(peer.changed) > place_.silence_seconds;
    // Its last words may have come after they were looked for above.
    if ((!gone && !silent) || !JsonOf(Message("failed", r)).empty() || fs::exists(Message("left", r), code)) continue;
    throw PeerFailed(
        r, 1, /*without_a_word=*/true,
        {.what = gone ? Format("{} has ended without a word; it was killed, or ran out of memory", name(r))
                      : Format("{} has given no sign of life for {:.0f} s", name(r), place_.silence_seconds),
         .where = place_.folder.string(),
         .next = "look for its own messages, then start the same command again: it goes on from what is there"});
  }
}

void SharedFolderGroup::Check() {
  if (SecondsSince(checked_) > 1) CheckPeers();
}

std::string SharedFolderGroup::WaitFor(const Path& file) {
  std::error_code code;
  WaitUntil([&] {
    if (fs::exists(file, code)) return true;
    Check();
    return false;
  });
  return ReadFile(file);
}

std::string SharedFolderGroup::Broadcast(std::string text) {
  const Path file = Message("say", ++call_);
  if (rank() != 0) return WaitFor(file);
  WriteFileUnsynced(file, text);
  return text;
}

std::vector<std::string> SharedFolderGroup::Gather(std::string text) {
  const std::string kind = Format("tell.{}", ++call_);
  if (rank() != 0) {
    WriteFileUnsynced(Message(kind.c_str(), rank()), text);
    return {};
  }
  std::vector<std::string> texts{std::move(text)};
  for (int64_t r = 1; r < size(); ++r) texts.push_back(WaitFor(Message(kind.c_str(), r)));
  return texts;
}

bool SharedFolderGroup::Claim(const std::string& name) {
  CheckPeers();
  const Path file = session_ / ("claim." + Fingerprint(name));
  const int made = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (made >= 0) {
    ::close(made);
    return true;
  }
  if (errno == EEXIST) return false;
  throw Error({.what = Format("processes cannot share their work: {}", std::strerror(errno)),
               .where = file.string(),
               .next = "write the result into a folder that all processes may write to"});
}

void SharedFolderGroup::Fail(int code, const ErrorText& text) {
  try {
    const Json failure = {{"code", code}, {"what", text.what}, {"where", text.where}, {"next", text.next}};
    WriteFileUnsynced(Message("failed", rank()), failure.dump(-1, ' ', false, Json::error_handler_t::replace));
    if (rank() == 0) AwaitFarewell(kFarewellSeconds / 2);
  } catch (const std::exception&) {
    // Who cannot write is missed by the others soon enough.
  }
  StopBeating();
}

void SharedFolderGroup::Leave() {
  if (rank() != 0) StopBeating();  // process 0 may remove the folder once it has read the farewell
  try {
    if (rank() != 0) WriteFileUnsynced(Message("left", rank()), "");
    else AwaitFarewell(kFarewellSeconds);
  } catch (const std::exception&) {
    // The result is whole; what is left of the folder is removed by the next job.
  }
  StopBeating();
  std::error_code code;
  if (rank() == 0) fs::remove_all(place_.folder, code);
}

void SharedFolderGroup::AwaitFarewell(double seconds) {
  const auto start = Clock::now();
  std::error_code code;
  const auto is_done = [&](int64_t r) {
    return fs::exists(Message("left", r), code) || fs::exists(Message("failed", r), code);
  };
  for (int64_t r = 1; r < size(); ++r) {
    while (!is_done(r) && SecondsSince(start) < seconds) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

// What killed jobs have left beside the folder.
void SweepForgotten(const Path& folder) {
  std::error_code code;
  const std::string name = folder.filename().string();
  const std::string stem = name.substr(0, name.rfind('-') + 1);
  if (stem.empty()) return;
  const Path parent = folder.has_parent_path() ? folder.parent_path() : Path(".");
  for (const auto& entry : fs::directory_iterator(parent, code)) {
    if (!entry.is_directory(code) || entry.path().filename() == name ||
        !entry.path().filename().string().starts_with(stem))
      continue;
    const auto time = fs::last_write_time(entry.path(), code);
    if (!code && fs::file_time_type::clock::now() - time > std::chrono::hours(kForgottenHours))
      fs::remove_all(entry.path(), code);
  }
}

}  // namespace

std::unique_ptr<Group> JoinGroup(const GroupPlace& place, const Progress& progress) {
  if (place.size <= 1) return std::make_unique<Group>();
  if (place.rank == 0) SweepForgotten(place.folder);
  return std::make_unique<SharedFolderGroup>(place, progress);
}

}  // namespace genview
