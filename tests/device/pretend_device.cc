#include "tests/device/pretend_device.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace genview {
namespace {

constexpr auto kPretend = c10::DeviceType::PrivateUse1;

// The same pages twice: where tensors say that they are, closed, and where operators find them.
class Memory {
 public:
  static constexpr size_t kBytes = size_t{8} << 30;  // of addresses; pages are taken as they are written

  Memory() {
    const int file = ::memfd_create("pretend-device", MFD_CLOEXEC);
    if (file < 0 || ::ftruncate(file, kBytes) != 0) throw std::runtime_error("no memory for the pretend device");
    closed_ = Map(file, PROT_NONE);
    open_ = Map(file, PROT_READ | PROT_WRITE);
    ::close(file);
  }

  void* Take(size_t bytes) {
    const size_t size = std::bit_ceil(std::max<size_t>(bytes, 64));
    const std::lock_guard lock(mutex_);
    std::vector<char*>& places = free_[size];
    if (places.empty()) {
      if (end_ + size > kBytes) throw std::runtime_error("the pretend device is full");
      places.push_back(closed_ + end_);
      end_ += size;
    }
    char* place = places.back();
    places.pop_back();
    size_of_[place] = size;
    std::memset(Open(place), 0xFF, size);
    return place;
  }
  void Free(void* place) {
    const std::lock_guard lock(mutex_);
    free_[size_of_.at(place)].push_back(static_cast<char*>(place));
  }
  size_t left() {
    const std::lock_guard lock(mutex_);
    return kBytes - end_;
  }
  char* Open(const void* place) const { return open_ + (static_cast<const char*>(place) - closed_); }

 private:
  static char* Map(int file, int access) {
    void* place = ::mmap(nullptr, kBytes, access, MAP_SHARED | MAP_NORESERVE, file, 0);
    if (place == MAP_FAILED) throw std::runtime_error("no addresses for the pretend device");
    return static_cast<char*>(place);
  }

  char *closed_, *open_;
  std::mutex mutex_;
  size_t end_ = 0;
  std::map<size_t, std::vector<char*>> free_;
  std::map<void*, size_t> size_of_;
};

Memory& TheMemory() {
  static auto* memory = new Memory;  // tensors may outlive everything
  return *memory;
}

class PretendAllocator final : public c10::DeviceAllocator {
 public:
  at::DataPtr allocate(size_t bytes) override {
    void* place = TheMemory().Take(bytes);
    return {place, place, &Free, PretendDevice()};
  }
  at::DeleterFnPtr raw_deleter() const override { return &Free; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(TheMemory().Open(to), TheMemory().Open(from), bytes);
  }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex) override { return {TheMemory().left(), Memory::kBytes}; }
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override {
    c10::CachingDeviceAllocator::DeviceStats stats;
    stats.reserved_bytes[0].peak = static_cast<int64_t>(Memory::kBytes - TheMemory().left());
    return stats;
  }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const at::DataPtr&, c10::Stream) override {}
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex) override {}

 private:
  static void Free(void* place) { TheMemory().Free(place); }
};

PretendAllocator allocator;
REGISTER_ALLOCATOR(kPretend, &allocator)

struct PretendGuard final : c10::impl::NoOpDeviceGuardImpl<kPretend> {
  c10::Device exchangeDevice(c10::Device) const override { return PretendDevice(); }
  c10::Device getDevice() const override { return PretendDevice(); }
  c10::Stream getStream(c10::Device) const noexcept override { return TheStream(); }
  c10::Stream getDefaultStream(c10::Device) const override { return TheStream(); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return TheStream(); }

 private:
  static c10::Stream TheStream() { return c10::Stream(c10::Stream::DEFAULT, PretendDevice()); }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, PretendGuard)

// The backward pass asks for them.
struct PretendHooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
};
[[maybe_unused]] const bool registered = [] {
  c10::register_privateuse1_backend("pretend");
  static PretendHooks hooks;
  at::RegisterPrivateUse1HooksInterface(&hooks);
  return true;
}();

bool IsPretend(const Tensor& tensor) { return tensor.defined() && tensor.device().type() == kPretend; }

Tensor EmptyStrided(at::IntArrayRef size, at::IntArrayRef stride, at::ScalarType type) {
  return at::detail::empty_strided_generic(size, stride, &allocator, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           type);
}

