// Answers --help and --version before the libraries start. LibTorch registers some thousands of operators when it is
// loaded, which takes 0.2 s; functions in .preinit_array run before that. Only the C library may be relied upon here:
// no stream, no static object with a constructor, ours included. What is printed comes from constant tables.
#include <cerrno>
#include <unistd.h>

#include "cli/help.h"

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
namespace genview {
namespace {

void Answer(int argc, char** argv, char** /*environment*/) {
  const auto answer = AnswerHelp({argv + (argc > 0 ? 1 : 0), argv + argc});
  if (!answer) return;
  std::string_view rest = *answer;
  while (!rest.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) _exit(kFailed);
    rest.remove_prefix(static_cast<size_t>(written));
  }
  _exit(kOk);
}

[[gnu::section(".preinit_array"), gnu::used]] void (*const answer_early)(int, char**, char**) = Answer;

}  // namespace
}  // namespace genview
#endif
