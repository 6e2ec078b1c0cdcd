#include "genview/views/one_behind.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

namespace genview {
namespace {

TEST(OneBehind, TheCallerGoesOnWhileAPieceIsAtWork) {
  std::promise<void> go;
  std::vector<int> done;
  OneBehind behind;
  behind.Do([&done, may = go.get_future().share()] {
    may.wait();
    done.push_back(1);
  });
  go.set_value();  // would not come if Do had waited
  behind.Do([&] { done.push_back(2); });
  behind.Finish();
  EXPECT_EQ(done, (std::vector<int>{1, 2}));
  behind.Finish();
}

TEST(OneBehind, WhatAPieceThrowsComesWithTheNextOneWhichIsNotBegun) {
  bool begun = false;
  OneBehind behind;
  behind.Do([] { throw std::runtime_error("no space"); });
  EXPECT_THROW(behind.Do([&] { begun = true; }), std::runtime_error);
  behind.Finish();
  EXPECT_FALSE(begun);
  behind.Do([] { throw std::runtime_error("no space"); });
  EXPECT_THROW(behind.Finish(), std::runtime_error);
}

TEST(OneBehind, APieceThatIsLeftIsEnded) {
  std::promise<void> go;
  std::atomic<bool> done = false;
  std::thread later;
  {
    OneBehind behind;
    behind.Do([&done, may = go.get_future().share()] {
      may.wait();
      done = true;
    });
    later = std::thread([&] { go.set_value(); });
  }
  EXPECT_TRUE(done);
  later.join();
}

}  // namespace
}  // namespace genview
