#include "genview/eval/nearest.h"

#include <ATen/Parallel.h>
#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "genview/base/clones.h"
#include "genview/base/error.h"

namespace genview {
namespace {

namespace blas = at::native::cpublas;

constexpr int64_t kQueryBlock = 256, kBankBlock = 512;  // of one thread: 512 KB of cosines stay in the cache
constexpr int64_t kChunk = 16;                          // cosines that are passed over in one look
// Of all pairs, those that may stay after a look in bf16: where cosines differ too little for it, fp32 is faster.
constexpr double kMostKept = 0.05;

Tensor UnitLength(const Tensor& x) {
  const Tensor full = x.to(at::kFloat);
  return (full / full.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12)).cpu().contiguous();
}

// In bf16, with an even number of columns.
Tensor InPairs(const Tensor& rows) { return at::constant_pad_nd(rows.to(at::kBFloat16), {0, rows.size(1) % 2}); }
// Length of what each row lacks in bf16.
Tensor LostIn(const Tensor& half, const Tensor& rows) {
  return (rows - half.narrow(1, 0, rows.size(1)).to(at::kFloat)).norm(2, {1});
}

// A cosine and its place in one number: of two, the larger is the nearer, and of equally near ones the first.
uint64_t Packed(float similarity, int64_t place) {
  const auto bits = std::bit_cast<uint32_t>(similarity + 0.0F);  // no -0
  const uint32_t ordered = (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
  return static_cast<uint64_t>(ordered) << 32 | (0xFFFFFFFFU - static_cast<uint32_t>(place));
}
Neighbour Unpacked(uint64_t packed) {
  const auto ordered = static_cast<uint32_t>(packed >> 32);
  return {std::bit_cast<float>((ordered & 0x80000000U) != 0 ? ordered & 0x7FFFFFFFU : ~ordered),
          0xFFFFFFFF - static_cast<int64_t>(packed & 0xFFFFFFFFU)};
}

// Sums of 16 lanes whatever the register, so that all machines give the same number.
using Lanes [[gnu::vector_size(64), gnu::aligned(4), gnu::may_alias]] = float;
GENVIEW_CLONES float Dot(const float* a, const float* b, int64_t n) {
  constexpr int64_t kLanes = 16;
  Lanes even{}, odd{};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    even += *reinterpret_cast<const Lanes*>(a + i) * *reinterpret_cast<const Lanes*>(b + i);
    odd += *reinterpret_cast<const Lanes*>(a + i + kLanes) * *reinterpret_cast<const Lanes*>(b + i + kLanes);
  }
  even += odd;
  float sum = 0;
  for (int64_t lane = 0; lane < kLanes; ++lane) sum += even[lane];
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

void Prefetch(const float* row, int64_t width) {
  for (int64_t i = 0; i < width; i += 16) __builtin_prefetch(row + i);
}

// Where values are above their bars; no NaN is. count: a multiple of kChunk. Returns how many places it has written.
GENVIEW_CLONES int64_t PlacesAbove(const float* values, const float* bars, int64_t count, int32_t* places) {
  int64_t found = 0;
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    int above = 0;
    for (int64_t i = begin; i < begin + kChunk; ++i) above += values[i] > bars[i] ? 1 : 0;
    if (above == 0) continue;
    for (int64_t i = begin; i < begin + kChunk; ++i) {
      places[found] = static_cast<int32_t>(i);
      found += values[i] > bars[i] ? 1 : 0;
    }
  }
  return found;
}

}  // namespace

// What may be among the k nearest of a query whose cosines come in pieces: all that are little less than the k-th so
// far, which itself may be off as much. Few are, so a piece costs little more than one look at each.
class NearestRows::Kept {
 public:
  Kept(int64_t k, float slack) : k_(static_cast<size_t>(k)), slack_(slack), full_(3 * k_) {}

  float bar() const { return bar_; }  // lower ones play no part
  size_t size() const { return kept_.size(); }
  void Take(float similarity, int64_t place) {
    kept_.push_back(Packed(similarity, place));
    if (kept_.size() >= full_) Prune();
  }
  // The k nearest by their cosines in fp32.
  std::vector<Neighbour> Finish(const float* query, const Tensor& rows) {
    Prune();
    const int64_t width = rows.size(1);
    const auto row_of = [&](uint64_t one) { return rows.const_data_ptr<float>() + Unpacked(one).place * width; };
    for (size_t i = 0; i < kept_.size(); ++i) {
      if (i + 1 < kept_.size()) Prefetch(row_of(kept_[i + 1]), width);
      kept_[i] = Packed(Dot(query, row_of(kept_[i]), width), Unpacked(kept_[i]).place);
    }
    const size_t found = std::min(k_, kept_.size());
    std::partial_sort(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(found), kept_.end(), std::greater<>());
    std::vector<Neighbour> neighbours;
    neighbours.reserve(found);
    for (size_t i = 0; i < found; ++i) neighbours.push_back(Unpacked(kept_[i]));
    return neighbours;
  }

