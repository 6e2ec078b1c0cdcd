#include "genview/data/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <set>

#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "tests/temporary_folder.h"

namespace genview {
namespace {

std::string BytesOf(const Tensor& tensor) {
  const Tensor flat = tensor.contiguous();
  return {static_cast<const char*>(flat.data_ptr()), static_cast<size_t>(flat.numel() * flat.element_size())};
}

// Shapes of which some cannot be read.
class HoledSource : public ImageSource {
 public:
  HoledSource(int64_t count, std::set<int64_t> holes)
      : inner_(OpenSource(Format("shapes:count={},size=20,seed=1", count))), holes_(std::move(holes)) {}
  int64_t size() const override { return inner_->size(); }
  const SourceItem& item(int64_t i) const override { return inner_->item(i); }
  Outcome<Image> Read(int64_t i) const override {
    if (holes_.contains(i)) return Outcome<Image>::Failed(Format("hole {}", i));
    return inner_->Read(i);
  }
  Outcome<std::string> ReadBytes(int64_t i) const override { return inner_->ReadBytes(i); }
  std::string Fingerprint() const override { return inner_->Fingerprint(); }

 private:
  std::shared_ptr<const ImageSource> inner_;
  std::set<int64_t> holes_;
};

Preprocess Small() {
  Preprocess p;
  p.size = 16;
  p.resize_shortest = 16;
  return p;
}

std::vector<int64_t> Range(int64_t n) {
  std::vector<int64_t> all;
  for (int64_t i = 0; i < n; ++i) all.push_back(i);
  return all;
}

TEST(EncodeLoader, GivesWhatPreprocessGives) {
  const auto source = OpenSource("shapes:count=10,size=20,seed=1");
  SkippedLog skipped;
  EncodeLoader loader(source, {7, 2, 5}, Small(), 2, 2, skipped, false);
  EncodeBatch batch;
  ASSERT_TRUE(loader.Next(batch));
  EXPECT_EQ(batch.indices, (std::vector<int64_t>{7, 2}));
  EXPECT_EQ(batch.widths, (std::vector<int64_t>{20, 20}));
  ASSERT_EQ(batch.pixels.sizes(), (std::vector<int64_t>{2, 3, 16, 16}));
  EXPECT_TRUE(batch.pixels.is_contiguous(at::MemoryFormat::ChannelsLast));
  std::vector<float> expected(3 * 16 * 16);
  Normalise(ApplyGeometry(Small(), *source->Read(2)), kClipMean, kClipStd, expected);
  EXPECT_TRUE(at::equal(batch.pixels[1].contiguous().flatten(), at::tensor(at::ArrayRef<float>(expected))));
  ASSERT_TRUE(loader.Next(batch));
  EXPECT_EQ(batch.indices, std::vector<int64_t>{5});
  EXPECT_FALSE(loader.Next(batch));
}

TEST(EncodeLoader, LeavesBadPicturesOutForAnyNumberOfThreads) {
  const auto source = std::make_shared<HoledSource>(23, std::set<int64_t>{0, 3, 8, 9, 10, 11, 22});
  std::string first;
  for (const int64_t threads : {1, 2, 5}) {
    SkippedLog skipped;
    EncodeLoader loader(source, Range(23), Small(), 4, threads, skipped, false);
    std::vector<int64_t> seen;
    std::string bytes;
    for (EncodeBatch batch; loader.Next(batch);) {
      EXPECT_EQ(batch.pixels.size(0), static_cast<int64_t>(batch.indices.size()));
      EXPECT_EQ(batch.widths.size(), batch.indices.size());
      seen.insert(seen.end(), batch.indices.begin(), batch.indices.end());
      bytes += BytesOf(batch.pixels);
    }
    EXPECT_EQ(seen, (std::vector<int64_t>{1, 2, 4, 5, 6, 7, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21}));
    EXPECT_EQ(skipped.count(), 7);
    if (first.empty()) first = bytes;
    EXPECT_EQ(bytes, first);
  }
}

TEST(EncodeLoader, StrictNamesTheFirstBadPicture) {
  const auto source = std::make_shared<HoledSource>(20, std::set<int64_t>{13, 14});
  SkippedLog skipped;
  EncodeLoader loader(source, Range(20), Small(), 4, 3, skipped, true);
  EncodeBatch batch;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(loader.Next(batch));
  try {
    loader.Next(batch);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.text().what, "a picture cannot be read: hole 13");
    EXPECT_EQ(error.text().where, source->item(13).path);
  }
}

PairLoaderConfig PairConfig(int64_t threads, int64_t batch = 4) {
  PairLoaderConfig config;
  config.view1 = AugmentPreset("byol", 0);
  config.view2 = AugmentPreset("byol", 1);
  config.view1.size = config.view2.size = 16;
  config.batch = batch;
  config.threads = threads;
  config.seed = 11;
  return config;
}

// Digest of every batch from (epoch, first) on, over `epochs` epochs.
std::vector<std::string> Digests(PairLoader& loader, int64_t epoch, int64_t first, int64_t epochs = 1) {
  std::vector<std::string> digests;
  for (int64_t e = epoch; e < epoch + epochs; ++e) {
    loader.Start(e, e == epoch ? first : 0);
    for (PairBatch batch; loader.Next(batch);) {
      digests.push_back(
          Fingerprint(Format("{}", fmt::join(batch.indices, ",")) + BytesOf(batch.view1) + BytesOf(batch.view2)));
    }
  }
  return digests;
}

TEST(PairLoader, BytesDoNotDependOnThreadsOrWhereItStarts) {
  const auto source = OpenSource("shapes:count=30,size=20,seed=1");
  SkippedLog skipped;
  PairLoader one(source, nullptr, PairConfig(1), skipped);
  EXPECT_EQ(one.batches_per_epoch(), 7);
  const auto all = Digests(one, 0, 0, 3);
  ASSERT_EQ(all.size(), 21u);
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), 21u);
  for (const int64_t threads : {1, 2, 5}) {
    PairLoader loader(source, nullptr, PairConfig(threads), skipped);
    EXPECT_EQ(Digests(loader, 0, 0, 3), all) << threads;
    EXPECT_EQ(Digests(loader, 1, 3, 2), std::vector<std::string>(all.begin() + 10, all.end())) << threads;
    EXPECT_EQ(Digests(loader, 0, 7), std::vector<std::string>()) << threads;
  }
}

