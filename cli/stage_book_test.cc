#include "cli/stage_book.h"

#include <gtest/gtest.h>

#include "genview/base/text.h"

namespace genview {
namespace {

class StageBookTest : public testing::Test {
 protected:
  void SetUp() override {
    run_ = Path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(run_);
  }
  StageRequest Request(int64_t epochs) const {
    return {.name = "views constant",
            .version = 1,
            .settings = {{"views", {{"steps", epochs}}}},
            .inputs = {{"ratios", "abc"}},
            .outputs = {run_ / "views/manifest.jsonl"},
            .owned = {run_ / "views"}};
  }
  // Makes the stage and returns whether work was done.
  bool Make(const StageRequest& request, const std::vector<std::string>& only = {}, bool strict = false) {
    StageBook book(run_ / "state", only, strict);
    return book.Make(request, progress_, [&] {
      ++calls_;
      WriteFile(run_ / "views/manifest.jsonl", "row\n");
      return StageCounts{"views", 3, 2, 1};
    });
  }
  Path run_;
  Progress progress_;
  int calls_ = 0;
};

TEST_F(StageBookTest, UnchangedStagesAreNotMadeAgain) {
  EXPECT_TRUE(Make(Request(1)));
  EXPECT_FALSE(Make(Request(1)));
  EXPECT_EQ(calls_, 1);
  const Json state = ReadJson(run_ / "state/views-constant.json");
  EXPECT_EQ(state["finished"], true);
  EXPECT_EQ(state["made"], 2);
  EXPECT_EQ(state["failed"], 1);
}

TEST_F(StageBookTest, StagesOpenAtOnceAreFinishedOrPausedOneByOne) {
  StageBook book(run_ / "state", {});
  StageRequest one = Request(1), two = Request(2);
  two.name = "views adaptive";
  two.outputs = {run_ / "views-adaptive/manifest.jsonl"};
  EXPECT_EQ(book.WhatIsToDo(one), "to be made");
  std::optional<OpenStage> first = book.Begin(one, progress_), second = book.Begin(two, progress_);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->name(), "views constant");
  WriteFile(one.outputs[0], "row\n");
  EXPECT_EQ(book.WhatIsToDo(one), "to be gone on with");  // there, but nobody has said that it is whole
  first->began -= std::chrono::seconds(7);
  first->Finish({"views", 3, 2, 1});
  second->Pause();
  EXPECT_EQ(book.WhatIsToDo(one), StageBook::kDone);
  EXPECT_EQ(book.WhatIsToDo(two), "to be gone on with");
  EXPECT_FALSE(book.Begin(one, progress_));
  const Json done = ReadJson(run_ / "state/views-constant.json"), paused = ReadJson(run_ / "state/views-adaptive.json");
  EXPECT_GE(done["seconds"], 7);
  EXPECT_GT(done["peak_memory_bytes"], 0);
  EXPECT_EQ(paused["finished"], false);
  EXPECT_GT(paused["seconds"], 0);
  EXPECT_EQ(done["order"], 0);
  EXPECT_EQ(paused["order"], 1);
  std::optional<OpenStage> again = book.Begin(two, progress_);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->noted["seconds"], paused["seconds"]);
}

TEST_F(StageBookTest, AnOutputOfAnotherLengthIsMadeAgain) {
  StageRequest request = Request(1);
  Make(request);
  WriteFile(request.outputs[0], "row\nedited\n");  // views look at their table themselves
  EXPECT_FALSE(Make(request));
  request.name = "a stage that does not";
  request.keeps_sizes = true;
  request.owned.clear();
  Make(request);
  EXPECT_FALSE(Make(request));
  WriteFile(request.outputs[0], "cut");
  EXPECT_NE(StageBook(run_ / "state").WhatIsToDo(request).find("is not as long as it was"), std::string::npos);
  EXPECT_THROW(Make(request, {"eval"}), Error);
  EXPECT_EQ(ReadFile(request.outputs[0]), "cut");
  EXPECT_TRUE(Make(request));
  EXPECT_FALSE(Make(request));
}

