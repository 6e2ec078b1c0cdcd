#include "genview/report/html.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "genview/report/page_parts.h"

namespace genview {
namespace {

TEST(Html, TextAndAttributesAreEscaped) {
  Html html;
  html.Open("p", {{"title", "a\"><script>"}}).Text("<b>&'\"").Close();
  EXPECT_EQ(html.Finish(), "<p title=\"a&quot;&gt;&lt;script&gt;\">&lt;b&gt;&amp;&#39;&quot;</p>\n");
}

TEST(Html, BytesThatAreNoTextBecomeReplacements) {
  EXPECT_EQ(EscapeHtml(std::string("a\0b", 3)),
            "a\xef\xbf\xbd"
            "b");
  EXPECT_EQ(EscapeHtml("\xff\xc3\xa9\xc3"), "\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd");
  EXPECT_EQ(EscapeHtml("tab\tline\n"), "tab\tline\n");
}

TEST(Html, EveryElementMustBeClosed) {
  Html html;
  html.Open("p");
  EXPECT_THROW(html.Finish(), std::logic_error);
  html.Close();
  EXPECT_THROW(html.Close(), std::logic_error);
}

TEST(PageParts, NothingHasNoMinus) {
  EXPECT_EQ(Signed(-0.04), "+0.0");
  EXPECT_EQ(Signed(-0.06), "−0.1");
  EXPECT_EQ(Signed(0), "+0.0");
  EXPECT_EQ(Signed(12.34), "+12.3");
}

// RFC 4648, section 10.
TEST(Base64, KnownAnswers) {
  EXPECT_EQ(Base64(""), "");
  EXPECT_EQ(Base64("f"), "Zg==");
  EXPECT_EQ(Base64("fo"), "Zm8=");
  EXPECT_EQ(Base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(Base64("\xff\xff\xfe"), "///+");
}

}  // namespace
}  // namespace genview