TEST(PairLoader, SharesAreTheBatchesOfOne) {
  const auto source = OpenSource("shapes:count=42,size=20,seed=1");
  SkippedLog skipped;
  PairLoader one(source, nullptr, PairConfig(2), skipped);
  const auto all = Digests(one, 0, 0, 2);
  ASSERT_EQ(all.size(), 20u);
  for (const int64_t size : {1, 2, 3}) {  // steps of three batches, the tenth of an epoch is left over
    for (int64_t rank = 0; rank < size; ++rank) {
      PairLoaderConfig config = PairConfig(2);
      config.share = {.of = 3, .first = rank, .every = size};
      PairLoader loader(source, nullptr, config, skipped);
      EXPECT_EQ(loader.batches_per_epoch(), 10);
      const auto wanted = [&](int64_t first_epoch, int64_t first) {
        std::vector<std::string> digests;
        for (int64_t epoch = first_epoch; epoch < 2; ++epoch) {
          for (int64_t i = epoch == first_epoch ? first : 0; i < 9; ++i) {
            if (i % 3 % size == rank) digests.push_back(all[static_cast<size_t>(10 * epoch + i)]);
          }
        }
        return digests;
      };
      EXPECT_EQ(Digests(loader, 0, 0, 2), wanted(0, 0)) << rank << " of " << size;
      EXPECT_EQ(Digests(loader, 0, 6, 2), wanted(0, 6)) << rank << " of " << size;
      EXPECT_EQ(Digests(loader, 1, 3, 1), wanted(1, 3)) << rank << " of " << size;
    }
  }
}

