#include "cli/terminal_progress.h"

#include <sys/ioctl.h>
#include <unistd.h>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "cli/print.h"
#include "cli/signals.h"
#include "genview/base/text.h"

namespace genview {
namespace {

constexpr auto kBarEvery = std::chrono::milliseconds(100);
constexpr auto kLineEvery = std::chrono::seconds(5);

double Seconds(std::chrono::steady_clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

// Memory this process holds now (not its peak), from the second number of statm, in pages.
uint64_t ResidentBytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  unsigned long long size = 0, resident = 0;
  const int read = std::fscanf(file, "%llu %llu", &size, &resident);
  std::fclose(file);
  return read == 2 ? resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

size_t TerminalWidth(std::FILE* stream) {
  winsize size{};
  if (::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

std::string Rate(double rate) {
  if (rate >= 100) return Format("{:.0f}/s", rate);
  if (rate >= 1) return Format("{:.1f}/s", rate);
  return Format("{:.2f}/s", rate);
}

bool LocaleHasWideCharacters() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    const std::string locale = Lower(value);
    return locale.find("utf-8") != std::string::npos || locale.find("utf8") != std::string::npos;
  }
  return false;
}

std::string Bar(double share, size_t width, bool wide) {
  std::string bar;
  const auto halves = static_cast<size_t>(std::floor(std::clamp(share, 0.0, 1.0) * static_cast<double>(width) * 2));
  for (size_t i = 0; i < width; ++i) {
    if (2 * i + 2 <= halves) bar += wide ? "━" : "#";
    else if (2 * i + 1 == halves) bar += wide ? "╸" : "-";
    else bar += wide ? "─" : ".";
  }
  return bar;
}

}  // namespace

TerminalProgress::TerminalProgress(LogLevel level, std::FILE* stream) : level_(level), stream_(stream) {
  const char* term = std::getenv("TERM");
  terminal_ = ::isatty(::fileno(stream)) && !(term != nullptr && std::strcmp(term, "dumb") == 0);
  wide_characters_ = terminal_ && LocaleHasWideCharacters();
}

TerminalProgress::~TerminalProgress() { Clear(); }

void TerminalProgress::Begin(std::string_view stage, int64_t total, std::string_view unit) {
  const std::lock_guard lock(mutex_);
  ClearLocked();
  stage_ = stage;
  unit_ = unit;
  total_ = total;
  done_ = 0;
  first_ = -1;
  note_.clear();
  wait_share_ = -1;
  rate_ = 0;
  began_ = shown_ = rated_ = Clock::now();
  if (level_ == LogLevel::kDebug) Print(stream_, "{}: begins, {} {}\n", stage_, Grouped(total_), unit_);
}

void TerminalProgress::Update(int64_t done, double wait_share, std::string_view note) {
  const std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  if (first_ < 0) {
    // The first report may be of work done in an earlier run, which says nothing about the speed of this one.
    first_ = rated_done_ = done;
    rated_ = now;
  } else if (now - rated_ >= std::chrono::milliseconds(500)) {
    const double latest = static_cast<double>(done - rated_done_) / Seconds(now - rated_);
    rate_ = rate_ == 0 ? latest : 0.7 * rate_ + 0.3 * latest;
    rated_ = now;
    rated_done_ = done;
  }
  done_ = done;
  wait_share_ = wait_share;
  note_ = note;
  if (level_ >= LogLevel::kInfo &&
      now - shown_ >= (terminal_ ? Clock::duration(kBarEvery) : Clock::duration(kLineEvery)))
    Show(now);
}

void TerminalProgress::End(std::string_view summary) {
  const std::lock_guard lock(mutex_);
  ClearLocked();
  if (level_ >= LogLevel::kInfo && !summary.empty()) {
    const double seconds = Seconds(Clock::now() - began_);
    const std::string time =
        seconds < 0.05 ? "" : Format(" ({})", HumanSeconds(seconds));  // what is there already takes none
    Print(stream_, "{}: {}{}\n", stage_, summary, time);
  }
  std::fflush(stream_);
  stage_.clear();
}

void TerminalProgress::Warn(std::string_view message) {
  const std::lock_guard lock(mutex_);
  if (!warned_.emplace(message).second) return;  // by an earlier stage
  ClearLocked();
  if (level_ >= LogLevel::kWarning) Print(stream_, "warning: {}\n", message);
  std::fflush(stream_);
}

bool TerminalProgress::Stopped() const { return StopRequested(); }

std::string TerminalProgress::Where() const {
  const std::lock_guard lock(mutex_);
  if (stage_.empty()) return "";
  return total_ > 0 ? Format("{}, {} of {} {}", stage_, done_, total_, unit_) : stage_;
}

void TerminalProgress::Clear() {
  const std::lock_guard lock(mutex_);
  ClearLocked();
}

void TerminalProgress::ClearLocked() {
  if (bar_shown_) Print(stream_, "\r\x1b[K");
  bar_shown_ = false;
}

std::string TerminalProgress::Line(Clock::time_point now, bool bar) const {
  const double share = total_ > 0 ? static_cast<double>(done_) / static_cast<double>(total_) : 0;
  std::string text =
      total_ > 0 ? Format("{}/{} {}", Grouped(done_), Grouped(total_), unit_) : Format("{} {}", Grouped(done_), unit_);
  const double mean =
      first_ >= 0 && now > began_ ? static_cast<double>(done_ - first_) / std::max(1e-3, Seconds(now - began_)) : 0;
  const double rate = rate_ > 0 ? rate_ : mean;
  if (rate > 0) text += "  " + Rate(rate);
  if (rate > 0 && total_ > done_) text += "  eta " + HumanSeconds(static_cast<double>(total_ - done_) / rate);
  if (wait_share_ >= 0) text += Format("  wait {:.0f}%", 100 * wait_share_);
  if (const uint64_t memory = ResidentBytes(); memory > 0) text += "  " + HumanBytes(memory);
  if (!note_.empty()) text += "  " + note_;
  if (!bar) return Format("{}: {}", stage_, text);
  // The bar takes what the words leave, within reason; a narrow terminal gets the words alone, cut to its width.
  const size_t width = TerminalWidth(stream_) - 1;
  const size_t words = stage_.size() + 1 + 6 + text.size() + 1;
  if (total_ > 0 && words + 8 <= width) {
    return Format("{} {} {:3.0f}%  {}", stage_, Bar(share, std::min<size_t>(width - words, 32), wide_characters_),
                  100 * share, text);
  }
  return Format("{} {}", stage_, text).substr(0, width);
}

void TerminalProgress::Show(Clock::time_point now) {
  shown_ = now;
  if (terminal_) {
    Print(stream_, "\r\x1b[K{}", Line(now, true));
    bar_shown_ = true;
  } else {
    Print(stream_, "{}\n", Line(now, false));
  }
  std::fflush(stream_);
}

}  // namespace genview
