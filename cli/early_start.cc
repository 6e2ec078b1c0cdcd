// What has to happen before the libraries start: functions in .preinit_array run before any of their constructors. Only
// the C library may be relied upon here: no stream, no static object with a constructor, ours included.
//
// --help and --version are answered here, from constant tables: LibTorch registers some thousands of operators when it
// is loaded, which takes 0.2 s.
//
// OpenMP threads that wait for work turn in a loop for some 10 ms before they sleep, unless the environment says
// otherwise, and its library reads the environment when it is loaded. Where other work shares the cores, that takes
// more time than the work itself (recipes/smoke.toml on two busy cores: 47 s of processor time instead of 8). So the
// program starts itself again, once, with a shorter wait; until here that costs 0.03 s. Who sets either variable is
// obeyed.
#include <fcntl.h>
#include <unistd.h>
#include <cerrno>
#include <cstring>
#include <string>

#include "cli/help.h"

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
namespace genview {
namespace {

void AnswerEarly(int argc, char** argv) {
  const auto answer = AnswerHelp({argv + (argc > 0 ? 1 : 0), argv + argc});
  if (!answer) return;
  std::string_view rest = *answer;
  while (!rest.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const std::string error =
          std::string("error: cannot write the result: ") + std::strerror(errno) +
          "\nwhere: standard output\ntry: check where the output goes, then run the command again\n";
      (void)!::write(STDERR_FILENO, error.data(), error.size());
      _exit(kFailed);
    }
    rest.remove_prefix(static_cast<size_t>(written));
  }
  _exit(kOk);
}

// A file that is opened where a standard stream is closed would get that stream's number, and then what is written to
// the stream. Opened the wrong way round, so that using it still fails.
void FillStandardStreams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) < 0 && errno == EBADF)
      (void)::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

void WaitBriefly(char** argv, char** environment) {
  static char kSpins[] = "GOMP_SPINCOUNT=1000";  // some 50 microseconds: about what waking a sleeping thread takes
  std::vector<char*> variables;
  for (char** variable = environment; *variable != nullptr; ++variable) {
    if (std::strncmp(*variable, "GOMP_SPINCOUNT=", 15) == 0 || std::strncmp(*variable, "OMP_WAIT_POLICY=", 16) == 0)
      return;
    variables.push_back(*variable);
  }
  variables.push_back(kSpins);
  variables.push_back(nullptr);
  ::execve("/proc/self/exe", argv, variables.data());
  // Where that does not work the program goes on as it is.
}

void Start(int argc, char** argv, char** environment) {
  FillStandardStreams();
  AnswerEarly(argc, argv);
  if (argc > 0 && environment != nullptr) WaitBriefly(argv, environment);
}

[[gnu::section(".preinit_array"), gnu::used]] void (*const start_early)(int, char**, char**) = Start;

}  // namespace
}  // namespace genview
#endif