TEST(PairLoader, ViewsAreTheAugmentedPicture) {
  const auto source = OpenSource("shapes:count=9,size=20,seed=1");
  SkippedLog skipped;
  const auto config = PairConfig(2);
  PairLoader loader(source, nullptr, config, skipped);
  loader.Start(3);
  PairBatch batch;
  ASSERT_TRUE(loader.Next(batch));
  EXPECT_EQ(batch.generated, 0);
  for (size_t slot = 0; slot < 4; ++slot) {
    const int64_t index = batch.indices[slot];
    const Seed seed = Seed(11).With("augment").With(uint64_t{3}).With(source->item(index).id);
    for (int v = 0; v < 2; ++v) {
      const auto& augment = v == 0 ? config.view1 : config.view2;
      const auto params = SampleAugment(augment, seed.With(static_cast<uint64_t>(v)), 20, 20);
      std::vector<float> expected(3 * 16 * 16);
      Normalise(ApplyAugment(augment, params, *source->Read(index)), kImagenetMean, kImagenetStd, expected);
      const Tensor& view = v == 0 ? batch.view1 : batch.view2;
      EXPECT_TRUE(at::equal(view[static_cast<int64_t>(slot)].contiguous().flatten(),
                            at::tensor(at::ArrayRef<float>(expected))));
    }
  }
}

TEST(PairLoader, SmallCropsAreFurtherViewsAndLeaveTheTwoAsTheyAre) {
  const auto source = OpenSource("shapes:count=9,size=20,seed=1");
  SkippedLog skipped;
  auto config = PairConfig(2);
  PairLoader without(source, nullptr, config, skipped);
  config.local = AugmentPreset("swav", 2);
  config.local.size = 8;
  config.local_crops = 2;
  PairLoader loader(source, nullptr, config, skipped);
  loader.Start(3);
  without.Start(3);
  PairBatch batch, plain;
  ASSERT_TRUE(loader.Next(batch) && without.Next(plain));
  EXPECT_TRUE(at::equal(batch.view1, plain.view1) && at::equal(batch.view2, plain.view2));
  EXPECT_TRUE(plain.more.empty());
  for (size_t slot = 0; slot < 4; ++slot) EXPECT_EQ(batch.crops2[slot].left, plain.crops2[slot].left);
  ASSERT_EQ(batch.more.size(), 2u);
  for (size_t k = 0; k < 2; ++k) {
    const int64_t index = batch.indices[1];
    const Seed seed = Seed(11).With("augment").With(uint64_t{3}).With(source->item(index).id).With(uint64_t{2 + k});
    std::vector<float> expected(3 * 8 * 8);
    Normalise(ApplyAugment(config.local, SampleAugment(config.local, seed, 20, 20), *source->Read(index)),
              kImagenetMean, kImagenetStd, expected);
    EXPECT_TRUE(at::equal(batch.more[k][1].contiguous().flatten(), at::tensor(at::ArrayRef<float>(expected))));
  }
}

TEST(PairLoader, OneViewIsTheFirstOfThePair) {
  const auto source = OpenSource("shapes:count=8,size=20,seed=1");
  SkippedLog skipped;
  PairLoaderConfig config = PairConfig(2);
  PairLoader pairs(source, nullptr, config, skipped);
  config.one_view = true;
  PairLoader single(source, nullptr, config, skipped);
  pairs.Start(1);
  single.Start(1);
  PairBatch pair, one;
  while (pairs.Next(pair)) {
    ASSERT_TRUE(single.Next(one));
    EXPECT_EQ(one.indices, pair.indices);
    EXPECT_TRUE(at::equal(one.view1, pair.view1));
    EXPECT_FALSE(one.view2.defined());
  }
  EXPECT_FALSE(single.Next(one));
}

TEST(PairLoader, EveryPictureOnceAnEpochInAnotherOrder) {
  const auto source = OpenSource("shapes:count=12,size=16,seed=1");
  SkippedLog skipped;
  PairLoader loader(source, nullptr, PairConfig(2), skipped);
  std::vector<std::vector<int64_t>> orders;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::vector<int64_t> order;
    loader.Start(epoch);
    for (PairBatch batch; loader.Next(batch);) order.insert(order.end(), batch.indices.begin(), batch.indices.end());
    EXPECT_EQ(std::set<int64_t>(order.begin(), order.end()).size(), 12u);
    orders.push_back(order);
  }
  EXPECT_NE(orders[0], orders[1]);
}

