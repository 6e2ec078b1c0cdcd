#include "genview/models/clip_tokenizer.h"

#include <clocale>
#include <cwctype>

#include <algorithm>
#include <array>
#include <climits>

#include "genview/base/error.h"
#include "genview/base/text.h"

namespace genview {
namespace {

// Letters and digits by Unicode, independent of the user's locale. The C library has the tables.
class UnicodeClasses {
 public:
  UnicodeClasses() : locale_(newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {}
  ~UnicodeClasses() {
    if (locale_ != nullptr) freelocale(locale_);
  }
  UnicodeClasses(const UnicodeClasses&) = delete;
  UnicodeClasses& operator=(const UnicodeClasses&) = delete;

  bool IsLetter(char32_t c) const {
    if (c < 128 || locale_ == nullptr) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return !IsDigit(c) && iswalpha_l(static_cast<wint_t>(c), locale_) != 0;
  }
  // Decimal digits of other scripts stand in runs of ten or alone; the common ones are named here.
  bool IsDigit(char32_t c) const {
    constexpr std::array<char32_t, 6> kZeros{0x30, 0x660, 0x6F0, 0x966, 0x9E6, 0xFF10};
    return std::any_of(kZeros.begin(), kZeros.end(), [&](char32_t zero) { return c >= zero && c < zero + 10; }) ||
           c == 0xB2 || c == 0xB3 || c == 0xB9 || (c >= 0xBC && c <= 0xBE) ||
           (c >= 0x2070 && c <= 0x2079 && c != 0x2071) || (c >= 0x2080 && c <= 0x2089) ||
           (c >= 0x2150 && c <= 0x218B) || (c >= 0x2460 && c <= 0x249B);
  }
  bool IsSpace(char32_t c) const {
    if (c < 128) return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
  }
  char32_t LowerCase(char32_t c) const {
    if (c < 128 || locale_ == nullptr) return c >= 'A' && c <= 'Z' ? c + 32 : c;
    return static_cast<char32_t>(towlower_l(static_cast<wint_t>(c), locale_));
  }

 private:
  locale_t locale_;
};

std::u32string CodePoints(std::string_view text) {  // well-formed UTF-8
  std::u32string result;
  for (size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    const size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    char32_t c = length == 1 ? first : first & (0x7F >> length);
    for (size_t k = 1; k < length; ++k) c = (c << 6) | (static_cast<unsigned char>(text[i + k]) & 0x3F);
    result += c;
    i += length;
  }
  return result;
}

void AppendUtf8(char32_t c, std::string& out) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += {static_cast<char>(0xC0 | (c >> 6)), static_cast<char>(0x80 | (c & 0x3F))};
  } else if (c < 0x10000) {
    out += {static_cast<char>(0xE0 | (c >> 12)), static_cast<char>(0x80 | ((c >> 6) & 0x3F)),
            static_cast<char>(0x80 | (c & 0x3F))};
  } else {
    out += {static_cast<char>(0xF0 | (c >> 18)), static_cast<char>(0x80 | ((c >> 12) & 0x3F)),
            static_cast<char>(0x80 | ((c >> 6) & 0x3F)), static_cast<char>(0x80 | (c & 0x3F))};
  }
}

// The printable letter that stands for a byte: itself where Latin-1 has a visible one, otherwise the next from U+0100
// on.
const std::array<std::string, 256>& ByteLetters() {
  static const std::array<std::string, 256> letters = [] {
    std::array<std::string, 256> table;
    char32_t next = 0x100;
    for (char32_t byte = 0; byte < 256; ++byte) {
      const bool visible = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      AppendUtf8(visible ? byte : next++, table[byte]);
    }
    return table;
  }();
  return letters;
}

// Pieces of the lower-case text: 's and the like, runs of letters, single digits, runs of anything else but blanks.
std::vector<std::u32string> SplitWords(const std::u32string& text, const UnicodeClasses& classes) {
  constexpr std::array<std::u32string_view, 7> kEndings{U"'s", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"};
  std::vector<std::u32string> words;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    const std::u32string_view rest = std::u32string_view(text).substr(i);
    for (const auto& ending : kEndings) {
      if (end == i && rest.starts_with(ending)) end = i + ending.size();
    }
    if (end == i && classes.IsDigit(text[i])) end = i + 1;
    if (end == i) {
      while (end < text.size() && classes.IsLetter(text[end])) ++end;
    }
    if (end == i) {
      while (end < text.size() && !classes.IsSpace(text[end]) && !classes.IsLetter(text[end]) &&
             !classes.IsDigit(text[end]))
        ++end;
    }
    if (end == i) {
      ++i;  // a blank
      continue;
    }
    words.push_back(text.substr(i, end - i));
    i = end;
  }
  return words;
}

std::string TokenText(const SortedJson& token) {  // a text, or an object with the text in `content`
  if (token.is_string()) return token.get<std::string>();
  if (token.is_object() && token.contains("content") && token["content"].is_string())
    return token["content"].get<std::string>();
  return "";
}

}  // namespace

