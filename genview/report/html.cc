#include "genview/report/html.h"

#include "genview/base/error.h"
#include "genview/base/text.h"

namespace genview {
namespace {

constexpr const char* kReplacement = "\xef\xbf\xbd";  // U+FFFD

// The length of the well-formed UTF-8 character that `text` begins with, or 0.
size_t CharacterLength(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  const size_t length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
  return length > 0 && length <= text.size() && IsUtf8(text.substr(0, length)) ? length : 0;
}

}  // namespace

std::string EscapeHtml(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const size_t length = CharacterLength(text);
    const char c = text.front();
    if (length == 0) result += kReplacement;
    else if (c == '<') result += "&lt;";
    else if (c == '>') result += "&gt;";
    else if (c == '&') result += "&amp;";
    else if (c == '"') result += "&quot;";
    else if (c == '\'') result += "&#39;";
    else if (length == 1 && (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) && c != '\n' && c != '\t')
      result += kReplacement;
    else result.append(text.substr(0, length));
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return result;
}

std::string Base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string result;
  result.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](size_t k) { return i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u; };
    const unsigned block = byte(0) << 16 | byte(1) << 8 | byte(2);
    result += kDigits[block >> 18];
    result += kDigits[block >> 12 & 63];
    result += i + 1 < bytes.size() ? kDigits[block >> 6 & 63] : '=';
    result += i + 2 < bytes.size() ? kDigits[block & 63] : '=';
  }
  return result;
}

void Html::Tag(std::string_view tag, const Attributes& attributes) {
  out_.append("<").append(tag);
  for (const auto& [name, value] : attributes) {
    out_.append(" ").append(name);
    if (!value.empty()) out_.append("=\"").append(EscapeHtml(value)).append("\"");
  }
}

Html& Html::Open(std::string_view tag, const Attributes& attributes) {
  Tag(tag, attributes);
  out_ += '>';
  open_.emplace_back(tag);
  return *this;
}

Html& Html::Close() {
  GENVIEW_CHECK(!open_.empty(), "nothing is open");
  out_.append("</").append(open_.back()).append(">\n");
  open_.pop_back();
  return *this;
}

Html& Html::Void(std::string_view tag, const Attributes& attributes) {
  Tag(tag, attributes);
  out_ += "/>";
  return *this;
}

Html& Html::Text(std::string_view text) {
  out_ += EscapeHtml(text);
  return *this;
}

Html& Html::Line(std::string_view tag, std::string_view text, const Attributes& attributes) {
  return Open(tag, attributes).Text(text).Close();
}

Html& Html::Css(std::string_view sheet) {
  out_ += sheet;
  return *this;
}

std::string Html::Finish() {
  GENVIEW_CHECK(open_.empty(), "an element is still open");
  return std::move(out_);
}

}  // namespace genview
