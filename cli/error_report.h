// From what was thrown to the three lines a user sees and the exit code. Library messages lose their stack trace and
// are given a place and an advice, since neither says anything to somebody who does not know the library.
#pragma once

#include <exception>
#include <string>
#include <string_view>

#include "genview/base/error.h"

namespace genview {

struct Failure {
  ErrorText text;
  int exit_code = 1;
};

// `where`: what was being done, for exceptions that do not say ("views, image 12 of 40"). `to_save_memory`: what to do
// where there was not enough; empty: nothing is known to help.
Failure DescribeFailure(const std::exception_ptr& thrown, const std::string& where,
                        std::string_view to_save_memory = {});

// "error: ...\nwhere: ...\ntry: ...\n"; each on one line, control characters left out.
std::string ThreeLines(const ErrorText& text);

}  // namespace genview
