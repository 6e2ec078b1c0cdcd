#include "genview/views/view_dump.h"

#include "genview/base/json.h"
#include "genview/tensor/safetensors.h"

namespace genview {

void ViewDump::Add(const std::vector<std::string>& ids, const Tensor& pixels, const Tensor& embeddings,
                   const UnclipTrace& trace, const Tensor& pictures) {
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  parts_.push_back({pixels.contiguous(), embeddings.cpu(), pictures, trace});
}

void ViewDump::Write(const Path& path) const {
  std::vector<std::pair<std::string, Tensor>> tensors;
  const auto add = [&](const char* name, auto&& pick) {
    std::vector<Tensor> rows;
    for (const Part& part : parts_) rows.push_back(pick(part));
    if (!rows.empty() && rows[0].defined()) tensors.emplace_back(name, at::cat(rows));
  };
  add("pixel_values", [](const Part& p) { return p.pixels; });
  add("image_embeds", [](const Part& p) { return p.embeddings; });
  add("class_labels", [](const Part& p) { return p.trace.class_labels; });
  add("prompt_embeds", [](const Part& p) { return p.trace.prompt_embeds; });
  add("latents", [](const Part& p) { return p.trace.latents; });
  add("image", [](const Part& p) { return p.pictures; });
  std::vector<Tensor> first, second;  // halves of a guided output
  for (const Part& p : parts_) {
    const int64_t n = p.pixels.size(0);
    first.push_back(p.trace.unet_first.slice(0, 0, n));
    if (p.trace.unet_first.size(0) > n) second.push_back(p.trace.unet_first.slice(0, n));
  }
  first.insert(first.end(), second.begin(), second.end());
  if (!first.empty()) tensors.emplace_back("unet_first", at::cat(first));
  WriteSafetensors(path, tensors, {{"ids", Json(ids_).dump()}});
}

}  // namespace genview
