// What several parts of the page write alike.
#pragma once

#include <string>

#include "genview/report/html.h"

namespace genview {

void Heading(Html& html, const char* title, const std::string& note);

// A table in a frame of its own: where it is wider than the page, it alone is moved sideways.
void OpenTable(Html& html, const char* kind);
void CloseTable(Html& html);

std::string Quoted(const std::string& name);
std::string Signed(double value);   // "+1.2", with the minus of typography, which is as wide as the plus
std::string Percent(double value);  // "12.3"

}  // namespace genview