TEST_F(StageBookTest, AStageMovesWithItsFolder) {
  StageRequest request = Request(1), moved = request;
  Make(request);
  moved.name = "views elsewhere";
  moved.outputs = {run_ / "elsewhere/manifest.jsonl"};
  ASSERT_EQ(request.outputs[0].parent_path(), run_ / "views");
  {
    StageBook book(run_ / "state", {});
    book.Move(request.name, run_ / "views", moved.name, run_ / "elsewhere");
    EXPECT_EQ(book.WhatIsToDo(moved), StageBook::kDone);
    EXPECT_EQ(book.WhatIsToDo(request), "to be made");
    book.Move(request.name, run_ / "views", moved.name, run_ / "elsewhere");  // nothing is there to move
  }
  EXPECT_FALSE(std::filesystem::exists(run_ / "views"));
}

TEST_F(StageBookTest, ChangedSettingsClearWhatWasMade) {
  Make(Request(1));
  WriteFile(run_ / "views/old.png", "x");
  EXPECT_TRUE(Make(Request(2)));
  EXPECT_FALSE(std::filesystem::exists(run_ / "views/old.png"));
}

TEST_F(StageBookTest, WorkThatLooksThroughWhatIsThereKeepsItUnderOtherSettings) {
  StageRequest request = Request(1);
  request.cleared_by = std::vector<std::string>{"data"};
  request.inputs["data"] = "pictures";
  Make(request);
  const Path view = run_ / "views/view.png";
  WriteFile(view, "x");
  request.settings["views"]["steps"] = 2;
  request.inputs["ratios"] = "other";
  EXPECT_NE(StageBook(run_ / "state").WhatIsToDo(request).find("to be gone through again: "), std::string::npos);
  EXPECT_TRUE(Make(request));
  EXPECT_TRUE(std::filesystem::exists(view));
  EXPECT_FALSE(Make(request));
  request.inputs["data"] = "other pictures";
  EXPECT_TRUE(Make(request));
  EXPECT_FALSE(std::filesystem::exists(view));
  WriteFile(view, "x");
  request.version = 2;
  EXPECT_TRUE(Make(request));
  EXPECT_FALSE(std::filesystem::exists(view));
  WriteFile(view, "x");
  std::filesystem::remove_all(run_ / "state");  // nobody says any more that it is the run's
  EXPECT_THROW(Make(request), UsageError);
  EXPECT_TRUE(std::filesystem::exists(view));
}

// The same encoder, seen from another folder or moved to another place.
TEST_F(StageBookTest, WhereAnInputIsDoesNotCount) {
  StageRequest request = Request(1);
  request.places = {"encoder"};
  request.settings["encoder"] = "models/tower";
  Make(request);
  request.settings["encoder"] = "../models/tower";
  EXPECT_EQ(StageBook(run_ / "state").WhatIsToDo(request), StageBook::kDone);
  EXPECT_FALSE(Make(request));
  request.inputs["ratios"] = "other contents";
  EXPECT_TRUE(Make(request));
  request.settings["encoder"] = "";  // none is another thing than one somewhere else
  EXPECT_TRUE(Make(request));
  request.settings["views"]["steps"] = 2;
  EXPECT_TRUE(Make(request));
}

TEST_F(StageBookTest, HowTheWorkGoesAboutDoesNotCount) {
  StageRequest request = Request(1);
  request.places = {"views.save_every", "views.gone.deep"};
  request.settings["views"]["save_every"] = 5;
  Make(request);
  request.settings["views"]["save_every"] = 7;
  EXPECT_EQ(StageBook(run_ / "state").WhatIsToDo(request), StageBook::kDone);
  EXPECT_FALSE(Make(request));
  request.settings["views"]["steps"] = 2;
  EXPECT_TRUE(Make(request));
}

TEST_F(StageBookTest, WhatTheRunHasNotMadeStays) {
  WriteFile(run_ / "views/photo.jpg", "x");
  EXPECT_THROW(Make(Request(1)), UsageError);
  StageBook(run_ / "state", {}).Forget("views constant", {run_ / "views"});
  EXPECT_TRUE(std::filesystem::exists(run_ / "views/photo.jpg"));
  EXPECT_EQ(calls_, 0);
  std::filesystem::remove(run_ / "views/photo.jpg");
  EXPECT_TRUE(Make(Request(1)));
}

