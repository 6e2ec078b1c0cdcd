// Which operators the time goes to: `--profile` of the benchmarks.
//
//   OpProfile profile;                    // from here on, on all threads
//   work();
//   std::string table = OpProfileToText(profile.Times());
#pragma once

#include <ATen/record_function.h>

#include <cstdint>
#include <string>
#include <vector>

#include "genview/base/json.h"

namespace genview {

struct OpTime {
  std::string name;  // "aten::mm", "ConvolutionBackward0", "genview::batch_norm"
  int64_t calls = 0;
  double seconds = 0;  // without the operators within it; summed over threads
};

// One at a time in a process. Costs about a microsecond a call.
class OpProfile {
 public:
  OpProfile();
  ~OpProfile();
  OpProfile(const OpProfile&) = delete;
  OpProfile& operator=(const OpProfile&) = delete;

  std::vector<OpTime> Times() const;  // the longest first

 private:
  uint64_t handle_;
};

// An operator of our own, seen by OpProfile as LibTorch's are, while this lives.
class OpScope {
 public:
  explicit OpScope(const char* name) : record_(at::RecordScope::FUNCTION) {
    if (record_.isActive()) record_.before(name);
  }

 private:
  at::RecordFunction record_;
};

std::string OpProfileToText(const std::vector<OpTime>& times, size_t most = 20);
Json OpProfileToJson(const std::vector<OpTime>& times);

}  // namespace genview
