#include "genview/train/event_log.h"

#include <fcntl.h>
#include <unistd.h>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <optional>

#include "genview/base/error.h"
#include "genview/base/text.h"

namespace genview {
namespace {

std::array<uint32_t, 256> MakeCrcTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit)
      value = (value >> 1) ^ ((value & 1) != 0 ? 0x82F63B78u : 0);  // Castagnoli, reflected
    table[i] = value;
  }
  return table;
}

template <class T>
void PutRaw(std::string& out, T value) {
  static_assert(std::endian::native == std::endian::little);
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
T GetRaw(std::string_view bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

// Protobuf wire format: a field is a varint (number << 3 | type), then the value.
enum WireType : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void PutVarint(std::string& out, uint64_t value) {
  for (; value >= 128; value >>= 7) out += static_cast<char>(value | 128);
  out += static_cast<char>(value);
}
void PutKey(std::string& out, int field, WireType type) { PutVarint(out, static_cast<uint64_t>(field) << 3 | type); }
void PutBytes(std::string& out, int field, std::string_view bytes) {
  PutKey(out, field, kBytes);
  PutVarint(out, bytes.size());
  out += bytes;
}
void PutInt(std::string& out, int field, int64_t value) {
  PutKey(out, field, kVarint);
  PutVarint(out, static_cast<uint64_t>(value));
}

bool TakeVarint(std::string_view& bytes, uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 127) << shift;
    if (byte < 128) return true;
  }
  return false;
}

// The member `step` of an Event (0 where there is none), or nothing for bytes that are no Event.
std::optional<int64_t> StepOf(std::string_view event) {
  int64_t step = 0;
  while (!event.empty()) {
    uint64_t key = 0, value = 0;
    if (!TakeVarint(event, key)) return std::nullopt;
    switch (key & 7) {
      case kVarint:
        if (!TakeVarint(event, value)) return std::nullopt;
        if (key >> 3 == 2) step = static_cast<int64_t>(value);
        continue;
      case kFixed64:
        value = 8;
        break;
      case kFixed32:
        value = 4;
        break;
      case kBytes:
        if (!TakeVarint(event, value)) return std::nullopt;
        break;
      default:
        return std::nullopt;
    }
    if (value > event.size()) return std::nullopt;
    event.remove_prefix(value);
  }
  return step;
}

std::string Event(double wall_time, int64_t step, std::string_view summary) {
  std::string event;
  PutKey(event, 1, kFixed64);
  PutRaw(event, wall_time);
  if (step != 0) PutInt(event, 2, step);
  PutBytes(event, 5, summary);
  return event;
}

std::string VersionEvent(double wall_time) {
  std::string event;
  PutKey(event, 1, kFixed64);
  PutRaw(event, wall_time);
  PutBytes(event, 3, "brain.Event:2");
  return event;
}

[[noreturn]] void Fail(const char* what, const Path& path) {
  const int code = errno;
  throw Error({.what = Format("{}: {}", what, std::strerror(code)),
               .where = path.string(),
               .next = code == ENOSPC ? "free some space and run the same command again: it goes on from here"
                                      : "check that the path is right and that you may use it"});
}

// The bytes of log.jsonl up to and with the last whole row whose step is at most `last_step`.
uint64_t LinesUpTo(std::string_view file, int64_t last_step) {
  uint64_t kept = 0;
  while (kept < file.size()) {
    const size_t end = file.find('\n', kept);
    if (end == std::string_view::npos) break;
    const Json row = Json::parse(file.substr(kept, end - kept), nullptr, /*allow_exceptions=*/false);
    const auto step = row.is_object() ? row.find("step") : row.end();
    if (!row.is_object() || step == row.end() || !step->is_number_integer() || step->get<int64_t>() > last_step) break;
    kept = end + 1;
  }
  return kept;
}

template <class Rule>
void CutBack(const Path& path, Rule&& up_to) {
  if (!std::filesystem::exists(path)) return;
  uint64_t keep = 0;
  {
    const MappedFile mapped(path);
    keep = up_to(mapped.text());
    if (keep == mapped.size()) return;
  }
  if (::truncate(path.c_str(), static_cast<off_t>(keep)) != 0) Fail("cannot cut the file back", path);
}

