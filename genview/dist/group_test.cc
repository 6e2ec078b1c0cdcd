#include "genview/dist/group.h"

#include <algorithm>
#include <csignal>

#include "genview/dist/test_support.h"

namespace genview {
namespace {

namespace fs = std::filesystem;

TEST(ShareOf, CoversEverythingOnceAtWholeUnits) {
  for (const int64_t total : {0, 1, 7, 64, 101}) {
    for (const int64_t size : {1, 2, 3, 8}) {
      int64_t next = 5;
      for (int64_t rank = 0; rank < size; ++rank) {
        const Share share = ShareOf(rank, size, 5, 5 + total, 4);
        EXPECT_EQ(share.begin, next);
        EXPECT_LE(share.begin, share.end);
        EXPECT_TRUE((share.begin - 5) % 4 == 0 || share.begin == 5 + total);
        next = share.end;
      }
      EXPECT_EQ(next, 5 + total);
    }
  }
}

TEST(BeginOfUnit, IsTheLastUnitsOrTheEnd) {
  EXPECT_EQ(BeginOfUnit(0, 10, 4), 0);
  EXPECT_EQ(BeginOfUnit(3, 10, 4), 0);
  EXPECT_EQ(BeginOfUnit(4, 10, 4), 4);
  EXPECT_EQ(BeginOfUnit(9, 10, 4), 8);
  EXPECT_EQ(BeginOfUnit(10, 10, 4), 10);
  EXPECT_EQ(BeginOfUnit(12, 10, 4), 10);
}

TEST(Alone, NeitherWaitsNorWrites) {
  Group& group = Alone();
  EXPECT_EQ(group.Broadcast("a"), "a");
  EXPECT_EQ(group.Gather("b"), std::vector<std::string>{"b"});
  group.Barrier();
  group.Check();
}

TEST_F(SharedFolder, WhatIsSaidAndToldArrives) {
  const auto work = [&](int64_t rank) {
    auto group = JoinGroup(Place(rank, 3), quiet_);
    for (int round = 0; round < 3; ++round) {
      const std::string said = group->Broadcast(rank == 0 ? "round " + std::to_string(round) : "not this");
      if (said != "round " + std::to_string(round)) return 1;
      const auto told = group->Gather(std::to_string(rank) + said);
      if (rank == 0 && told != std::vector<std::string>{"0" + said, "1" + said, "2" + said}) return 2;
      if (rank != 0 && !told.empty()) return 3;
      group->Barrier();
    }
    group->Leave();
    return 0;
  };
  for (int again = 0; again < 2; ++again) {
    const pid_t one = Fork([&] { return work(1); }), two = Fork([&] { return work(2); }),
                zero = Fork([&] { return work(0); });
    for (const pid_t child : {zero, one, two}) EXPECT_EQ(CodeOf(child), 0);
    EXPECT_FALSE(fs::exists(folder_));
  }
}

TEST_F(SharedFolder, EveryClaimIsOneProcesss) {
  const auto work = [&](int64_t rank) {
    auto group = JoinGroup(Place(rank, 3), quiet_);
    std::string mine;
    for (int i = 0; i < 50; ++i) mine += group->Claim("thing " + std::to_string(i)) ? '1' : '0';
    if (group->Claim("thing 7")) return 1;  // taken, by whomever
    const auto all = group->Gather(mine);
    for (size_t i = 0; rank == 0 && i < mine.size(); ++i) {
      const auto owners = std::count_if(all.begin(), all.end(), [&](const auto& one) { return one[i] == '1'; });
      if (owners != 1) return 2;
    }
    group->Leave();
    return 0;
  };
  const pid_t one = Fork([&] { return work(1); }), two = Fork([&] { return work(2); }),
              zero = Fork([&] { return work(0); });
  for (const pid_t child : {zero, one, two}) EXPECT_EQ(CodeOf(child), 0);
}

// What a killed job has left behind is not taken for a process of this one.
TEST_F(SharedFolder, LeftoversDoNotCount) {
  fs::create_directories(folder_ / "old");
  WriteFile(folder_ / "hello.1", R"({"number": "old1", "place": "x", "process": 1})");
  WriteFile(folder_ / "beat.1", "old1 7");
  WriteFile(folder_ / "session.json", R"({"numbers": ["old", "old1"]})");
  WriteFile(folder_ / "old/say.1", "old words");
  const pid_t zero = Fork([&] {
    auto group = JoinGroup(Place(0, 2), quiet_);
    group->Broadcast("new words");
    group->Leave();
    return 0;
  });
  ::usleep(700'000);
  const pid_t one = Fork([&] {
    auto group = JoinGroup(Place(1, 2), quiet_);
    const bool good = group->Broadcast("") == "new words";
    group->Leave();
    return good ? 0 : 1;
  });
  EXPECT_EQ(CodeOf(one), 0);
  EXPECT_EQ(CodeOf(zero), 0);
}

TEST_F(SharedFolder, AKilledProcessEndsTheGroup) {
  const auto wait = [&](int64_t rank) {
    auto group = JoinGroup(Place(rank, 3), quiet_);
    if (rank == 2) {
      ::kill(::getpid(), SIGKILL);
    }
    group->Barrier();
    return 0;
  };
  const pid_t zero = Fork([&] { return wait(0); }), one = Fork([&] { return wait(1); }),
              two = Fork([&] { return wait(2); });
  EXPECT_EQ(CodeOf(zero), 40);
  EXPECT_EQ(CodeOf(one), 40);
  EXPECT_EQ(CodeOf(two), 128 + SIGKILL);
}

TEST_F(SharedFolder, AStoppedProcessEndsTheGroup) {
  const auto wait = [&](int64_t rank) {
    auto group = JoinGroup(Place(rank, 2), quiet_);
    if (rank == 1) ::kill(::getpid(), SIGSTOP);
    group->Barrier();
    return 0;
  };
  const pid_t zero = Fork([&] { return wait(0); }), one = Fork([&] { return wait(1); });
  EXPECT_EQ(CodeOf(zero), 40);
  ::kill(one, SIGKILL);
  EXPECT_EQ(CodeOf(one), 128 + SIGKILL);
}

TEST_F(SharedFolder, AFailureReachesTheOthersWithItsCodeAndWords) {
  const pid_t one = Fork([&] {
    auto group = JoinGroup(Place(1, 2), quiet_);
    group->Fail(2, {"the disk is full", "/data", "make room"});
    return 2;
  });
  const pid_t zero = Fork([&] {
    auto group = JoinGroup(Place(0, 2), quiet_);
    try {
      group->Barrier();
    } catch (const PeerFailed& failure) {
      const bool good = failure.rank() == 1 && failure.code() == 2 && failure.text().what == "the disk is full" &&
                        failure.text().where.find("process 1 of 2") != std::string::npos;
      group->Fail(failure.code(), failure.text());
      return good ? 7 : 8;
    }
    return 9;
  });
  EXPECT_EQ(CodeOf(zero), 7);
  EXPECT_EQ(CodeOf(one), 2);
}

TEST_F(SharedFolder, WhoComesAloneSaysWhoIsMissing) {
  GroupPlace place = Place(0, 2);
  place.join_seconds = 0.2;
  try {
    JoinGroup(place, quiet_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.text().what, "process 1 of 2 has not come");
  }
}

}  // namespace
}  // namespace genview
