// JSON whose objects keep their keys sorted, for tables of many thousands: Json looks through all keys for each one it
// adds.
#pragma once

#include "genview/base/json.h"

namespace genview {

using SortedJson = nlohmann::json;

// As ParseJson and ReadJson.
SortedJson ParseSortedJson(std::string_view text, std::string_view where);
SortedJson ReadSortedJson(const Path& path);

}  // namespace genview
