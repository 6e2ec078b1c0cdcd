#include "genview/diffusion/noising.h"

#include <gtest/gtest.h>

#include "genview/base/error.h"
#include "genview/diffusion/python_json.h"
#include "genview/tensor/safetensors.h"
#include "tests/source_dir.h"

namespace genview {
namespace {

const Path kGolden = SourceDir() / "tests/golden/diffusion";

TEST(EmbeddingNoiser, ClassVectorsEqualDiffusers) {
  const WeightMap io = ReadSafetensors(kGolden / "noising.safetensors");
  EmbeddingNoiser noiser = MakeEmbeddingNoiser(6);
  noiser.mean = io.At("mean");
  noiser.std = io.At("std");
  EXPECT_TRUE(at::allclose(noiser.alpha_bar, io.At("alpha_bar"), 1e-6, 0));
  const Tensor got = noiser.ClassVectors(io.At("embeddings"), io.At("levels"), io.At("noise"));
  EXPECT_TRUE(at::allclose(got, io.At("class_vectors"), 1e-5, 1e-6));
}

TEST(NoiseTable, OfDdpmsOtherSchedules) {
  const WeightMap io = ReadSafetensors(kGolden / "noising.safetensors");
  for (const std::string schedule : {"sigmoid", "laplace"}) {
    NoiseTableConfig config;
    config.schedule = schedule;
    const Tensor wanted = io.At("alpha_bar_" + schedule);
    EXPECT_LE(((NoiseTable(config) - wanted).abs() / wanted.abs().clamp_min(1e-3)).max().item<double>(), 1e-5);
  }
}

TEST(EmbeddingNoiser, PublishedTable) {
  const Tensor a = MakeEmbeddingNoiser(2).alpha_bar;
  const std::vector<std::pair<int64_t, double>> kept{{0, .999979},   {1, .999956},   {100, .985685},
                                                     {200, .947504}, {400, .803734}, {999, .000049}};
  for (const auto& [level, root] : kept) EXPECT_NEAR(a[level].sqrt().item<double>(), root, 2e-6);
  EXPECT_NEAR((1 - a[0]).sqrt().item<double>(), .006427, 2e-6);
}

TEST(EmbeddingNoiser, ALevelBelongsToItsRow) {
  const EmbeddingNoiser noiser = MakeEmbeddingNoiser(4);
  const Tensor e = NormalTensor(Seed(1), {3, 4}), n = NormalTensor(Seed(2), {3, 4}), levels = at::tensor({400, 0, 100});
  const Tensor all = noiser.ClassVectors(e, levels, n);
  for (int64_t i = 0; i < 3; ++i) {
    const auto row = [&](const Tensor& t) { return t.slice(0, i, i + 1); };
    EXPECT_TRUE(at::equal(noiser.ClassVectors(row(e), row(levels), row(n)), row(all)));
  }
}

TEST(EmbeddingNoiser, WrittenFolderReadsBack) {
  const Path folder = Path(testing::TempDir()) / "genview-noiser";
  EmbeddingNoiser noiser = MakeEmbeddingNoiser(3);
  noiser.mean.fill_(0.5);
  WriteEmbeddingNoiser(noiser, folder);
  const EmbeddingNoiser again = ReadEmbeddingNoiser(folder, 3);
  EXPECT_TRUE(at::equal(again.mean, noiser.mean));
  EXPECT_TRUE(at::equal(again.alpha_bar, noiser.alpha_bar));
  const Path scheduler = folder / "image_noising_scheduler/scheduler_config.json";
  Json json = ReadJson(scheduler);
  json["_class_name"] = "EulerDiscreteScheduler";  // adds noise of another size
  WriteJson(scheduler, json);
  EXPECT_THROW(ReadEmbeddingNoiser(folder, 3), Error);
  std::filesystem::remove_all(folder);
}

TEST(PythonJson, NumbersThatAreNotJsonBecomeNullOutsideOfStrings) {
  EXPECT_EQ(WithoutPythonNumbers(R"({"a": -Infinity, "b": [NaN, Infinity], "c": "NaN \" -Infinity"})"),
            R"({"a": null, "b": [null, null], "c": "NaN \" -Infinity"})");
}

}  // namespace
}  // namespace genview
