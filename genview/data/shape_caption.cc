#include "genview/data/shape_caption.h"

#include <algorithm>
#include <array>
#include <map>

#include "genview/base/text.h"
#include "genview/data/shapes.h"

namespace genview {

namespace {

constexpr std::array<const char*, kPatternCount> kPatterns{"plain", "striped", "checked", "dotted", "shaded"};
constexpr std::array<const char*, kHueCount> kHues{"red",  "orange", "yellow", "green",
                                                   "cyan", "blue",   "purple", "pink"};

const char* SizeWord(double foreground) {
  if (foreground < 0.15) return "small";
  return foreground < 0.35 ? "medium" : "large";
}

const char* ValueWord(double value) {
  if (value < 0.19) return "dark";
  return value < 0.3 ? "dim" : "pale";
}

std::string PlaceWords(double x, double y) {
  constexpr double kCentral = 0.07;
  std::string words;
  if (y < -kCentral) words = "top";
  if (y > kCentral) words = "bottom";
  if (x < -kCentral) words += words.empty() ? "left" : " left";
  if (x > kCentral) words += words.empty() ? "right" : " right";
  return words.empty() ? "centre" : words;
}

}  // namespace

const std::vector<std::string>& ShapeClasses() {
  static const std::vector<std::string> names{"arrow", "beam", "corner", "crescent", "cross",
                                              "disc",  "ring", "square", "star",     "triangle"};
  return names;
}

std::string Caption(const ShapeWords& words) {
  const char* ground = words.background_hue < 0 ? "grey" : kHues[static_cast<size_t>(words.background_hue)];
  return Format("a {} {} {} {} on a {} {} {} background, {}", SizeWord(words.foreground),
                kHues[static_cast<size_t>(words.hue)], kPatterns[static_cast<size_t>(words.pattern)],
                ShapeClasses()[static_cast<size_t>(words.form)], ValueWord(words.background_value), ground,
                kPatterns[static_cast<size_t>(words.background_pattern)], PlaceWords(words.offset_x, words.offset_y));
}

const std::vector<std::string>& CaptionWords() {
  static const std::vector<std::string> words = [] {
    std::vector<std::string> all{"<pad>", "<start>", "<end>", "a", "on", "background"};
    all.insert(all.end(), ShapeClasses().begin(), ShapeClasses().end());
    all.insert(all.end(), kHues.begin(), kHues.end());
    all.emplace_back("grey");
    all.insert(all.end(), kPatterns.begin(), kPatterns.end());
    for (const char* word : {"small", "medium", "large", "dark", "dim", "pale"}) all.emplace_back(word);
    for (const char* word : {"centre", "left", "right", "top", "bottom"}) all.emplace_back(word);
    return all;
  }();
  return words;
}

std::vector<int64_t> TokenizeCaption(std::string_view caption) {
  static const std::map<std::string, int64_t, std::less<>> ids = [] {
    std::map<std::string, int64_t, std::less<>> all;
    for (size_t i = 0; i < CaptionWords().size(); ++i) all[CaptionWords()[i]] = static_cast<int64_t>(i);
    return all;
  }();
  std::vector<int64_t> tokens{1};
  for (std::string word : Split(caption, ' ')) {
    std::erase(word, ',');
    if (word.empty()) continue;
    const auto found = ids.find(word);
    if (found == ids.end()) {
      throw Error({.what = Format("the caption has the word \"{}\", which is not in the vocabulary", word),
                   .where = std::string(caption),
                   .next = SuggestName(word, CaptionWords())});
    }
    tokens.push_back(found->second);
  }
  tokens.push_back(2);
  if (static_cast<int64_t>(tokens.size()) > kCaptionLength) {
    throw Error({.what = Format("the caption has more than {} words", kCaptionLength - 2),
                 .where = std::string(caption),
                 .next = "shorten it"});
  }
  tokens.resize(static_cast<size_t>(kCaptionLength), 0);
  return tokens;
}

}  // namespace genview
