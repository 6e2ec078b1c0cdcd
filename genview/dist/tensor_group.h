// Tensors between the processes of a job, where the words of group.h would be too slow: over TCP, by LibTorch's own
// library of collectives (gloo).
//
//   auto tensors = ConnectTensors(group);
//   Tensor all = tensors->Gather(mine);              // [W,...]: row r is that of process r
//   Tensor slices = tensors->Exchange(for_each);     // [W,...]: row r of mine goes to process r; row r came from there
//
// All processes make the same calls in the same order. Where another one fails, dies or falls silent meanwhile, the
// calls throw PeerFailed.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "genview/dist/group.h"
#include "genview/tensor/tensor.h"

namespace genview {

// A world of one; the base of the others.
class TensorGroup {
 public:
  virtual ~TensorGroup() = default;
  virtual int64_t rank() const { return 0; }
  virtual int64_t size() const { return 1; }
  // Tensors on the CPU, of the same shape and type in all processes. In a world of one the result shares the memory of
  // what was given.
  virtual Tensor Gather(const Tensor& mine) { return mine.unsqueeze(0); }
  virtual Tensor Exchange(const Tensor& for_each) { return for_each; }
};

TensorGroup& AloneWithTensors();

// Texts of any length, by rank, in all processes.
std::vector<std::string> GatherTexts(TensorGroup& group, const std::string& mine);

// False in a build that found no headers of gloo: ConnectTensors then throws Error in a group of several.
bool CanConnectTensors();

// Processes of one machine meet at its loopback address, others at the address that their machine's name stands for or
// at that of the network interface which GLOO_SOCKET_IFNAME names (LibTorch reads it). `group` must outlive the result.
std::unique_ptr<TensorGroup> ConnectTensors(Group& group);

}  // namespace genview
