// How many floating-point operations the convolutions and matrix products of a piece of work are.
#pragma once

#include <functional>

namespace genview {

// Runs `work` once and counts: a multiplication and an addition are two. Backward passes within it are counted, too.
double CountFlops(const std::function<void()>& work);

}  // namespace genview
