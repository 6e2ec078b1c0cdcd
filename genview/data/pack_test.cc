#include "genview/data/pack.h"

#include <gtest/gtest.h>

#include "genview/data/source.h"
#include "tests/temporary_folder.h"

namespace genview {
namespace {

class PackTest : public ::testing::Test {
 protected:
  PackSummary Pack(const std::string& images, const std::string& out, int64_t per_shard, int64_t threads = 2) {
    return PackShards({.images = images, .out = folder_ / out, .per_shard = per_shard, .threads = threads}, progress_,
                      skipped_);
  }

  static std::string Drawn() { return *OpenSource("shapes:count=1,size=16")->ReadBytes(0); }

  const TemporaryFolder place_;
  const Path folder_ = place_.path();
  Progress progress_;
  SkippedLog skipped_;
};

TEST_F(PackTest, ShardsGiveTheSamePicturesIdsAndClasses) {
  const std::string spec = "shapes:count=23,size=16,seed=1";
  const auto summary = Pack(spec, "s/train", 10);
  EXPECT_EQ(summary.images, 23);
  EXPECT_EQ(summary.shards, 3);
  EXPECT_EQ(summary.spec, (folder_ / "s/train-{0000..0002}.tar").string());
  const auto before = OpenSource(spec), after = OpenSource(summary.spec);
  ASSERT_EQ(after->size(), 23);
  EXPECT_EQ(after->classes(), before->classes());
  for (int64_t i = 0; i < 23; ++i) {
    EXPECT_EQ(after->item(i).id, before->item(i).id);
    EXPECT_EQ(after->item(i).label, before->item(i).label);
    EXPECT_EQ(*after->ReadBytes(i), *before->ReadBytes(i));
  }
  const Json index = ReadJson(folder_ / "s/train.json");
  ASSERT_EQ(index["shards"].size(), 3u);
  EXPECT_EQ(index["shards"][0]["images"], 7);
  EXPECT_EQ(index["shards"][2]["file"], "train-0002.tar");
}

TEST_F(PackTest, BytesDoNotDependOnThreads) {
  Pack("shapes:count=30,size=16", "a.tar", 1, 1);
  Pack("shapes:count=30,size=16", "b.tar", 1, 5);
  EXPECT_EQ(ReadFile(folder_ / "a.tar"), ReadFile(folder_ / "b.tar"));
}

TEST_F(PackTest, RangeInBracesSetsTheNumberOfShards) {
  EXPECT_EQ(Pack("shapes:count=10,size=16", "x-{00..03}.tar", 1).shards, 4);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "x-03.tar"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "x.json"));
}

TEST_F(PackTest, GoesOnFromTheShardsThatAreThere) {
  const std::string spec = "shapes:count=12,size=16";
  EXPECT_EQ(Pack(spec, "s", 4).written, 3);
  EXPECT_EQ(Pack(spec, "s", 4).written, 0);
  const std::string whole = ReadFile(folder_ / "s-0001.tar");
  std::filesystem::remove(folder_ / "s-0001.tar");
  const Path torn = folder_ / ".s-0001.tar.999999999.part";  // of a process that was killed
  WriteFile(torn, "half");
  EXPECT_EQ(Pack(spec, "s", 4).written, 1);
  EXPECT_FALSE(std::filesystem::exists(torn));
  EXPECT_EQ(ReadFile(folder_ / "s-0001.tar"), whole);
  EXPECT_THROW(Pack("shapes:count=12,size=16,seed=9", "s", 4), Error);
}

TEST_F(PackTest, PicturesWithoutAnEndingGetOneByTheirContents) {
  const auto drawn = OpenSource("shapes:count=2,size=16");
  WriteFile(folder_ / "in/one", *drawn->ReadBytes(0));
  WriteFile(folder_ / "in/two", "no picture");
  WriteFile(folder_ / "in/.three.png", *drawn->ReadBytes(1));
  WriteFile(folder_ / "in/list.txt", "one\ntwo\n.three.png\n");
  const auto summary = Pack((folder_ / "in/list.txt").string(), "out.tar", 10);
  EXPECT_EQ(summary.images, 1);
  EXPECT_EQ(skipped_.count(), 2);
  const auto packed = OpenSource(summary.spec);
  ASSERT_EQ(packed->size(), 1);
  EXPECT_EQ(packed->item(0).id, "one.png");
  EXPECT_EQ(*packed->ReadBytes(0), *drawn->ReadBytes(0));
}

