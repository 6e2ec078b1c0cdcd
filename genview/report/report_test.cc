#include "genview/report/report.h"

#include <gtest/gtest.h>

#include <cmath>

#include "genview/base/json.h"
#include "genview/base/text.h"
#include "genview/image/image.h"
#include "genview/records/records.h"
#include "genview/report/comparison.h"
#include "genview/report/run_record.h"

namespace genview {
namespace {

std::string Png(int64_t width, int64_t height) {
  Image image(width, height);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i * 7);
  return EncodePng(image);
}

EvalResult Score(double top1, double half) {
  EvalResult result;
  result.kind = "linear";
  result.top1 = top1;
  result.top1_low = top1 - half;
  result.top1_high = top1 + half;
  result.top5 = 90;
  result.images = 2000;
  result.classes = 10;
  result.checkpoint = "encoder";
  result.normalisation = Json::object();
  result.settings = Json::object();
  return result;
}

// Of so many pictures that the interval is about a point to both sides.
EvalResult Counted(double top1) {
  EvalResult result = Score(top1, 0);
  result.images = 10'000;
  const auto [low, high] = WilsonInterval(std::llround(100 * top1), result.images);
  result.top1_low = 100 * low;
  result.top1_high = 100 * high;
  return result;
}

std::string Between(const std::string& text, const std::string& from, const std::string& to) {
  const size_t begin = text.find(from);
  return begin == std::string::npos ? "" : text.substr(begin, text.find(to, begin) - begin);
}

int Times(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

constexpr const char* kNasty = "<script>alert(1)</script>\"'&";

Path MakeRun(const std::string& name, double baseline, double other) {
  const Path run = testing::TempDir() + name;
  std::filesystem::remove_all(run);
  WriteFile(run / "recipe.toml", Format("name = \"{}\"\n[pretrain]\nmethod = \"moco-v2\"\n# {}\n[[arms]]\nname = "
                                        "\"baseline\"\n[[arms]]\nname = \"genview\"\n"
                                        "[arms.set]\n\"pretrain.pair.source\" = '''{}'''\n",
                                        name, kNasty, "generated <b>"));
  WriteJson(run / "baseline/eval/linear.json", EvalResultToJson(Score(baseline, 1)));
  WriteJson(run / "genview/eval/linear.json", EvalResultToJson(Score(other, 1)));
  WriteFile(run / "baseline/pretrain/log.jsonl",
            "{\"step\":1,\"loss\":5,\"effective_rank\":30}\n{\"step\":2,\"loss\":4,\"effective_rank\":1.2}\n");
  WriteJson(run / "baseline/pretrain/summary.json", {{"encoder", "encoder"}, {"collapsed", true}});
  WriteJson(run / "genview/pretrain/summary.json",
            {{"encoder", "encoder"},
             {"agreement", {{"pairs", 256}, {"spearman", 0.874}}},
             {"weights",
              {{"augmented", {{"pairs", 500}, {"mean", 1.21}}},
               {"generated", {{"pairs", 500}, {"mean", 0.79}}},
               {"levels", {{"100", {{"pairs", 300}, {"mean", 0.83}}}, {"400", {{"pairs", 200}, {"mean", 0.73}}}}}}}});
  WriteForegroundTable(run / "foreground/ratios.tsv",
                       {{"a/1.png", "a/1.png", 0.1, 0}, {"a/2.png", "a/2.png", 0.7, 300}});
  WriteFile(run / "views/skipped.tsv", Format("id\treason\n{}\ttruncated\n", kNasty));
  WriteJson(run / "state/views.json", {{"stage", "views"},
                                       {"order", 2},
                                       {"seconds", 61.0},
                                       {"peak_memory_bytes", 1000000},
                                       {"unit", "views"},
                                       {"asked", 2},
                                       {"made", 1},
                                       {"failed", 1}});
  for (const char* file : {"0-image.png", "0-mask.png", "0-view.png"}) WriteFile(run / "gallery" / file, Png(64, 48));
  WriteJson(run / "gallery/gallery.json",
            {{"images",
              {{{"id", kNasty},
                {"ratio", 0.3},
                {"level", 100},
                {"image", "0-image.png"},
                {"mask", "0-mask.png"},
                {"view", "0-view.png"}},
               {{"id", "outside"},
                {"ratio", 0.5},
                {"level", 100},
                {"image", "../../x.png"},
                {"mask", "gone.png"},
                {"view", "/etc/passwd"}}}},
             {"levels", {{"id", "x"}, {"image", "0-image.png"}, {"views", {{{"level", 0}, {"view", "0-view.png"}}}}}}});
  WriteJson(
      run / "gallery/likeness.json",
      {{"pictures", 40},
       {"real_kept", 97.5},
       {"levels", {{{"level", 0}, {"views", 40}, {"cosine", 0.912}, {"kept", 85.0}, {"low", 71.0}, {"high", 93.0}}}},
       {"bins",
        {{{"level", 0},
          {"from", 0.0},
          {"to", 0.2},
          {"views", 30},
          {"cosine", 0.934},
          {"kept", 83.0},
          {"low", 66.0},
          {"high", 92.0}},
         {{"level", 0},
          {"from", 0.2},
          {"to", 0.4},
          {"views", 0},
          {"cosine", 0.0},
          {"kept", 0.0},
          {"low", 0.0},
          {"high", 0.0}}}}});
  WriteJson(run / "foreground/ratios.json",
            {{"images_with_truth", 2}, {"mean_overlap_with_truth", 0.731}, {"spearman_with_truth", 0.944}});
  return run;
}

TEST(Report, IsOnePageThatFetchesNothing) {
  const Path run = MakeRun("report_page", 50, 55);
  const ReportSummary summary = WriteReport({run}, run / "report.html");
  const std::string page = ReadFile(run / "report.html");
  EXPECT_EQ(summary.bytes, page.size());
  EXPECT_LT(page.size(), 3u << 20);
  EXPECT_EQ(page.find("http://"), std::string::npos);
  EXPECT_EQ(page.find("https://"), std::string::npos);
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_NE(page.find("&lt;script&gt;"), std::string::npos);
  EXPECT_NE(page.find("data:image/webp;base64,"), std::string::npos);
  EXPECT_NE(page.find("looks collapsed"), std::string::npos);
  EXPECT_NE(page.find("top: the middle of the picture"), std::string::npos);  // 64 x 48
  EXPECT_EQ(page.find("root:"), std::string::npos);
  EXPECT_EQ(summary.pictures_left_out, 3);  // image and view lead out of the folder, and so the mask has no picture
}

TEST(Report, SaysWhatTheNumbersSay) {
  const auto headline = [](double baseline, double other) {
    const Path run = MakeRun("report_headline", baseline, other);
    return WriteReport({run}, run / "report.html").headline;
  };
  EXPECT_EQ(headline(50, 55),
            "“genview” reaches 55.0% linear accuracy, 5.0 points above “baseline” (95% interval +3.6 to +6.4).");
  EXPECT_EQ(headline(50, 50.5),
            "“genview” and “baseline” are too close to call: 50.5% and 50.0% linear accuracy, +0.5 points apart (95% "
            "interval −0.9 to +1.9).");
  EXPECT_EQ(
      headline(50, 45),
      "“genview” stays 5.0 points below “baseline” (95% interval −6.4 to −3.6): 45.0% and 50.0% linear accuracy.");
}

// Arms of several methods: each is held to the augmented one of its own.
Path MakeMethods(const std::string& name, const std::vector<std::pair<std::string, double>>& arms) {
  const Path run = MakeRun(name, 50, 55);
  std::string recipe =
      "name = \"methods\"\n[data]\ntrain = \"pictures\"\n[pretrain]\nmethod = \"simclr\"\nbackbone = "
      "\"resnet18\"\nepochs = 80\n";
  for (const auto& [arm, top1] : arms) {
    const std::string method = arm.substr(0, arm.find('-'));
    recipe += Format("[[arms]]\nname = \"{}\"\n[arms.set]\npretrain.method = \"{}\"\npretrain.pair.source = \"{}\"\n",
                     arm, method, method == arm ? "augment" : "generated");
    WriteJson(run / arm / "eval/linear.json", EvalResultToJson(Counted(top1)));
    WriteJson(run / arm / "pretrain/summary.json", {{"encoder", "encoder"}});
    WriteFile(run / arm / "pretrain/log.jsonl",
              "{\"step\":1,\"loss\":5,\"knn_top1\":20}\n{\"step\":2,\"loss\":4,\"knn_top1\":30}\n");
  }
  WriteFile(run / "recipe.toml", recipe);
  return run;
}

TEST(Report, ArmsAreHeldToTheirOwnMethod) {
  const Path run = MakeMethods(
      "report_methods",
      {{"simclr-views", 52}, {"simclr", 50}, {"byol", 70}, {"byol-views", 78}, {"swav", 60}, {"swav-views", 60.5}});
  const ReportSummary summary = WriteReport({run}, run / "report.html");
  EXPECT_EQ(
      summary.headline,
      "2 of 3 methods gain, “byol-views” the most: 8.0 points above “byol” (95% interval +6.5 to +9.5, corrected for "
      "3 comparisons).");
  const std::string page = ReadFile(run / "report.html"), table = Between(page, "<table", "</table>");
  for (const char* text :
       {"78.0% and 70.0% linear accuracy", "Without gain: swav.", "3 methods · resnet18 · 80 epochs · pictures"}) {
    EXPECT_NE(page.find(text), std::string::npos) << text;
  }
  EXPECT_EQ(Times(table, ">reference<"), 3);
  EXPECT_EQ(Times(table, "<tbody>"), 3);
  for (const char* gain : {">+2.0<", ">+8.0<", ">+0.5<"}) EXPECT_EQ(Times(table, gain), 1) << gain;
  // None gains.
  const Path none = MakeMethods("report_none", {{"byol", 70}, {"byol-views", 70.5}, {"swav", 60}, {"swav-views", 58}});
  EXPECT_EQ(WriteReport({none}, none / "report.html").headline,
            "None of 2 methods gains: “byol-views” comes nearest, +0.5 points from “byol” (95% interval −0.9 to +1.9, "
            "corrected for 2 comparisons).");
}

// Of two intervals of 95%, one may be above 0 by chance. The table's are of 95% each.
TEST(Report, WhichMethodsGainIsCorrectedForTheirNumber) {
  const Path run =
      MakeMethods("report_corrected", {{"byol", 50}, {"byol-views", 51.5}, {"swav", 60}, {"swav-views", 60.1}});
  EXPECT_EQ(WriteReport({run}, run / "report.html").headline,
            "None of 2 methods gains: “byol-views” comes nearest, +1.5 points from “byol” (95% interval −0.1 to +3.1, "
            "corrected for 2 comparisons).");
  const std::string page = ReadFile(run / "report.html"), table = Between(page, "<table", "</table>");
  EXPECT_NE(page.find("Intervals of the 2 comparisons are of 97.50% here"), std::string::npos);
  EXPECT_EQ(Times(table, "<strong>+1.5</strong>"), 1) << table;
  EXPECT_EQ(Times(table, "+0.1 to +2.9"), 1) << table;
}

// What is said to gain does: an arm that is further ahead by chance is not named in its place.
TEST(Report, OnlyAClearGainIsOne) {
  const Path run = MakeMethods("report_clear",
                               {{"byol", 50}, {"byol-views", 53}, {"byol-more", 54}, {"swav", 60}, {"swav-views", 70}});
  const std::vector<std::tuple<std::string, double, double>> scores = {
      {"byol", 50, 1}, {"byol-views", 53, 1}, {"byol-more", 54, 9}, {"swav", 60, 1}, {"swav-views", 70, 20}};
  for (const auto& [arm, top1, half] : scores) {
    std::filesystem::remove(run / arm / "eval/linear.json");
    EvalResult score = Score(top1, half);
    score.kind = "fewshot";
    score.settings["draws"] = 10;
    WriteJson(run / arm / "eval/fewshot.json", EvalResultToJson(score));
  }
  // Of three comparisons with nine degrees of freedom: 2.933 / 2.262 times as wide.
  EXPECT_EQ(
      WriteReport({run}, run / "report.html").headline,
      "1 of 2 methods gains, “byol-views” the most: 3.0 points above “byol” (95% interval +1.2 to +4.8, corrected "
      "for 3 comparisons).");
  EXPECT_NE(ReadFile(run / "report.html").find("Without gain: swav."), std::string::npos);
}

// A panel for each method and quantity; an arm's colour is its place within the method, and reference and best stand
// out.
TEST(Report, MethodsHavePanelsOfTheirOwn) {
  const Path run = MakeMethods("report_panels",
                               {{"byol", 70}, {"byol-views", 78}, {"byol-more", 74}, {"swav", 60}, {"swav-views", 65}});
  WriteReport({run}, run / "report.html");
  const std::string page = ReadFile(run / "report.html"), training = Between(page, ">Training<", "</section>");
  EXPECT_EQ(Times(training, "<figure>"), 4);
  for (const char* text : {"aria-label=\"byol, Loss: byol ends at 4; byol-views ends at 4; byol-more ends at 4;\"",
                           "class=\"label c1 strong\"", ">views<", "class=\"label c2\"", ">more<"}) {
    EXPECT_NE(training.find(text), std::string::npos) << text << training;
  }
  EXPECT_EQ(Times(training, "curve c0 d0 strong"), 4);
  EXPECT_EQ(Times(training, "curve c2 d2\""), 2);
}

TEST(Report, OfManyArmsTheReferenceAndTheBestStandOut) {
  std::vector<std::pair<std::string, double>> arms = {{"byol", 50}};
  for (int k = 0; k < 9; ++k) arms.emplace_back(Format("byol-{}", k), k == 4 ? 60 : 51);
  const Path run = MakeMethods("report_many", arms);
  WriteReport({run}, run / "report.html");
  const std::string page = ReadFile(run / "report.html"), training = Between(page, ">Training<", "</section>");
  EXPECT_EQ(Times(training, "curve c6 d6\""), 16);
  EXPECT_EQ(Times(training, "class=\"label"), 4);
  EXPECT_EQ(Times(training, ">byol-4</text>"), 2);
  EXPECT_EQ(Times(Between(page, "<table", "</table>"), "swatch c6"), 8);
}

// One arm of each method: the methods are what is compared.
TEST(Report, MethodsAreComparedWhereThereIsNothingElse) {
  const Path run = MakeMethods("report_only_methods", {{"simclr", 50}, {"byol", 70}});
  EXPECT_EQ(WriteReport({run}, run / "report.html").headline,
            "“byol” reaches 70.0% linear accuracy, 20.0 points above “simclr” (95% interval +18.7 to +21.3).");
}

// What the table shows, and of nothing else.
TEST(Results, HaveTheDifferencesOfTheTable) {
  const Path run = MakeMethods("results_difference", {{"byol", 70}, {"byol-views", 78}, {"swav", 60}});
  for (const char* arm : {"byol", "byol-views"}) {
    EvalResult score = Score(40, 1);
    score.kind = "knn";
    WriteJson(run / arm / "eval/knn.json", EvalResultToJson(score));
  }
  const std::vector<RunRecord> runs = {ReadRun(run)};
  const Json json = ResultsToJson(Comparison(runs), runs[0].scores), plain = ScoresToJson(runs[0].scores);
  int differences = 0;
  for (size_t i = 0; i < plain["results"].size(); ++i) {
    Json record = json["results"][i];
    if (!record.contains("difference")) continue;
    ++differences;
    EXPECT_EQ(record["arm"], "byol-views");
    EXPECT_EQ(record["eval"], "linear");
    EXPECT_EQ(record["score"], "top1");
    const Json& difference = record["difference"];
    EXPECT_EQ(difference["against"], "byol");
    EXPECT_NEAR(difference["value"].get<double>(), 8, 1e-9);
    EXPECT_NEAR(difference["low"].get<double>(), 6.78, 0.02);
    EXPECT_NEAR(difference["high"].get<double>(), 9.21, 0.02);
    EXPECT_EQ(difference["paired"], false);
    EXPECT_EQ(difference["seeds"], Json::array({0}));
    record.erase("difference");
    EXPECT_EQ(record, plain["results"][i]);  // all else stays
  }
  EXPECT_EQ(differences, 1);
  WriteReport({run}, run / "report.html");
  EXPECT_NE(Between(ReadFile(run / "report.html"), "<table", "</table>").find("+6.8 to +9.2"), std::string::npos);
}

TEST(Report, TablesWhatViewsKeepAndHowTrueTheForegroundIs) {
  const Path run = MakeRun("report_likeness", 50, 55);
  WriteReport({run}, run / "report.html");
  const std::string page = ReadFile(run / "report.html");
  for (const char* text : {"What views keep", "it names 98% rightly", "0–20% foreground", "0.934", "83%", "71–93%",
                           "intersection over union 0.73", "rank correlation of the share 0.94"}) {
    EXPECT_NE(page.find(text), std::string::npos) << text;
  }
}

TEST(Report, TablesWhatPairsWeigh) {
  const Path run = MakeRun("report_weights", 50, 55);
  const auto page = [&] {
    WriteReport({run}, run / "report.html");
    return ReadFile(run / "report.html");
  };
  const std::string both = page();
  for (const char* text : {"What pairs weigh", "level 100", "level 400", "1.210", "0.790", "0.830", "0.730",
                           ">300</small>", "over 256 pairs is: “genview” 0.87."}) {
    EXPECT_NE(both.find(text), std::string::npos) << text;
  }
  // Levels without steps: hundreds of them. 0.5 and 0.9 over 1 and 3 pairs.
  Json levels = Json::object();
  for (int level = 100; level < 112; ++level)
    levels[Format("{}", level)] = {{"pairs", level == 100   ? 1
                                             : level == 111 ? 3
                                                            : 0},
                                   {"mean", level == 100 ? 0.5 : 0.9}};
  WriteJson(run / "genview/pretrain/summary.json",
            {{"weights", {{"generated", {{"pairs", 4}, {"mean", 0.8}}}, {"levels", levels}}}});
  const std::string steps = page();
  EXPECT_NE(steps.find("level 100–199"), std::string::npos);
  EXPECT_NE(steps.find("0.800"), std::string::npos);
  // One kind alone has nothing beside it.
  WriteJson(run / "genview/pretrain/summary.json",
            {{"weights",
              {{"generated", {{"pairs", 4}, {"mean", 1.0}}}, {"levels", {{"100", {{"pairs", 4}, {"mean", 1.0}}}}}}}});
  EXPECT_EQ(page().find("What pairs weigh"), std::string::npos);
}

TEST(Report, AllSeedsAreRead) {
  const Path run = testing::TempDir() + "report_seeds";
  std::filesystem::remove_all(run);
  WriteFile(run / "recipe.toml", "seeds = [0, 2]\n[[arms]]\nname = \"baseline\"\n[[arms]]\nname = \"genview\"\n");
  const auto train = [&](const char* folder, const Json& weights, bool collapsed) {
    WriteJson(run / folder / "pretrain/summary.json",
              {{"encoder", "encoder"}, {"collapsed", collapsed}, {"weights", weights}});
    WriteFile(run / folder / "pretrain/log.jsonl", "{\"step\":1,\"loss\":5}\n{\"step\":2,\"loss\":4}\n");
  };
  const auto weights = [](double generated) -> Json {
    return {{"augmented", {{"pairs", 10}, {"mean", 1.2}}},
            {"generated", {{"pairs", 10}, {"mean", generated}}},
            {"levels", {{"100", {{"pairs", 10}, {"mean", generated}}}}}};
  };
  train("baseline/seed-0", Json(), false);
  train("baseline/seed-2", Json(), true);
  train("genview/seed-0", weights(0.7), false);
  train("genview/seed-2", weights(0.9), false);
  WriteFile(run / "genview/seed-2/pretrain/skipped.tsv", "id\treason\nx.png\ttruncated\n");
  WriteFile(run / "views-genview/skipped.tsv", "id\treason\ny.png\tempty\n");
  WriteFile(run / "genview/seed-2/eval/skipped.tsv", "id\treason\nz.png\ta test picture\n");
  WriteJson(run / "baseline/seed-0/eval/linear.json", EvalResultToJson(Score(50, 1)));
  WriteJson(run / "baseline/seed-2/eval/linear.json", EvalResultToJson(Score(60, 1)));
  WriteJson(run / "genview/seed-0/eval/linear.json", EvalResultToJson(Score(52, 1)));  // the other one is on its way
  const ReportSummary summary = WriteReport({run}, run / "report.html");
  const std::string page = ReadFile(run / "report.html");
  EXPECT_EQ(summary.headline,
            "“genview” reaches 52.0% linear accuracy, 2.0 points above “baseline” (95% interval +0.6 to +3.4).");
  for (const char* text : {"of seed 0 alone, which both have", "“baseline, seed 2” looks collapsed",
                           "genview, seed 2, pretrain", "views genview", "y.png", "genview, seed 2, eval", "z.png",
                           "genview, seed 2 ends at 4", "A line for each seed", "0.800", ">20</small>"}) {
    EXPECT_NE(page.find(text), std::string::npos) << text;
  }
}

TEST(Report, ASingleSeedIsThatOfTheRun) {
  const Path run = testing::TempDir() + "report_one_seed";
  const auto seeds = [&](const std::string& recipe) {
    WriteFile(run / "recipe.toml", recipe);
    return ReadRun(run).seeds;
  };
  using Seeds = std::vector<uint64_t>;
  EXPECT_EQ(seeds("[run]\nseed = 7\n"), Seeds{7});
  EXPECT_EQ(seeds("seeds = [3]\n[run]\nseed = 7\n"), Seeds{3});
  EXPECT_EQ(seeds("name = \"none\"\n"), Seeds{0});
}

TEST(Report, AnyScoreIsShown) {
  const Path run = MakeRun("report_fewshot", 50, 55);
  for (const char* arm : {"baseline", "genview"}) {
    EvalResult score = Score(*arm == 'b' ? 40 : 45, 1);
    score.kind = "fewshot";
    WriteJson(run / arm / "eval/fewshot.json", EvalResultToJson(score));
  }
  const auto page = [&] {
    WriteReport({run}, run / "report.html");
    return ReadFile(run / "report.html");
  };
  EXPECT_NE(page().find(">Few-shot</th>"), std::string::npos);  // beside the linear one
  for (const char* arm : {"baseline", "genview"}) std::filesystem::remove(run / arm / "eval/linear.json");
  const std::string alone = page();
  EXPECT_NE(alone.find("“genview” reaches 45.0% few-shot accuracy, 5.0 points above “baseline”"), std::string::npos);
  EXPECT_NE(alone.find("the interval is that of both arms&#39; intervals together"), std::string::npos)
      << alone.substr(0, 9000);
  EXPECT_EQ(alone.find(">Linear</th>"), std::string::npos);
}

TEST(Report, ScoresOnOtherPicturesAreNotCompared) {
  const Path one = MakeRun("report_pictures_one", 50, 55), two = MakeRun("report_pictures_two", 80, 90);
  for (const char* arm : {"baseline", "genview"}) {
    EvalResult score = Score(90, 1);
    score.images = 500;
    WriteJson(two / arm / "eval/linear.json", EvalResultToJson(score));
  }
  const std::string headline = WriteReport({one, two}, one / "both.html").headline;
  EXPECT_NE(headline.find("“report_pictures_one / genview” reaches 55.0%"), std::string::npos) << headline;

  // As many of them are no proof that they are the same.
  const auto headline_of = [&](const char* first, const char* second) {
    for (const auto& [run, test, top1] : {std::tuple(one, first, 50), std::tuple(two, second, 90)}) {
      for (const char* arm : {"baseline", "genview"}) {
        EvalResult score = Score(top1, 1);
        score.settings = Json::object();
        if (*test != 0) score.settings["test"] = test;
        WriteJson(run / arm / "eval/linear.json", EvalResultToJson(score));
      }
    }
    return WriteReport({one, two}, one / "both.html").headline;
  };
  const std::string other = "report_pictures_two";
  EXPECT_EQ(headline_of("some", "others").find(other), std::string::npos);
  EXPECT_NE(headline_of("some", "some").find(other), std::string::npos);
  EXPECT_NE(headline_of("some", "").find(other), std::string::npos);  // of a version that did not say
}

// Each pair once, and no empty half.
TEST(Report, PairsAreSharedByBothHalves) {
  const Path run = MakeRun("report_pairs", 50, 55);
  const auto page = [&](int count) {
    Json pairs = Json::array();
    for (int k = 0; k < count; ++k) pairs.push_back({{"id", Format("p{}", k)}, {"weight", 3.0 - k}});
    WriteJson(run / "gallery/gallery.json", {{"arm", "genview"}, {"pairs", pairs}});
    WriteReport({run}, run / "report.html");
    return ReadFile(run / "report.html");
  };
  EXPECT_EQ(Times(page(3), "times the mean weight"), 3);
  EXPECT_EQ(Times(page(20), "times the mean weight"), 8);
  EXPECT_EQ(Times(page(1), "times the mean weight"), 1);
  EXPECT_EQ(Times(page(1), "Lowest weight"), 0);
}

// What all arms set alike, and what an arm repeats of the recipe, is no difference.
TEST(Report, ArmsSayWhatDiffersInAFewWords) {
  const Path run = MakeRun("report_differs", 50, 55);
  WriteFile(run / "recipe.toml", R"(name = "differs"
[pretrain]
method = "moco-v2"
batch = 32
[pretrain.pair]
source = "augment"
probability = 1.0
[[arms]]
name = "baseline"
[arms.set]
pretrain.batch = 64
[[arms]]
name = "genview"
[arms.set]
pretrain.batch = 64
pretrain.method = "simclr"
pretrain.lr = 0.06
pretrain.pair = {source = "generated", probability = 1.0}
pretrain.quality = {enabled = true, features = "cached"}
)");
  WriteReport({run}, run / "report.html");
  const std::string page = ReadFile(run / "report.html");
  EXPECT_NE(page.find(">method simclr, lr 0.06; pair: source generated; quality: enabled, features cached<"),
            std::string::npos)
      << Between(page, "<tbody>", "</tbody>");
  EXPECT_EQ(Between(page, "<tbody>", "</tbody>").find("batch"), std::string::npos);
}

TEST(Report, AnArmIsOneLineOfTheCost) {
  const Path run = MakeRun("report_cost", 50, 55);
  WriteFile(run / "recipe.toml", "seeds = [0, 1]\n[[arms]]\nname = \"a seed 1\"\n[[arms]]\nname = \"genview\"\n");
  int order = 3;
  for (const char* arm : {"a seed 1", "genview"}) {
    for (const char* stage : {"pretrain", "eval linear", "eval knn"}) {
      for (int seed : {0, 1}) {
        const std::string name = Format("{} {} seed {}", stage, arm, seed);
        const bool training = *stage == 'p';
        WriteJson(run / "state" / Format("{}.json", order), {{"stage", name},
                                                             {"order", order},
                                                             {"seconds", training ? 100.0 : 5.0},
                                                             {"peak_memory_bytes", 1000},
                                                             {"unit", "images"},
                                                             {"asked", training ? 1024 : 9999},
                                                             {"made", training ? 1023 : 9999},
                                                             {"failed", training ? 1 : 0}});
        ++order;
      }
    }
  }
  WriteReport({run}, run / "report.html");
  const std::string page = ReadFile(run / "report.html"), folded = Between(page, "Coverage and cost", "<details>");
  for (const char* text : {">a seed 1</th>", ">genview</th>", "3 min 40 s", "1,024 images", ">1,023<", ">views"}) {
    EXPECT_NE(folded.find(text), std::string::npos) << text << folded;
  }
  EXPECT_EQ(folded.find("eval"), std::string::npos);
  EXPECT_EQ(folded.find("9,999"), std::string::npos);
  const std::string all = Between(page, "<details>", "</details>");
  for (const char* text : {"All 13 stages", "eval knn genview seed 1", "9,999 images"})
    EXPECT_NE(all.find(text), std::string::npos) << text;
}

TEST(Report, ArmsAndSeedsThatAreGoneCostNothing) {
  const Path run = MakeRun("report_gone", 50, 55);
  WriteFile(run / "recipe.toml", "seeds = [0, 1]\n[[arms]]\nname = \"genview\"\n");
  for (const char* stage : {"pretrain genview seed 0", "pretrain genview seed 2", "pretrain old seed 0", "eval knn old",
                            "views old", "foreground fit for old"})
    WriteJson(run / "state" / Format("{}.json", stage), {{"stage", stage}, {"seconds", 1000.0}});
  const RunRecord record = ReadRun(run);
  ASSERT_EQ(record.stages.size(), 2u);
  EXPECT_EQ(record.stages[0].name, "pretrain genview seed 0");
  EXPECT_EQ(record.stages[0].arm, "genview");
  EXPECT_TRUE(record.stages[0].training);
  EXPECT_EQ(record.stages[1].name, "views");
  EXPECT_EQ(record.stages[1].arm, "");
}

// Of an arm that is gone it would be in the way of every page to come.
TEST(Report, ADamagedPageOfTheBookIsLeftOut) {
  const Path run = MakeRun("report_damaged", 50, 55);
  WriteFile(run / "state/pretrain-old.json", "{\"stage\": \"pretr");
  ASSERT_EQ(ReadRun(run).stages.size(), 1u);
  EXPECT_EQ(ReadRun(run).stages[0].name, "views");
}

TEST(Report, RunsOfOneNameAreToldApart) {
  const Path one = MakeRun("report_same_one", 50, 55), two = MakeRun("report_same_two", 51, 52);
  for (const Path& run : {one, two})
    WriteFile(run / "recipe.toml", "name = \"smoke\"\n[[arms]]\nname = \"baseline\"\n");
  WriteReport({one, two}, one / "both.html");
  const std::string page = ReadFile(one / "both.html");
  EXPECT_NE(page.find(">smoke (report_same_one) / baseline<"), std::string::npos);
  EXPECT_NE(page.find(">smoke (report_same_two) / baseline<"), std::string::npos);
  const Path inner = MakeRun("report_same/report_same_one", 50, 55);
  WriteFile(inner / "recipe.toml", "name = \"smoke\"\n[[arms]]\nname = \"baseline\"\n");
  WriteReport({one, inner}, one / "both.html");
  EXPECT_NE(ReadFile(one / "both.html").find(Format(">smoke ({}) / baseline<", inner.string())), std::string::npos);
}

TEST(Report, SeveralRunsShareOneTable) {
  const Path one = MakeRun("report_one", 50, 55), two = MakeRun("report_two", 51, 52);
  const Path out = Path(testing::TempDir()) / "report_both.html";
  WriteReport({one, two}, out);
  const std::string page = ReadFile(out);
  EXPECT_NE(page.find("report_one / genview"), std::string::npos);
  EXPECT_NE(page.find("report_two / genview"), std::string::npos);
}

// However many runs there are, the last one's pictures are shown as well.
TEST(Report, EveryRunHasRoomForItsPictures) {
  Image noise(176, 176);
  uint32_t state = 1;
  for (uint8_t& value : noise.pixels) value = static_cast<uint8_t>((state = state * 1664525u + 1013904223u) >> 24);
  Json views = Json::array();
  for (int64_t level = 0; level < 50; ++level) views.push_back({{"level", level}, {"view", "noise.png"}});
  std::vector<Path> runs;
  for (const char* name : {"report_room_one", "report_room_two"}) {
    runs.push_back(MakeRun(name, 50, 55));
    WriteFile(runs.back() / "gallery/noise.png", EncodePng(noise));
    WriteJson(runs.back() / "gallery/gallery.json",
              {{"images", Json::array()}, {"levels", {{"id", "x"}, {"image", "noise.png"}, {"views", views}}}});
  }
  const ReportSummary summary = WriteReport(runs, runs[0] / "both.html");
  EXPECT_EQ(summary.pictures_left_out, 0);
  EXPECT_GT(summary.bytes, 2'600'000u);  // more than the room of one
}

TEST(Report, UnfinishedRunsHaveOneToo) {
  const Path run = testing::TempDir() + "report_unfinished";
  std::filesystem::remove_all(run);
  WriteFile(run / "recipe.toml", "[[arms]]\nname = \"baseline\"\n");
  EXPECT_EQ(WriteReport({run}, run / "report.html").headline, "No score yet: the run has not come to its evaluation.");
}

TEST(Report, TrainedWithoutScoresIsNoUnfinishedRun) {
  const Path run = testing::TempDir() + "report_trained";
  std::filesystem::remove_all(run);
  const auto headline = [&](const char* test, const char* linear) {
    WriteFile(
        run / "recipe.toml",
        Format("[data]\ntest = \"{}\"\n[eval.linear]\nenabled = {}\n[[arms]]\nname = \"a\"\n[[arms]]\nname = \"b\"\n",
               test, linear));
    return WriteReport({run}, run / "report.html").headline;
  };
  const auto untrained = [&] {
    const std::string page = ReadFile(run / "report.html");
    const size_t first = page.find(">not trained<");
    return first == std::string::npos ? 0 : page.find(">not trained<", first + 1) == std::string::npos ? 1 : 2;
  };
  WriteJson(run / "a/pretrain/summary.json", {{"encoder", "one"}});
  EXPECT_EQ(headline("", "true"), "No score yet: the run has not come to its evaluation.");
  EXPECT_EQ(untrained(), 1);
  WriteJson(run / "b/pretrain/summary.json", {{"encoder", "two"}});
  EXPECT_EQ(headline("", "true"), "Trained; no scores, since the recipe names no test images.");
  EXPECT_EQ(untrained(), 0);
  EXPECT_EQ(ReadFile(run / "report.html").find(">Difference<"), std::string::npos);
  EXPECT_EQ(headline("pictures", "false"), "Trained; no scores, since the recipe asks for none.");
  EXPECT_EQ(headline("pictures", "true"), "No score yet: the run has not come to its evaluation.");
}

TEST(Report, SaysWhereTheEncodersAre) {
  const Path run = testing::TempDir() + "report encoders";
  std::filesystem::remove_all(run);
  const auto page = [&](const char* recipe) {
    WriteFile(run / "recipe.toml", Format("{}\n[[arms]]\nname = \"a\"\n[[arms]]\nname = \"b\"\n", recipe));
    WriteReport({run}, run / "report.html");
    return ReadFile(run / "report.html");
  };
  EXPECT_EQ(page("").find("The encoders"), std::string::npos);  // none yet
  WriteJson(run / "a/pretrain/summary.json", {{"encoder", "one"}});
  const std::string part = page("");
  EXPECT_NE(part.find(Format("{}/ARM/pretrain/encoder.safetensors, 1 of 2 so far.", run.string())), std::string::npos);
  EXPECT_NE(part.find(Format("`genview run &#39;{}/recipe.toml&#39;` makes this run again", run.string())),
            std::string::npos);
  EXPECT_NE(part.find(Format("genview export &#39;{}/a/pretrain/encoder.safetensors&#39; --layout torchvision --out "
                             "a-torchvision.safetensors<",
                             run.string())),
            std::string::npos);
  WriteJson(run / "b/seed-4/pretrain/summary.json", {{"encoder", "two"}});
  const std::string seeds = page("seeds = [3, 4]\n[pretrain]\nbackbone = \"vit-small\"");
  EXPECT_NE(seeds.find(Format("{}/ARM/seed-S/pretrain/encoder.safetensors, 1 of 4 so far.", run.string())),
            std::string::npos);
  EXPECT_NE(seeds.find("/b/seed-4/pretrain/encoder.safetensors&#39; --layout timm --out b-timm.safetensors<"),
            std::string::npos);
}

TEST(Report, OtherFoldersAreRefused) {
  EXPECT_THROW(WriteReport({testing::TempDir()}, Path(testing::TempDir()) / "none.html"), Error);
}

}  // namespace
}  // namespace genview
