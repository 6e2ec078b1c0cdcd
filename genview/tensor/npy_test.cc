#include "genview/tensor/npy.h"

#include <gtest/gtest.h>

#include "genview/base/error.h"
#include "genview/base/text.h"

namespace genview {
namespace {

std::string Npy(const std::string& dictionary, const std::string& data, char version = 1) {
  std::string header = dictionary;
  const size_t begin = version == 1 ? 10 : 12;
  header.append(64 - (begin + header.size() + 1) % 64, ' ');
  header += '\n';
  std::string file = std::string("\x93NUMPY", 6) + version + '\0';
  file += static_cast<char>(header.size() & 255);
  file += static_cast<char>(header.size() >> 8);
  if (version != 1) file += std::string(2, '\0');
  return file + header + data;
}

std::string Floats(const std::vector<float>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

std::string Complaint(const std::string& file) {
  try {
    ParseNpy(file, "a.npy");
  } catch (const Error& error) {
    EXPECT_EQ(error.text().where, "a.npy");
    return error.text().what;
  }
  return "";
}

const char* const kTwoByThree = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";

TEST(Npy, ReadsBothOrdersAndAllVersions) {
  const Tensor expected = at::arange(6, at::kFloat).view({2, 3});
  for (const char version : {1, 2, 3}) {
    EXPECT_TRUE(at::equal(ParseNpy(Npy(kTwoByThree, Floats({0, 1, 2, 3, 4, 5}), version), "x"), expected));
  }
  const std::string fortran = "{\"shape\": (2,3), \"fortran_order\": True, \"descr\": \"<f4\"}";
  const Tensor read = ParseNpy(Npy(fortran, Floats({0, 3, 1, 4, 2, 5})), "x");
  EXPECT_TRUE(at::equal(read, expected));
  EXPECT_TRUE(read.is_contiguous());
}

TEST(Npy, ReadsScalarsAndEmptyArrays) {
  EXPECT_EQ(ParseNpy(Npy("{'descr': '<f4', 'fortran_order': False, 'shape': ()}", Floats({7})), "x").item<float>(), 7);
  EXPECT_EQ(ParseNpy(Npy("{'descr': '<i8', 'fortran_order': False, 'shape': (0, 5)}", ""), "x").sizes(),
            (at::IntArrayRef{0, 5}));
  EXPECT_EQ(ParseNpy(Npy("{'descr': '|b1', 'fortran_order': False, 'shape': (2,)}", std::string("\0\x07", 2)), "x")
                .sum()
                .item<int64_t>(),
            1);
}

TEST(Npy, DamagedAndForeignFilesAreRefused) {
  const std::string good = Npy(kTwoByThree, Floats({0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(Complaint(good), "");
  EXPECT_NE(Complaint(good + "x").find("the file holds 25"), std::string::npos);
  EXPECT_NE(Complaint(good.substr(0, good.size() - 1)).find("the file holds 23"), std::string::npos);
  EXPECT_NE(Complaint(good.substr(0, 40)).find("ends after the file"), std::string::npos);
  EXPECT_NE(Complaint("PK").find("not a .npy"), std::string::npos);
  const auto with = [](const char* dictionary) { return Complaint(Npy(dictionary, Floats({0, 1, 2, 3, 4, 5}))); };
  EXPECT_NE(with("{'descr': '|O', 'fortran_order': False, 'shape': (2, 3)}").find("`|O`"), std::string::npos);
  EXPECT_NE(with("{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3)}").find("big-endian"), std::string::npos);
  EXPECT_NE(with("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3)}").find("no text"),
            std::string::npos);
  EXPECT_NE(with("{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3)}").find("True nor False"), std::string::npos);
  EXPECT_NE(with("{'descr': '<f4', 'fortran_order': False, 'shape': (2, -3)}").find("no size"), std::string::npos);
  EXPECT_NE(with("{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 9999999999, 9)}").find("too large"),
            std::string::npos);
  EXPECT_NE(with("{'descr': '<f4', 'fortran_order': False}").find("lacks"), std::string::npos);
  EXPECT_NE(with("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}").find("second or unknown"),
            std::string::npos);
  EXPECT_NE(with("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} + x").find("goes on"), std::string::npos);
  EXPECT_NE(with("[1, 2]").find("no `{`"), std::string::npos);
}

}  // namespace
}  // namespace genview
