#include "genview/tensor/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "genview/base/error.h"

namespace genview {
namespace {

std::string Bytes(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file + header + std::string(data_bytes, '\1');
}

std::string RefusalOf(const std::string& file) {
  try {
    (void)ParseSafetensorsHeader(file, "test");
  } catch (const Error& error) {
    return error.text().what;
  }
  return "";
}

TEST(Safetensors, RoundTripKeepsValuesTypesAndMetadata) {
  const Path path = testing::TempDir() + "round_trip.safetensors";
  const Tensor a = at::arange(6, at::kFloat).view({2, 3});
  WriteSafetensors(path, {{"b", at::ones({3}, at::kHalf)}, {"a", a.t()}, {"c", at::scalar_tensor(7, at::kLong)}},
                   {{"k", "v"}});
  const WeightMap read = ReadSafetensors(path);
  EXPECT_TRUE(at::equal(read.At("a"), a.t()));
  EXPECT_EQ(read.At("b").scalar_type(), at::kHalf);
  EXPECT_EQ(read.At("c").item<int64_t>(), 7);
  EXPECT_EQ(read.Metadata("k"), "v");
}

TEST(Safetensors, LayoutIsTheOriginalWriters) {
  // {b: f16[3], a: f32[2], c: i64[]} is stored in the order c, a, b with a header of 200 bytes.
  const Path path = testing::TempDir() + "layout.safetensors";
  WriteSafetensors(path,
                   {{"b", at::ones({3}, at::kHalf)}, {"a", at::ones({2})}, {"c", at::scalar_tensor(7, at::kLong)}},
                   {{"format", "pt"}});
  const std::string file = ReadFile(path);
  const auto header = ParseSafetensorsHeader(file, "test");
  ASSERT_EQ(header.entries.size(), 3u);
  EXPECT_EQ(header.entries[0].name, "c");
  EXPECT_EQ(header.entries[1].name, "a");
  EXPECT_EQ(header.entries[2].name, "b");
  EXPECT_EQ(header.data_begin % 8, 0u);
}

TEST(Safetensors, EveryKindOfDamageIsRefused) {
  const std::string good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  EXPECT_EQ(RefusalOf(Bytes(good, 8)), "");
  EXPECT_NE(RefusalOf("1234567"), "");  // too short
  std::string huge = Bytes(good, 8);
  huge[7] = '\x7f';
  EXPECT_NE(RefusalOf(huge).find("100 MB"), std::string::npos);  // header too large
  std::string past = Bytes(good, 0);
  past[0] = static_cast<char>(past[0] + 1);
  EXPECT_NE(RefusalOf(past).find("ends after"), std::string::npos);  // header past the end
  EXPECT_NE(RefusalOf(Bytes("[1]", 0)).find("begin with"), std::string::npos);
  EXPECT_NE(RefusalOf(Bytes("{\"\xff\":1}", 0)).find("UTF-8"), std::string::npos);
  EXPECT_NE(RefusalOf(Bytes("{\"a\":", 0)).find("JSON"), std::string::npos);
  const auto entry = [](const std::string& text) { return "{\"a\":" + text + "}"; };
  using Wrong = std::pair<const char*, const char*>;  // and what is said of it
  for (const auto& [wrong, said] :
       {Wrong{"1", "not described by an object"}, Wrong{R"({"dtype":"F32","shape":[2]})", "lacks dtype"},
        Wrong{R"({"dtype":"F99","shape":[2],"data_offsets":[0,8]})", "unknown dtype `F99`"},
        Wrong{R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})", "not a list of sizes"},
        Wrong{R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1})", "unknown member `x`"},
        Wrong{R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})", "offsets 0..8 but 12 bytes"},
        Wrong{R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})", "offsets 8..0 but 8 bytes"},
        Wrong{R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]})", "too large to count"}}) {
    EXPECT_NE(RefusalOf(Bytes(entry(wrong), 8)).find(said), std::string::npos)
        << wrong << ": " << RefusalOf(Bytes(entry(wrong), 8));
  }
  // Half a byte, of which none are stored.
  EXPECT_NE(RefusalOf(Bytes(entry(R"({"dtype":"F4","shape":[1],"data_offsets":[0,0]})"), 0)).find("whole bytes"),
            std::string::npos);
  // Of no bytes, but with strides that cannot be counted.
  EXPECT_NE(RefusalOf(Bytes(entry(R"({"dtype":"F32","shape":[0,4611686018427387904,2],"data_offsets":[0,0]})"), 0))
                .find("count"),
            std::string::npos);
  EXPECT_NE(RefusalOf(Bytes(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})", 8)).find("gap"),
            std::string::npos);
  EXPECT_NE(
      RefusalOf(
          Bytes(
              R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
              8))
          .find("overlap"),
      std::string::npos);
  EXPECT_NE(
      RefusalOf(
          Bytes(
              R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
              0))
          .find("twice"),
      std::string::npos);
  EXPECT_NE(RefusalOf(Bytes(good, 9)).find("end at byte"), std::string::npos);
  EXPECT_NE(RefusalOf(Bytes(R"({"__metadata__":{"k":1}})", 0)).find("metadata"), std::string::npos);
}

