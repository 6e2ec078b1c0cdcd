#include "genview/train/checkpoint.h"

#include <gtest/gtest.h>

#include "genview/base/error.h"
#include "genview/tensor/safetensors.h"
#include "tests/temporary_folder.h"

namespace genview {
namespace {

class CheckpointTest : public testing::Test {
 protected:
  void Save(int64_t step, int64_t keep = 2) {
    SaveCheckpoint(folder_, step,
                   {{"encoder.weight", at::full({2, 3}, step)}, {"count", at::full({}, step, at::kLong)}},
                   {{"format", 1}, {"kind", "pretrain"}}, keep);
  }
  std::vector<int64_t> Steps() {
    std::vector<int64_t> steps;
    for (const auto& [step, path] : ListCheckpoints(folder_)) steps.push_back(step);
    return steps;
  }

  const TemporaryFolder place_;
  const Path folder_ = place_.path() / "run";  // not there at first
};

TEST_F(CheckpointTest, ComesBackAsItWas) {
  Save(7);
  const auto latest = LatestCheckpoint(folder_);
  ASSERT_TRUE(latest);
  EXPECT_EQ(latest->path.filename(), "step-0000000007.safetensors");
  EXPECT_EQ(latest->step, 7);
  EXPECT_EQ(latest->meta["kind"], "pretrain");
  EXPECT_TRUE(at::equal(latest->weights.At("encoder.weight"), at::full({2, 3}, 7.0f)));
}

TEST_F(CheckpointTest, KeepsTheLastFew) {
  for (const int64_t step : {1, 2, 3, 10}) Save(step);
  EXPECT_EQ(Steps(), (std::vector<int64_t>{3, 10}));
  Save(11, /*keep=*/0);
  EXPECT_EQ(Steps(), (std::vector<int64_t>{3, 10, 11}));
}

TEST_F(CheckpointTest, ARunBegunAgainRemovesLaterSteps) {
  for (const int64_t step : {8, 9}) Save(step);
  Save(2);
  EXPECT_EQ(Steps(), (std::vector<int64_t>{2}));
}

TEST_F(CheckpointTest, DamagedOnesArePassedOver) {
  Save(1);
  Save(2);
  const Path newest = folder_ / "step-0000000002.safetensors";
  std::string bytes = ReadFile(newest);
  bytes[bytes.size() - 3] ^= 1;  // one bit of the data
  WriteFile(newest, bytes);
  std::vector<std::string> skipped;
  EXPECT_EQ(LatestCheckpoint(folder_, &skipped)->path.filename(), "step-0000000001.safetensors");
  ASSERT_EQ(skipped.size(), 1u);
  EXPECT_NE(skipped[0].find("damaged"), std::string::npos);
  for (const size_t length : {size_t{0}, size_t{4}, size_t{60}, bytes.size() - 1}) {
    WriteFile(newest, std::string_view(bytes).substr(0, length));
    EXPECT_EQ(LatestCheckpoint(folder_)->path.filename(), "step-0000000001.safetensors") << length;
  }
  WriteFile(folder_ / "step-0000000001.safetensors", "");
  EXPECT_FALSE(LatestCheckpoint(folder_));
}

// Passed over like a damaged one, it would be replaced by the training that begins anew.
TEST_F(CheckpointTest, OneOfANewerVersionIsRefused) {
  Save(1);
  SaveCheckpoint(folder_, 2, {{"w", at::ones({1})}}, {{"format", 2}, {"kind", "pretrain"}});
  const Path newest = folder_ / "step-0000000002.safetensors";
  try {
    (void)LatestCheckpoint(folder_);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.text().what, "made by a newer version of this program: format 2, where 1 is known");
    EXPECT_EQ(error.text().where, newest.string());
  }
  EXPECT_THROW(ReadCheckpoint(newest), NewerFormatError);
}

TEST_F(CheckpointTest, OtherFilesAreNoCheckpoints) {
  EXPECT_FALSE(LatestCheckpoint(folder_));
  WriteSafetensors(folder_ / "step-0000000005.safetensors", {{"w", at::ones({1})}});
  WriteFile(folder_ / "step-5.safetensors", "");
  WriteFile(folder_ / ".step-0000000009.safetensors.1.part", "");
  EXPECT_FALSE(LatestCheckpoint(folder_));
  EXPECT_EQ(Steps(), (std::vector<int64_t>{5}));
}

TEST_F(CheckpointTest, SameStateSameBytes) {
  Save(3);
  const std::string first = ReadFile(folder_ / "step-0000000003.safetensors");
  Save(3);
  EXPECT_EQ(first, ReadFile(folder_ / "step-0000000003.safetensors"));
}

}  // namespace
}  // namespace genview
