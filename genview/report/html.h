// Markup that cannot be broken by what is written into it: every text and attribute value is escaped, every element
// that is opened must be closed. SVG is written with the same calls.
//
//   Html html;
//   html.Open("p", {{"class", "lead"}}).Text(name).Close();      // <p class="lead">a &lt;b&gt;</p>
//   html.Line("td", "12.3");
//   std::string page = html.Finish();
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace genview {

class Html {
 public:
  using Attribute = std::pair<std::string_view, std::string>;  // a value of "" writes the name alone
  using Attributes = std::vector<Attribute>;

  Html& Open(std::string_view tag, const Attributes& attributes = {});
  Html& Close();                                                        // the element opened last
  Html& Void(std::string_view tag, const Attributes& attributes = {});  // without contents: img, meta, circle, ...
  Html& Text(std::string_view text);
  Html& Line(std::string_view tag, std::string_view text, const Attributes& attributes = {});
  // The program's own text, as it is: the document type and the style sheet.
  template <size_t N>
  Html& Literal(const char (&text)[N]) {
    out_.append(text, N - 1);
    return *this;
  }
  Html& Css(std::string_view sheet);  // from page_style.cc alone

  size_t size() const { return out_.size(); }
  std::string Finish();  // GENVIEW_CHECKs that everything is closed

 private:
  void Tag(std::string_view tag, const Attributes& attributes);

  std::string out_;
  std::vector<std::string> open_;
};

// `<`, `>`, `&`, quotes; control characters and bytes that are not UTF-8 become U+FFFD.
std::string EscapeHtml(std::string_view text);
std::string Base64(std::string_view bytes);

}  // namespace genview
