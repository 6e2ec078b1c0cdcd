#include "genview/data/source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

#include "genview/base/files.h"
#include "genview/base/text.h"
#include "genview/data/generated_views.h"
#include "genview/data/shapes.h"
#include "genview/data/shapes_dataset.h"
#include "genview/data/source_parts.h"
#include "genview/data/tar_index.h"
#include "genview/data/tar_writer.h"
#include "tests/temporary_folder.h"

namespace genview {
namespace {

std::string Tar(const std::vector<std::pair<std::string, std::string>>& members) {
  std::string tar;
  for (const auto& [name, bytes] : members) tar += TarHeader(name, bytes.size()) + bytes + TarPadding(bytes.size());
  return tar + TarEnd();
}

class SourceTest : public ::testing::Test {
 protected:
  // A PNG of one colour, told apart by `shade`.
  static std::string Png(int shade) {
    Image image(4, 3);
    std::fill(image.pixels.begin(), image.pixels.end(), static_cast<uint8_t>(shade));
    return EncodePng(image);
  }
  Path Put(const std::string& name, const std::string& bytes) {
    WriteFile(folder_ / name, bytes);
    return folder_ / name;
  }
  Path PutPng(const std::string& name, int shade = 0) { return Put(name, Png(shade)); }

  static std::vector<std::string> Ids(const ImageSource& source) {
    std::vector<std::string> ids;
    for (int64_t i = 0; i < source.size(); ++i) ids.push_back(source.item(i).id);
    return ids;
  }
  static std::vector<int64_t> Labels(const ImageSource& source) {
    std::vector<int64_t> labels;
    for (int64_t i = 0; i < source.size(); ++i) labels.push_back(source.item(i).label);
    return labels;
  }
  template <class Call>
  static ErrorText Failure(Call&& call) {
    try {
      call();
    } catch (const Error& error) {
      return error.text();
    }
    return {"no error", "", ""};
  }