 private:
  void Prune() {
    if (kept_.size() <= k_) return;
    const auto last = kept_.begin() + static_cast<std::ptrdiff_t>(k_) - 1;
    std::nth_element(kept_.begin(), last, kept_.end(), std::greater<>());
    bar_ = Unpacked(*last).similarity - slack_;
    const uint64_t least = slack_ > 0 ? Packed(bar_, 0xFFFFFFFF) : *last;
    kept_.erase(std::remove_if(last + 1, kept_.end(), [&](uint64_t one) { return one <= least; }), kept_.end());
    full_ = std::max(3 * k_, kept_.size() + 2 * k_);
  }

  size_t k_;
  float slack_;
  size_t full_;  // when to prune
  float bar_ = -std::numeric_limits<float>::infinity();
  std::vector<uint64_t> kept_;
};

NearestRows::NearestRows(const Tensor& bank, int64_t k, bool half) : k_(k), rows_(UnitLength(bank)) {
  GENVIEW_CHECK(rows_.size(0) < int64_t{1} << 32, "a bank of too many rows");
  if (!half || !blas::could_pack(at::kBFloat16)) return;
  half_rows_ = InPairs(rows_);
  // What is not a number is nobody's neighbour.
  lost_ = LostIn(half_rows_, rows_).nan_to_num(0).max().item<float>();
}

// Queries [n,D] as columns of a product, [D,columns] in fp32 or with pairs of rows together in bf16; those behind n are
// 0.
static Tensor AsColumns(const Tensor& queries, int64_t columns, bool half) {
  const Tensor padded = at::constant_pad_nd(queries, {0, 0, 0, columns - queries.size(0)});
  if (half) return padded.view({columns, -1, 2}).transpose(0, 1).contiguous();
  return padded.t().contiguous();
}

// False when so much would be kept that the look was of no use.
bool NearestRows::Look(const Tensor& queries, bool half, std::vector<Kept>& kept) const {
  const int64_t n = queries.size(0), columns = (n + kChunk - 1) / kChunk * kChunk, width = queries.size(1),
                rows = rows_.size(0);
  const auto most = static_cast<size_t>(n) *
                    (static_cast<size_t>(kMostKept * static_cast<double>(rows)) + 8 * static_cast<size_t>(k_));
  const Tensor right = AsColumns(queries, columns, half), similar = at::empty({kBankBlock, columns});
  std::vector<float> bars(static_cast<size_t>(columns), std::numeric_limits<float>::infinity());
  for (size_t i = 0; i < kept.size(); ++i) bars[i] = kept[i].bar();
  std::vector<int32_t> places(static_cast<size_t>(columns) + 1);
  float* values = similar.mutable_data_ptr<float>();
  bool useful = true;
  for (int64_t begin = 0; begin < rows && useful; begin += kBankBlock) {
    const int64_t count = std::min(kBankBlock, rows - begin);
    if (half) {
      blas::brgemm(count, columns, width, width, columns, columns, /*add_C=*/false,
                   half_rows_.const_data_ptr<at::BFloat16>() + begin * width, right.const_data_ptr<at::BFloat16>(),
                   values);
    } else {
      Tensor out = similar.narrow(0, 0, count);
      at::mm_out(out, rows_.narrow(0, begin, count), right);
    }
    for (int64_t r = 0; r < count; ++r) {
      const float* row = values + r * columns;
      const int64_t above = PlacesAbove(row, bars.data(), columns, places.data());
      for (int64_t i = 0; i < above; ++i) {
        const auto query = static_cast<size_t>(places[static_cast<size_t>(i)]);
        kept[query].Take(row[query], begin + r);
        bars[query] = kept[query].bar();
      }
    }
    size_t total = 0;
    for (const Kept& one : kept) total += one.size();
    useful = !half || total <= most;
  }
  if (half) blas::brgemm_release();
  return useful;
}

std::vector<std::vector<Neighbour>> NearestRows::Find(const Tensor& queries) const {
  ExpectShape(queries, {-1, rows_.size(1)}, "queries");
  const Tensor all = UnitLength(queries);
  const int64_t count = all.size(0), width = all.size(1);
  std::vector<std::vector<Neighbour>> found(static_cast<size_t>(count));
  const auto find = [&](int64_t first) {
    const Tensor block = all.narrow(0, first, std::min(kQueryBlock, count - first));
    const auto n = static_cast<size_t>(block.size(0));
    std::vector<Kept> kept;
    bool looked = false;
    if (half_rows_.defined()) {
      const Tensor half = InPairs(block), lost = LostIn(half, block);
      for (size_t i = 0; i < n; ++i) {
        // A cosine is off by what either side lacks (Cauchy and Schwarz) and by its sums. Twice, since the k-th may be
        // too high and another too low.
        const float error = 1.01F * (lost.const_data_ptr<float>()[i] + lost_) + static_cast<float>(width) * 1.2e-7F;
        kept.emplace_back(k_, 2 * error);
      }
      looked = Look(half, /*half=*/true, kept);
    }
    if (!looked) {
      kept.assign(n, Kept(k_, 0));
      Look(block, /*half=*/false, kept);
    }
    const float* query = block.const_data_ptr<float>();
    for (size_t i = 0; i < n; ++i, query += width) found[static_cast<size_t>(first) + i] = kept[i].Finish(query, rows_);
  };
  at::parallel_for(0, (count + kQueryBlock - 1) / kQueryBlock, 1, [&](int64_t low, int64_t high) {
    for (int64_t block = low; block < high; ++block) find(block * kQueryBlock);
  });
  return found;
}

}  // namespace genview