// The tensors of one operator, and their aliases on the CPU.
class Aliases {
 public:
  Tensor Of(const Tensor& tensor) {
    if (!IsPretend(tensor)) return tensor;
    for (const auto& [own, alias] : pairs_) {
      if (own.is_same(tensor)) return alias;
    }
    pairs_.emplace_back(tensor, tensor.numel() == 0 ? OwnMemory(tensor) : OfSameMemory(tensor));
    return pairs_.back().second;
  }

  std::optional<Tensor> Of(const std::optional<Tensor>& tensor) {
    return tensor ? std::optional<Tensor>(Of(*tensor)) : std::nullopt;
  }

  // What the operator has given, on the device: an argument itself, a view of one, or a new tensor.
  Tensor Back(const Tensor& result) const {
    if (!result.defined() || IsPretend(result)) return result;
    for (const auto& [own, alias] : pairs_) {
      if (alias.is_same(result)) return own;
    }
    for (const auto& [own, alias] : pairs_) {
      if (alias.numel() > 0 && result.has_storage() && result.storage().data() == alias.storage().data())
        return ViewOf(own, result);
    }
    return Moved(result);
  }

  // Of what the operator has resized.
  void TakeSizes() const {
    for (const auto& [own, alias] : pairs_) {
      if (own.sizes() == alias.sizes()) continue;
      const Tensor fresh = Moved(alias);
      auto* impl = own.unsafeGetTensorImpl();
      impl->set_storage_keep_dtype(fresh.storage());
      impl->set_sizes_and_strides(fresh.sizes(), fresh.strides(), 0);
    }
  }

 private:
  // An empty one may be resized by an operator that writes to it.
  static Tensor OwnMemory(const Tensor& tensor) {
    return at::empty_strided(tensor.sizes(), tensor.strides(), at::TensorOptions().dtype(tensor.scalar_type()));
  }

  static Tensor OfSameMemory(const Tensor& tensor) {
    const c10::Storage& memory = tensor.storage();
    const Tensor bytes = at::from_blob(TheMemory().Open(memory.data()), {static_cast<int64_t>(memory.nbytes())},
                                       at::TensorOptions().dtype(at::kByte));
    return ViewOf(bytes, tensor);
  }

  static Tensor Moved(const Tensor& result) {
    const Tensor fresh = EmptyStrided(result.sizes(), result.strides(), result.scalar_type());
    if (result.numel() > 0) {
      // All of the memory between the first and the last number: strides may leave gaps, or go over numbers twice.
      std::memcpy(TheMemory().Open(fresh.const_data_ptr()), result.const_data_ptr(),
                  at::detail::computeStorageNbytes(result.sizes(), result.strides(), result.itemsize()));
    }
    return fresh;
  }

  // Like `form`, of the memory of `own`.
  static Tensor ViewOf(const Tensor& own, const Tensor& form) {
    const Tensor view = at::detail::make_tensor<c10::TensorImpl>(c10::TensorImpl::VIEW, c10::Storage(own.storage()),
                                                                 own.key_set(), form.dtype());
    view.unsafeGetTensorImpl()->set_sizes_and_strides(form.sizes(), form.strides(), form.storage_offset());
    return view;
  }

  std::vector<std::pair<Tensor, Tensor>> pairs_;
};

// `change` is called for every tensor in `value`, which takes what it returns.
template <class Change>
void ForTensors(c10::IValue& value, Change&& change) {
  if (value.isTensor()) {
    value = c10::IValue(Tensor(change(value.toTensor())));
  } else if (value.isTensorList()) {
    c10::List<Tensor> list;
    for (const Tensor& tensor : value.toTensorVector()) list.push_back(change(tensor));
    value = c10::IValue(list);
  } else if (value.isOptionalTensorList()) {
    c10::List<std::optional<Tensor>> list;
    for (const std::optional<Tensor>& tensor : value.toOptionalTensorVector())
      list.push_back(tensor ? std::optional<Tensor>(change(*tensor)) : std::nullopt);
    value = c10::IValue(list);
  }
}

// CUDA's own take these from the CPU: a single number beside tensors of the device (TensorIterator), and indices.
bool TakesNumber(std::string_view name) {
  static const std::set<std::string_view> kNames = {
      "aten::add", "aten::sub", "aten::mul", "aten::div", "aten::pow",     "aten::eq",      "aten::ne",
      "aten::lt",  "aten::le",  "aten::gt",  "aten::ge",  "aten::maximum", "aten::minimum", "aten::where"};
  return kNames.contains(name);
}
bool TakesIndices(std::string_view name) {
  return name == "aten::index" || name == "aten::index_put_" || name == "aten::_index_put_impl_";
}

