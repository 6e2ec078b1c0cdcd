#include "cli/error_report.h"

#include <gtest/gtest.h>

#include <c10/util/Exception.h>

#include <filesystem>

#include "cli/command.h"
#include "cli/program.h"
#include "genview/base/text.h"
#include "genview/tensor/tensor.h"

namespace genview {
namespace {

template <class Throw>
Failure FailureOf(Throw&& what) {
  try {
    what();
  } catch (...) {
    return DescribeFailure(std::current_exception(), "genview test");
  }
  return {{}, 0};
}

std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> words;
  for (const auto& word : Split(text, ' ')) words.emplace_back(word);
  return words;
}

TEST(ErrorReport, OursAreGivenAsTheyAre) {
  const Failure failure = FailureOf([] { throw Error({"what", "where", "next"}); });
  EXPECT_EQ(ThreeLines(failure.text), "error: what\nwhere: where\ntry: next\n");
  EXPECT_EQ(failure.exit_code, 1);
  EXPECT_EQ(FailureOf([] { throw UsageError({"a", "b", "c"}); }).exit_code, 2);
}

TEST(ErrorReport, LibTorchLosesItsStackTrace) {
  const Failure failure = FailureOf([] { (void)at::ones({2, 3}).matmul(at::ones({2, 3})); });
  EXPECT_EQ(failure.exit_code, 1);
  EXPECT_NE(failure.text.what.find("LibTorch could not go on"), std::string::npos);
  EXPECT_EQ(failure.text.what.find("frame #"), std::string::npos);
  EXPECT_EQ(failure.text.what.find('\n'), std::string::npos);
  EXPECT_EQ(failure.text.where, "genview test");
}

TEST(ErrorReport, MemoryIsNamedAsSuch) {
  EXPECT_EQ(FailureOf([] { throw std::bad_alloc(); }).text.what, "not enough memory");
  EXPECT_EQ(FailureOf([] { (void)at::empty({int64_t{1} << 52}, at::kFloat); }).text.what, "not enough memory");
  for (const char* message : {"CUDA out of memory. Tried to allocate 2.00 GiB.",
                              "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
                              "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"}) {
    EXPECT_EQ(FailureOf([&] { TORCH_CHECK(false, message); }).text.what, "not enough memory") << message;
  }
}

TEST(ErrorReport, MemoryIsSavedByWhatTheCommandHas) {
  const auto advice = [](const char* name) {
    size_t taken = 0;
    const Command* command = FindCommand(Words(name), &taken);
    EXPECT_NE(command, nullptr) << name;
    try {
      throw std::bad_alloc();
    } catch (...) {
      return DescribeFailure(std::current_exception(), name, ToSaveMemory(*command)).text.next;
    }
  };
  EXPECT_EQ(advice("views"), "use a smaller --batch or a smaller picture size, or close other programs");
  for (const char* name : {"export", "inspect", "doctor"}) EXPECT_EQ(advice(name), "close other programs") << name;
  EXPECT_EQ(advice("eval linear"), "use a smaller --encode-batch, or close other programs");
  EXPECT_NE(advice("eval finetune").find("--encode-batch"), std::string::npos);
  EXPECT_NE(advice("pretrain").find("pretrain.accumulate"), std::string::npos);
  EXPECT_NE(advice("run").find("pretrain.accumulate"), std::string::npos);
  EXPECT_EQ(FailureOf([] { throw std::bad_alloc(); }).text.next, "close other programs");
}

TEST(ErrorReport, FileSystemErrorsNameThePath) {
  const Failure failure = FailureOf([] { (void)std::filesystem::file_size("/no/such/file"); });
  EXPECT_EQ(failure.text.where, "/no/such/file");
  EXPECT_EQ(failure.text.what, "No such file or directory");
}

TEST(ErrorReport, ControlCharactersDoNotReachTheTerminal) {
  EXPECT_EQ(ThreeLines({"a\x1b[31mb\nc", "w", "n"}), "error: a [31mb c\nwhere: w\ntry: n\n");
}

TEST(Program, WrongUseExitsWithTwo) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunProgram({"inspekt"}), 2);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "error: no command `inspekt`\nwhere: command line\ntry: did you mean `inspect`?\n");
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunProgram({}), 2);
  (void)testing::internal::GetCapturedStderr();
}

TEST(Program, MissingFileExitsWithOne) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunProgram({"inspect", "/no/such/file"}), 1);
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("where: /no/such/file\n"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
}

}  // namespace
}  // namespace genview