namespace {

const std::map<std::string, std::string> kSpecialTokens{{"bos_token", "<|startoftext|>"},
                                                        {"eos_token", "<|endoftext|>"},
                                                        {"unk_token", "<|endoftext|>"},
                                                        {"pad_token", "<|endoftext|>"}};

struct TokenizerFile {
  SortedJson vocabulary;
  std::vector<std::string> merges;
  std::map<std::string, int64_t> special;  // whole wherever they are in a text
};

TokenizerFile ReadTokenizerJson(const SortedJson& all, const std::string& where) {
  const auto member = [](const SortedJson& object, const char* key) {
    return object.is_object() ? object.value(key, SortedJson()) : SortedJson();
  };
  const SortedJson model = member(all, "model");
  if (member(model, "type") != "BPE") {
    throw Error({.what = "the tokenizer is not a byte-pair encoding",
                 .where = where,
                 .next = "give the tokenizer folder of a CLIP text encoder"});
  }
  TokenizerFile file{member(model, "vocab"), {}, {}};
  for (const SortedJson& pair : member(model, "merges")) {
    const bool apart = pair.is_array() && pair.size() == 2 && pair[0].is_string() && pair[1].is_string();
    file.merges.push_back(apart ? pair[0].get<std::string>() + " " + pair[1].get<std::string>() : TokenText(pair));
  }
  for (const SortedJson& token : member(all, "added_tokens")) {
    if (!member(token, "id").is_number_integer() || !file.vocabulary.is_object()) continue;
    file.vocabulary[TokenText(token)] = token["id"];
    if (member(token, "special") == true) file.special[TokenText(token)] = token["id"].get<int64_t>();
  }
  return file;
}

SortedJson ReadObject(const Path& path) {  // empty where there is none
  SortedJson json = std::filesystem::exists(path) ? ReadSortedJson(path) : SortedJson();
  return json.is_object() ? json : SortedJson::object();
}

void TakeNames(const SortedJson& json, std::map<std::string, std::string>& names) {
  for (auto& [key, value] : names) {
    const std::string text = TokenText(json.value(key, SortedJson()));
    if (!text.empty()) value = text;
  }
}

}  // namespace