TEST(PairLoader, WhatIsLeftOverMakesASmallerBatchWhereItIsAskedFor) {
  const auto source = OpenSource("shapes:count=11,size=16,seed=1");
  SkippedLog skipped;
  PairLoaderConfig config = PairConfig(2);
  config.one_view = true;
  PairLoader full(source, nullptr, config, skipped);
  EXPECT_EQ(full.batches_per_epoch(), 2);
  config.least_rest = 3;
  PairLoader all(source, nullptr, config, skipped);
  EXPECT_EQ(all.batches_per_epoch(), 3);
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::vector<size_t> sizes;
    std::set<int64_t> seen;
    all.Start(epoch);
    full.Start(epoch);
    for (PairBatch batch, same; all.Next(batch);) {
      sizes.push_back(batch.indices.size());
      EXPECT_EQ(batch.view1.size(0), std::ssize(batch.indices));
      seen.insert(batch.indices.begin(), batch.indices.end());
      if (!full.Next(same)) continue;  // full batches are what they were
      EXPECT_EQ(batch.indices, same.indices);
      EXPECT_TRUE(at::equal(batch.view1, same.view1));
    }
    EXPECT_EQ(sizes, (std::vector<size_t>{4, 4, 3}));
    EXPECT_EQ(seen.size(), 11u);
  }
  config.least_rest = 4;
  EXPECT_EQ(PairLoader(source, nullptr, config, skipped).batches_per_epoch(), 2);
}

TEST(PairLoader, NextGoodPictureStandsInForABadOne) {
  const auto source = std::make_shared<HoledSource>(12, std::set<int64_t>{4, 5, 11});
  std::vector<std::string> first;
  for (const int64_t threads : {1, 3}) {
    SkippedLog skipped;
    PairLoader loader(source, nullptr, PairConfig(threads), skipped);
    std::multiset<int64_t> seen;
    loader.Start(0);
    for (PairBatch batch; loader.Next(batch);) seen.insert(batch.indices.begin(), batch.indices.end());
    EXPECT_EQ(seen, (std::multiset<int64_t>{0, 0, 1, 2, 3, 6, 6, 6, 7, 8, 9, 10}));
    EXPECT_EQ(skipped.count(), 3);
    const auto digests = Digests(loader, 0, 0, 2);
    if (first.empty()) first = digests;
    EXPECT_EQ(digests, first);
  }
}

TEST(PairLoader, NothingReadableIsAnErrorNotALoop) {
  const auto source = std::make_shared<HoledSource>(4, std::set<int64_t>{0, 1, 2, 3});
  SkippedLog skipped;
  PairLoader loader(source, nullptr, PairConfig(2), skipped);
  loader.Start(0);
  PairBatch batch;
  EXPECT_THROW(loader.Next(batch), Error);
}

TEST(PairLoader, StrictStopsAtABadPicture) {
  const auto source = std::make_shared<HoledSource>(8, std::set<int64_t>{2});
  SkippedLog skipped;
  auto config = PairConfig(2);
  config.strict = true;
  PairLoader loader(source, nullptr, config, skipped);
  loader.Start(0);
  PairBatch batch;
  EXPECT_THROW(while (loader.Next(batch)){}, Error);
}

TEST(PairLoader, BatchLargerThanTheSourceIsRefused) {
  SkippedLog skipped;
  EXPECT_THROW(PairLoader(OpenSource("shapes:count=3,size=16"), nullptr, PairConfig(1), skipped), Error);
}

class GeneratedPairs : public ::testing::Test {
 protected:
  // Views of one colour, so that they are known again in a batch; none for the last picture.
  GeneratedPairs() : source_(OpenSource("shapes:count=40,size=20,seed=1")) {
    Image white(20, 20);
    std::fill(white.pixels.begin(), white.pixels.end(), uint8_t{255});
    WriteFile(folder_ / "white.png", EncodePng(white));
    std::string lines;
    for (int64_t i = 0; i < 39; ++i) {
      ViewRow row;
      row.id = source_->item(i).id;
      row.file = i == 0 ? "gone.png" : "white.png";
      lines += ViewRowToJson(row).dump() + "\n";
    }
    WriteFile(folder_ / "manifest.jsonl", lines);
    views_ = GeneratedViews::Open(folder_);
  }

