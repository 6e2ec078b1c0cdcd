// In place of tensor_group_gloo.cc where the headers of gloo were not found.
#include "genview/base/text.h"
#include "genview/dist/tensor_group.h"

namespace genview {

bool CanConnectTensors() { return false; }

std::unique_ptr<TensorGroup> ConnectTensors(Group& group) {
  if (group.size() == 1) return std::make_unique<TensorGroup>();
  throw Error({.what = "this build of genview does not share pretraining between processes",
               .where = Format("process {} of {}; the headers of gloo were missing when it was built", group.rank(),
                               group.size()),
               .next = "start one process, or install libgloo-dev where there is a package of it and build again"});
}

}  // namespace genview
