#include "genview/foreground/pca.h"

#include <gtest/gtest.h>

#include "genview/base/error.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

Path File(const std::string& name) { return Path(testing::TempDir()) / ("foreground_" + name); }

std::string Complaint(const Path& path) {
  try {
    ReadForegroundModel(path);
  } catch (const Error& error) {
    return error.text().what;
  }
  return "";
}

TEST(ForegroundModel, ReadsWhatItWrites) {
  ForegroundModel m{.component = NormalTensor(Seed(1), {6}),
                    .mean = NormalTensor(Seed(2), {6}),
                    .threshold = 0.1234567890123,
                    .share = 0.3,
                    .mode = ThresholdMode::kHistogram,
                    .margin = 1.5,
                    .variance_share = 0.25,
                    .images = 7,
                    .tokens = 112,
                    .encoder = "abc",
                    .encoder_name = "a ViT",
                    .request = "r"};
  WriteForegroundModel(File("a.safetensors"), m);
  const ForegroundModel r = ReadForegroundModel(File("a.safetensors"));
  EXPECT_TRUE(at::equal(r.component, m.component));
  EXPECT_TRUE(at::equal(r.mean, m.mean));
  EXPECT_EQ(r.threshold, m.threshold);
  EXPECT_EQ(r.Threshold("x"), *m.threshold);
  EXPECT_EQ(r.share, 0.3);
  EXPECT_EQ(r.mode, ThresholdMode::kHistogram);
  EXPECT_EQ(r.tokens, 112);
  EXPECT_EQ(r.encoder, "abc");
  EXPECT_EQ(r.request, "r");
}

TEST(ForegroundModel, ABareComponentHasNoThreshold) {
  const Tensor v = NormalTensor(Seed(1), {4});
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 1), }";
  header.append(64 - (10 + header.size() + 1) % 64, ' ');
  header += '\n';
  WriteFile(File("v.npy"), std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(header.size()) + '\0' + header +
                               std::string(static_cast<const char*>(v.data_ptr()), 16));
  const ForegroundModel m = ReadForegroundModel(File("v.npy"));
  EXPECT_TRUE(at::equal(m.component, v));
  EXPECT_THROW(m.Threshold("v.npy"), Error);
}

TEST(ForegroundModel, ForeignAndDamagedFilesAreErrors) {
  const auto write = [](const std::vector<std::pair<std::string, Tensor>>& tensors, const char* meta) {
    WriteSafetensors(File("bad.safetensors"), tensors, {{"genview", meta}});
    return Complaint(File("bad.safetensors"));
  };
  const char* const kind = R"({"kind": "foreground"})";
  EXPECT_EQ(write({{"component", at::ones({3})}}, kind), "");
  EXPECT_NE(write({{"component", at::ones({3})}}, R"({"kind": "pretrain"})").find("not a foreground model"),
            std::string::npos);
  EXPECT_EQ(write({{"component", at::ones({3})}}, R"({"kind": "foreground", "format": 2})"),
            "made by a newer version of this program: format 2, where 1 is known");
  EXPECT_NE(write({{"component", at::zeros({3})}}, kind).find("not one vector"), std::string::npos);
  EXPECT_NE(write({{"component", at::ones({3, 2})}}, kind).find("not one vector"), std::string::npos);
  EXPECT_NE(write({{"component", at::full({3}, NAN)}}, kind).find("not one vector"), std::string::npos);
  EXPECT_NE(write({{"component", at::ones({3})}, {"threshold", at::ones({2})}}, kind).find("threshold"),
            std::string::npos);
  EXPECT_NE(write({{"other", at::ones({3})}}, kind).find("component"), std::string::npos);
}

TEST(ForegroundModel, IsTiedToItsEncoder) {
  ForegroundModel m;
  m.component = at::ones({4});
  m.encoder = "one";
  EXPECT_NO_THROW(CheckModelFits(m, "fg", 4, "one", "e"));
  EXPECT_THROW(CheckModelFits(m, "fg", 4, "two", "e"), Error);
  EXPECT_THROW(CheckModelFits(m, "fg", 5, "one", "e"), Error);
  m.encoder = "";  // of a bare component it is not known
  EXPECT_NO_THROW(CheckModelFits(m, "fg", 4, "two", "e"));
}

}  // namespace
}  // namespace genview
