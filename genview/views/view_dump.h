// The tensors between picture and view, kept for comparison with other implementations: one file for all views in
// order.
#pragma once

#include <string>
#include <vector>

#include "genview/base/files.h"
#include "genview/diffusion/pipeline.h"

namespace genview {

class ViewDump {
 public:
  // One batch: pixel_values [N,3,S,S], embeddings [N,D], the trace and the pictures. ids: of the N rows.
  void Add(const std::vector<std::string>& ids, const Tensor& pixels, const Tensor& embeddings,
           const UnclipTrace& trace, const Tensor& pictures);
  // pixel_values, image_embeds, class_labels, prompt_embeds (with a text encoder), unet_first (with guidance: all
  // unconditional rows, then the conditional), latents, image. The metadata `ids` is the list of row names.
  void Write(const Path& path) const;

 private:
  struct Part {
    Tensor pixels, embeddings, pictures;
    UnclipTrace trace;
  };
  std::vector<Part> parts_;
  std::vector<std::string> ids_;
};

}  // namespace genview
