// Pictures that are stored as picture files, whatever holds them: their bytes are read, then decoded. For this folder
// alone.
#pragma once

#include "genview/data/source.h"

namespace genview {

class EncodedSource : public ImageSource {
 public:
  Outcome<Image> Read(int64_t i) const final {
    const Outcome<std::string> bytes = ReadBytes(i);
    if (!bytes) return Outcome<Image>::Failed(bytes.reason());
    return DecodeImage(*bytes);
  }
  Outcome<ImagePart> ReadPart(int64_t i, const WantedBox& wanted) const final {
    const Outcome<std::string> bytes = ReadBytes(i);
    if (!bytes) return Outcome<ImagePart>::Failed(bytes.reason());
    return DecodePart(*bytes, wanted);
  }
};

}  // namespace genview