TEST_F(PackTest, PicturesOfOneNameAndTwoClassesAreRefused) {
  WriteFile(folder_ / "list.txt", "a.png\tdog\na.jpg\tcat\n");
  WriteFile(folder_ / "a.png", Drawn());
  WriteFile(folder_ / "a.jpg", Drawn());
  EXPECT_THROW(Pack((folder_ / "list.txt").string(), "out", 10), Error);
  WriteFile(folder_ / "list.txt", "a.png\tdog\na.jpg\tdog\n");
  EXPECT_EQ(Pack((folder_ / "list.txt").string(), "out", 10).images, 2);
  const std::string shard = ReadFile(folder_ / "out-0000.tar");
  EXPECT_EQ(shard.find("a.cls"), shard.rfind("a.cls")) << "one class file for both";
  EXPECT_THROW(Pack((folder_ / "list.txt").string(), "folder/", 10), UsageError);
}

TEST_F(PackTest, DamagedShardIsAnErrorAndSkippedPicturesStaySkipped) {
  WriteFile(folder_ / "in/a.png", Drawn());
  WriteFile(folder_ / "in/c.png", Drawn());
  std::filesystem::create_symlink(folder_ / "nowhere", folder_ / "in/b.png");
  EXPECT_EQ(Pack((folder_ / "in").string(), "s", 2).images, 2);
  std::filesystem::remove(folder_ / "s.json");
  SkippedLog again;
  EXPECT_EQ(
      PackShards({.images = (folder_ / "in").string(), .out = folder_ / "s", .per_shard = 2}, progress_, again).images,
      2);
  ASSERT_EQ(again.count(), 1);
  EXPECT_EQ(again.rows()[0].first, "b.png");
  WriteFile(folder_ / "s-0000.tar", std::string(700, 'x'));
  EXPECT_THROW(Pack((folder_ / "in").string(), "s", 2), Error);
}

TEST_F(PackTest, ShardsThatNobodyDescribesAreNotWrittenOver) {
  for (const char* name : {"theirs/a.png", "theirs/b.png", "one/p.png", "ours/p.png", "ours/q.png"})
    WriteFile(folder_ / name, Drawn());
  for (const char* foreign : {"theirs", "one"}) {  // as many pictures of other names; fewer of the same
    SCOPED_TRACE(foreign);
    Pack((folder_ / foreign).string(), "foreign", 10);
    std::filesystem::remove(folder_ / "foreign.json");
    std::filesystem::rename(folder_ / "foreign-0000.tar", folder_ / "s-0000.tar");
    const std::string before = ReadFile(folder_ / "s-0000.tar");
    for (int call = 0; call < 2; ++call) {
      EXPECT_THROW(Pack((folder_ / "ours").string(), "s", 10), Error);
      EXPECT_EQ(ReadFile(folder_ / "s-0000.tar"), before);
    }
  }
  std::filesystem::remove(folder_ / "s-0000.tar");
  EXPECT_EQ(Pack((folder_ / "ours").string(), "s", 10).images, 2);
}

TEST_F(PackTest, FileThatCannotBeReadIsSkipped) {
  WriteFile(folder_ / "in/a.png", Drawn());
  WriteFile(folder_ / "in/c.png", "no picture");
  std::filesystem::create_symlink(folder_ / "nowhere", folder_ / "in/b.png");
  const std::string in = (folder_ / "in").string();
  EXPECT_EQ(Pack(in, "out.tar", 10).images, 1);
  ASSERT_EQ(skipped_.count(), 2);
  EXPECT_EQ(skipped_.rows()[0].first, "b.png");
  EXPECT_EQ(ReadLines(folder_ / "skipped.tsv").size(), 3u);
  SkippedLog some;
  EXPECT_EQ(PackShards({.images = in, .out = folder_ / "as-they-are.tar", .check = false}, progress_, some).images, 2);
  EXPECT_THROW(PackShards({.images = in, .out = folder_ / "strict.tar", .strict = true}, progress_, some), Error);
}

}  // namespace
}  // namespace genview
