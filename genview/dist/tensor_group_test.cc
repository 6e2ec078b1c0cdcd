#include "genview/dist/tensor_group.h"

#include <csignal>

#include "genview/dist/test_support.h"

namespace genview {
namespace {

class Tensors : public SharedFolder {
 protected:
  void SetUp() override {
    if (!CanConnectTensors()) GTEST_SKIP() << "built without gloo";
    SharedFolder::SetUp();
  }
};

Tensor RowsOf(int64_t rank, int64_t size) {
  return at::arange(size * 5, at::kFloat).view({size, 5}) + static_cast<double>(100 * rank);
}

TEST(AloneWithTensors, GivesBackWhatItIsGiven) {
  const Tensor x = at::arange(6).view({1, 6});
  EXPECT_TRUE(at::equal(AloneWithTensors().Exchange(x), x));
  EXPECT_TRUE(at::equal(AloneWithTensors().Gather(x), x.unsqueeze(0)));
  EXPECT_EQ(GatherTexts(AloneWithTensors(), "words"), std::vector<std::string>{"words"});
}

TEST_F(Tensors, RowsArriveWhereTheyBelong) {
  const auto work = [&](int64_t rank, int64_t size) {
    auto group = JoinGroup(Place(rank, size), quiet_);
    for (int again = 0; again < 2; ++again) {  // the stages of a job connect one after another
      auto tensors = ConnectTensors(*group);
      if (tensors->rank() != rank || tensors->size() != size) return 1;
      const Tensor got = tensors->Exchange(RowsOf(rank, size)), all = tensors->Gather(RowsOf(rank, size)[0]);
      for (int64_t r = 0; r < size; ++r) {
        if (!at::equal(got[r], RowsOf(r, size)[rank])) return 2;
        if (!at::equal(all[r], RowsOf(r, size)[0])) return 3;
      }
      const std::string text(static_cast<size_t>(3 * rank), static_cast<char>('a' + rank));
      if (size == 3 && GatherTexts(*tensors, text) != std::vector<std::string>{"", "bbb", "cccccc"}) return 5;
      const Tensor number = at::full({}, rank, at::kLong);
      if (!at::equal(tensors->Gather(number), at::arange(size))) return 4;
    }
    group->Leave();
    return 0;
  };
  std::vector<pid_t> children;
  for (int64_t rank = 0; rank < 3; ++rank) children.push_back(Fork([&work, rank] { return work(rank, 3); }));
  for (const pid_t child : children) EXPECT_EQ(CodeOf(child), 0);
}

TEST_F(Tensors, AKilledProcessEndsTheOthers) {
  const auto work = [&](int64_t rank) {
    auto group = JoinGroup(Place(rank, 3), quiet_);
    auto tensors = ConnectTensors(*group);
    for (int64_t call = 0;; ++call) {
      if (rank == 1 && call == 2) ::kill(::getpid(), SIGKILL);
      tensors->Exchange(RowsOf(rank, 3));
      if (call == 5) return 0;
    }
  };
  const pid_t zero = Fork([&] { return work(0); }), one = Fork([&] { return work(1); }),
              two = Fork([&] { return work(2); });
  EXPECT_EQ(CodeOf(zero), 40);
  EXPECT_EQ(CodeOf(one), 128 + SIGKILL);
  EXPECT_EQ(CodeOf(two), 40);
}

TEST_F(Tensors, AStoppedProcessEndsTheOthers) {
  const auto work = [&](int64_t rank) {
    auto group = JoinGroup(Place(rank, 2), quiet_);
    auto tensors = ConnectTensors(*group);
    if (rank == 1) ::kill(::getpid(), SIGSTOP);
    tensors->Gather(at::ones({4}));
    return 0;
  };
  const pid_t zero = Fork([&] { return work(0); }), one = Fork([&] { return work(1); });
  EXPECT_EQ(CodeOf(zero), 40);
  ::kill(one, SIGKILL);
  EXPECT_EQ(CodeOf(one), 128 + SIGKILL);
}

TEST_F(Tensors, WordsOfAFailureReachWhoWaitsForTensors) {
  const pid_t one = Fork([&] {
    auto group = JoinGroup(Place(1, 2), quiet_);
    ConnectTensors(*group);
    group->Fail(2, {"the disk is full", "/data", "make room"});
    return 2;
  });
  const pid_t zero = Fork([&] {
    auto group = JoinGroup(Place(0, 2), quiet_);
    try {
      ConnectTensors(*group)->Gather(at::ones({4}));
    } catch (const PeerFailed& failure) {
      return failure.text().what == "the disk is full" && failure.code() == 2 ? 7 : 8;
    }
    return 9;
  });
  EXPECT_EQ(CodeOf(zero), 7);
  EXPECT_EQ(CodeOf(one), 2);
}

}  // namespace
}  // namespace genview
