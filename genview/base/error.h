// How a run says that it cannot go on, and how one bad item says that it is left out.
//
//   throw Error({.what = Format("PCA has {} channels, the encoder gives {}", a, b),
//                .where = path.string(),
//                .next = "fit the foreground model again with this encoder"});
//
//   Outcome<Image> image = DecodeImage(bytes);
//   if (!image) skipped.Add(id, image.reason());
#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace genview {

// The three lines a user sees: `error:` what happened, `where:` file, key or position, `try:` what to do next.
struct ErrorText {
  std::string what;
  std::string where;
  std::string next;
};

// Thrown when the run cannot go on; caught once, in main (exit code 1).
class Error : public std::runtime_error {
 public:
  explicit Error(ErrorText text);
  const ErrorText& text() const { return text_; }

 private:
  ErrorText text_;
};

// Wrong use of the program or a wrong recipe (exit code 2).
class UsageError : public Error {
 public:
  using Error::Error;
};

// The user, or the system on the user's behalf, asked to stop (exit code 130). Everything finished so far is on disk.
class Interrupted : public std::runtime_error {
 public:
  Interrupted() : std::runtime_error("interrupted") {}
};

// A value, or the reason why this one item has none while the run goes on.
template <class T>
class [[nodiscard]] Outcome {
 public:
  Outcome(T value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor)
  static Outcome Failed(std::string reason) { return Outcome(std::move(reason), Tag{}); }

  explicit operator bool() const { return value_.has_value(); }
  T& operator*() { return *value_; }
  const T& operator*() const { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }
  const std::string& reason() const { return reason_; }  // empty when there is a value

 private:
  struct Tag {};
  Outcome(std::string reason, Tag) : reason_(std::move(reason)) {}
  std::optional<T> value_;
  std::string reason_;
};

[[noreturn]] void CheckFailed(const char* condition, const char* file, int line, const std::string& message);

}  // namespace genview

// For mistakes of the program, never of its input.
#define GENVIEW_CHECK(condition, message) \
  ((condition) ? void() : ::genview::CheckFailed(#condition, __FILE__, __LINE__, (message)))
