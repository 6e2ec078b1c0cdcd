#include "genview/base/error.h"

#include "genview/base/text.h"

namespace genview {

Error::Error(ErrorText text)
    : std::runtime_error(Format("{} ({}): {}", text.what, text.where, text.next)), text_(std::move(text)) {}

void CheckFailed(const char* condition, const char* file, int line, const std::string& message) {
  throw std::logic_error(Format("{}:{}: {} [{}]", file, line, message, condition));
}

}  // namespace genview
