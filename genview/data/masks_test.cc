#include "genview/data/masks.h"

#include <gtest/gtest.h>

#include "tests/temporary_folder.h"

namespace genview {
namespace {

TEST(MaskNames, LoseTheirExtensionUnlessTheyWouldMeet) {
  EXPECT_EQ(MaskNames({"a/x.jpg", "b/x.jpg", "a/x.png", "y.tar.gz"}),
            (std::vector<std::string>{"a/x.png", "b/x.png", "a/x.png.png", "y.tar.png"}));
  EXPECT_EQ(MaskNames({"a.png.jpg", "a.jpg", "a.png"}),
            (std::vector<std::string>{"a.png.png", "a.png", "a.png.png.png"}));
  EXPECT_EQ(MaskNames({"a.jpg", "a.png/b.png"}), (std::vector<std::string>{"a.jpg.png", "a.png/b.png"}));
}

TEST(MaskIndex, TellsMasksThatMeetApartAmongOtherPicturesToo) {
  using Names = std::vector<std::string>;
  const TemporaryFolder place;
  const Path folder = place.path();
  WriteMaskIndex(folder, {"a.jpg", "b/c.png"});
  EXPECT_TRUE(std::filesystem::is_empty(folder));  // nothing to say
  EXPECT_EQ(MaskNamesIn(folder, {"a.png", "a.jpg"}), (Names{"a.png", "a.jpg.png"}));

  const Names ids{"a.jpg", "a.png", "b/c.png"};
  WriteFile(folder / ".index.tsv.1.part", "of a killed call");
  WriteMaskIndex(folder, ids);
  EXPECT_FALSE(std::filesystem::exists(folder / ".index.tsv.1.part"));
  EXPECT_EQ(ReadFile(folder / "index.tsv"), "id\tmask\na.png\ta.png.png\n");
  EXPECT_EQ(MaskNamesIn(folder, ids), MaskNames(ids));
  EXPECT_EQ(MaskNamesIn(folder, {"a.png"}), Names{"a.png.png"});
  EXPECT_EQ(MaskNamesIn(folder, {"b/c.png", "a.jpg"}), (Names{"b/c.png", "a.png"}));
  EXPECT_EQ(MaskNamesIn(folder, {"a.png.webp"}), Names{""});  // that name is another's
  WriteMaskIndex(folder, {"d.jpg", "d.png"});
  EXPECT_EQ(MaskNamesIn(folder, {"a.png", "d.png"}), (Names{"a.png.png", "d.png.png"}));
  WriteMaskIndex(folder, {"a.png"});  // by itself: where the mask of a.jpg was
  EXPECT_EQ(MaskNamesIn(folder, {"a.png", "d.png"}), (Names{"a.png", "d.png.png"}));
  WriteMaskIndex(folder, {"d.png.jpg"});  // in place of d.png's
  EXPECT_EQ(MaskNamesIn(folder, {"d.png"}), Names{"d.png"});

  for (const char* damaged : {"id\tmask\na.png\n", "id\tmask\na.png\t../a.png\n", "a.png\ta.png.png\n"}) {
    WriteFile(folder / "index.tsv", damaged);
    EXPECT_THROW(MaskNamesIn(folder, {"a.png"}), Error) << damaged;
  }
}

TEST(MaskIndex, IsAskedWhereMasksAreOpened) {
  const TemporaryFolder place;
  const auto shapes = OpenSource("shapes:count=2,size=16,seed=1");
  const Path pictures = place.path() / "pictures", folder = place.path() / "masks";
  WriteFile(pictures / "a.jpg", EncodeJpeg(*shapes->Read(0)));
  WriteFile(pictures / "a.png", EncodePng(*shapes->Read(1)));
  WriteFile(place.path() / "list.txt", "pictures/a.png\n");
  WriteFile(place.path() / "whole.txt", "pictures/a.jpg\npictures/a.png\n");
  const auto whole = OpenSource((place.path() / "whole.txt").string());
  WriteMaskIndex(folder, IdsOf(*whole));
  WriteFile(folder / "pictures/a.png", EncodePng(*shapes->ReadMask(0)));
  WriteFile(folder / "pictures/a.png.png", EncodePng(*shapes->ReadMask(1)));
  ASSERT_NE(shapes->ReadMask(0)->pixels, shapes->ReadMask(1)->pixels);
  const auto one = OpenSource((place.path() / "list.txt").string());
  EXPECT_EQ(MaskFolder::Open(folder, *one)->Read(0)->pixels, shapes->ReadMask(1)->pixels);
  EXPECT_EQ(MaskFolder::Open(folder, *whole)->Read(0)->pixels, shapes->ReadMask(0)->pixels);
}

class Masks : public testing::Test {
 protected:
  Masks() : source_(OpenSource("shapes:count=4,size=16,seed=1")) {
    for (int64_t i = 0; i < 3; ++i) {
      const std::string name = MaskNames({source_->item(i).id}).front();
      WriteFile(folder_ / name, i == 2 ? "no picture" : EncodePng(*source_->ReadMask(i)));
    }
  }

  const TemporaryFolder place_;
  const Path folder_ = place_.path();
  std::shared_ptr<const ImageSource> source_;
};

TEST_F(Masks, AreFoundByThePicturesIds) {
  const auto masks = MaskFolder::Open(folder_, *source_);
  EXPECT_TRUE(masks->Has(0) && masks->Has(2));
  EXPECT_FALSE(masks->Has(3) || masks->Has(4));
  EXPECT_EQ(masks->Read(1)->pixels, source_->ReadMask(1)->pixels);
  EXPECT_FALSE(masks->Read(2));
  EXPECT_FALSE(masks->Read(3));
}

TEST_F(Masks, OfRepeatedPicturesAreTheSame) {
  const auto masks = MaskFolder::Open(folder_, *source_)->Repeated(2);
  EXPECT_EQ(masks->Read(4 + 1)->pixels, source_->ReadMask(1)->pixels);
  EXPECT_FALSE(masks->Has(4 + 3));
  EXPECT_FALSE(masks->Has(8));  // what comes after the pictures has none
}

TEST_F(Masks, AnotherSetOfFilesIsAnotherFingerprint) {
  const std::string before = MaskFolder::Open(folder_, *source_)->Fingerprint();
  EXPECT_EQ(MaskFolder::Open(folder_, *source_)->Fingerprint(), before);
  WriteFile(folder_ / MaskNames({source_->item(3).id}).front(), EncodePng(*source_->ReadMask(3)));
  EXPECT_NE(MaskFolder::Open(folder_, *source_)->Fingerprint(), before);
}

TEST_F(Masks, AFolderWithNoneOfThemIsRefused) {
  EXPECT_THROW(MaskFolder::Open(folder_ / "nowhere", *source_), Error);
  std::filesystem::create_directories(folder_ / "empty");
  EXPECT_THROW(MaskFolder::Open(folder_ / "empty", *source_), Error);
}

}  // namespace
}  // namespace genview
