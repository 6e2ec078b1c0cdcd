#include "genview/report/plots.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace genview {
namespace {

TEST(Ticks, AreRoundAndInside) {
  EXPECT_EQ(Ticks(0, 10, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(Ticks(0.03, 0.11, 4), (std::vector<double>{0.04, 0.06, 0.08, 0.1}));
  EXPECT_TRUE(Ticks(1, 1, 4).empty());
  EXPECT_EQ(Ticks(-1, 1, 2).at(1), 0);
  EXPECT_LT(Ticks(1e17, std::nextafter(1e17, 2e17), 8).size(), 20u);  // steps that change nothing come to an end
}

TEST(Ticks, TextHasTheDigitsOfTheStep) {
  EXPECT_EQ(TickText(40, 20), "40");
  EXPECT_EQ(TickText(0.5, 0.1), "0.5");
  EXPECT_EQ(TickText(0.05, 0.05), "0.05");
}

TEST(Curves, AreThinnedByAveragingAndBadLinesAreLeftOut) {
  const Path log = testing::TempDir() + "curves.jsonl";
  std::string text = "not json\n{\"step\":1}\n";
  for (int i = 0; i < 1000; ++i) text += "{\"step\":" + std::to_string(i) + ",\"loss\":3.0}\n";
  WriteFile(log, text + "{\"step\":1000,\"loss\":1e999}\n{\"torn");
  const auto panels = ReadPanels({{"a", log, 0}, {"b", "/not/there", 1}}, 50);
  ASSERT_EQ(panels.size(), 1u);
  EXPECT_EQ(panels[0].title, "Loss");
  ASSERT_EQ(panels[0].curves.size(), 1u);
  EXPECT_EQ(panels[0].curves[0].points.size(), 50u);
  EXPECT_NEAR(panels[0].curves[0].points[20].second, 3, 1e-12);
  EXPECT_NEAR(panels[0].curves[0].points[0].first, 9.5, 1e-9);
}

TEST(Curves, AreOfLossNeighboursSpreadAndRank) {
  const Path log = testing::TempDir() + "curves_all.jsonl";
  WriteFile(log,
            "{\"step\":1,\"effective_rank\":30,\"feature_std\":0.08,\"relative_std\":0.8,\"knn_top1\":20,\"loss\":5}\n"
            "{\"step\":2,\"effective_rank\":40,\"feature_std\":0.09,\"relative_std\":0.9,\"loss\":4}\n");
  const auto panels = ReadPanels({{"a", log, 0}});
  ASSERT_EQ(panels.size(), 4u);
  EXPECT_EQ(panels[0].title, "Loss");
  EXPECT_EQ(panels[1].title, "kNN accuracy, %");
  EXPECT_EQ(panels[2].title, "Spread of the features");
  EXPECT_EQ(panels[3].title, "Effective rank");
  using Points = std::vector<std::pair<double, double>>;
  EXPECT_EQ(panels[2].curves.at(0).points, (Points{{1, 0.8}, {2, 0.9}}));
  EXPECT_EQ(panels[3].curves.at(0).points, (Points{{1, 30.0}, {2, 40.0}}));
}

TEST(DrawPanel, OnePointIsADot) {
  Html html;
  const std::vector<Curve> curves = {{"a <b>", 0, {{1.0, 2.0}}}};
  DrawPanel(html, {"loss", "", "epoch", curves}, ExtentOf(curves));
  const std::string svg = html.Finish();
  EXPECT_NE(svg.find("<circle"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("<b>"), std::string::npos);
}

// Ends that lie on each other: the names stand below each other, and the strong line is drawn last.
TEST(DrawPanel, LabelsDoNotTouch) {
  Html html;
  const std::vector<Curve> curves = {{"a", 0, {{0, 1.0}, {1, 2.0}}, "a", true},
                                     {"b", 1, {{0, 0.0}, {1, 2.0}}, "b"},
                                     {"c", 2, {{0, 0.0}, {1, 2.001}}, "c"}};
  DrawPanel(html, {"loss", "", "epoch", curves}, ExtentOf(curves));
  const std::string svg = html.Finish();
  std::vector<double> places;
  for (size_t at = svg.find("class=\"label"); at != std::string::npos; at = svg.find("class=\"label", at + 1))
    places.push_back(std::stod(svg.substr(svg.find(" y=\"", at) + 4)));
  ASSERT_EQ(places.size(), 3u);
  std::sort(places.begin(), places.end());
  EXPECT_GE(places[1] - places[0], 12);
  EXPECT_GE(places[2] - places[1], 12);
  EXPECT_GE(places[0], 12);
  EXPECT_LE(places[2], 190);
  EXPECT_GT(svg.find("curve c0"), svg.find("curve c2"));
}

}  // namespace
}  // namespace genview