  const TemporaryFolder place_;
  const Path folder_ = place_.path();
};

using Strings = std::vector<std::string>;
using Ints = std::vector<int64_t>;

TEST_F(SourceTest, FolderIsWalkedInSortedOrderWithItsFirstLevelAsClasses) {
  PutPng("zebra/b.png");
  PutPng("zebra/a.JPG");
  PutPng("ape/deep/x.webp");
  PutPng("ape/1.jpeg");
  PutPng("loose.png");
  Put("ape/notes.txt", "no picture");
  Put("words/notes.txt", "a folder without pictures is no class");
  PutPng(".hidden/x.png");
  PutPng("zebra/._a.jpg");
  const auto source = OpenSource(folder_.string());
  EXPECT_EQ(Ids(*source), (Strings{"ape/1.jpeg", "ape/deep/x.webp", "loose.png", "zebra/a.JPG", "zebra/b.png"}));
  EXPECT_EQ(source->classes(), (Strings{"ape", "zebra"}));
  EXPECT_EQ(Labels(*source), (Ints{0, 0, -1, 1, 1}));
  EXPECT_EQ(source->item(4).path, (folder_ / "zebra/b.png").string());
}

TEST_F(SourceTest, AFolderIsAFolderWhateverItsName) {
  for (const char* name : {"a{b}", "photos.tar", "x{0..3}.tar", "shots.zip", "one.png"}) {
    PutPng(Format("{}/a.png", name));
    EXPECT_EQ(OpenSource((folder_ / name).string())->size(), 1) << name;
    EXPECT_EQ(OpenSource((folder_ / name).string() + "/")->size(), 1) << name;
  }
}

TEST_F(SourceTest, FolderWithATrailingSlashIsTheSameFolder) {
  PutPng("a.png", 7);
  const auto source = OpenSource(folder_.string() + "/");
  EXPECT_EQ(Ids(*source), Strings{"a.png"});
  EXPECT_TRUE(source->classes().empty());
  const auto image = source->Read(0);
  ASSERT_TRUE(image);
  EXPECT_EQ(image->pixels[0], 7);
  EXPECT_EQ(*source->ReadBytes(0), Png(7));
  EXPECT_FALSE(source->ReadMask(0));
}

TEST_F(SourceTest, LinkedFoldersAreFollowedOnce) {
  PutPng("real/a.png");
  std::filesystem::create_directory_symlink(folder_ / "real", folder_ / "linked");
  std::filesystem::create_directory_symlink(folder_, folder_ / "real/back");
  const auto source = OpenSource(folder_.string());
  EXPECT_EQ(Ids(*source), (Strings{"linked/a.png", "real/a.png"}));
}

TEST_F(SourceTest, EmptyFolderSaysWhatItLooksFor) {
  Put("notes.txt", "x");
  const auto text = Failure([&] { OpenSource(folder_.string()); });
  EXPECT_EQ(text.what, "no pictures in this folder (1 other files)");
  EXPECT_NE(text.next.find(".jpg"), std::string::npos);
}

TEST_F(SourceTest, MissingNameSuggestsTheNearest) {
  PutPng("train/a.png");
  const auto text = Failure([&] { OpenSource((folder_ / "trian").string()); });
  EXPECT_EQ(text.what, "there is no such file or folder");
  EXPECT_NE(text.next.find((folder_ / "train").string()), std::string::npos) << text.next;
}

TEST_F(SourceTest, OnePictureOrACompressedArchiveIsRefused) {
  EXPECT_THROW(OpenSource(PutPng("a.png").string()), UsageError);
  EXPECT_THROW(OpenSource(Put("a.tar.gz", "x").string()), UsageError);
  EXPECT_THROW(OpenSource(""), UsageError);
}

TEST_F(SourceTest, DamagedAndVanishedPicturesAreOutcomesNotErrors) {
  Put("bad.jpg", "this is no picture");
  const Path gone = PutPng("gone.png");
  const auto source = OpenSource(folder_.string());
  std::filesystem::remove(gone);
  EXPECT_FALSE(source->Read(0));
  const auto missing = source->Read(1);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.reason(), "No such file or directory");
}

TEST_F(SourceTest, PipeWithAPicturesNameDoesNotBlock) {
  PutPng("a.png");
  ASSERT_EQ(::mkfifo((folder_ / "pipe.jpg").c_str(), 0600), 0);
  const auto source = OpenSource(folder_.string());
  EXPECT_EQ(source->Read(1).reason(), "not a file");
}

TEST_F(SourceTest, NamesThatAreNoTextBecomeSafeIds) {
  PutPng("a\xff.png", 9);
  PutPng("tab\there.png");
  const auto source = OpenSource(folder_.string());
  EXPECT_EQ(Ids(*source), (Strings{"a%FF.png", "tab%09here.png"}));
  EXPECT_TRUE(source->Read(0));
}

TEST(SafeId, StaysInsideAnyFolder) {
  EXPECT_EQ(SafeId("/abs//./a.png"), "abs/a.png");
  EXPECT_EQ(SafeId("../../etc/a.png"), "__/__/etc/a.png");
  EXPECT_EQ(SafeId("a/..b/c..png"), "a/..b/c..png");
  EXPECT_EQ(SafeId("\xc3\xa4.png"), "\xc3\xa4.png");
  EXPECT_EQ(SafeId("a\nb"), "a%0Ab");
}

TEST_F(SourceTest, FingerprintFollowsFiles) {
  PutPng("a.png", 1);
  const std::string before = OpenSource(folder_.string())->Fingerprint();
  EXPECT_EQ(OpenSource(folder_.string())->Fingerprint(), before);
  PutPng("b.png", 1);
  const std::string more = OpenSource(folder_.string())->Fingerprint();
  EXPECT_NE(more, before);
  std::filesystem::remove(folder_ / "b.png");
  EXPECT_EQ(OpenSource(folder_.string())->Fingerprint(), before);
  std::filesystem::last_write_time(folder_ / "a.png",
                                   std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
  const Path copy = folder_.string() + "-copy";
  std::filesystem::copy(folder_, copy, std::filesystem::copy_options::recursive);
  EXPECT_EQ(OpenSource(copy.string())->Fingerprint(), before);  // neither times nor places count
  std::filesystem::remove_all(copy);
  PutPng("a.png", 2);
  EXPECT_NE(OpenSource(folder_.string())->Fingerprint(), before);
}

TEST(ContentSample, SeesBothEndsAndBetween) {
  const auto sample = [](const std::string& text) {
    return ContentSample(text.size(), [&](uint64_t at, uint64_t count) -> Outcome<std::string> {
      EXPECT_LE(at + count, text.size());
      return text.substr(at, count);
    });
  };
  for (const size_t size : {size_t{0}, size_t{1}, size_t{16'384}, size_t{16'385}, size_t{100'000}}) {
    const std::string text(size, 'a');
    EXPECT_EQ(sample(text), sample(text));
    EXPECT_NE(sample(text), sample(text + 'a'));
    for (const size_t at : {size_t{0}, size / 3 + 100, size - 1}) {
      std::string other = text;
      if (at < size) other[at] = 'b';
      EXPECT_EQ(sample(other) != sample(text), at < size) << size << " " << at;
    }
  }
}

TEST_F(SourceTest, ListTakesTabsBlanksAndClasses) {
  PutPng("a.png", 1);
  PutPng("my photo.png", 2);
  PutPng("c.png", 3);
  const auto source = OpenSource(Put("list.txt", "a.png dog\r\n\nmy photo.png\tbig cat\nc.png\n").string());
  EXPECT_EQ(Ids(*source), (Strings{"a.png", "my photo.png", "c.png"}));
  EXPECT_EQ(source->classes(), (Strings{"big cat", "dog"}));
  EXPECT_EQ(Labels(*source), (Ints{1, 0, -1}));
  EXPECT_EQ(source->Read(1)->pixels[0], 2);
}

TEST_F(SourceTest, PicturesOfOtherFormatsAreCounted) {
  PutPng("a.png");
  for (const char* name : {"b.GIF", "in/c.gif", "d.tiff", "notes.txt"}) Put(name, "any bytes");
  const std::map<std::string, int64_t> others{{".gif", 2}, {".tiff", 1}};
  EXPECT_EQ(OpenSource(folder_.string())->passed_over(), others);
  // In shards, too; a member of the name of an earlier one takes its place, and hidden ones are no pictures.
  Put("s-0.tar", Tar({{"a.png", Png(1)}, {"b.GIF", "x"}, {"b.GIF", "y"}, {"d.tiff", "x"}, {"._e.gif", "x"}}));
  Put("s-1.tar", Tar({{"in/c.gif", "x"}, {"notes.txt", "x"}}));
  EXPECT_EQ(OpenSource((folder_ / "s-{0..1}.tar").string())->passed_over(), others);
}

TEST_F(SourceTest, ListMayBeginWithAByteOrderMark) {
  PutPng("a.png");
  EXPECT_EQ(Ids(*OpenSource(Put("list.txt",
                                "\xef\xbb\xbf"
                                "a.png dog\n")
                                .string())),
            Strings{"a.png"});
}

TEST_F(SourceTest, ItsOwnPicturesAreNotOverwritten) {
  PutPng("in/a.png");
  const auto source = OpenSource((folder_ / "in").string());
  EXPECT_THROW(RefuseToOverwrite(*source, {folder_ / "in/a.png"}), UsageError);
  std::filesystem::create_directory_symlink(folder_ / "in", folder_ / "also");
  EXPECT_THROW(RefuseToOverwrite(*source, {folder_ / "also/a.png"}), UsageError);
  RefuseToOverwrite(*source, {folder_ / "in/b.png", folder_ / "out/a.png"});
  const auto list = OpenSource(Put("in/list.txt", "a.png\n").string());
  EXPECT_THROW(RefuseToOverwrite(*list, {folder_ / "in/a.png"}), UsageError);
}

TEST_F(SourceTest, WhatIsMadeOfPicturesDoesNotLieAmongThem) {
  PutPng("in/a.png");
  const std::string in = (folder_ / "in").string();
  for (const char* out : {"in", "in/", "in/new/views", "other/../in/views"})
    EXPECT_THROW(RefuseAmongPictures(in, folder_ / out), UsageError) << out;
  std::filesystem::create_directory_symlink(folder_ / "in", folder_ / "also");
  EXPECT_THROW(RefuseAmongPictures(in + "/", folder_ / "also/views"), UsageError);
  EXPECT_THROW(RefuseAmongPictures("subset:count=1,of=" + in, folder_ / "in/views"), UsageError);
  for (const char* out : {"", "in-views", "other", "other/in", "in/.runs/first"})
    RefuseAmongPictures(in, folder_ / out);
  RefuseAmongPictures(Put("in/list.txt", "a.png\n").string(), folder_ / "in/views");
  RefuseAmongPictures("shapes:count=4", folder_ / "in/views");

  const Path before = std::filesystem::current_path();
  std::filesystem::current_path(folder_ / "in");
  EXPECT_THROW(RefuseAmongPictures(".", "runs/first"), UsageError);
  RefuseAmongPictures(".", "../runs/first");
  std::filesystem::current_path(before);
}

TEST_F(SourceTest, AListOrAShardThatIsThereIsReadWhateverItsName) {
  PutPng("a.png", 7);
  EXPECT_EQ(Ids(*OpenSource(Put("l{1}.txt", "a.png\n").string())), Strings{"a.png"});
  const auto shard = OpenSource(Put("s{1}.tar", Tar({{"0.png", Png(3)}})).string());
  EXPECT_EQ(Ids(*shard), Strings{"0.png"});
  EXPECT_EQ(shard->Read(0)->pixels[0], 3);
}

TEST_F(SourceTest, ListOfRatiosHasNoClasses) {
  PutPng("a.png");
  PutPng("b.png");
  const auto source = OpenSource(Put("list.txt", "a.png 0.25\nb.png 1\n").string());
  EXPECT_TRUE(source->classes().empty());
  EXPECT_EQ(Labels(*source), (Ints{-1, -1}));
}

TEST_F(SourceTest, ListPathsAreRelativeToItsFolderAndAbsoluteOnesInsideItToo) {
  PutPng("sub/a.png");
  const auto source = OpenSource(Put("list.txt", "./sub/a.png\n").string());
  EXPECT_EQ(Ids(*source), Strings{"sub/a.png"});
  const auto absolute = OpenSource(Put("abs.txt", (folder_ / "sub/a.png").string() + "\n").string());
  EXPECT_EQ(Ids(*absolute), Strings{"sub/a.png"});
  EXPECT_TRUE(absolute->Read(0));
}

TEST_F(SourceTest, ListInTheWorkingFolderMayNameAbsolutePaths) {
  PutPng("sub/a.png");
  Put("list.txt", (folder_ / "sub/a.png").string() + "\n");
  const Path before = std::filesystem::current_path();
  std::filesystem::current_path(folder_);
  const auto source = OpenSource("list.txt");
  std::filesystem::current_path(before);
  EXPECT_EQ(Ids(*source), Strings{"sub/a.png"});
}

TEST_F(SourceTest, ListMistakesNameTheLine) {
  PutPng("a.png");
  const auto blanks = Failure([&] { OpenSource(Put("l.txt", "a.png x\nmy photo.png cat\n").string()); });
  EXPECT_NE(blanks.where.find("line 2"), std::string::npos);
  EXPECT_NE(blanks.next.find("tab"), std::string::npos);
  const auto blank = Failure([&] { OpenSource(Put("l.txt", "a.png\nmy photo.png\n").string()); });
  EXPECT_EQ(blank.what, "\"my photo.png\" is not a path and a class");
  const auto twice = Failure([&] { OpenSource(Put("l.txt", "a.png\n./a.png\n").string()); });
  EXPECT_EQ(twice.what, "two pictures have the id \"a.png\": a.png and ./a.png");
  const auto nothing = Failure([&] { OpenSource(Put("l.txt", "\n\n").string()); });
  EXPECT_EQ(nothing.what, "the list is empty");
  const auto away = Failure([&] { OpenSource(Put("l.txt", "other/a.png\nother/b.png\n").string()); });
  EXPECT_EQ(away.what, "none of the first 2 files of the list is there, for example other/a.png");
  EXPECT_THROW(OpenSource(Put("l.txt", std::string("a\0b\n", 4)).string()), UsageError);
}

// Other kinds of file, and lists of another folder, may be of any size: they are left at the first line that shows it.
TEST_F(SourceTest, WhatIsNoListIsLeftEarly) {
  PutPng("a.png");
  const auto refused = [&](const std::string& text) {
    return Failure([&] { OpenSource(Put("l.txt", text).string()); });
  };
  const std::string file = (folder_ / "l.txt").string();
  const auto dataset = refused(std::string("a.png\nb.png\0c.png", 17));
  EXPECT_EQ(dataset.what, "this is no list of paths: it holds zero bytes");
  EXPECT_EQ(dataset.where, file);  // before its lines are looked at
  EXPECT_EQ(refused("a.png\n" + std::string(5000, '\n') + std::string("\0", 1)).where, file + ", line 5002");
  EXPECT_EQ(refused(std::string(1 << 20, '\n')).what, "the list is empty");
  const auto line = refused("a.png\n" + std::string(100'000, 'x') + "\n");
  EXPECT_EQ(line.what, "a line of 100 kB is not a path and a class");
  EXPECT_EQ(line.where, file + ", line 2");
  const auto twice = refused("a.png\na.png\nno list at all\n");
  EXPECT_EQ(twice.what, "two pictures have the id \"a.png\": a.png and a.png");
  EXPECT_EQ(twice.where, file + ", line 2");
  std::string elsewhere;
  for (int i = 0; i < 16; ++i) elsewhere += Format("gone/{}.png\n", i);
  EXPECT_TRUE(
      refused(elsewhere + "no list at all\n").what.starts_with("none of the first 16 files of the list is there"));
}

TEST_F(SourceTest, FactsOfAList) {
  PutPng("a.png");
  PutPng("b.png");
  const ListFacts classes = FactsOfList(Put("l.txt", "a.png x\nb.png y\ngone.png x\n"));
  EXPECT_EQ(classes.images, 3);
  EXPECT_EQ(classes.classes, 2);
  EXPECT_EQ(classes.missing, 1);
  EXPECT_FALSE(classes.ratios);
  const ListFacts ratios = FactsOfList(Put("l.txt", "a.png 0.5\nb.png 1\n"));
  EXPECT_TRUE(ratios.ratios);
  EXPECT_EQ(ratios.classes + ratios.missing, 0);
}

TEST_F(SourceTest, ListedFileThatHasGoneIsSkippedWhenRead) {
  PutPng("a.png");
  const auto source = OpenSource(Put("l.txt", "gone.png\na.png\n").string());
  EXPECT_EQ(source->size(), 2);
  EXPECT_FALSE(source->Read(0));
  EXPECT_TRUE(source->Read(1));
}

std::vector<TarMember> IndexBytes(const std::string& tar) {
  const ReadAt read = [&](uint64_t at, char* out, size_t size) {
    const size_t count = at >= tar.size() ? 0 : std::min(size, tar.size() - at);
    std::copy_n(tar.data() + std::min<size_t>(at, tar.size()), count, out);
    return count;
  };
  return IndexTar(read, tar.size(), "test.tar");
}

TEST(TarIndex, FindsMembersWithShortAndLongNames) {
  const std::string name(300, 'n');
  const std::string tar = Tar({{"a.txt", "hello"}, {name, std::string(512, 'x')}, {"empty", ""}});
  const auto members = IndexBytes(tar);
  ASSERT_EQ(members.size(), 3u);
  EXPECT_EQ(tar.substr(members[0].offset, members[0].size), "hello");
  EXPECT_EQ(members[1].name, name);
  EXPECT_EQ(tar.substr(members[1].offset, members[1].size), std::string(512, 'x'));
  EXPECT_EQ(members[2].size, 0u);
}

// A pax record with these lines, for the member that follows.
std::string Pax(const std::string& lines) {
  std::string header = TarHeader("pax", lines.size());
  header[156] = 'x';
  const int sum = std::stoi(header.substr(148, 6), nullptr, 8) + ('x' - '0');
  header.replace(148, 6, Format("{:06o}", sum));
  return header + lines + TarPadding(lines.size());
}

TEST(TarIndex, ALargePaxRecordIsPassedOver) {
  const std::string preview = Format("70027 SCHILY.xattr.user.x={}\n", std::string(70000, 'z'));
  ASSERT_EQ(preview.size(), 70027u);
  const auto members = IndexBytes(Pax(preview + "14 path=b.txt\n") + Tar({{"a.txt", "hello"}, {"c.txt", "x"}}));
  ASSERT_EQ(members.size(), 2u);
  EXPECT_EQ(members[0].name, "b.txt");
  EXPECT_EQ(members[1].name, "c.txt");
  const std::string name = Format("70012 path={}\n", std::string(70000, 'n'));
  ASSERT_EQ(name.size(), 70012u);
  EXPECT_THROW(IndexBytes(Pax(name) + Tar({{"a.txt", "hello"}})), Error);
}

TEST(TarIndex, EveryCutIsAnErrorOrAnEarlierEnd) {
  const std::string tar = Tar({{"a", std::string(700, 'a')}, {std::string(150, 'b'), "bb"}});
  for (size_t cut = 0; cut < tar.size() - 1024; cut += 64) {
    try {
      const auto members = IndexBytes(tar.substr(0, cut));
      EXPECT_EQ(cut % 512, 0u) << cut;  // whole members before the end are a shorter archive
    } catch (const Error& error) {
      EXPECT_NE(error.text().what.find("damaged"), std::string::npos);
    }
  }
}

TEST(TarIndex, WrongCheckSumAndOversizedMembersAreErrors) {
  std::string tar = Tar({{"a", "x"}, {"b", "y"}});
  tar[1024 + 3] ^= 1;
  EXPECT_THROW(IndexBytes(tar), Error);
  EXPECT_THROW(IndexBytes("this is no tar file"), Error);
  EXPECT_THROW(IndexBytes(TarHeader("a", uint64_t{1} << 40)), Error);
  EXPECT_THROW(IndexBytes(""), Error);
}

TEST_F(SourceTest, ShardsPairPicturesWithClasses) {
  Put("s-00.tar", Tar({{"0.png", Png(1)}, {"0.cls", "7"}, {"1.jpg", "bad"}, {"1.cls", "3\n"}, {"1.json", "{}"}}));
  Put("s-01.tar", Tar({{"2.left.png", Png(5)}, {"2.cls", "7"}}));
  const auto source = OpenSource((folder_ / "s-{00..01}.tar").string());
  EXPECT_EQ(Ids(*source), (Strings{"0.png", "1.jpg", "2.left.png"}));
  EXPECT_EQ(source->classes(), (Strings{"3", "7"}));
  EXPECT_EQ(Labels(*source), (Ints{1, 0, 1}));
  EXPECT_EQ(source->item(2).path, (folder_ / "s-01.tar").string() + "#2.left.png");
  EXPECT_EQ(source->Read(2)->pixels[0], 5);
  EXPECT_FALSE(source->Read(1));
}

TEST_F(SourceTest, ShardsWithTheSameNamesAreToldApart) {
  Put("s-0.tar", Tar({{"0.png", Png(1)}}));
  Put("s-1.tar", Tar({{"0.png", Png(2)}}));
  const auto source = OpenSource((folder_ / "s-{0..1}.tar").string());
  EXPECT_EQ(Ids(*source), (Strings{"s-0/0.png", "s-1/0.png"}));
  EXPECT_EQ(source->Read(1)->pixels[0], 2);
  // Of one name in several folders, or with the number behind the point.
  Put("part-0/in/data.tar", Tar({{"0.png", Png(3)}, {"1.png", Png(4)}}));
  Put("part-1/in/data.tar", Tar({{"0.png", Png(5)}}));
  const auto parts = OpenSource((folder_ / "part-{0..1}/in/data.tar").string());
  EXPECT_EQ(Ids(*parts), (Strings{"part-0/in/data/0.png", "part-0/in/data/1.png", "part-1/in/data/0.png"}));
  EXPECT_EQ(parts->Read(2)->pixels[0], 5);
  Put("tar.0", Tar({{"0.png", Png(6)}}));
  Put("tar.1", Tar({{"0.png", Png(7)}}));
  EXPECT_EQ(Ids(*OpenSource((folder_ / "tar.{0..1}").string())), (Strings{"tar.0/0.png", "tar.1/0.png"}));
}

TEST_F(SourceTest, TarOfAFolderHasItsFoldersAsClasses) {
  const Path tar = Put("all.tar", Tar({{"./dog/a.png", Png(1)}, {"./cat/a.png", Png(2)}, {"./cat/._a.png", "x"}}));
  const auto source = OpenSource(tar.string());
  EXPECT_EQ(Ids(*source), (Strings{"dog/a.png", "cat/a.png"}));
  EXPECT_EQ(source->classes(), (Strings{"cat", "dog"}));
  EXPECT_EQ(Labels(*source), (Ints{1, 0}));
}

TEST_F(SourceTest, FoldersOfAShardWithoutClassesAreNoneBesideAShardWithThem) {
  Put("s-0.tar", Tar({{"x/0.png", Png(1)}, {"x/0.cls", "cat"}, {"x/1.png", Png(1)}}));
  Put("s-1.tar", Tar({{"x/2.png", Png(2)}}));
  const auto source = OpenSource((folder_ / "s-{0..1}.tar").string());
  EXPECT_EQ(source->classes(), Strings{"cat"});
  EXPECT_EQ(Labels(*source), (Ints{0, -1, -1}));
}

TEST_F(SourceTest, MissingShardIsNamed) {
  Put("s-0.tar", Tar({{"0.png", Png(1)}}));
  const auto text = Failure([&] { OpenSource((folder_ / "s-{0..2}.tar").string()); });
  EXPECT_EQ(text.what, Format("2 of 3 shards are not there, the first is {}", (folder_ / "s-1.tar").string()));
}

TEST(ExpandBraces, KeepsLeadingZeros) {
  EXPECT_EQ(ExpandBraces("a-{08..11}.tar"), (Strings{"a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"}));
  EXPECT_EQ(ExpandBraces("a.tar"), Strings{"a.tar"});
  EXPECT_EQ(ExpandBraces("a-{18446744073709551614..18446744073709551615}.tar"),
            (Strings{"a-18446744073709551614.tar", "a-18446744073709551615.tar"}));
}

TEST(ExpandBraces, BadRangesAreErrors) {
  for (const char* spec : {"a-{3..1}.tar", "a-{x..y}.tar", "a-{1}.tar", "a-{1..2.tar", "a-}1..2{.tar",
                           "a-{1..2}{3..4}.tar", "a-{0..99999999999}.tar", "a-{1...3}.tar", "a-{{1..2}}.tar"}) {
    EXPECT_THROW(ExpandBraces(spec), UsageError) << spec;
  }
}

TEST(ShapesSource, HasTheSettingsOfItsSpec) {
  const auto source = OpenSource("shapes:count=12,size=16,seed=3");
  ASSERT_EQ(source->size(), 12);
  EXPECT_EQ(source->classes(), ShapeClasses());
  const auto picture = DrawShape({.count = 12, .size = 16, .seed = 3}, 5);
  EXPECT_EQ(source->Read(5)->pixels, picture.image.pixels);
  EXPECT_EQ(source->ReadMask(5)->pixels, picture.mask.pixels);
  EXPECT_EQ(source->item(5).label, picture.label);
  EXPECT_EQ(source->item(5).id, ShapeClasses()[static_cast<size_t>(picture.label)] + "/000005.png");
  EXPECT_NE(source->Fingerprint(), OpenSource("shapes:count=12,size=16,seed=4")->Fingerprint());
}

TEST(ShapesSource, MistakesInTheSpecAreNamed) {
  EXPECT_THROW(OpenSource("shapes:count=0"), UsageError);
  EXPECT_THROW(OpenSource("shapes:count=x"), UsageError);
  EXPECT_THROW(OpenSource("shapes:count"), UsageError);
  try {
    OpenSource("shapes:cuont=5");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(error.text().next.find("count"), std::string::npos);
  }
  EXPECT_EQ(OpenSource("shapes:")->size(), 4096);
  EXPECT_THROW(OpenSource("shapes"), Error);  // a folder of that name, which is not there
}

TEST_F(SourceTest, ShapesDatasetEqualsTheDrawnSource) {
  const ShapesConfig config{.count = 30, .size = 16, .seed = 2};
  Progress progress;
  const auto summary = MakeShapesDataset(config, folder_, progress, 2);
  EXPECT_EQ(summary.written, 30);
  const auto drawn = OpenSource("shapes:count=30,size=16,seed=2");
  const auto written = OpenSource((folder_ / "images").string());
  ASSERT_EQ(written->size(), 30);
  EXPECT_EQ(written->classes(), drawn->classes());
  std::map<std::string, int64_t> place;
  for (int64_t i = 0; i < 30; ++i) place[drawn->item(i).id] = i;
  for (int64_t i = 0; i < 30; ++i) {
    const int64_t k = place.at(written->item(i).id);
    EXPECT_EQ(written->item(i).label, drawn->item(k).label);
    EXPECT_EQ(written->Read(i)->pixels, drawn->Read(k)->pixels);
    EXPECT_EQ(written->ReadMask(i)->pixels, drawn->ReadMask(k)->pixels);
  }
}

TEST_F(SourceTest, ShapesDatasetGoesOnFromWhatIsThere) {
  const ShapesConfig config{.count = 20, .size = 16, .seed = 2};
  Progress progress;
  MakeShapesDataset(config, folder_, progress, 1);
  EXPECT_EQ(MakeShapesDataset(config, folder_, progress, 1).written, 0);
  std::filesystem::remove(
      folder_ / "masks" /
      OpenShapes(Format("shapes:count={},size={},seed={}", config.count, config.size, config.seed))->item(0).id);
  EXPECT_EQ(MakeShapesDataset(config, folder_, progress, 1).written, 1);
  // As after a kill: no dataset.json yet, one file missing, one cut short.
  std::filesystem::remove(folder_ / "dataset.json");
  const auto source = OpenSource((folder_ / "images").string());
  const std::string first = *source->ReadBytes(0);
  std::filesystem::remove(source->item(1).path);
  WriteFile(source->item(0).path, first.substr(0, 10));
  EXPECT_EQ(MakeShapesDataset(config, folder_, progress, 3).written, 2);
  EXPECT_EQ(*source->ReadBytes(0), first);
  EXPECT_THROW(MakeShapesDataset({.count = 20, .size = 16, .seed = 3}, folder_, progress), Error);
}

TEST_F(SourceTest, ConcatJoinsClassesByName) {
  PutPng("one/dog/a.png", 1);
  PutPng("one/cat/a.png", 2);
  PutPng("two/bee/b.png", 3);
  PutPng("two/dog/b.png", 4);
  const auto both = ConcatSources(OpenSource((folder_ / "one").string()), OpenSource((folder_ / "two").string()));
  EXPECT_EQ(Ids(*both), (Strings{"cat/a.png", "dog/a.png", "bee/b.png", "dog/b.png"}));
  EXPECT_EQ(both->classes(), (Strings{"bee", "cat", "dog"}));
  EXPECT_EQ(Labels(*both), (Ints{1, 2, 0, 2}));
  EXPECT_EQ(both->Read(3)->pixels[0], 4);
  EXPECT_THROW(ConcatSources(both, both), Error);
}

TEST_F(SourceTest, OfJpegsPartsAreRead) {
  Image image(200, 100);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i * i / 7);
  const std::string jpeg = EncodeJpeg(image, 80);
  Put("a/1.jpg", jpeg);
  Put("a/2.jpg", jpeg.substr(0, jpeg.size() - 100));
  const Path list = Put("list.txt", "a/1.jpg\na/2.jpg\n");
  const Path tar = Put("s.tar", Tar({{"1.jpg", jpeg}, {"2.jpg", jpeg.substr(0, jpeg.size() - 100)}}));
  const std::string folder = (folder_ / "a").string();
  const std::vector<std::shared_ptr<const ImageSource>> sources{
      OpenSource(folder),
      OpenSource(list.string()),
      OpenSource(tar.string()),
      OpenSource("subset:count=2,of=" + folder),
      ConcatSources(OpenSource("shapes:count=2,size=40"), OpenSource(folder)),
      RepeatSource(OpenSource(folder), 2)};
  const WantedBox wanted = [](int64_t, int64_t) { return Box{20, 30, 5, 10}; };
  for (size_t k = 0; k < sources.size(); ++k) {
    const int64_t last = sources[k]->size() - 1;
    const Outcome<ImagePart> part = sources[k]->ReadPart(last - 1, wanted);
    ASSERT_TRUE(part) << k << part.reason();
    EXPECT_EQ(std::pair(part->width, part->height), std::pair(int64_t{200}, int64_t{100})) << k;
    EXPECT_EQ(part->image.height, 10) << k;
    EXPECT_LT(part->image.width, 100) << k;
    const Image pixels = Crop(part->image, {20 - part->box.x, 30 - part->box.y, 5, 10});
    EXPECT_EQ(pixels.pixels, Crop(*sources[k]->Read(last - 1), {20, 30, 5, 10}).pixels) << k;
    EXPECT_FALSE(sources[k]->ReadPart(last, wanted)) << k;
    EXPECT_EQ(sources[k]->ReadPart(last, wanted).reason(), sources[k]->Read(last).reason()) << k;
  }
  const Outcome<ImagePart> drawn = sources[4]->ReadPart(0, wanted);
  ASSERT_TRUE(drawn);
  EXPECT_EQ(drawn->image.pixels, sources[4]->Read(0)->pixels);
}

TEST_F(SourceTest, GeneratedViewsAreFoundById) {
  PutPng("v/images/dog/a_0.png", 10);
  PutPng("v/images/dog/a_1.png", 11);
  std::string lines;
  for (const int64_t index : {1, 0}) {
    ViewRow row;
    row.id = "dog/a.png";
    row.index = index;
    row.file = Format("images/dog/a_{}.png", index);
    lines += ViewRowToJson(row).dump() + "\n";
  }
  Put("v/manifest.jsonl", lines);
  const auto views = GeneratedViews::Open(folder_ / "v");
  EXPECT_TRUE(views->Has("dog/a.png"));
  EXPECT_EQ(views->Count("dog/a.png"), 2);
  EXPECT_EQ(views->Count("dog/b.png"), 0);
  EXPECT_EQ(views->Read("dog/a.png", 1)->pixels[0], 11);
  EXPECT_FALSE(views->Read("dog/a.png", 2));
  const auto source = ViewsAsSource(views);
  EXPECT_EQ(Ids(*source), (Strings{"views/images/dog/a_0.png", "views/images/dog/a_1.png"}));
  EXPECT_EQ(source->Read(1)->pixels[0], 11);
  EXPECT_THROW(GeneratedViews::Open(folder_ / "none"), Error);
  // The same as members of a shard; one that its row puts beyond the end.
  const std::string shard = Tar({{"dog/a.png", Png(12)}, {"dog/a_1.png", Png(13)}});
  Put("s/views-0000.tar", shard);
  lines.clear();
  for (const int64_t index : {0, 1, 2}) {
    ViewRow row;
    row.id = "dog/a.png";
    row.index = index;
    row.file = index == 0 ? "dog/a.png" : Format("dog/a_{}.png", index);
    row.shard = "views-0000.tar";
    row.bytes = Png(12 + static_cast<int>(index)).size();
    row.offset = index == 2 ? shard.size() - 10 : shard.find("\x89PNG", index == 0 ? 0 : 1024);
    row.hash = "known";
    lines += ViewRowToJson(row).dump() + "\n";
  }
  Put("s/manifest.jsonl", lines);
  const auto packed = GeneratedViews::Open(folder_ / "s");
  EXPECT_EQ(packed->Read("dog/a.png", 0)->pixels[0], 12);
  EXPECT_EQ(packed->Read("dog/a.png", 1)->pixels[0], 13);
  EXPECT_EQ(packed->Read("dog/a.png", 2).reason(), "the file is cut off");
  EXPECT_EQ(ViewsAsSource(packed)->Read(1)->pixels[0], 13);
}

TEST_F(SourceTest, AHugeMemberIsNoPicture) {
  constexpr uint64_t kSize = uint64_t{5} << 30;
  const std::string begin = Tar({{"a.png", Png(1)}});
  const Path tar = Put("s.tar", begin.substr(0, begin.size() - TarEnd().size()) + TarHeader("b.png", kSize));
  std::filesystem::resize_file(
      tar, std::filesystem::file_size(tar) + kSize + TarEnd().size());  // a hole: nothing on the disk
  const auto source = OpenSource(tar.string());
  EXPECT_EQ(Ids(*source), (Strings{"a.png", "b.png"}));
  EXPECT_TRUE(source->Read(0));
  EXPECT_EQ(source->Read(1).reason(), "more than 1 GB");
  EXPECT_EQ(source->ReadBytes(1).reason(), "more than 1 GB");
}

TEST_F(SourceTest, ThreadsReadTheSameBytes) {
  std::vector<std::pair<std::string, std::string>> members;
  for (int i = 0; i < 50; ++i) members.emplace_back(Format("{:02}.png", i), Png(i));
  const auto source = OpenSource(Put("s.tar", Tar(members)).string());
  std::vector<std::jthread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) wrong += source->Read(i)->pixels[0] != i;
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

TEST_F(SourceTest, ASubsetIsDrawnFromEveryClassInProportion) {
  for (int i = 0; i < 20; ++i) Put(Format("a/{:02}.png", i), Png(i));
  for (int i = 0; i < 10; ++i) Put(Format("b/{:02}.png", i), Png(100 + i));
  const std::string of = "of=" + folder_.string();
  const auto some = OpenSource("subset:count=15," + of);
  std::map<int64_t, int> per_class;
  std::vector<std::string> ids;
  for (int64_t i = 0; i < some->size(); ++i) {
    ++per_class[some->item(i).label];
    ids.push_back(some->item(i).id);
  }
  EXPECT_EQ(per_class, (std::map<int64_t, int>{{0, 10}, {1, 5}}));
  EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
  EXPECT_EQ(some->classes(), (std::vector<std::string>{"a", "b"}));
  const int shade = std::stoi(ids.back().substr(2, 2));
  EXPECT_EQ(some->Read(14)->pixels[0], 100 + shade);
  const auto fewer = OpenSource("subset:seed=0,count=6," + of);
  for (int64_t i = 0; i < fewer->size(); ++i)
    EXPECT_TRUE(std::find(ids.begin(), ids.end(), fewer->item(i).id) != ids.end());
  EXPECT_NE(some->Fingerprint(), fewer->Fingerprint());
  EXPECT_NE(some->Fingerprint(), OpenSource("subset:count=15,seed=1," + of)->Fingerprint());
  EXPECT_EQ(OpenSource("subset:count=3,of=shapes:count=9,size=8,seed=2")->size(), 3);
  const auto all = OpenSource("shapes:count=9,size=8,seed=2"), chosen = ChooseOf(all, {7, 2}, "two");
  EXPECT_EQ(Ids(*chosen), (Strings{all->item(7).id, all->item(2).id}));
  EXPECT_EQ(*chosen->ReadBytes(0), *all->ReadBytes(7));
  EXPECT_EQ(chosen->ReadMask(1)->pixels, all->ReadMask(2)->pixels);
  EXPECT_EQ(chosen->classes(), all->classes());
  EXPECT_NE(chosen->Fingerprint(), ChooseOf(all, {7, 3}, "other")->Fingerprint());
  EXPECT_THROW(OpenSource("subset:count=31," + of), UsageError);
  EXPECT_THROW(OpenSource("subset:" + of), UsageError);
  EXPECT_THROW(OpenSource("subset:count=3"), UsageError);
  EXPECT_THROW(OpenSource("subset:size=3," + of), UsageError);
}

TEST(RepeatSource, GivesEveryPictureOnceARoundUnderAnIdOfItsOwn) {
  const auto inner = OpenSource("shapes:count=3,size=16,seed=1");
  EXPECT_EQ(RepeatSource(inner, 1), inner);
  const auto thrice = RepeatSource(inner, 3);
  ASSERT_EQ(thrice->size(), 9);
  EXPECT_EQ(thrice->classes(), inner->classes());
  std::set<std::string> ids;
  for (int64_t i = 0; i < 9; ++i) {
    ids.insert(thrice->item(i).id);
    EXPECT_EQ(thrice->item(i).label, inner->item(i % 3).label);
    EXPECT_EQ(thrice->Read(i)->pixels, inner->Read(i % 3)->pixels);
    EXPECT_EQ(thrice->ReadMask(i)->pixels, inner->ReadMask(i % 3)->pixels);
  }
  EXPECT_EQ(ids.size(), 9u);
  EXPECT_EQ(thrice->item(1).id, inner->item(1).id);
  EXPECT_EQ(thrice->item(7).id, "round-3/" + inner->item(1).id);
  EXPECT_NE(thrice->Fingerprint(), RepeatSource(inner, 2)->Fingerprint());
}

}  // namespace
}  // namespace genview
