#include "genview/eval/probe_descent.h"

#include <ATen/Parallel.h>
#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "genview/base/bf16.h"
#include "genview/tensor/kept_memory.h"
#include "genview/tensor/split_products.h"

namespace genview {
namespace {

constexpr int64_t kRows = 64, kFeatures = 256;  // of one thread at a time, in the two sweeps
constexpr int64_t kLanes = 16;                  // rows of weights and slopes are filled up to a multiple, with zeros

GENVIEW_CLONES void Standardise(const float* x, int64_t count, const float* mean, const float* scale, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = (x[i] - mean[i]) * scale[i];
}
// Two rows of a right factor, side by side as products in bf16 take them.
GENVIEW_CLONES void Pair(const Bf16* first, const Bf16* second, int64_t count, uint32_t* out) {
  for (int64_t i = 0; i < count; ++i)
    out[i] = static_cast<uint32_t>(first[i].bits) | static_cast<uint32_t>(second[i].bits) << 16;
}
GENVIEW_CLONES void Move(float* weight, float* velocity, const float* slope, int64_t count, float momentum, float decay,
                         float rate) {
  for (int64_t i = 0; i < count; ++i) {
    velocity[i] = velocity[i] * momentum + slope[i] + decay * weight[i];
    weight[i] -= rate * velocity[i];
  }
}

// How products are made of fp32 factors: of themselves, or of their upper and lower halves in bf16. Parts i and j are
// multiplied where i + j < kParts. A right factor [k,n] lies as [k/kPair,n,kPair].
struct Whole {
  using Value = float;
  static constexpr int64_t kParts = 1, kPair = 1;
  static void Split(const float* x, int64_t count, float* parts, int64_t) { std::copy(x, x + count, parts); }
  // b + count values of each of the `rows` (a multiple of kPair) that are b_row apart, as a right factor; `buffer` may
  // hold it.
  static const float* Right(const float* b, int64_t, int64_t, int64_t, std::vector<float>&) { return b; }
  static int64_t RightRow(int64_t b_row, int64_t) { return b_row; }
  // c [m,n] = a [m,k] b [k,n], or += with `add`.
  static void Multiply(const float* a, int64_t a_row, const float* b, int64_t b_row, float* c, int64_t m, int64_t n,
                       int64_t k, bool add) {
    const auto view = [](const float* data, int64_t rows, int64_t columns, int64_t row) {
      return at::from_blob(const_cast<float*>(data), {rows, columns}, {row, 1}, at::TensorOptions().dtype(at::kFloat));
    };
    Tensor out = view(c, m, n, n);
    at::addmm_out(out, out, view(a, m, k, a_row), view(b, k, n, b_row), add ? 1 : 0);
  }
  static void Release() {}
};

struct Halves {
  using Value = Bf16;
  static constexpr int64_t kParts = 2, kPair = 2;
  static void Split(const float* x, int64_t count, Bf16* parts, int64_t apart) {
    SplitValues(x, count, parts, parts + apart);
  }
  static const Bf16* Right(const Bf16* b, int64_t b_row, int64_t rows, int64_t count, std::vector<Bf16>& buffer) {
    buffer.resize(static_cast<size_t>(rows * count));
    for (int64_t r = 0; r < rows; r += 2)
      Pair(b + r * b_row, b + (r + 1) * b_row, count, reinterpret_cast<uint32_t*>(buffer.data() + r * count));
    return buffer.data();
  }
  static int64_t RightRow(int64_t, int64_t count) { return count; }
  static void Multiply(const Bf16* a, int64_t a_row, const Bf16* b, int64_t b_row, float* c, int64_t m, int64_t n,
                       int64_t k, bool add) {
    static_assert(sizeof(Bf16) == sizeof(at::BFloat16));
    at::native::cpublas::brgemm(m, n, k, a_row, b_row, n, add, reinterpret_cast<const at::BFloat16*>(a),
                                reinterpret_cast<const at::BFloat16*>(b), c);
  }
  static void Release() { at::native::cpublas::brgemm_release(); }
};

template <class Form>
class Descent final : public ProbeDescent {
 public:
  using Value = typename Form::Value;
  static constexpr int64_t kParts = Form::kParts, kPair = Form::kPair;