TEST(Safetensors, HeadersThatWouldTakeFarMoreMemoryThanTheirTextAreRefused) {
  const auto with_shape = [](size_t dimensions) {
    std::string shape = "0";
    for (size_t i = 1; i < dimensions; ++i) shape += ",0";
    return Bytes(R"({"a":{"dtype":"F32","shape":[)" + shape + R"(],"data_offsets":[0,0]}})", 0);
  };
  EXPECT_EQ(RefusalOf(with_shape(64)), "");
  EXPECT_NE(RefusalOf(with_shape(65)).find("list of more than 64"), std::string::npos);
  std::string lists = "{}";
  for (int i = 1; i < 65; ++i) lists += ",{}";
  EXPECT_NE(RefusalOf(Bytes("{\"a\":[" + lists + "]}", 0)).find("list of more than 64"), std::string::npos);
  // In one object or, as those of tensors are, in many.
  std::string names;
  for (int i = 1; i < 1'000'000; ++i) names += ",\"" + std::to_string(i) + "\":\"\"";
  const std::string object = "{\"0\":\"\"" + names + "}";
  EXPECT_NE(
      RefusalOf(Bytes("{\"__metadata__\":" + object + ",\"a\":" + object + "}", 0)).find("more than 2000000 names"),
      std::string::npos);
  // As many objects in one, each of which is no tensor: minutes where the end of each walks over those before.
  std::string objects = "{}";
  for (int i = 1; i < 400'000; ++i) objects += ",\"" + std::to_string(i) + "\":{}";
  EXPECT_NE(RefusalOf(Bytes("{\"0\":" + objects + "}", 0)).find("lacks dtype"), std::string::npos);
  const std::string deep = R"({"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}})";
  EXPECT_NE(RefusalOf(Bytes(deep, 0)).find("unknown member"), std::string::npos);
  EXPECT_NE(RefusalOf(Bytes("{\"a\":" + deep + "}", 0)).find("nested too deeply"), std::string::npos);
}

TEST(WeightReader, NamesEveryWrongTensorAtOnce) {
  WeightMap weights("model.safetensors");
  weights.Add("a", at::ones({2}));
  weights.Add("extra", at::ones({1}));
  weights.Add("bad", at::full({1}, NAN));
  WeightReader reader(weights);
  reader.Take("a", {3});
  reader.Take("b", {1});
  reader.Take("bad", {1});
  try {
    reader.Finish();
    FAIL();
  } catch (const Error& error) {
    for (const char* part :
         {"4 tensors", "a: has [2], wanted [3]", "b: missing", "bad: holds NaN", "extra: not part"}) {
      EXPECT_NE(error.text().what.find(part), std::string::npos) << part << " in " << error.text().what;
    }
  }
}

TEST(WeightReader, ReadsAsMuchAsIsAskedFor) {
  WeightMap weights("model.safetensors");
  const Tensor half = NormalTensor(Seed(1), {6, 4, 3, 3}).to(at::kHalf), single = NormalTensor(Seed(2), {6, 4});
  weights.Add("half", half);
  weights.Add("single", single);
  for (const Reads reads : {Reads::kNames, Reads::kChecked, Reads::kAll, Reads::kAsStored, Reads::kInBf16}) {
    WeightReader reader(weights, reads);
    const Tensor a = reader.TakeMatrix("half", half.sizes(), at::MemoryFormat::ChannelsLast),
                 b = reader.TakeMatrix("single", single.sizes()), norm = reader.Take("half", half.sizes());
    reader.Finish();
    EXPECT_EQ(a.sizes(), half.sizes());
    EXPECT_EQ(a.is_meta(), !KeepsContents(reads));
    if (!KeepsContents(reads)) continue;
    const at::ScalarType of_half = reads == Reads::kAsStored ? at::kHalf
                                   : reads == Reads::kInBf16 ? at::kBFloat16
                                                             : at::kFloat,
                         of_single = reads == Reads::kInBf16 ? at::kBFloat16 : at::kFloat;
    EXPECT_EQ(norm.scalar_type(), at::kFloat);
    EXPECT_TRUE(a.is_contiguous(at::MemoryFormat::ChannelsLast));
    EXPECT_TRUE(at::equal(a, half.to(of_half)));
    EXPECT_TRUE(at::equal(b, single.to(of_single)));
    EXPECT_NE(b.const_data_ptr(), single.const_data_ptr());
  }
}

TEST(WeightReader, IntegersAreCountersAndNoWeights) {
  WeightMap weights("model.safetensors");
  weights.Add("count", at::full({}, 7, at::kInt));
  weights.Add("quantised", at::ones({2, 2}, at::kChar));
  for (const Reads reads : {Reads::kNames, Reads::kChecked, Reads::kAll, Reads::kAsStored, Reads::kInBf16}) {
    WeightReader reader(weights, reads);
    const Tensor count = reader.Take("count", {});
    EXPECT_EQ(KeepsContents(reads) ? count.item<int64_t>() : 7, 7);
    EXPECT_EQ(reader.TakeMatrix("quantised", {2, 2}).sizes(), (std::vector<int64_t>{2, 2}));
    try {
      reader.Finish();
      FAIL();
    } catch (const Error& error) {
      EXPECT_NE(error.text().what.find("quantised: stored as Char"), std::string::npos) << error.text().what;
    }
  }
}

TEST(WeightReader, NumbersThatAreNoneAreFoundWhereContentsAreRead) {
  WeightMap weights("model.safetensors");
  weights.Add("a", at::full({3, 2}, INFINITY, at::kHalf));
  for (const Reads reads : {Reads::kNames, Reads::kChecked, Reads::kAll, Reads::kAsStored, Reads::kInBf16}) {
    WeightReader reader(weights, reads);
    reader.TakeMatrix("a", {3, 2});
    if (reads == Reads::kNames) EXPECT_NO_THROW(reader.Finish());
    else EXPECT_THROW(reader.Finish(), Error);
  }
}

}  // namespace
}  // namespace genview
