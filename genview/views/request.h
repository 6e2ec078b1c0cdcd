// What a folder of views was asked for, kept beside the views so that what goes missing can be made again.
#pragma once

#include <optional>

#include "genview/views/config.h"

namespace genview {

// request.json: the config without what changes no picture or names this machine (threads, device, dump). Files inside
// the folder that holds `out` are named as seen from `out`, so that both can be moved together.
Json ViewsRequest(const ViewsConfig& config);
// The config of a folder, or none where an older version made it. Throws Error when the file is damaged.
std::optional<ViewsConfig> ReadViewsRequest(const Path& folder);

}  // namespace genview