  explicit Descent(const DescentPlan& plan)
      : plan_(plan),
        features_(plan.weight.size(0)),
        depth_((features_ + kPair - 1) / kPair * kPair),
        used_(plan.weight.size(1)),
        columns_((used_ + kLanes - 1) / kLanes * kLanes),
        most_((plan.batch + kPair - 1) / kPair * kPair),
        labels_(plan.labels.contiguous()),
        rows_(at::empty({plan.features.size(0) * kParts * depth_}, sizeof(Value) == 2 ? at::kBFloat16 : at::kFloat)),
        batch_(static_cast<size_t>(most_ * BatchRow(depth_))),
        right_(static_cast<size_t>(kParts * depth_ * columns_)),
        slope_(static_cast<size_t>(kParts * columns_ * most_)),
        slope32_(static_cast<size_t>(most_ * columns_)),
        weight_(static_cast<size_t>(used_ * depth_)),
        velocity_(weight_.size()),
        bias_(plan.bias.const_data_ptr<float>(), plan.bias.const_data_ptr<float>() + used_),
        bias_velocity_(bias_.size()) {
    const Tensor x = plan.features.to(at::kFloat).contiguous(), mean = plan.mean.contiguous(),
                 scale = plan.scale.contiguous();
    at::parallel_for(0, x.size(0), 64, [&](int64_t low, int64_t high) {
      std::vector<float> row(static_cast<size_t>(depth_), 0.0F);  // what fills a pair stays 0
      for (int64_t r = low; r < high; ++r) {
        Standardise(x.const_data_ptr<float>() + r * features_, features_, mean.const_data_ptr<float>(),
                    scale.const_data_ptr<float>(), row.data());
        Form::Split(row.data(), depth_, MutableDataOf<Value>(rows_) + r * kParts * depth_, depth_);
      }
    });
    const Tensor start = plan.weight.t().contiguous();
    for (int64_t c = 0; c < used_; ++c)
      std::copy_n(start.const_data_ptr<float>() + c * features_, features_, weight_.data() + c * depth_);
    std::vector<Value> parts(static_cast<size_t>(kParts * kFeatures));
    for (int64_t f = 0; f < depth_; f += kFeatures) Publish(f, std::min(kFeatures, depth_ - f), parts);
    plan_.features = plan_.weight = Tensor();
  }

  void Step(const int64_t* places, int64_t count, const float* rates) override {
    at::parallel_for(0, (count + kRows - 1) / kRows, 1, [&](int64_t low, int64_t high) {
      for (int64_t block = low; block < high; ++block)
        SweepRows(places, block * kRows, std::min(kRows, count - block * kRows), count);
      Form::Release();
    });
    if (count % kPair != 0) ClearBehind(count);
    at::parallel_for(0, (depth_ + kFeatures - 1) / kFeatures, 1, [&](int64_t low, int64_t high) {
      for (int64_t block = low; block < high; ++block)
        SweepFeatures(block * kFeatures, std::min(kFeatures, depth_ - block * kFeatures), count, rates);
      Form::Release();
    });
    std::vector<float> slope(bias_.size(), 0.0F);
    for (int64_t r = 0; r < count; ++r) {
      const float* row = slope32_.data() + r * columns_;
      for (size_t c = 0; c < slope.size(); ++c) slope[c] += row[c];
    }
    for (size_t c = 0; c < bias_.size(); ++c)
      Move(&bias_[c], &bias_velocity_[c], &slope[c], 1, momentum(), decay(), rates[c]);
  }

  Tensor weight() const override {
    return at::from_blob(const_cast<float*>(weight_.data()), {features_, used_}, {1, depth_},
                         at::TensorOptions().dtype(at::kFloat))
        .clone(at::MemoryFormat::Contiguous);
  }
  Tensor bias() const override {
    return at::from_blob(const_cast<float*>(bias_.data()), {used_}, at::TensorOptions().dtype(at::kFloat)).clone();
  }

 private:
  // Rows that are a power of two apart would all compete for the same lines of the cache.
  static int64_t BatchRow(int64_t depth) { return kParts * depth + 2 * kLanes; }
  float momentum() const { return static_cast<float>(plan_.momentum); }
  float decay() const { return static_cast<float>(plan_.weight_decay); }

  // The slopes of rows first .. first + count - 1 of the batch.
  void SweepRows(const int64_t* places, int64_t first, int64_t count, int64_t batch) {
    const int64_t stride = BatchRow(depth_), row = kParts * depth_;
    const Value* all = DataOf<Value>(rows_);
    Value* rows = batch_.data() + first * stride;
    for (int64_t r = 0; r < count; ++r)
      std::memcpy(rows + r * stride, all + places[first + r] * row, static_cast<size_t>(row) * sizeof(Value));
    float* scores = slope32_.data() + first * columns_;
    for (int64_t i = 0; i < kParts; ++i) {
      for (int64_t j = 0; i + j < kParts; ++j) {
        Form::Multiply(rows + i * depth_, stride, right_.data() + j * depth_ * columns_, columns_, scores, count,
                       columns_, depth_, i + j > 0);
      }
    }
    const int64_t width = kParts * columns_;
    std::vector<Value> parts(static_cast<size_t>(count * width));
    for (int64_t r = 0; r < count; ++r) {
      SlopeOfRow(scores + r * columns_, labels_.const_data_ptr<int64_t>()[places[first + r]], batch);
      Form::Split(scores + r * columns_, columns_, parts.data() + r * width, columns_);
    }
    for (int64_t n = 0; n < width; ++n) {
      const Value* part = parts.data() + n;
      Value* own = slope_.data() + n * most_ + first;
      for (int64_t r = 0; r < count; ++r) own[r] = part[r * width];
    }
  }

