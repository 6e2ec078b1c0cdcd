#include "genview/models/clip_tokenizer.h"
#include "tests/source_dir.h"

#include <gtest/gtest.h>

#include "genview/base/error.h"

namespace genview {
namespace {

const Path kGolden = SourceDir() / "tests/golden/diffusion";

TEST(ClipTokenizer, WordsEqualTransformersFromBothLayouts) {
  for (const Path& folder : {kGolden / "pipeline_text/tokenizer", kGolden / "tokenizer_json"}) {
    const ClipTokenizer tokenizer = ClipTokenizer::Open(folder);
    for (const Json& one : ReadJson(kGolden / "tokens.json")) {
      EXPECT_EQ(tokenizer.Words(one.at("text").get<std::string>()), one.at("ids").get<std::vector<int64_t>>())
          << folder << one.at("text");
    }
  }
}

TEST(ClipTokenizer, SequencesBeginEndAndArePadded) {
  const ClipTokenizer tokenizer = ClipTokenizer::Open(kGolden / "pipeline_text/tokenizer");
  EXPECT_EQ(tokenizer.max_length(), 16);
  EXPECT_EQ(tokenizer.pad_id(), 0);  // "!"
  EXPECT_EQ(tokenizer.Encode("", 4), (std::vector<int64_t>{tokenizer.begin_id(), tokenizer.end_id(), 0, 0}));
  const auto cut = tokenizer.Encode("a very long text that has to be cut", 5);
  ASSERT_EQ(cut.size(), 5u);
  EXPECT_EQ(cut.back(), tokenizer.end_id());
}

TEST(ClipTokenizer, TextsThatCannotBeReadAreRefused) {
  const ClipTokenizer tokenizer = ClipTokenizer::Open(kGolden / "pipeline_text/tokenizer");
  EXPECT_THROW(tokenizer.Words("\xff"), UsageError);
  EXPECT_THROW(tokenizer.Words("e\xcc\x81"), UsageError);  // e and a combining acute
  EXPECT_THROW(tokenizer.Words(std::string(5000, 'a')), UsageError);
}

TEST(ClipTokenizer, DamagedFilesAreErrors) {
  const Path folder = Path(testing::TempDir()) / "genview-tokenizer";
  const auto open = [&](const char* vocabulary, const char* merges) {
    WriteFile(folder / "vocab.json", vocabulary);
    WriteFile(folder / "merges.txt", merges);
    return ClipTokenizer::Open(folder);
  };
  EXPECT_THROW(open("[]", ""), Error);
  EXPECT_THROW(open(R"({"a": "b"})", ""), Error);
  EXPECT_THROW(open(R"({"a": 1})", ""), Error);  // no special tokens
  EXPECT_THROW(open(R"({"<|startoftext|>": 0, "<|endoftext|>": 1})", "a b c\n"), Error);
  EXPECT_NO_THROW(open(R"({"<|startoftext|>": 0, "<|endoftext|>": 1})", "a b\n"));
  std::filesystem::remove_all(folder);
}

// In quadratic time it would take longer than a test may.
TEST(ClipTokenizer, AVocabularyOfManyTokensIsReadAtOnce) {
  const Path folder = Path(testing::TempDir()) / "genview-tokenizer-many";
  std::string vocabulary = R"({"<|startoftext|>": 0, "<|endoftext|>": 1)";
  constexpr int64_t kTokens = 400'000;
  for (int64_t id = 2; id < kTokens; ++id) vocabulary += ", \"token" + std::to_string(id) + "\": " + std::to_string(id);
  WriteFile(folder / "vocab.json", vocabulary + "}");
  WriteFile(folder / "merges.txt", "a b\n");
  EXPECT_EQ(ClipTokenizer::Open(folder).highest_id(), kTokens - 1);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace genview