TEST_F(StageBookTest, MissingOutputsAreMadeAgainWithoutClearing) {
  Make(Request(1));
  WriteFile(run_ / "views/old.png", "x");
  std::filesystem::remove(run_ / "views/manifest.jsonl");
  EXPECT_TRUE(Make(Request(1)));
  EXPECT_TRUE(std::filesystem::exists(run_ / "views/old.png"));
}

TEST_F(StageBookTest, InterruptedWorkGoesOn) {
  {
    StageBook book(run_ / "state", {});
    EXPECT_THROW(book.Make(Request(1), progress_,
                           [&]() -> StageCounts {
                             WriteFile(run_ / "views/half.png", "x");
                             throw Interrupted();
                           }),
                 Interrupted);
  }
  EXPECT_EQ(ReadJson(run_ / "state/views-constant.json")["finished"], false);
  EXPECT_TRUE(Make(Request(1)));
  EXPECT_TRUE(std::filesystem::exists(run_ / "views/half.png"));
}

TEST_F(StageBookTest, OnlyLeavesOtherStagesAlone) {
  EXPECT_THROW(Make(Request(1), {"pretrain"}), Error);
  EXPECT_TRUE(Make(Request(1), {"views"}));
  EXPECT_FALSE(Make(Request(1), {"pretrain"}));
}

TEST_F(StageBookTest, StagesThatOnlyLeavesOutAreAskedForBeforehand) {
  const auto check = [&] {
    StageBook(run_ / "state", {"pretrain"}).CheckOnly("views constant", {run_ / "views/manifest.jsonl"});
  };
  EXPECT_THROW(check(), Error);
  EXPECT_NO_THROW(StageBook(run_ / "state", {"views"}).CheckOnly("views constant", {run_ / "views/manifest.jsonl"}));
  Make(Request(1));
  EXPECT_NO_THROW(check());
  std::filesystem::remove(run_ / "views/manifest.jsonl");
  EXPECT_THROW(check(), Error);
}

TEST_F(StageBookTest, StrictRefusesWhatIsThereWithoutSome) {
  Make(Request(1));  // 2 of 3
  try {
    Make(Request(1), {}, /*strict=*/true);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.text().what, "`views constant` is there without 1 of its 3 views");
  }
  EXPECT_EQ(calls_, 1);
  EXPECT_FALSE(Make(Request(1)));
}

TEST_F(StageBookTest, AForgottenStageLeavesNothing) {
  Make(Request(1));
  {
    StageBook book(run_ / "state", {});
    EXPECT_EQ(book.RequestOf("views constant")["settings"], Request(1).settings);
    EXPECT_TRUE(book.RequestOf("views").is_null());
    book.Forget("views constant", {run_ / "views"});
    book.Forget("views constant", {run_ / "views"});  // nothing to forget
    EXPECT_TRUE(book.RequestOf("views constant").is_null());
  }
  EXPECT_FALSE(std::filesystem::exists(run_ / "views"));
  EXPECT_TRUE(Make(Request(1)));
}

TEST_F(StageBookTest, ABookThatIsLookedAtStaysAsItIs) {
  EXPECT_EQ(StageBook(run_ / "state").WhatIsToDo(Request(1)), "to be made");
  EXPECT_FALSE(std::filesystem::exists(run_));
  Make(Request(1));
  const StageBook writing(run_ / "state", {});
  StageBook book(run_ / "state");  // while another process holds the run
  EXPECT_TRUE(book.IsThere("views constant", Request(1).outputs));
  EXPECT_EQ(book.WhatIsToDo(Request(1)), StageBook::kDone);
  EXPECT_EQ(book.WhatIsToDo(Request(2)), "to be made again: settings.views.steps 1 -> 2");
  EXPECT_EQ(book.FingerprintOf(run_ / "views/manifest.jsonl").size(), 32u);
  EXPECT_FALSE(std::filesystem::exists(run_ / "state/.inputs.json"));
  EXPECT_THROW((void)book.Begin(Request(2), progress_), std::logic_error);
}