  // In: scores without biases. Out: (softmax - one-hot) / batch, of each classifier.
  void SlopeOfRow(float* row, int64_t label, int64_t batch) const {
    for (int64_t begin = 0; begin < used_; begin += plan_.classes) {
      float *own = row + begin, *end = own + plan_.classes, sum = 0;
      for (int64_t c = 0; c < plan_.classes; ++c) own[c] += bias_[static_cast<size_t>(begin + c)];
      const float most = *std::max_element(own, end);
      for (float* score = own; score < end; ++score) {
        *score = std::exp(*score - most);
        sum += *score;
      }
      for (int64_t c = 0; c < plan_.classes; ++c)
        own[c] = (own[c] / sum - (c == label ? 1.0F : 0.0F)) / static_cast<float>(batch);
    }
  }

  // A row of nothing, which makes the last one a pair.
  void ClearBehind(int64_t count) {
    std::fill_n(batch_.begin() + count * BatchRow(depth_), BatchRow(depth_), Value{});
    for (int64_t n = 0; n < kParts * columns_; ++n) slope_[static_cast<size_t>(n * most_ + count)] = Value{};
  }

  // Moves the weights of features first .. first + count - 1.
  void SweepFeatures(int64_t first, int64_t count, int64_t batch, const float* rates) {
    const int64_t stride = BatchRow(depth_), rows = (batch + kPair - 1) / kPair * kPair;
    std::vector<float> slope(static_cast<size_t>(columns_ * count));
    std::vector<Value> buffer;
    for (int64_t j = 0; j < kParts; ++j) {
      const Value* right = Form::Right(batch_.data() + j * depth_ + first, stride, rows, count, buffer);
      for (int64_t i = 0; i + j < kParts; ++i) {
        Form::Multiply(slope_.data() + i * columns_ * most_, most_, right, Form::RightRow(stride, count), slope.data(),
                       columns_, count, rows, i + j > 0);
      }
    }
    for (int64_t c = 0; c < used_; ++c) {
      const auto at = static_cast<size_t>(c * depth_ + first);
      Move(&weight_[at], &velocity_[at], slope.data() + c * count, count, momentum(), decay(), rates[c]);
    }
    std::vector<Value> parts(static_cast<size_t>(kParts * count));
    Publish(first, count, parts);
  }

  // The weights of these features as right factors of the next batch's scores.
  void Publish(int64_t first, int64_t count, std::vector<Value>& parts) {
    const int64_t row = columns_ * kPair;
    for (int64_t c = 0; c < used_; ++c) {
      Form::Split(&weight_[static_cast<size_t>(c * depth_ + first)], count, parts.data(), count);
      for (int64_t i = 0; i < kParts; ++i) {
        const Value* part = parts.data() + i * count;
        Value* right = right_.data() + (i * depth_ + first) * columns_ + c * kPair;
        for (int64_t f = 0; f < count; f += kPair, right += row) std::memcpy(right, part + f, kPair * sizeof(Value));
      }
    }
  }

  DescentPlan plan_;  // without what has been taken over
  const int64_t features_, depth_, used_, columns_,
      most_;  // depth_, columns_, most_: features, R*C and rows of a batch, filled up
  const Tensor labels_;
  const KeptMemory kept_;                    // large pages for rows_
  const Tensor rows_;                        // [M,parts,depth_]
  std::vector<Value> batch_;                 // [most_,parts,depth_], rows BatchRow apart
  std::vector<Value> right_;                 // [parts,depth_,columns_]: the weights, as a right factor
  std::vector<Value> slope_;                 // [parts,columns_,most_]
  std::vector<float> slope32_;               // [most_,columns_]
  std::vector<float> weight_, velocity_;     // [used_,depth_]
  std::vector<float> bias_, bias_velocity_;  // [used_]
};

}  // namespace

std::unique_ptr<ProbeDescent> MakeProbeDescent(const DescentPlan& plan, bool split) {
  if (split && at::native::cpublas::could_pack(at::kBFloat16)) return std::make_unique<Descent<Halves>>(plan);
  return std::make_unique<Descent<Whole>>(plan);
}

}  // namespace genview
