// What a fuzzer lets a reader throw: an Error, or the one kind of Error that it names, and nothing else.
#pragma once

#include "genview/base/error.h"

namespace genview {

// Whether `read` came through.
template <class Allowed = Error, class Read>
bool Try(Read&& read) {
  try {
    read();
    return true;
  } catch (const Allowed&) {
    return false;
  }
}

}  // namespace genview
