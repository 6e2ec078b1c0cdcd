#include "genview/base/random.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include "genview/base/error.h"
#include "genview/base/hash.h"

namespace genview {

// SplitMix64 finaliser (Steele, Lea, Flood 2014): a bijection whose output bits all depend on all input bits.
static uint64_t Mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

Seed Seed::With(uint64_t number) const { return Seed(Mix(Mix(key_) ^ (number * 0xD6E8FEB86659FD93u + 1))); }
Seed Seed::With(std::string_view name) const { return Seed(Mix(Mix(key_ ^ 0xA5A5A5A5A5A5A5A5u) ^ Hash64(name))); }

std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(p0)};
    k[0] += 0x9E3779B9;
    k[1] += 0xBB67AE85;
  }
  return c;
}

static std::array<uint32_t, 4> Block(uint64_t key, uint64_t block) {
  return Philox({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 0, 0},
                {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)});
}

uint32_t Random::Next() {
  if (used_ == 4) {
    words_ = Block(key_, block_++);
    used_ = 0;
  }
  return words_[static_cast<size_t>(used_++)];
}

static double ToUnit(uint32_t high, uint32_t low) {
  const uint64_t bits = (uint64_t{high} << 32 | low) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

double Random::Uniform() {
  const uint32_t high = Next();
  return ToUnit(high, Next());
}

double Random::Uniform(double low, double high) { return low + (high - low) * Uniform(); }

// Box-Muller on (0, 1] x [0, 1).
static std::array<double, 2> NormalPair(double u, double v) {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - u));
  const double angle = 2.0 * std::numbers::pi * v;
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

int64_t Random::Below(int64_t n) {
  GENVIEW_CHECK(n > 0, "Below needs a positive bound");
  // Rejection keeps every value equally likely.
  const auto bound = static_cast<uint64_t>(n);
  const uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  while (true) {
    const uint64_t high = Next();
    const uint64_t value = high << 32 | Next();
    if (value < limit) return static_cast<int64_t>(value % bound);
  }
}

bool Random::Chance(double probability) { return Uniform() < probability; }

void FillNormal(Seed seed, std::span<float> values) {
  for (size_t i = 0; i < values.size(); i += 2) {
    const auto words = Block(seed.key(), i / 2);
    const auto pair = NormalPair(ToUnit(words[0], words[1]), ToUnit(words[2], words[3]));
    values[i] = static_cast<float>(pair[0]);
    if (i + 1 < values.size()) values[i + 1] = static_cast<float>(pair[1]);
  }
}

std::vector<int64_t> Permutation(Seed seed, int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  Random random(seed);
  for (int64_t i = n - 1; i > 0; --i) {
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(random.Below(i + 1))]);
  }
  return order;
}

}  // namespace genview