  struct Counts {
    int64_t first = 0, second = 0, reported = 0;
  };
  Counts Count(double probability, SkippedLog& skipped) {
    PairLoaderConfig config = PairConfig(2);
    config.view1 = config.view2 = AugmentConfig{};
    config.view1.size = config.view2.size = 8;
    config.generated_probability = probability;
    PairLoader loader(source_, views_, config, skipped);
    Counts counts;
    const double white = (1 - kImagenetMean[0]) / kImagenetStd[0];
    for (int64_t epoch = 0; epoch < 5; ++epoch) {
      loader.Start(epoch);
      for (PairBatch batch; loader.Next(batch);) {
        counts.reported += batch.generated;
        EXPECT_EQ(
            std::count_if(batch.generated_view.begin(), batch.generated_view.end(), [](int64_t k) { return k >= 0; }),
            batch.generated);
        for (int64_t i = 0; i < 4; ++i) {
          const auto is_white = [&](const Tensor& view) {
            return std::abs(view[i][0].min().item<double>() - white) < 1e-4;
          };
          counts.first += is_white(batch.view1);
          counts.second += is_white(batch.view2);
        }
      }
    }
    return counts;
  }

  std::shared_ptr<const ImageSource> source_;
  const TemporaryFolder place_;
  const Path folder_ = place_.path();
  std::shared_ptr<const GeneratedViews> views_;
};

TEST_F(GeneratedPairs, ReplaceOneOfTheTwoByAFairCoin) {
  SkippedLog skipped;
  const Counts always = Count(1, skipped);
  EXPECT_EQ(always.reported, 5 * 38);  // one has no view, one view is gone
  EXPECT_EQ(always.first + always.second, always.reported);
  EXPECT_NEAR(static_cast<double>(always.first) / static_cast<double>(always.reported), 0.5, 0.12);
  ASSERT_EQ(skipped.count(), 1);
  EXPECT_EQ(skipped.rows()[0].first, source_->item(0).id);
}

TEST_F(GeneratedPairs, ProbabilityIsKept) {
  SkippedLog skipped;
  EXPECT_EQ(Count(0, skipped).reported, 0);
  EXPECT_NEAR(static_cast<double>(Count(0.3, skipped).reported) / (5 * 38), 0.3, 0.1);
}

TEST(PairLoader, CropsKeepToTheMasksOfPicturesThatHaveOne) {
  const auto source = OpenSource("shapes:count=12,size=40,seed=1");
  const TemporaryFolder place;
  const Path& folder = place.path();
  for (int64_t i = 0; i < 12; ++i) {  // the foreground of every other picture is its right quarter
    GrayImage mask(40, 40);
    for (size_t p = 0; p < mask.pixels.size(); ++p) mask.pixels[p] = p % 40 >= 30 ? 255 : 0;
    if (i % 2 == 0) WriteFile(folder / MaskNames({source->item(i).id}).front(), i == 4 ? "damaged" : EncodePng(mask));
  }
  PairLoaderConfig config = PairConfig(2);
  config.view1.scale_max = config.view2.scale_max = 0.3;
  SkippedLog skipped;
  PairLoader plain(source, nullptr, config, skipped);
  config.masks = MaskFolder::Open(folder, *source);
  config.crop = {.draw = CropDraw::kShare, .share = 0.25};
  std::vector<std::string> first;
  for (const int64_t threads : {1, 3}) {
    config.threads = threads;
    PairLoader loader(source, nullptr, config, skipped);
    loader.Start(0);
    plain.Start(0);
    for (PairBatch batch, without; loader.Next(batch) && plain.Next(without);) {
      for (size_t i = 0; i < batch.indices.size(); ++i) {
        const bool masked = batch.indices[i] % 2 == 0 && batch.indices[i] != 4;
        if (masked) {
          EXPECT_GT(batch.crops1[i].right, 0.8);
        } else {
          EXPECT_EQ(batch.crops1[i].right, without.crops1[i].right);
        }
      }
    }
    const auto digests = Digests(loader, 0, 0);
    if (first.empty()) first = digests;
    EXPECT_EQ(digests, first);
  }
  ASSERT_EQ(skipped.count(), 1);
  EXPECT_TRUE(skipped.rows()[0].second.starts_with("mask: "));
}

