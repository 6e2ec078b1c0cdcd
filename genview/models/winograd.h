// 3x3 convolutions in fewer multiplications (Winograd's minimal filtering; Lavin and Gray, "Fast Algorithms for
// Convolutional Neural Networks", 2015): squares of 4x4 pixels and the taps are brought into a form in which 16
// products do the work of 36, and back. fp32 on the CPU, for networks that are not trained.
#pragma once

#include "genview/models/weight_list.h"

namespace genview {

// Whether WinogradConv can do the convolution, and is faster than the plain one. x: [N,C,H,W] before it is enlarged.
bool WinogradFits(const ConvWeights& w, const Tensor& x, int64_t enlarge);

// x, each pixel repeated `enlarge` times in both directions, under a 3x3 convolution of stride and padding 1. Neither
// the enlarged picture nor anything of its size but the result is held. weight: [O,C,3,3] in fp32, fp16 or bf16. ->
// [N,O,eH,eW], channels-last. As exact as the plain convolution, to a small factor; the same bytes for any number of
// threads.
Tensor WinogradConv(const ConvWeights& w, const Tensor& x, int64_t enlarge);

}  // namespace genview
