// CLIP's byte-pair encoding: a text to the token ids of its text tower, as transformers' CLIPTokenizer gives them.
//
//   ClipTokenizer tokenizer = ClipTokenizer::Open("models/stable-unclip/tokenizer");    // vocab.json, merges.txt, or tokenizer.json
//   std::vector<int64_t> ids = tokenizer.Encode("a photo of a cat", 77);               // begin, words, end, padding
//
// Text is expected in composed form (NFC), as keyboards give it; letters, digits and lower case are those of the
// system's Unicode tables.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "genview/base/sorted_json.h"

namespace genview {

class ClipTokenizer {
 public:
  static ClipTokenizer Open(const Path& folder);  // throws Error
  // tokenizer.json alone, with CLIP's own special tokens.
  static ClipTokenizer FromJson(const SortedJson& tokenizer, const std::string& where);
  // CLIP's special tokens for a text tower of so many, and no words: it can encode the empty text alone.
  static ClipTokenizer WithoutWords(int64_t tokens);

  // The text's ids between begin and end, cut to `length` in all (the end stays), padded to `length`. Throws UsageError
  // for text that is not UTF-8 or has combining marks apart from their letters, and for any where there are no words.
  std::vector<int64_t> Encode(std::string_view text, int64_t length) const;
  std::vector<int64_t> Words(std::string_view text) const;  // the ids alone
  int64_t begin_id() const { return begin_; }
  int64_t end_id() const { return end_; }
  int64_t pad_id() const { return pad_; }
  bool has_words() const { return !vocabulary_.empty(); }
  int64_t highest_id() const;                         // that a text can have
  int64_t max_length() const { return max_length_; }  // of the file, 77 where it does not say

 private:
  void TakeVocabulary(const SortedJson& vocabulary, const std::vector<std::string>& merges, const std::string& where);
  void TakeAdded(const SortedJson& added);
  void TakeSpecialTokens(const std::map<std::string, std::string>& names, const std::string& where);
  void AppendWord(std::string_view bytes, std::vector<int64_t>& ids) const;

  std::map<std::string, int64_t> vocabulary_;
  std::map<std::pair<std::string, std::string>, int64_t> merges_;  // pair -> rank
  std::map<std::string, int64_t, std::greater<>> special_;         // text -> id; a longer one before its beginning
  int64_t begin_ = 0, end_ = 0, pad_ = 0, unknown_ = 0, max_length_ = 77;
};

}  // namespace genview
