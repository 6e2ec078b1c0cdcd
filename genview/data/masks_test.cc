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
