#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>

#include "genview/base/fields.h"
#include "genview/base/files.h"
#include "genview/base/hash.h"
#include "genview/base/random.h"
#include "genview/base/sorted_json.h"
#include "genview/base/text.h"
#include "genview/base/toml.h"

namespace genview {
namespace {

struct Inner {
  double gamma = 1;
};
template <class Visit>
void VisitFields(Inner& c, Visit&& visit) {
  visit("gamma", c.gamma, Range<double>{0, 10}, "sharpness");
}
struct Outer {
  int64_t epochs = 3;
  std::string name;
  std::vector<int64_t> levels = {0, 100};
  Inner quality;
};
template <class Visit>
void VisitFields(Outer& c, Visit&& visit) {
  visit("epochs", c.epochs, Range<int64_t>{1, 100}, "passes");
  visit("name", c.name, Required{}, "a name");
  visit("levels", c.levels, Range<int64_t>{0, 999}, "levels");
  visit("quality", c.quality, Section{}, "weights");
}

std::string Complaint(const std::string& toml) {
  const auto document = ParseToml(toml, "r.toml");
  Outer config;
  try {
    ReadFields(config, document.values, {document.file, "", &document.lines});
  } catch (const UsageError& error) {
    return error.text().what + "|" + error.text().where + "|" + error.text().next;
  }
  return "";
}

TEST(Fields, ReadsNestedTables) {
  const auto document = ParseToml("epochs = 7\nlevels = [1, 2]\n[quality]\ngamma = 2\n", "r.toml");
  Outer config;
  ReadFields(config, document.values, {document.file, "", &document.lines});
  EXPECT_EQ(config.epochs, 7);
  EXPECT_EQ(config.levels, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(config.quality.gamma, 2);
  EXPECT_EQ(FieldsToJson(config)["quality"]["gamma"], 2.0);
}

TEST(Fields, UnknownKeyNamesLineAndNearest) {
  EXPECT_EQ(Complaint("epochs = 1\nepoch = 2\n"),
            "unknown key `epoch`|r.toml, line 2, key `epoch`|did you mean `epochs`?");
  EXPECT_NE(Complaint("[quality]\ngama = 2\n").find("did you mean `gamma`?"), std::string::npos);
}

TEST(Fields, RangesAndTypesAreChecked) {
  EXPECT_NE(Complaint("epochs = 0").find("allowed are 1 to 100"), std::string::npos);
  EXPECT_NE(Complaint("epochs = \"x\"").find("not a whole number"), std::string::npos);
  EXPECT_NE(Complaint("levels = [1000]").find("allowed are 0 to 999"), std::string::npos);
  EXPECT_NE(Complaint("epochs = 1.5").find("not a whole number"), std::string::npos);
}

struct Automatic {
  int64_t threads = 2, seed = 2;
};
template <class Visit>
void VisitFields(Automatic& c, Visit&& visit) {
  visit("threads", c.threads, RangeOrAuto<int64_t>{{0, 8}}, "workers");
  visit("seed", c.seed, Range<int64_t>{0, 8}, "of random numbers");
}

TEST(Fields, AutoStandsForZeroWhereAFieldTakesIt) {
  Automatic config;
  ReadFields(config, {{"threads", "auto"}}, {.file = "r.toml", .prefix = ""});
  EXPECT_EQ(config.threads, 0);
  EXPECT_THROW(ReadFields(config, {{"seed", "auto"}}, {.file = "r.toml", .prefix = ""}), UsageError);
  EXPECT_THROW(ReadFields(config, {{"threads", 9}}, {.file = "r.toml", .prefix = ""}), UsageError);
  EXPECT_TRUE(DescribeFields<Automatic>()[0].takes_auto);
  EXPECT_FALSE(DescribeFields<Automatic>()[1].takes_auto);
}

TEST(Fields, AssignmentsBecomeTypedJson) {
  EXPECT_EQ(AssignmentToJson("a.b", "3", "whole number")["a"]["b"], 3);
  EXPECT_EQ(AssignmentToJson("a", "1,2", "list of whole numbers")["a"], Json({1, 2}));
  EXPECT_EQ(AssignmentToJson("a", "3", "text")["a"], "3");
  EXPECT_EQ(AssignmentToJson("run.seed", "auto", "whole number")["run"]["seed"], "auto");  // ReadFields judges it
}

TEST(Toml, OtherTextThanUtf8IsNamedByItsLine) {
  try {
    ParseToml("a = 1\nb = \"\xff\"\n", "r.toml");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_EQ(error.text().where, "r.toml, line 2");
  }
}

TEST(Toml, LettersBeyondAsciiBelongIntoQuotes) {
  for (const char* good : {"\xEF\xBB\xBF"
                           "a = 1",
                           "a = \"é\" # é", "'é' = '''\né'''"})
    EXPECT_NO_THROW(ParseToml(good, "r.toml")) << good;
  for (const char* bad : {"é = 1", "a = é", "a = \"é\" é", "a =\u00a01", "a = 1\u00c0", "[é]", "a = [1, é]"}) {
    try {
      ParseToml(std::string("# é\n") + bad, "r.toml");
      ADD_FAILURE() << bad;
    } catch (const UsageError& error) {
      EXPECT_EQ(error.text().where, "r.toml, line 2") << bad;
    }
  }
}

TEST(Toml, RoundTrip) {
  const auto document = ParseToml("a = 1\n[t]\nb = \"x\"\n[[arms]]\nname = \"one\"\n", "r");
  EXPECT_EQ(ParseToml(ToToml(document.values), "r").values, document.values);
}

TEST(Toml, CommentsStandAboveKeysAndTables) {
  const auto document = ParseToml("a = 1\n[t]\nb = 2\n[[arms]]\nname = \"one\"\n", "r");
  const std::string text =
      ToToml(document.values, {{"a", "first\nand more"}, {"t", "a table"}, {"t.b", "second"}, {"b", "nothing's"}});
  EXPECT_EQ(text, "# first\n# and more\na = 1\n\n[[arms]]\nname = \"one\"\n\n# a table\n[t]\n# second\nb = 2\n");
  EXPECT_EQ(ParseToml(text, "r").values, document.values);
}

// Random123's known-answer vectors for philox4x32-10.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(Philox({0, 0, 0, 0}, {0, 0}), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, NormalsHaveMeanZeroAndVarianceOne) {
  std::vector<float> values(100001);
  FillNormal(Seed(1).With("test"), values);
  double sum = 0, squares = 0;
  for (const float v : values) {
    sum += v;
    squares += v * v;
  }
  EXPECT_NEAR(sum / 100001, 0, 0.01);
  EXPECT_NEAR(squares / 100001, 1, 0.02);
  std::vector<float> prefix(7);
  FillNormal(Seed(1).With("test"), prefix);
  EXPECT_TRUE(std::equal(prefix.begin(), prefix.end(), values.begin()));
}

TEST(Seed, PurposesGiveDifferentStreams) {
  EXPECT_NE(Seed(1).With("a").key(), Seed(1).With("b").key());
  EXPECT_NE(Seed(1).With(1).With(2).key(), Seed(1).With(2).With(1).key());
}

TEST(Files, NothingAppearsWithoutCommit) {
  const Path path = testing::TempDir() + "never.txt";
  {
    AtomicFile(path).Write("x");
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  WriteFile(path, "whole");
  EXPECT_EQ(ReadFile(path), "whole");
  std::filesystem::remove(path);
}

TEST(Files, LeftoversBesideAPlainNameAreSwept) {
  const Path before = std::filesystem::current_path(), folder = Path(testing::TempDir()) / "sweep";
  std::filesystem::create_directories(folder);
  std::filesystem::current_path(folder);
  const Path torn = ".f.txt.999999999.part", other = "f.part";  // of a process that was killed; of somebody else
  WriteFile(torn, "half");
  WriteFile(other, "kept");
  SweepPartFilesBeside({"f.txt"});
  EXPECT_FALSE(std::filesystem::exists(torn));
  EXPECT_TRUE(std::filesystem::exists(other));
  std::filesystem::current_path(before);
  std::filesystem::remove_all(folder);
}

TEST(Files, WhatAnotherIsWritingIsNotSweptNorWrittenTwice) {
  const Path folder = Path(testing::TempDir()) / "held";
  std::filesystem::create_directories(folder);
  {
    AtomicFile file(folder / "whole.txt");
    file.Write("all of ");
    EXPECT_EQ(SweepPartFiles(folder), 0);
    EXPECT_THROW(AtomicFile(folder / "whole.txt"), Error);
    file.Write("it");
    file.Commit();
    EXPECT_EQ(ReadFile(folder / "whole.txt"), "all of it");
  }
  {
    GrowingFile file(folder / ".aside");
    file.Append("one");
    EXPECT_THROW(GrowingFile(folder / ".aside"), Error);
    EXPECT_EQ(GrowingFile::OpenUnlessHeld(folder / ".aside"), nullptr);
    file.MoveTo(folder / "grown");
  }
  GrowingFile again(folder / ".aside");  // the name is free once the file has another
  EXPECT_EQ(again.size(), 0u);
  EXPECT_NE(GrowingFile::OpenUnlessHeld(folder / ".other"), nullptr);
  WriteFile(folder / "file", "");
  EXPECT_THROW(GrowingFile::OpenUnlessHeld(folder / "file" / ".aside"), Error);
  std::filesystem::remove_all(folder);
}

TEST(Files, LongNamesOfOneBeginningAreWrittenSideBySide) {
  const Path folder = Path(testing::TempDir()) / "long";
  const std::string beginning(240, 'n');
  AtomicFile one(folder / (beginning + "_1.png")), two(folder / (beginning + "_2.png"));
  one.Write("one");
  two.Write("two");
  one.Commit();
  two.Commit();
  EXPECT_EQ(ReadFile(folder / (beginning + "_1.png")), "one");
  EXPECT_EQ(ReadFile(folder / (beginning + "_2.png")), "two");
  std::filesystem::remove_all(folder);
}

TEST(Files, TornLastLineIsCutWhenTheLogIsOpened) {
  const Path path = testing::TempDir() + "log.jsonl";
  WriteFile(path, "one\ntwo\ntor");
  LineLog(path).Append("three");
  EXPECT_EQ(ReadLines(path), (std::vector<std::string>{"one", "two", "three"}));
}

TEST(Files, NeitherFoldersNorDevicesAreReplaced) {
  const Path folder = Path(testing::TempDir()) / "devices";
  std::filesystem::create_directories(folder / "folder");
  std::filesystem::create_symlink("/dev/null", folder / "null");
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  for (const char* name : {"folder", "null", "pipe"}) {
    EXPECT_THROW(WriteFile(folder / name, "x"), Error) << name;
    EXPECT_THROW(ReadFile(folder / name), Error) << name;
    GrowingFile growing(folder / ".aside");
    EXPECT_THROW(growing.MoveTo(folder / name), Error) << name;
  }
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "null"));
  EXPECT_EQ(SweepPartFiles(folder), 0);
  std::filesystem::remove_all(folder);
}

TEST(Files, AFileIsTheSameByEveryPath) {
  const Path folder = Path(testing::TempDir()) / "identity";
  WriteFile(folder / "file", "one");
  WriteFile(folder / "other", "one");
  std::filesystem::create_hard_link(folder / "file", folder / "hard");
  std::filesystem::create_symlink("file", folder / "soft");
  const auto identity = IdentityOf(folder / "file");
  ASSERT_TRUE(identity);
  EXPECT_EQ(IdentityOf(folder / "hard"), identity);
  EXPECT_EQ(IdentityOf(folder / "soft"), identity);
  EXPECT_NE(IdentityOf(folder / "other"), identity);
  EXPECT_EQ(IdentityOf(folder / "none"), std::nullopt);
  EXPECT_EQ(IdentityOf({}), std::nullopt);
  EXPECT_NO_THROW(RefuseToReplaceInput(folder / "none", {folder / "file", "shapes:count=4", ""}));
  try {
    RefuseToReplaceInput(folder / "soft", {folder / "other", folder / "file"}, "--dump");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_EQ(error.text().next, "give another --dump");
  }
  std::filesystem::remove_all(folder);
}

TEST(Files, SystemFilesWithoutASizeAreRead) { EXPECT_FALSE(ReadLines("/proc/self/status").empty()); }

TEST(Files, GrowingFilesGoOnWhereTheyWere) {
  const Path aside = testing::TempDir() + ".grown.aside", path = testing::TempDir() + "grown";
  std::filesystem::remove(aside);
  {
    GrowingFile file(aside);
    file.Append("....one");
    file.Append("two");
  }
  GrowingFile file(aside);
  EXPECT_EQ(file.size(), 10u);
  file.Resize(7);
  file.Append("three");
  file.WriteAt(0, "head");
  file.Append("!");
  file.MoveTo(path);
  EXPECT_EQ(ReadFile(path), "headonethree!");
  EXPECT_FALSE(std::filesystem::exists(aside));
}

TEST(Toml, TextsThatAreNotUtf8AreNotWritten) {
  try {
    (void)ToToml({{"data", {{"train", "caf\xe9"}}}});
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_EQ(error.text().where, "key `data.train`");
  }
}

TEST(Json, NumbersOutOfRangeAreErrorsToo) {
  EXPECT_THROW(ParseJson("[1e320]", "x"), Error);
  const Json large = ParseJson(R"({"n": 18446744073709551615, "list": [1, 9223372036854775808]})", "x");
  EXPECT_THROW(JsonInt(large, "n", 0, "x"), Error);
  EXPECT_THROW(JsonInts(large, "list", {}, "x"), Error);
  EXPECT_EQ(JsonInt(ParseJson(R"({"n": 9223372036854775807})", "x"), "n", 0, "x"), INT64_MAX);
  EXPECT_THROW(ParseJson("[1", "x"), Error);
}

TEST(Json, ObjectsOfVeryManyKeysAreRefusedOrSorted) {
  std::string text = "{";
  for (int i = 0; i < 100'000; ++i) text += Format("{}\"key {}\": {}", i > 0 ? "," : "", i, i);
  text += "}";
  EXPECT_THROW(ParseJson(text, "x"), Error);
  EXPECT_EQ(ParseSortedJson(text, "x").size(), 100'000u);
  std::string names = "{";  // as of the classes of a large classifier
  for (int i = 0; i < 5000; ++i) names += Format("{}\"{}\": \"a: b\"", i > 0 ? "," : "", i);
  EXPECT_EQ(ParseJson(names + "}", "x").size(), 5000u);
}

TEST(Text, LongNumbersAreGrouped) {
  EXPECT_EQ(Grouped(0), "0");
  EXPECT_EQ(Grouped(999), "999");
  EXPECT_EQ(Grouped(-999), "-999");
  EXPECT_EQ(Grouped(-1234567), "-1,234,567");
}

TEST(Text, NearestNameAndUtf8) {
  EXPECT_EQ(NearestName("guidence", {"steps", "guidance"}), "guidance");
  EXPECT_EQ(NearestName("zzzzzz", {"steps", "guidance"}), "");
  EXPECT_EQ(SuggestName("GPU", {"auto", "cpu", "cuda"}), "did you mean `cuda`?");
  EXPECT_EQ(SuggestName("gpu", {"auto", "cpu"}), "did you mean `cpu`?");
  EXPECT_TRUE(IsUtf8("h\xc3\xa9"));
  EXPECT_FALSE(IsUtf8("\xc0\x80"));
  EXPECT_FALSE(IsUtf8("\xed\xa0\x80"));
}

TEST(Text, IsCutBetweenLetters) {
  EXPECT_EQ(Printable("h\xc3\xa9llo", 2), "h...");
  EXPECT_EQ(Printable("h\xc3\xa9llo", 3), "h\xc3\xa9...");
  EXPECT_EQ(Printable("h\xc3\xa9llo\x1b[2J"), "h\xc3\xa9llo [2J");
  EXPECT_EQ(Printable("\xff\x80"), "??");
  EXPECT_EQ(Printable("\x80\x80\x80", 2), "...");  // no letter begins
  // A message that quotes a value stays UTF-8 wherever the value is cut.
  for (const size_t before : {76, 77, 78}) {
    const std::string value = std::string(before, 'x') + "\xc3\xa9\xc3\xa9";
    try {
      fields_detail::ThrowWrongType(value, "number", {.file = "recipe", .prefix = ""}, "steps");
    } catch (const UsageError& error) {
      EXPECT_TRUE(IsUtf8(error.text().what)) << error.text().what;
    }
  }
}

TEST(Fingerprint, OfALargeFileIsThatOfItsBytes) {
  const std::filesystem::path path = std::filesystem::path(testing::TempDir()) / "genview-large";
  std::string bytes((size_t{16} << 20) + 4097, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 2654435761U >> 13);
  WriteFileUnsynced(path, bytes);
  EXPECT_EQ(FingerprintFile(path), Fingerprint(bytes));
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace genview
