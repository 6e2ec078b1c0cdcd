// Where the files of a zip archive lie, for archives whose files are stored as they are (PyTorch's checkpoints).
// Nothing is copied or unpacked; an archive with compressed or encrypted files is refused.
//
//   const ZipIndex zip = ReadZipIndex(mapped.text(), path.string());
//   std::string_view pickle = zip.at("archive/data.pkl");
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace genview {

using ZipIndex = std::map<std::string, std::string_view>;  // name -> its bytes inside the archive

// Sizes and places come from the central directory, zip64 included; of the local headers only their length is used.
// Throws Error for: no or a cut directory, more than a million files, compressed or encrypted files, a file outside the
// archive, in its directory or overlapping another, one name twice.
ZipIndex ReadZipIndex(std::string_view archive, const std::string& where);

}  // namespace genview
