#include "genview/report/page_parts.h"

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

std::string Signed(double value) { return value < 0 ? Format("−{:.1f}", -value) : Format("+{:.1f}", value); }

std::string Percent(double value) { return Format("{:.1f}", value); }

}  // namespace genview