ClipTokenizer ClipTokenizer::Open(const Path& folder) {
  ClipTokenizer t;
  if (std::filesystem::exists(folder / "vocab.json")) {
    t.TakeVocabulary(ReadSortedJson(folder / "vocab.json"), ReadLines(folder / "merges.txt"),
                     (folder / "vocab.json").string());
  } else {
    const std::string where = (folder / "tokenizer.json").string();
    const TokenizerFile file = ReadTokenizerJson(ReadSortedJson(folder / "tokenizer.json"), where);
    t.TakeVocabulary(file.vocabulary, file.merges, where);
    t.special_.insert(file.special.begin(), file.special.end());
  }
  const SortedJson config = ReadObject(folder / "tokenizer_config.json");
  const SortedJson length = config.value("model_max_length", SortedJson());
  // Newer files may have an astronomic number for "no limit".
  if (length.is_number_integer() && length.get<int64_t>() >= 2 && length.get<int64_t>() <= 4096)
    t.max_length_ = length.get<int64_t>();
  auto names = kSpecialTokens;
  TakeNames(config, names);
  if (const SortedJson added = config.value("added_tokens_decoder", SortedJson()); added.is_object()) {
    t.TakeAdded(added);
  } else {  // older folders: the map has the last word, as in transformers
    TakeNames(ReadObject(folder / "special_tokens_map.json"), names);
  }
  t.TakeSpecialTokens(names, folder.string());
  return t;
}

ClipTokenizer ClipTokenizer::FromJson(const SortedJson& tokenizer, const std::string& where) {
  const TokenizerFile file = ReadTokenizerJson(tokenizer, where);
  ClipTokenizer t;
  t.TakeVocabulary(file.vocabulary, file.merges, where);
  t.special_.insert(file.special.begin(), file.special.end());
  t.TakeSpecialTokens(kSpecialTokens, where);
  return t;
}

void ClipTokenizer::TakeVocabulary(const SortedJson& vocabulary, const std::vector<std::string>& merges,
                                   const std::string& where) {
  if (!vocabulary.is_object() || vocabulary.empty()) {
    throw Error({.what = "the tokenizer's vocabulary is not a table of texts and numbers",
                 .where = where,
                 .next = "fetch the folder again"});
  }
  for (const auto& [text, id] : vocabulary.items()) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0) {
      throw Error({.what = Format("token `{}` has no number", text), .where = where, .next = "fetch the folder again"});
    }
    vocabulary_[text] = id.get<int64_t>();
  }
  for (const std::string& line : merges) {
    if (line.empty() || line.starts_with("#version")) continue;
    const auto parts = Split(line, ' ');
    if (parts.size() != 2 || parts[0].empty() || parts[1].empty()) {
      throw Error({.what = Format("`{}` is not a pair of tokens to merge", Printable(line, 100)),
                   .where = where,
                   .next = "fetch the folder again"});
    }
    merges_.emplace(std::pair(parts[0], parts[1]), static_cast<int64_t>(merges_.size()));
  }
}

// {"0": {"content": "!", "special": true}, ...}: the numbers are those of the vocabulary.
void ClipTokenizer::TakeAdded(const SortedJson& added) {
  for (const SortedJson& token : added) {
    const std::string text = TokenText(token);
    if (text.empty() || !token.is_object() || token.value("special", SortedJson()) != true) continue;
    const auto known = vocabulary_.find(text);
    if (known != vocabulary_.end()) special_[text] = known->second;
  }
}

void ClipTokenizer::TakeSpecialTokens(const std::map<std::string, std::string>& names, const std::string& where) {
  const auto id = [&](const char* key) {
    const std::string& name = names.at(key);
    const auto found = vocabulary_.find(name);
    if (found == vocabulary_.end()) {
      throw Error({.what = Format("the {} `{}` is not in the vocabulary", key, name),
                   .where = where,
                   .next = "fetch the folder again"});
    }
    special_[name] = found->second;
    return found->second;
  };
  begin_ = id("bos_token");
  end_ = id("eos_token");
  unknown_ = id("unk_token");
  pad_ = id("pad_token");
}

