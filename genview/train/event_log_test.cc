#include "genview/train/event_log.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/temporary_folder.h"

namespace genview {
namespace {

class EventLogTest : public testing::Test {
 protected:
  static void WriteRows(EventLog& log, int64_t from, int64_t to) {
    for (int64_t step = from; step <= to; ++step)
      log.Write(step, {{"loss", 1.0 / static_cast<double>(step)}, {"note", "x"}});
  }
  std::string Rows() const { return ReadFile(folder_ / "log.jsonl"); }
  std::string Events() const { return ReadFile(folder_ / kEventsFile); }

  const TemporaryFolder place_;
  const Path folder_ = place_.path() / "run";  // not there at first
  std::function<double()> clock_ = [] { return 1.5; };
};

std::string Bytes(std::initializer_list<int> values) {
  std::string bytes;
  for (const int value : values) bytes += static_cast<char>(value);
  return bytes;
}

TEST(Crc32c, HasTheKnownValues) {
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(MaskedCrc32c("123456789"), 0xC78AB0E5u);
  EXPECT_EQ(MaskedCrc32c(Bytes({24, 0, 0, 0, 0, 0, 0, 0})), 0x224B7FA3u);
}

TEST(ScalarEvent, HasTheKnownBytes) {
  const std::string event = ScalarEvent(0, 7, {{"train/loss", 1.5f}});
  EXPECT_EQ(event.substr(9),
            Bytes({0x10, 0x07, 0x2a, 0x13, 0x0a, 0x11, 0x0a, 0x0a}) + "train/loss" + Bytes({0x15, 0, 0, 0xc0, 0x3f}));
}

TEST_F(EventLogTest, RowsAndScalars) {
  {
    EventLog log(folder_, -1, clock_);
    log.Write(120, {{"loss", 6.5}, {"note", "warm"}, {"bad", std::numeric_limits<double>::quiet_NaN()}});
  }
  EXPECT_EQ(Rows(), "{\"step\":120,\"loss\":6.5,\"note\":\"warm\",\"bad\":null}\n");
  const std::string events = Events();
  EXPECT_EQ(EventsUpTo(events, 1000), events.size());
  EXPECT_NE(events.find("brain.Event:2"), std::string::npos);
  EXPECT_EQ(events.find("bad"), std::string::npos);
}

TEST_F(EventLogTest, ResumedRunEndsWithTheSameBytes) {
  {
    EventLog log(folder_, -1, clock_);
    WriteRows(log, 1, 9);
  }
  const std::string rows = Rows(), events = Events();
  for (const int64_t at : {0, 1, 5, 9}) {
    {
      EventLog log(folder_, at, clock_);
      WriteRows(log, at + 1, 9);
    }
    EXPECT_EQ(Rows(), rows) << at;
    EXPECT_EQ(Events(), events) << at;
  }
  {
    EventLog log(folder_, -1, clock_);
    WriteRows(log, 1, 9);
  }
  EXPECT_EQ(Events(), events);
}

TEST_F(EventLogTest, TornEndsAreCutAway) {
  {
    EventLog log(folder_, -1, clock_);
    WriteRows(log, 1, 4);
  }
  const std::string rows = Rows(), events = Events();
  for (size_t cut = 1; cut < 60; ++cut) {
    WriteFile(folder_ / "log.jsonl", std::string_view(rows).substr(0, rows.size() - cut % 20));
    WriteFile(folder_ / kEventsFile, std::string_view(events).substr(0, events.size() - cut));
    {
      EventLog log(folder_, 2, clock_);
      WriteRows(log, 3, 4);
    }
    EXPECT_EQ(Rows(), rows) << cut;
    EXPECT_EQ(Events(), events) << cut;
  }
}

TEST_F(EventLogTest, DamageIsNotReadPast) {
  {
    EventLog log(folder_, -1, clock_);
    WriteRows(log, 1, 4);
  }
  const std::string events = Events();
  for (size_t i = 0; i < events.size(); ++i) {
    std::string damaged = events;
    damaged[i] ^= 4;
    EXPECT_LE(EventsUpTo(damaged, 1000), i);
  }
  EXPECT_EQ(EventsUpTo(TfRecord("\xff\xff\xff"), 1000), 0u);  // a right checksum around something that is no event
}

}  // namespace
}  // namespace genview
