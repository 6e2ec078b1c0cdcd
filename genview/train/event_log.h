// What a training run says of itself, twice: `log.jsonl` for programs and people, and a TensorBoard file of the same
// numbers (`tensorboard --logdir FOLDER` reads the folder as it is).
//
//   EventLog log(folder, /*last_step=*/checkpoint.step);     // rows after that step are cut away; -1 begins anew
//   log.Write(step, {{"loss", 6.1}, {"lr", 0.03}});          // {"step":120,"loss":6.1,"lr":0.03} and two scalars
//   log.Sync();                                              // before the checkpoint that the rows belong to
//
// A run that was killed and resumed ends with the same rows as an undisturbed one, times aside.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "genview/base/json.h"

namespace genview {

inline constexpr const char* kEventsFile = "events.out.tfevents.0000000000.genview";

class EventLog {
 public:
  // `clock`: seconds since 1970 for the TensorBoard records; by default the system's.
  EventLog(const Path& folder, int64_t last_step, std::function<double()> clock = {});
  ~EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  // One line; its finite numbers also become scalars whose tag is the member's name. Steps must not go back.
  void Write(int64_t step, const Json& row);
  void Sync();

 private:
  void AppendEvent(std::string_view payload);

  Path folder_;
  std::unique_ptr<LineLog> lines_;
  int events_ = -1;  // file descriptor
  std::function<double()> clock_;
};

// The pieces of the TensorBoard format (reference: TensorFlow's record_writer and event.proto).
uint32_t Crc32c(std::string_view bytes);
uint32_t MaskedCrc32c(std::string_view bytes);
std::string TfRecord(std::string_view payload);
std::string ScalarEvent(double wall_time, int64_t step, const std::vector<std::pair<std::string, float>>& scalars);

// The number of bytes of `file` that are whole records with right checksums and a step of at most `last_step`.
uint64_t EventsUpTo(std::string_view file, int64_t last_step);

}  // namespace genview