// Another source's pictures, whole or in parts as they are wanted; counts those that came in parts.
class PartsSource : public ImageSource {
 public:
  PartsSource(std::shared_ptr<const ImageSource> inner, bool whole) : inner_(std::move(inner)), whole_(whole) {}
  int64_t size() const override { return inner_->size(); }
  const SourceItem& item(int64_t i) const override { return inner_->item(i); }
  Outcome<Image> Read(int64_t i) const override { return inner_->Read(i); }
  Outcome<ImagePart> ReadPart(int64_t i, const WantedBox& wanted) const override {
    Outcome<ImagePart> part = whole_ ? ImageSource::ReadPart(i, wanted) : inner_->ReadPart(i, wanted);
    if (part && part->image.width * part->image.height < part->width * part->height) ++parts_;
    return part;
  }
  Outcome<std::string> ReadBytes(int64_t i) const override { return inner_->ReadBytes(i); }
  std::string Fingerprint() const override { return inner_->Fingerprint(); }
  int64_t parts() const { return parts_; }

 private:
  std::shared_ptr<const ImageSource> inner_;
  bool whole_;
  mutable std::atomic<int64_t> parts_ = 0;
};

// Ten JPEGs, the fourth cut off at its end. Those of even numbers have masks, one of them damaged; those of odd numbers
// have generated views, one of them gone.
class PairsOfJpegs : public ::testing::Test {
 protected:
  PairsOfJpegs() {
    std::string rows;
    Image grey(20, 20);
    std::fill(grey.pixels.begin(), grey.pixels.end(), uint8_t{90});
    WriteFile(folder_ / "views/grey.png", EncodePng(grey));
    for (int64_t i = 0; i < 10; ++i) {
      Image image(90 + 7 * i, 150 - 9 * i);
      Random random(Seed(5).With(static_cast<uint64_t>(i)));
      for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(random.Below(256));
      std::string jpeg = EncodeJpeg(image, i % 4 < 2 ? 80 : 95);
      if (i == 3) jpeg.resize(jpeg.size() * 9 / 10);
      WriteFile(folder_ / Format("photos/{}.jpg", i), jpeg);
      if (i % 2 == 0) {
        GrayImage mask(40, 40);
        for (size_t p = 0; p < mask.pixels.size(); ++p) mask.pixels[p] = p % 40 >= 30 ? 255 : 0;
        WriteFile(folder_ / Format("masks/{}.png", i), i == 4 ? "damaged" : EncodePng(mask));
        continue;
      }
      ViewRow row;
      row.id = Format("{}.jpg", i);
      row.file = i == 7 ? "gone.png" : "grey.png";
      rows += ViewRowToJson(row).dump() + "\n";
    }
    WriteFile(folder_ / "views/manifest.jsonl", rows);
    source_ = OpenSource((folder_ / "photos").string());
    views_ = GeneratedViews::Open(folder_ / "views");
    masks_ = MaskFolder::Open(folder_ / "masks", *source_);
  }

  // Three epochs of pairs are the same from parts as from whole pictures, and so is what was skipped. The number of
  // pictures that came in parts.
  int64_t Compare(const PairLoaderConfig& config) const {
    const auto parts = std::make_shared<PartsSource>(source_, false),
               whole = std::make_shared<PartsSource>(source_, true);
    SkippedLog skipped, expected_skipped;
    PairLoader loader(parts, views_, config, skipped), reference(whole, views_, config, expected_skipped);
    const auto edges = [](const std::vector<ViewCrop>& crops) {
      std::vector<float> all;
      for (const ViewCrop& crop : crops) all.insert(all.end(), {crop.left, crop.top, crop.right, crop.bottom});
      return all;
    };
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      loader.Start(epoch);
      reference.Start(epoch);
      PairBatch batch, expected;
      while (reference.Next(expected)) {
        EXPECT_TRUE(loader.Next(batch));
        EXPECT_EQ(batch.indices, expected.indices);
        EXPECT_EQ(batch.generated_view, expected.generated_view);
        EXPECT_EQ(edges(batch.crops1), edges(expected.crops1));
        EXPECT_EQ(edges(batch.crops2), edges(expected.crops2));
        EXPECT_TRUE(at::equal(batch.view1, expected.view1));
        EXPECT_TRUE(config.one_view || at::equal(batch.view2, expected.view2));
        EXPECT_EQ(batch.more.size(), expected.more.size());
        for (size_t k = 0; k < expected.more.size(); ++k) EXPECT_TRUE(at::equal(batch.more[k], expected.more[k])) << k;
      }
      EXPECT_FALSE(loader.Next(batch));
    }
    const auto rows = skipped.rows();
    EXPECT_EQ(rows, expected_skipped.rows());
    EXPECT_TRUE(std::any_of(rows.begin(), rows.end(), [](const auto& row) {
      return row.first == "3.jpg" && row.second.starts_with("damaged JPEG");
    }));
    EXPECT_EQ(whole->parts(), 0);
    return parts->parts();
  }

  const TemporaryFolder place_;
  const Path folder_ = place_.path();
  std::shared_ptr<const ImageSource> source_;
  std::shared_ptr<const GeneratedViews> views_;
  std::shared_ptr<const MaskFolder> masks_;
};

