// What CUDA's autocast casts (ATen/autocast_mode.cpp), for the pretend device.
#include <ATen/autocast_mode.h>
#include <torch/library.h>

namespace {

using namespace at;  // the names in ATen's lists

TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, m) { m.fallback(torch::CppFunction::makeFallthrough()); }

#define GENVIEW_LOWER(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, lower_precision_fp)
#define GENVIEW_FP32(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32)
#define GENVIEW_FP32_BY_TYPE(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32_set_opt_dtype)
#define GENVIEW_PROMOTE(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, promote)

TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, m) {
  AT_FORALL_LOWER_PRECISION_FP(GENVIEW_LOWER)
  AT_FORALL_FP32(GENVIEW_FP32)
  AT_FORALL_FP32_SET_OPT_DTYPE(GENVIEW_FP32_BY_TYPE)
  AT_FORALL_DIFFERENT_REDISPATCH_SIGNATURE(KERNEL_DIFFERENT_REDISPATCH_SIGNATURE_PRIVATEUSEONE)
  AT_FORALL_PROMOTE(GENVIEW_PROMOTE)
}

}  // namespace