TEST_F(StageBookTest, ASecondProcessIsRefused) {
  const StageBook book(run_ / "state", {});
  EXPECT_THROW(StageBook(run_ / "state", {}), Error);
}

TEST_F(StageBookTest, ADamagedStateFileIsTakenAsNone) {
  Make(Request(1));
  WriteFile(run_ / "state/views-constant.json", "{\"stage\": ");
  EXPECT_TRUE(Make(Request(1)));
}

TEST_F(StageBookTest, FolderFingerprintsFollowNamesAndContents) {
  StageBook book(run_ / "state", {});
  WriteFile(run_ / "in/a", "1");
  const std::string first = book.FingerprintOf(run_ / "in");
  EXPECT_EQ(book.FingerprintOf(run_ / "in"), first);
  WriteFile(run_ / "in/a", "22");
  const std::string second = book.FingerprintOf(run_ / "in");
  EXPECT_NE(second, first);
  std::filesystem::rename(run_ / "in/a", run_ / "in/b");
  EXPECT_NE(book.FingerprintOf(run_ / "in"), second);
}

TEST_F(StageBookTest, WhatIsHiddenInAFolderDoesNotCount) {
  StageBook book(run_ / "state", {});
  WriteFile(run_ / "in/a", "1");
  const std::string before = book.FingerprintOf(run_ / "in");
  WriteFile(run_ / "in/.git/objects/pack", "2");
  WriteFile(run_ / "in/.hidden", "3");
  EXPECT_EQ(book.FingerprintOf(run_ / "in"), before);
  WriteFile(run_ / "in/shown/b", "4");
  EXPECT_NE(book.FingerprintOf(run_ / "in"), before);
}

TEST_F(StageBookTest, AModelSaysWhatOfItsFolderCounts) {
  WriteFile(run_ / "in/weights", "1");
  int reads = 0;
  const auto fingerprint = [&](const char* kind) {
    return StageBook(run_ / "state", {}).FingerprintOfModel(kind, run_ / "in", [&] {
      ++reads;
      return Format("{} {}", kind, ReadFile(run_ / "in/weights"));
    });
  };
  EXPECT_EQ(fingerprint("encoder"), "encoder 1");
  EXPECT_EQ(fingerprint("encoder"), "encoder 1");
  EXPECT_EQ(reads, 1);
  EXPECT_EQ(fingerprint("generator"), "generator 1");  // a pipeline may be read as either
  WriteFile(run_ / "in/read-me", "");
  EXPECT_EQ(fingerprint("encoder"), "encoder 1");
  EXPECT_EQ(reads, 3);
  WriteFile(run_ / "in/weights", "22");
  EXPECT_EQ(fingerprint("encoder"), "encoder 22");
}

TEST_F(StageBookTest, AFolderOfManyFilesIsNotedOnce) {
  StageBook book(run_ / "state", {});
  for (const char* name : {"a", "b", "deep/c"}) WriteFile(run_ / "masks" / name, name);
  const std::string before = book.FingerprintOf(run_ / "masks");
  EXPECT_EQ(ReadJson(run_ / "state/.inputs.json").size(), 1u);
  EXPECT_EQ(StageBook(run_ / "state").FingerprintOf(run_ / "masks"), before);
  WriteFile(run_ / "masks/deep/c", "changed");
  EXPECT_NE(book.FingerprintOf(run_ / "masks"), before);
}

TEST(Requests, TheMachineIsNoPartOfThem) {
  const Json settings = {
      {"steps", 3}, {"run", {{"seed", 1}, {"threads", 4}, {"device", "cpu"}}}, {"pair", {{"run", {{"batch", 1}}}}}};
  EXPECT_EQ(WithoutMachine(settings),
            Json({{"steps", 3}, {"run", {{"seed", 1}}}, {"pair", {{"run", Json::object()}}}}));
}

TEST(Requests, DifferencesAreNamed) {
  EXPECT_EQ(Differences({{"a", {{"b", 1}, {"c", 2}}}}, {{"a", {{"b", 3}, {"c", 2}}}, {"d", "x"}}),
            (std::vector<std::string>{"a.b 1 -> 3", "d nothing -> x"}));
}

}  // namespace
}  // namespace genview
