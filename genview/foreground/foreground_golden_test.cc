// Component, thresholds and pair weights against numpy and torch; see tests/golden/make_foreground.py.
#include "genview/foreground/quality.h"
#include "genview/foreground/threshold.h"
#include "genview/foreground/token_statistics.h"
#include "tests/golden/compare.h"

namespace genview {
namespace {

TEST(ForegroundGolden, ComponentAndThresholds) {
  const WeightMap golden = Golden("foreground/component");
  const Tensor& tokens = golden.At("tokens");
  TokenStatistics statistics(5, tokens.size(2));
  for (const Tensor& batch : tokens.split(7)) statistics.Add(batch);
  const PrincipalComponent pc = FirstComponent(statistics);
  EXPECT_CLOSE(pc.component, golden.At("component"), 1e-4);
  EXPECT_CLOSE(pc.mean, golden.At("mean"), 1e-5);
  EXPECT_NEAR(pc.variance_share, golden.At("variance").item<double>(), 1e-5);

  const Tensor scores = TokenScores(tokens, pc.component);
  const double masses[] = {0.6, 0.65, 0.97};
  for (int64_t i = 0; i < 3; ++i) {
    const double share = 1 - masses[i];
    EXPECT_NEAR(ThresholdByHistogram(scores, share), golden.At("histogram")[i].item<double>(), 1e-4) << i;
    const double threshold = ThresholdByShare(scores, share);
    EXPECT_GT(threshold, golden.At("quantiles")[i][0].item<double>() - 1e-4);
    EXPECT_LT(threshold, golden.At("quantiles")[i][1].item<double>() + 1e-4);
  }
}

TEST(ForegroundGolden, PairQuality) {
  const WeightMap golden = Golden("foreground/quality");
  const Tensor &t1 = golden.At("tokens1"), &t2 = golden.At("tokens2"), &v = golden.At("component");
  const PairSimilarity similarity = ComparePairs(t1, t2, v);
  EXPECT_CLOSE(similarity.foreground, golden.At("foreground"), 1e-4);
  EXPECT_CLOSE(similarity.background, golden.At("background"), 1e-4);
  EXPECT_CLOSE(PairQuality(t1, t2, v, 1.0), golden.At("weights")[0], 1e-4);
  EXPECT_CLOSE(PairQuality(t1, t2, v, 2.5), golden.At("weights")[1], 1e-4);
  const Tensor features = t1.transpose(1, 2).reshape({t1.size(0), t1.size(2), 3, 3});
  EXPECT_CLOSE(ForegroundMap(features, v).flatten(1), golden.At("map1"), 1e-4);
}

}  // namespace
}  // namespace genview
