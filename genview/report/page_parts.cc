#include "genview/report/page_parts.h"

#include <cmath>

#include "genview/base/text.h"

namespace genview {

void Heading(Html& html, const char* title, const std::string& note) {
  html.Line("h2", title);
  if (!note.empty()) html.Line("p", note, {{"class", "note"}});
}

void OpenTable(Html& html, const char* kind) {
  html.Open("div", {{"class", "scroll"}}).Open("table", {{"class", kind}});
}

void CloseTable(Html& html) { html.Close().Close(); }

std::string Quoted(const std::string& name) { return Format("“{}”", name); }

std::string Signed(double value) {
  const std::string digits = Percent(std::abs(value));
  return Format("{}{}", value < 0 && digits != "0.0" ? "−" : "+", digits);
}

std::string Percent(double value) { return Format("{:.1f}", value); }

}  // namespace genview