void ClipTokenizer::AppendWord(std::string_view bytes, std::vector<int64_t>& ids) const {
  std::vector<std::string> parts;
  for (const char byte : bytes) parts.push_back(ByteLetters()[static_cast<unsigned char>(byte)]);
  parts.back() += "</w>";
  while (parts.size() > 1) {
    int64_t best = INT64_MAX;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = merges_.find({parts[i], parts[i + 1]});
      if (found != merges_.end()) best = std::min(best, found->second);
    }
    if (best == INT64_MAX) break;
    std::vector<std::string> merged;
    for (size_t i = 0; i < parts.size(); ++i) {
      const auto found = i + 1 < parts.size() ? merges_.find({parts[i], parts[i + 1]}) : merges_.end();
      if (found != merges_.end() && found->second == best) {
        merged.push_back(parts[i] + parts[i + 1]);
        ++i;
      } else {
        merged.push_back(parts[i]);
      }
    }
    parts = std::move(merged);
  }
  for (const std::string& part : parts) {
    const auto found = vocabulary_.find(part);
    ids.push_back(found == vocabulary_.end() ? unknown_ : found->second);
  }
}

std::vector<int64_t> ClipTokenizer::Words(std::string_view text) const {
  if (!IsUtf8(text))
    throw UsageError({.what = "the prompt is not UTF-8", .where = "--prompt", .next = "write it in UTF-8"});
  if (text.size() > 4096)
    throw UsageError({.what = "the prompt is longer than 4096 bytes", .where = "--prompt", .next = "shorten it"});
  std::vector<int64_t> ids;
  // Special tokens written out in the text stand for themselves.
  for (size_t at = 0; at < text.size(); ++at) {
    for (const auto& [name, id] : special_) {
      if (name.empty() || text.substr(at, name.size()) != name) continue;
      ids = Words(text.substr(0, at));
      ids.push_back(id);
      const auto rest = Words(text.substr(at + name.size()));
      ids.insert(ids.end(), rest.begin(), rest.end());
      return ids;
    }
  }
  const UnicodeClasses classes;
  std::u32string letters;
  for (const char32_t c : CodePoints(text)) {
    if (c >= 0x300 && c <= 0x36F) {
      throw UsageError({.what = "the prompt has a combining mark apart from its letter",
                        .where = "--prompt",
                        .next = "write the prompt in composed form (NFC)"});
    }
    if (c == 0x130) letters += U"i\u0307";  // the one letter whose lower case is two
    else letters += classes.LowerCase(c);
  }
  const std::vector<std::u32string> words = SplitWords(letters, classes);
  if (!words.empty() && !has_words()) {
    throw UsageError({.what = "the generator holds no vocabulary to read a prompt with",
                      .where = "--prompt",
                      .next = "leave the prompt away, or give the generator as a folder with tokenizer/"});
  }
  for (const std::u32string& word : words) {
    std::string bytes;
    for (const char32_t c : word) AppendUtf8(c, bytes);
    AppendWord(bytes, ids);
  }
  return ids;
}

// The last two are begin and end, and 0 pads, as in open_clip.
ClipTokenizer ClipTokenizer::WithoutWords(int64_t tokens) {
  GENVIEW_CHECK(tokens >= 2, "a text has its begin and its end");
  ClipTokenizer tokenizer;
  tokenizer.begin_ = tokens - 2;
  tokenizer.end_ = tokenizer.unknown_ = tokens - 1;
  return tokenizer;
}

int64_t ClipTokenizer::highest_id() const {
  int64_t highest = std::max({begin_, end_, pad_, unknown_});
  for (const auto& [text, id] : vocabulary_) highest = std::max(highest, id);
  return highest;
}

std::vector<int64_t> ClipTokenizer::Encode(std::string_view text, int64_t length) const {
  GENVIEW_CHECK(length >= 2, "a sequence has at least its begin and end");
  std::vector<int64_t> words = Words(text), ids{begin_};
  if (static_cast<int64_t>(words.size()) > length - 2) words.resize(static_cast<size_t>(length - 2));
  ids.insert(ids.end(), words.begin(), words.end());
  ids.push_back(end_);
  ids.resize(static_cast<size_t>(length), pad_);
  return ids;
}

}  // namespace genview
