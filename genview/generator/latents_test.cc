#include "genview/generator/latents.h"

#include <gtest/gtest.h>

#include "genview/base/text.h"
#include "genview/generator/test_support.h"
#include "genview/generator/tiny_generator.h"

namespace genview {
namespace {

constexpr int64_t kSize = 16;

// A young autoencoder and tower, and drawn pictures.
class Latents : public testing::Test {
 protected:
  Latents()
      : tower_(OpenImageTower(WriteTinyTower(folder_.path() / "tower"))),
        vae_(MakeVae({.channels = {8, 8},
                      .layers_per_block = 1,
                      .groups = 4,
                      .sample_size = kSize,
                      .scaling_factor = 0.5,
                      .mid_attention = false})) {
    InitWeights(ListWeights(vae_), Seed(1));
  }

  LatentPictures Cache(const std::string& out, int64_t count, int64_t batch, Progress& progress) {
    const TrainingPictures pictures(OpenSource(Format("shapes:count={},size={},seed=5", count, kSize)), kSize, Seed(2),
                                    /*strict=*/false);
    return CacheLatents({pictures, tower_, vae_, Out(out), {{"count", count}}, count, batch, at::kCPU, at::kFloat},
                        progress);
  }
  Path Out(const std::string& name) const { return folder_.path() / name; }

  TemporaryFolder folder_;
  ImageTower tower_;
  Vae vae_;
};

TEST_F(Latents, AreThoseOfTheirPicturesWhateverTheBatch) {
  Progress quiet;
  RecordedProgress progress;
  const LatentPictures all = Cache("all", 12, 0, quiet), some = Cache("some", 12, 5, progress);
  EXPECT_EQ(all.latents.sizes(), at::IntArrayRef({12, 4, 8, 8}));
  EXPECT_EQ(all.embeddings.sizes(), at::IntArrayRef({12, 8}));
  EXPECT_TRUE(at::allclose(all.latents, some.latents, 1e-2, 1e-3));  // kept in half precision
  EXPECT_TRUE(at::allclose(all.embeddings, some.embeddings, 1e-4, 1e-5));
  std::vector<int64_t> done;
  for (const RecordedProgress::Row& row : progress.RowsOf("latents")) {
    done.push_back(row.done);
    EXPECT_GT(row.wait_share, 0);
    EXPECT_LE(row.wait_share, 1);
  }
  EXPECT_EQ(done, (std::vector<int64_t>{5, 10, 12}));
}

TEST_F(Latents, OnceMadeAreRead) {
  Progress quiet;
  const LatentPictures made = Cache("out", 12, 0, quiet);
  RecordedProgress progress;
  const LatentPictures read = Cache("out", 12, 0, progress);
  EXPECT_TRUE(progress.RowsOf("latents").empty());
  EXPECT_TRUE(at::equal(made.latents, read.latents));
  EXPECT_TRUE(at::equal(made.embeddings, read.embeddings));
  EXPECT_EQ(Cache("out", 9, 0, progress).latents.size(0), 9);  // of another identity
  EXPECT_EQ(progress.RowsOf("latents").size(), 1u);
}

TEST_F(Latents, StoppedInBetweenEndWithTheSameBytes) {
  constexpr int64_t kPictures = 2500;  // 8, 8 and 4 groups in files of their own
  Progress quiet;
  Cache("whole", kPictures, 0, quiet);
  EXPECT_EQ(FolderBytes(Out("whole")).size(), 1u);
  std::vector<int64_t> told;
  for (int64_t attempt = 0;; ++attempt) {
    ASSERT_LT(attempt, 3);
    StopAfterUpdates stop(10);
    try {
      Cache("cut", kPictures, 0, stop);
      break;
    } catch (const Interrupted&) {
      told.push_back(std::ssize(FolderBytes(Out("cut"))));
    }
  }
  EXPECT_EQ(told, (std::vector<int64_t>{1, 2}));  // files that need not be made again
  EXPECT_EQ(FolderBytes(Out("whole")), FolderBytes(Out("cut")));
}

TEST_F(Latents, PiecesOfOthersAreMadeAnew) {
  constexpr int64_t kPictures = 1100;
  Progress quiet;
  const LatentPictures made = Cache("out", kPictures, 0, quiet);
  // As a kill leaves them: of other pictures, and of these, but not as many.
  const auto leave = [&](const std::string& name, int64_t pictures, const Json& identity) {
    WriteSafetensors(Out("cut") / name,
                     {{"latents", at::zeros({pictures, 4, 8, 8}, at::kHalf)}, {"embeddings", at::zeros({pictures, 8})}},
                     {{"identity", identity.dump()}});
  };
  leave("latents-000000000.safetensors", 1024, {{"count", 1}});
  leave("latents-000001024.safetensors", 60, {{"count", kPictures}});
  leave("latents-000002048.safetensors", 60, {{"count", 1}});
  EXPECT_TRUE(at::equal(Cache("cut", kPictures, 0, quiet).latents, made.latents));
  EXPECT_EQ(FolderBytes(Out("out")), FolderBytes(Out("cut")));
}

TEST(PicturesAtOnce, AreFewWhereTheyAreLarge) {
  EXPECT_EQ(PicturesAtOnce(0, 32, 128), 128);
  EXPECT_EQ(PicturesAtOnce(0, 512, 128), 4);
  EXPECT_EQ(PicturesAtOnce(0, 2048, 128), 1);
  EXPECT_EQ(PicturesAtOnce(7, 512, 128), 7);
}

}  // namespace
}  // namespace genview