TEST_F(PairsOfJpegs, AreMadeOfThePartsThatTheirCropsShow) {
  PairLoaderConfig config = PairConfig(2, 5);
  config.view1.scale_max = config.view2.scale_max = 0.2;
  config.generated_probability = 0;
  EXPECT_GT(Compare(config), 0);
  config.one_view = true;
  EXPECT_GT(Compare(config), 0);
  config.generated_probability = 1;  // of some pictures nothing is seen
  EXPECT_GT(Compare(config), 0);
}

TEST_F(PairsOfJpegs, KeepToMasksAndHaveFurtherViewsInPartsToo) {
  PairLoaderConfig config = PairConfig(3, 5);
  config.local = AugmentPreset("swav", 2);
  config.local.size = 8;
  config.local_crops = 2;
  config.more_views = 2;
  config.generated_probability = 0.7;
  config.masks = masks_;
  config.crop = {.draw = CropDraw::kShare, .share = 0.25};
  EXPECT_GT(Compare(config), 0);
  config.crop.draw = CropDraw::kBox;
  EXPECT_GT(Compare(config), 0);
}

TEST_F(PairsOfJpegs, StrictNamesThePictureThenItsMaskThenItsView) {
  const auto where = [&](PairLoaderConfig config, const std::vector<int64_t>& chosen) -> std::string {
    config.strict = true;
    SkippedLog skipped;
    PairLoader loader(ChooseOf(source_, chosen, "some"), views_, config, skipped);
    loader.Start(0);
    PairBatch batch;
    try {
      while (loader.Next(batch)) continue;
    } catch (const Error& error) {
      return error.text().where;
    }
    return "";
  };
  PairLoaderConfig config = PairConfig(1, 1);
  EXPECT_EQ(where(config, {0, 1}), "");
  EXPECT_EQ(where(config, {3}), source_->item(3).path);
  EXPECT_EQ(where(config, {7}), "view 0 of 7.jpg");
  config.masks = MaskFolder::Open(folder_ / "masks", *ChooseOf(source_, {4}, "one"));
  config.crop.draw = CropDraw::kBox;
  EXPECT_EQ(where(config, {4}), "mask of 4.jpg");
}

// Four views a picture, each of a grey of its own.
class SeveralViews : public ::testing::Test {
 protected:
  SeveralViews() : source_(OpenSource("shapes:count=8,size=20,seed=1")) {
    std::string lines;
    for (int64_t k = 0; k < 4; ++k) {
      Image grey(20, 20);
      std::fill(grey.pixels.begin(), grey.pixels.end(), static_cast<uint8_t>(50 * (k + 1)));
      WriteFile(folder_ / Format("{}.png", k), EncodePng(grey));
      for (int64_t i = 0; i < 8; ++i) {
        ViewRow row;
        row.id = source_->item(i).id;
        row.index = k;
        row.file = Format("{}.png", k);
        lines += ViewRowToJson(row).dump() + "\n";
      }
    }
    WriteFile(folder_ / "manifest.jsonl", lines);
    config_ = PairConfig(2, 8);
    config_.view1 = config_.view2 = AugmentConfig{};
    config_.view1.size = config_.view2.size = 8;
  }

  std::shared_ptr<const ImageSource> source_;
  const TemporaryFolder place_;
  const Path folder_ = place_.path();
  PairLoaderConfig config_;
  SkippedLog skipped_;
};