double SystemClock() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

uint32_t Crc32c(std::string_view bytes) {
  static const std::array<uint32_t, 256> table = MakeCrcTable();
  uint32_t crc = ~0u;
  for (const char c : bytes) crc = (crc >> 8) ^ table[(crc ^ static_cast<uint8_t>(c)) & 255];
  return ~crc;
}

uint32_t MaskedCrc32c(std::string_view bytes) { return std::rotr(Crc32c(bytes), 15) + 0xA282EAD8u; }

std::string TfRecord(std::string_view payload) {
  std::string record;
  PutRaw(record, static_cast<uint64_t>(payload.size()));
  PutRaw(record, MaskedCrc32c(record));
  record += payload;
  PutRaw(record, MaskedCrc32c(payload));
  return record;
}

std::string ScalarEvent(double wall_time, int64_t step, const std::vector<std::pair<std::string, float>>& scalars) {
  std::string summary;
  for (const auto& [tag, number] : scalars) {
    std::string value;
    PutBytes(value, 1, tag);
    PutKey(value, 2, kFixed32);
    PutRaw(value, number);
    PutBytes(summary, 1, value);
  }
  return Event(wall_time, step, summary);
}

uint64_t EventsUpTo(std::string_view file, int64_t last_step) {
  uint64_t kept = 0;
  while (file.size() - kept >= 12) {
    const std::string_view rest = file.substr(kept);
    const auto length = GetRaw<uint64_t>(rest);
    if (GetRaw<uint32_t>(rest.substr(8)) != MaskedCrc32c(rest.substr(0, 8))) break;
    if (length > rest.size() - 12 || rest.size() - 12 - length < 4) break;
    const std::string_view payload = rest.substr(12, length);
    if (GetRaw<uint32_t>(rest.substr(12 + length)) != MaskedCrc32c(payload)) break;
    const auto step = StepOf(payload);
    if (!step || *step > last_step) break;
    kept += 12 + length + 4;
  }
  return kept;
}

EventLog::EventLog(const Path& folder, int64_t last_step, std::function<double()> clock)
    : folder_(folder), clock_(clock ? std::move(clock) : SystemClock) {
  std::filesystem::create_directories(folder);
  const Path rows = folder / "log.jsonl", events = folder / kEventsFile;
  CutBack(rows, [&](std::string_view file) { return LinesUpTo(file, last_step); });
  CutBack(events, [&](std::string_view file) { return last_step < 0 ? 0 : EventsUpTo(file, last_step); });
  lines_ = std::make_unique<LineLog>(rows);
  events_ = ::open(events.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (events_ < 0) Fail("cannot open the file", events);
  if (::lseek(events_, 0, SEEK_END) == 0) AppendEvent(VersionEvent(clock_()));
}

EventLog::~EventLog() {
  if (events_ >= 0) ::close(events_);
}

void EventLog::AppendEvent(std::string_view payload) {
  const std::string record = TfRecord(payload);
  std::string_view rest = record;
  while (!rest.empty()) {
    const ssize_t written = ::write(events_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) Fail("cannot write", folder_ / kEventsFile);
    rest.remove_prefix(static_cast<size_t>(written));
  }
}

void EventLog::Write(int64_t step, const Json& row) {
  Json line = {{"step", step}};
  std::vector<std::pair<std::string, float>> scalars;
  for (const auto& [key, value] : row.items()) {
    line[key] = value;
    if (value.is_number() && std::isfinite(value.get<double>())) scalars.emplace_back(key, value.get<float>());
  }
  lines_->Append(line.dump(-1, ' ', false, Json::error_handler_t::replace));
  if (!scalars.empty()) AppendEvent(ScalarEvent(clock_(), step, scalars));
}

void EventLog::Sync() {
  lines_->Sync();
  if (::fdatasync(events_) != 0) Fail("cannot write to the disk", folder_ / kEventsFile);
}

}  // namespace genview