void CheckDevices(const c10::OperatorHandle& op, const std::vector<Tensor>& tensors) {
  const std::string& name = op.schema().name();
  if (TakesIndices(name) || name == "aten::_copy_from") return;
  const bool any = std::any_of(tensors.begin(), tensors.end(), IsPretend);
  for (const Tensor& tensor : tensors) {
    if (!any || !tensor.defined() || IsPretend(tensor) || (tensor.dim() == 0 && TakesNumber(name))) continue;
    TORCH_CHECK(false, toString(op.operator_name()), ": expected all tensors to be on the same device, but one of [",
                tensor.sizes(), "] is on ", tensor.device());
  }
}

void Run(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const size_t count = op.schema().arguments().size();
  std::vector<Tensor> tensors;
  Aliases aliases;
  for (size_t i = stack->size() - count; i < stack->size(); ++i) {
    c10::IValue& value = (*stack)[i];
    ForTensors(value, [&](const Tensor& tensor) {
      tensors.push_back(tensor);
      return aliases.Of(tensor);
    });
    if (value.isDevice()) value = c10::IValue(c10::Device(at::kCPU));
  }
  CheckDevices(op, tensors);
  op.callBoxed(stack);
  aliases.TakeSizes();
  const size_t results = op.schema().returns().size();
  for (size_t i = stack->size() - results; i < stack->size(); ++i)
    ForTensors((*stack)[i], [&](const Tensor& tensor) { return aliases.Back(tensor); });
}

Tensor Empty(at::IntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>,
             std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &allocator, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   c10::dtype_or_default(type), format);
}

Tensor EmptyStridedKernel(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> type,
                          std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  return EmptyStrided(size, stride, c10::dtype_or_default(type));
}

Tensor CopyFrom(const Tensor& from, const Tensor& to, bool) {
  Aliases aliases;
  aliases.Of(to).copy_(aliases.Of(from));
  return to;
}

at::Scalar Item(const Tensor& tensor) { return Aliases().Of(tensor).item(); }

Tensor Convolution(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias, at::IntArrayRef stride,
                   at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed, at::IntArrayRef output_padding,
                   int64_t groups) {
  Aliases aliases;
  return aliases.Back(at::convolution(aliases.Of(x), aliases.Of(weight), aliases.Of(bias), stride, padding, dilation,
                                      transposed, output_padding, groups));
}

std::tuple<Tensor, Tensor, Tensor> ConvolutionBackward(const Tensor& gradient, const Tensor& x, const Tensor& weight,
                                                       at::IntArrayRef stride, at::IntArrayRef padding,
                                                       at::IntArrayRef dilation, bool transposed,
                                                       at::IntArrayRef output_padding, int64_t groups,
                                                       std::array<bool, 3> mask) {
  Aliases aliases;
  const std::vector<int64_t> bias = {gradient.size(1)};
  const auto [of_x, of_weight, of_bias] =
      at::convolution_backward(aliases.Of(gradient), aliases.Of(x), aliases.Of(weight), at::IntArrayRef(bias), stride,
                               padding, dilation, transposed, output_padding, groups, mask);
  return {aliases.Back(of_x), aliases.Back(of_weight), aliases.Back(of_bias)};
}

// CUDA's gives channels first whatever it takes.
std::tuple<Tensor, Tensor, Tensor> NativeGroupNorm(const Tensor& x, const std::optional<Tensor>& weight,
                                                   const std::optional<Tensor>& bias, int64_t n, int64_t c, int64_t hw,
                                                   int64_t groups, double eps) {
  Aliases aliases;
  const auto [y, mean, rstd] =
      at::native_group_norm(aliases.Of(x).contiguous(), aliases.Of(weight), aliases.Of(bias), n, c, hw, groups, eps);
  return {aliases.Back(y), aliases.Back(mean), aliases.Back(rstd)};
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&Run>()); }

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", &Empty);
  m.impl("empty_strided", &EmptyStridedKernel);
  m.impl("_copy_from", &CopyFrom);
  m.impl("_local_scalar_dense", &Item);
  m.impl("native_group_norm", &NativeGroupNorm);
  m.impl("convolution_overrideable", &Convolution);
  m.impl("convolution_backward_overrideable", &ConvolutionBackward);
  // Those of which LibTorch has a composition for devices without one of their own, which rounds otherwise.
  for (const char* name : {"native_layer_norm", "native_layer_norm_backward"})
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&Run>());
}

}  // namespace

at::Device PretendDevice() { return {kPretend, 0}; }

}  // namespace genview
