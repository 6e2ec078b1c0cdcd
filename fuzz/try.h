// What every fuzzer of a reader allows: an Error, and nothing else that is thrown.
#pragma once

#include "genview/base/error.h"

namespace genview {

template <class Read>
void Try(Read&& read) {
  try {
    read();
  } catch (const Error&) {
  }
}

}  // namespace genview
