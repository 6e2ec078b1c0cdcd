#include "genview/train/running_statistics.h"

#include <gtest/gtest.h>

#include "genview/models/blocks.h"

namespace genview {
namespace {

struct Net {
  BatchNormWeights first = MakeBatchNorm(3), second = MakeBatchNorm(2);
  Net() { InitWeights(List(), Seed(0)); }
  WeightList List() {
    WeightList list;
    Append(list, "first", first);
    Append(list, "second", second);
    return list;
  }
  // The first norm is passed twice, as by the two views of a pair.
  void Forward(uint64_t part) const {
    const Tensor x = NormalTensor(Seed(part).With("x"), {8, 3}) * 2 + 1;
    BatchNorm(first, x, true);
    BatchNorm(first, x * 3, true);
    BatchNorm(second, x.narrow(1, 0, 2), true);
  }
};

TEST(RunningStatistics, PartsMakeWhatOneAfterAnotherWould) {
  Net plain, net;
  RunningStatistics statistics(net.List());
  for (int step = 0; step < 2; ++step) {
    std::vector<Tensor> of_parts;
    for (uint64_t part = 0; part < 3; ++part) {
      plain.Forward(part);
      statistics.BeginPart();
      net.Forward(part);
      of_parts.push_back(statistics.EndPart());
    }
    statistics.Apply(of_parts);
    const auto wanted = NamedTensors(plain.List()), found = NamedTensors(net.List());
    for (size_t i = 0; i < wanted.size(); ++i)
      EXPECT_TRUE(at::allclose(found[i].second, wanted[i].second, 1e-6, 1e-7)) << wanted[i].first;
  }
  EXPECT_EQ(net.first.num_batches_tracked.item<int64_t>(), 12);
  EXPECT_EQ(net.second.num_batches_tracked.item<int64_t>(), 6);
}

// A part leaves the same whatever was computed before it in the same network.
TEST(RunningStatistics, PartsKnowNothingOfEachOther) {
  Net a, b;
  RunningStatistics of_a(a.List()), of_b(b.List());
  of_a.BeginPart();
  a.Forward(1);
  of_a.EndPart();
  of_a.BeginPart();
  a.Forward(2);
  const Tensor second = of_a.EndPart();
  of_b.BeginPart();
  b.Forward(2);
  EXPECT_TRUE(at::equal(of_b.EndPart(), second));
}

TEST(RunningStatistics, ANetworkWithoutNormsHasNone) {
  LinearWeights layer = MakeLinear(2, 3);
  WeightList list;
  Append(list, "fc", layer);
  RunningStatistics statistics(list);
  statistics.BeginPart();
  EXPECT_EQ(statistics.EndPart().numel(), 0);
  statistics.Apply({statistics.EndPart()});
}

}  // namespace
}  // namespace genview
