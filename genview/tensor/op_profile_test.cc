#include "genview/tensor/op_profile.h"

#include <gtest/gtest.h>

#include "genview/tensor/tensor.h"

namespace genview {
namespace {

const OpTime* Find(const std::vector<OpTime>& times, const std::string& name) {
  for (const OpTime& time : times) {
    if (time.name == name) return &time;
  }
  return nullptr;
}

TEST(OpProfile, CountsCallsAndLeavesOutWhatIsWithin) {
  const Tensor x = at::ones({1000, 1000}), bias = at::ones({1000});
  std::vector<OpTime> times;
  {
    const OpProfile profile;
    for (int i = 0; i < 3; ++i) (void)at::linear(x, x, bias);
    times = profile.Times();
  }
  const OpTime *outer = Find(times, "aten::linear"), *inner = Find(times, "aten::addmm");
  ASSERT_NE(outer, nullptr);
  ASSERT_NE(inner, nullptr);
  EXPECT_EQ(outer->calls, 3);
  EXPECT_EQ(inner->calls, 3);
  EXPECT_GT(inner->seconds, 0);
  EXPECT_GE(outer->seconds, 0);
  EXPECT_LT(outer->seconds, inner->seconds);  // the product is in the one within
  for (size_t i = 1; i < times.size(); ++i) EXPECT_GE(times[i - 1].seconds, times[i].seconds);
}

TEST(OpProfile, BeginsAnewAndEndsWithItsScope) {
  const Tensor x = at::ones({4});
  {
    const OpProfile profile;
    (void)at::relu(x);
  }
  (void)at::sigmoid(x);
  const OpProfile profile;
  (void)at::tanh(x);
  const std::vector<OpTime> times = profile.Times();
  EXPECT_EQ(Find(times, "aten::relu"), nullptr);
  EXPECT_EQ(Find(times, "aten::sigmoid"), nullptr);
  ASSERT_NE(Find(times, "aten::tanh"), nullptr);
  const std::string text = OpProfileToText(times);
  EXPECT_NE(text.find("aten::tanh"), std::string::npos) << text;
  EXPECT_EQ(OpProfileToJson(times).size(), times.size());
}

}  // namespace
}  // namespace genview
