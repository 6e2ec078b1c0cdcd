// What a name from outside must not do: leave the folder that it is a name in.
#pragma once

#include <string>

namespace genview {

inline bool StaysInside(const std::string& name) {
  return !name.starts_with('/') && ("/" + name + "/").find("/../") == std::string::npos;
}

}  // namespace genview