TEST_F(SeveralViews, AreDrawnAnewEachEpochFromThoseThatAreUsed) {
  for (const int64_t used : {0, 2, 9}) {
    config_.views_used = used;
    PairLoader loader(source_, GeneratedViews::Open(folder_), config_, skipped_);
    std::map<int64_t, std::set<int64_t>> seen;  // by picture
    for (int64_t epoch = 0; epoch < 40; ++epoch) {
      loader.Start(epoch);
      for (PairBatch batch; loader.Next(batch);) {
        for (size_t i = 0; i < batch.indices.size(); ++i) seen[batch.indices[i]].insert(batch.generated_view[i]);
      }
    }
    for (const auto& [picture, views] : seen)
      EXPECT_EQ(views, used == 2 ? (std::set<int64_t>{0, 1}) : (std::set<int64_t>{0, 1, 2, 3})) << picture;
  }
}

TEST_F(SeveralViews, FurtherViewsShowTheOthers) {
  PairLoader without(source_, GeneratedViews::Open(folder_), config_, skipped_);
  config_.more_views = 3;
  PairLoader loader(source_, GeneratedViews::Open(folder_), config_, skipped_);
  loader.Start(1);
  without.Start(1);
  PairBatch batch, plain;
  ASSERT_TRUE(loader.Next(batch) && without.Next(plain));
  EXPECT_TRUE(at::equal(batch.view1, plain.view1) && at::equal(batch.view2, plain.view2));
  ASSERT_EQ(batch.more.size(), 3u);
  const auto grey = [](int64_t k) {
    return (50 * static_cast<double>(k + 1) / 255 - kImagenetMean[0]) / kImagenetStd[0];
  };
  for (size_t k = 0; k < 3; ++k) {
    ASSERT_EQ(batch.more[k].sizes(), batch.view1.sizes());
    for (size_t i = 0; i < 8; ++i) {
      const int64_t other = (batch.generated_view[i] + 1 + static_cast<int64_t>(k)) % 4;
      EXPECT_NEAR(batch.more[k][static_cast<int64_t>(i)][0].mean().item<double>(), grey(other), 1e-4);
    }
  }
  config_.generated_probability = 0;
  PairLoader real(source_, GeneratedViews::Open(folder_), config_, skipped_);
  real.Start(1);
  ASSERT_TRUE(real.Next(batch));
  EXPECT_GT(batch.more[2].std().item<double>(), 0.1);  // of pictures, not of grey
  EXPECT_FALSE(at::equal(batch.more[0], batch.more[2]));
}

TEST_F(SeveralViews, NoneIsShownAgainWhileAnotherIsLeft) {
  config_.views_used = 2;
  config_.more_views = 3;
  config_.generated_probability = 0.5;
  PairLoader loader(source_, GeneratedViews::Open(folder_), config_, skipped_);
  const auto which = [](const Tensor& view) -> int64_t {  // [3,S,S]; -1: it shows the picture
    for (int64_t k = 0; k < 4; ++k) {
      double apart = 0;
      for (size_t c = 0; c < 3; ++c) {
        const double grey = (50 * static_cast<double>(k + 1) / 255 - kImagenetMean[c]) / kImagenetStd[c];
        apart = std::max(apart, (view[static_cast<int64_t>(c)] - grey).abs().max().item<double>());
      }
      if (apart < 1e-4) return k;
    }
    return -1;
  };
  int64_t further = 0;
  for (int64_t epoch = 0; epoch < 20; ++epoch) {
    loader.Start(epoch);
    for (PairBatch batch; loader.Next(batch);) {
      for (size_t i = 0; i < batch.indices.size(); ++i) {
        std::set<int64_t> shown;
        if (batch.generated_view[i] >= 0) shown.insert(batch.generated_view[i]);
        for (const Tensor& more : batch.more) {
          const int64_t k = which(more[static_cast<int64_t>(i)]);
          if (k < 0) continue;
          EXPECT_TRUE(shown.size() == 2 || !shown.contains(k)) << "epoch " << epoch << ", pair " << i;
          shown.insert(k);
          ++further;
        }
      }
    }
  }
  EXPECT_NEAR(static_cast<double>(further) / (20 * 8 * 3), 0.5, 0.1);
}

}  // namespace
}  // namespace genview
