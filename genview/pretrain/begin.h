// A run whose encoder begins with the weights of another: `pretrain.init`.
#pragma once

#include "genview/base/files.h"
#include "genview/ssl/method.h"

namespace genview {

// Puts the backbone of `file` (a checkpoint of this program or another library's) into the method's encoder and into
// its averaged copy, in place. Throws Error when it is another network, naming what differs.
void BeginEncoderFrom(Method& method, const Path& file);

}  // namespace genview
