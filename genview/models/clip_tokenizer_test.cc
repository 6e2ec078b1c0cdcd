#include "genview/models/clip_tokenizer.h"
#include "tests/source_dir.h"

#include <gtest/gtest.h>

#include "genview/base/error.h"

namespace genview {
namespace {

const Path kGolden = SourceDir() / "tests/golden/diffusion";

TEST(ClipTokenizer, WordsEqualTransformersFromBothLayouts) {
  const Json cases = ReadJson(kGolden / "tokens.json");
  ASSERT_GT(cases.size(), 7u);
  for (const auto& [folder, ids] :
       {std::pair{"pipeline_text/tokenizer", "ids_where_it_pads"}, {"tokenizer_json", "ids"}}) {
    const ClipTokenizer tokenizer = ClipTokenizer::Open(kGolden / folder);
    for (const Json& one : cases) {
      EXPECT_EQ(tokenizer.Words(one.at("text").get<std::string>()), one.at(ids).get<std::vector<int64_t>>())
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

// As transformers has it.
TEST(ClipTokenizer, ThePaddingTokenIsThatOfTheMapWhereTheConfigHasNoTokens) {
  const Path folder = Path(testing::TempDir()) / "genview-tokenizer-pad";
  WriteFile(folder / "vocab.json", R"({"!": 0, "!</w>": 1, "<|startoftext|>": 2, "<|endoftext|>": 3})");
  WriteFile(folder / "merges.txt", "a b\n");
  const auto open = [&](const char* config, const char* map) {
    WriteFile(folder / "tokenizer_config.json", config);
    WriteFile(folder / "special_tokens_map.json", map);
    return ClipTokenizer::Open(folder);
  };
  const char *with_end = R"({"pad_token": "<|endoftext|>", "model_max_length": 16})",
             *with_mark = R"({"pad_token": "!"})";
  EXPECT_EQ(open(with_end, with_mark).pad_id(), 0);
  EXPECT_EQ(open(with_end, R"({"pad_token": {"content": "!"}, "model_max_length": 8})").max_length(), 16);
  EXPECT_EQ(open(with_mark, R"({"pad_token": "<|endoftext|>"})").pad_id(), 3);
  EXPECT_EQ(open(with_mark, "{}").pad_id(), 0);
  EXPECT_EQ(open("{}", with_mark).pad_id(), 0);
  EXPECT_EQ(open("{}", "{}").pad_id(), 3);
  const ClipTokenizer added = open(
      R"({"pad_token": "<|endoftext|>", "added_tokens_decoder": {"0": {"content": "!", "special": true}}})", with_mark);
  EXPECT_EQ(added.pad_id(), 3);
  EXPECT_EQ(added.Words("!"), (std::vector<int64_t>{0}));
  EXPECT_EQ(open(with_end, "{}").Words("!"), (std::vector<int64_t>{1}));
  std::filesystem::remove_all(folder);
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

TEST(ClipTokenizer, WithoutWordsTheEmptyTextAloneIsEncoded) {
  const ClipTokenizer tokenizer = ClipTokenizer::WithoutWords(49408);
  EXPECT_FALSE(tokenizer.has_words());
  EXPECT_EQ(tokenizer.Encode("", 5), (std::vector<int64_t>{49406, 49407, 0, 0, 0}));
  EXPECT_EQ(tokenizer.Encode(" \n", 5), tokenizer.Encode("", 5));
  EXPECT_THROW(tokenizer.Encode("a cat", 5), UsageError);
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
