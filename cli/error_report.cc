#include "cli/error_report.h"

#include <filesystem>
#include <new>

#include <c10/util/Exception.h>

#include "cli/command.h"
#include "genview/base/text.h"
#include "genview/tensor/device.h"

namespace genview {
namespace {

// Messages of libraries may run over many lines, the first of which says what happened.
std::string FirstLine(std::string_view text) {
  text = Trim(text);
  return std::string(Trim(text.substr(0, text.find('\n'))));
}

ErrorText OutOfMemory(const std::string& where, std::string_view to_save_memory) {
  return {"not enough memory", where,
          Format("{}{}close other programs", to_save_memory, to_save_memory.empty() ? "" : ", or ")};
}

ErrorText FromTorch(const c10::Error& error, const std::string& where, std::string_view to_save_memory) {
  if (IsOutOfMemory(error)) return OutOfMemory(where, to_save_memory);
  return {Format("LibTorch could not go on: {}", FirstLine(error.what_without_backtrace())), where,
          "run `genview doctor`; with --device cpu the GPU is left out"};
}

}  // namespace

Failure DescribeFailure(const std::exception_ptr& thrown, const std::string& where, std::string_view to_save_memory) {
  try {
    std::rethrow_exception(thrown);
  } catch (const UsageError& error) {
    return {error.text(), kWrongUse};
  } catch (const Error& error) {
    return {error.text(), kFailed};
  } catch (const c10::Error& error) {
    return {FromTorch(error, where, to_save_memory), kFailed};
  } catch (const std::bad_alloc&) {
    return {OutOfMemory(where, to_save_memory), kFailed};
  } catch (const std::filesystem::filesystem_error& error) {
    const std::string path = error.path1().empty() ? where : error.path1().string();
    return {{error.code().message(), path, "check that the path is right and that you may use it"}, kFailed};
  } catch (const std::logic_error& error) {
    return {{Format("the program contradicts itself: {}", FirstLine(error.what())), where,
             "report this, with the command and what `genview doctor` prints"},
            kFailed};
  } catch (const std::exception& error) {
    if (IsOutOfMemory(error)) return {OutOfMemory(where, to_save_memory), kFailed};
    return {{Format("a library could not go on: {}", FirstLine(error.what())), where, "run `genview doctor`"}, kFailed};
  } catch (...) {
    return {{"something unknown was thrown", where, "report this, with the command and what `genview doctor` prints"},
            kFailed};
  }
}

std::string ThreeLines(const ErrorText& text) {
  const auto line = [](std::string_view name, std::string value) {
    for (char& c : value) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
    }
    return Format("{}: {}\n", name, Trim(value));
  };
  return line("error", text.what) + line("where", text.where) + line("try", text.next);
}

}  // namespace genview
