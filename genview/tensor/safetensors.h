// The safetensors format (https://github.com/huggingface/safetensors): 8 bytes of header length, a JSON header, raw
// tensors. Reading checks everything before it uses anything and executes nothing; writing is byte-for-byte repeatable.
//
//   WeightMap weights = ReadSafetensors("model.safetensors");          // mapped, not copied
//   WriteSafetensors("out.safetensors", {{"weight", tensor}}, {{"format", "pt"}});
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "genview/base/files.h"
#include "genview/tensor/tensor.h"
#include "genview/tensor/weights.h"

namespace genview {

// One entry of a header, checked.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // "F32", ...
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // bytes from the start of the data
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in file order
  std::map<std::string, std::string> metadata;
  uint64_t data_begin = 0;  // bytes from the start of the file
};

// Parses the header of a whole file's bytes. Throws Error for: too short, header too long (> 100 MB), header past the
// end, not UTF-8, not a JSON object, wrong member, duplicate name, unknown dtype, negative or overflowing shape,
// offsets out of order, overlapping or with a gap, size that does not fit shape and dtype, data not ending at the end
// of the file.
SafetensorsHeader ParseSafetensorsHeader(std::string_view file, const std::string& where);

WeightMap ReadSafetensors(const Path& path);

// The JSON text of a header, not padded, for who writes the data himself. Entries in the order of their data.
std::string SafetensorsHeaderText(const std::vector<SafetensorsEntry>& entries,
                                  const std::map<std::string, std::string>& metadata);

// Tensors are written contiguous, ordered by dtype (largest first) and then name, as the original writer does.
// Non-CPU tensors are copied. Metadata keys are sorted.
void WriteSafetensors(const Path& path, const std::vector<std::pair<std::string, Tensor>>& tensors,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace genview
