// Randomness as a pure function of what it is for: never of thread, rank, batch or order.
//
//   Random random(Seed(run).With("crop").With(epoch).With(image_id).With(view));
//   double x = random.Uniform();
//
// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace genview {

// A 64-bit key. `With` mixes in a number or a name and gives a new, independent key; order matters.
class Seed {
 public:
  explicit Seed(uint64_t run) : key_(run) {}
  Seed With(uint64_t number) const;
  Seed With(std::string_view name) const;
  uint64_t key() const { return key_; }

 private:
  uint64_t key_;
};

// One block of Philox4x32-10.
std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// A stream of numbers for one seed. Copyable; two streams of one seed give the same numbers.
class Random {
 public:
  explicit Random(Seed seed) : key_(seed.key()) {}

  uint32_t Next();                          // uniform over all 32-bit values
  double Uniform();                         // [0, 1), 53 bits
  double Uniform(double low, double high);  // [low, high)
  int64_t Below(int64_t n);                 // 0 .. n-1, unbiased; n > 0
  bool Chance(double probability);          // true with that probability

 private:
  uint64_t key_;
  uint64_t block_ = 0;
  std::array<uint32_t, 4> words_{};
  int used_ = 4;
};

void FillNormal(Seed seed, std::span<float> values);     // N(0, 1); value i depends on (seed, i) alone
std::vector<int64_t> Permutation(Seed seed, int64_t n);  // Fisher-Yates

}  // namespace genview
