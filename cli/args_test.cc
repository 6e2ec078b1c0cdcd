#include "cli/args.h"

#include <gtest/gtest.h>

#include "cli/help.h"
#include "genview/tensor/run_options.h"

namespace genview {
namespace {

struct Inner {
  double gamma = 1;
};
template <class Visit>
void VisitFields(Inner& c, Visit&& visit) {
  visit("gamma", c.gamma, Range<double>{0, 10}, "sharpness");
}
struct Sample {
  Path images;
  std::vector<std::string> more;
  int64_t per_image = 1;
  bool tokens = false, resume = true;
  std::vector<int64_t> levels = {0, 100};
  std::vector<std::string> set;
  Inner quality;
  RunOptions run;
};
template <class Visit>
void VisitFields(Sample& c, Visit&& visit) {
  visit("images", c.images, Required{}, "pictures");
  visit("more", c.more, Any{}, "more pictures");
  visit("per_image", c.per_image, Range<int64_t>{1, 16}, "views of each picture");
  visit("tokens", c.tokens, Any{}, "also tokens");
  visit("resume", c.resume, Any{}, "go on");
  visit("levels", c.levels, Range<int64_t>{0, 999}, "noise levels");
  visit("set", c.set, Any{}, "key=value");
  visit("quality", c.quality, Section{}, "weights");
  visit("run", c.run, Section{}, "common");
}
std::vector<FieldInfo> SampleFields() { return DescribeFields<Sample>(); }
int RunSample(const Args&, Progress&) { return kOk; }

const Command kSample = {"sample",           "IMAGES [MORE]...", "a command of the tests",
                         {"images", "more"}, SampleFields,       RunSample};

Sample Parse(const std::vector<std::string>& words) { return ParseFields<Sample>(ParseArgs(kSample, words)); }

ErrorText Complaint(const std::vector<std::string>& words) {
  try {
    (void)Parse(words);
  } catch (const UsageError& error) {
    return error.text();
  }
  return {};
}

TEST(Args, FlagsFillTheConfig) {
  const Sample config = Parse({"pictures", "--per-image", "3", "--tokens", "--levels=1,2,3", "--quality-gamma", ".5",
                               "--threads", "4", "--no-resume", "--seed", "18446744073709551615"});
  EXPECT_EQ(config.images, "pictures");
  EXPECT_EQ(config.per_image, 3);
  EXPECT_TRUE(config.tokens);
  EXPECT_FALSE(config.resume);
  EXPECT_EQ(config.levels, (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(config.quality.gamma, 0.5);
  EXPECT_EQ(config.run.threads, 4);
  EXPECT_EQ(config.run.seed, UINT64_MAX);
}

TEST(Args, AutoIsZeroAndTheLastFlagWins) {
  EXPECT_EQ(Parse({"x", "--batch", "7", "--batch", "auto"}).run.batch, 0);
  EXPECT_EQ(Parse({"x", "--device", "cpu"}).run.device, DeviceChoice::kCpu);
}

TEST(Args, PositionalsMayComeAnywhereAndRepeat) {
  const Sample config = Parse({"one", "--tokens", "two,with comma", "three"});
  EXPECT_EQ(config.images, "one");
  EXPECT_EQ(config.more, (std::vector<std::string>{"two,with comma", "three"}));
}

TEST(Args, AssignmentsKeepTheirCommas) {
  EXPECT_EQ(Parse({"x", "--set", "views.levels=[1,2]", "--set", "a=b"}).set,
            (std::vector<std::string>{"views.levels=[1,2]", "a=b"}));
}

TEST(Args, UnknownFlagNamesTheNearest) {
  const ErrorText text = Complaint({"x", "--per-imge", "3"});
  EXPECT_EQ(text.what, "`genview sample` has no option `--per-imge`");
  EXPECT_EQ(text.next, "did you mean `--per-image`?");
  EXPECT_EQ(Complaint({"x", "--thread=3"}).next, "did you mean `--threads`?");
  EXPECT_EQ(Complaint({"x", "--qqqqqqqqqqqqqqqqqqqqq"}).next, "see `genview sample --help`");
}

TEST(Args, ValuesAreChecked) {
  EXPECT_EQ(Complaint({"x", "--per-image", "0"}).what, "`per_image` is 0, allowed are 1 to 16");
  EXPECT_EQ(Complaint({"x", "--per-image", "0"}).where, "command line, --per-image");
  EXPECT_EQ(Complaint({"x", "--threads", "-1"}).where, "command line, --threads");
  EXPECT_NE(Complaint({"x", "--per-image", "many"}).what.find("not a whole number"), std::string::npos);
  EXPECT_EQ(Complaint({"x", "--device", "gpu"}).next, "did you mean `cuda`?");
  EXPECT_EQ(Complaint({"x", "--device", "cpus"}).next, "did you mean `cpu`?");
  EXPECT_EQ(Complaint({""}).where, "command line, <images>");
  EXPECT_EQ(Complaint({"x", "--per-image"}).what, "`--per-image` needs a value");
  EXPECT_EQ(Complaint({}).what, "<images> is missing (pictures)");
  EXPECT_FALSE(Parse({"x", "--tokens=false"}).tokens);
  EXPECT_EQ(Complaint({"x", "--tokens=maybe"}).what, "`--tokens` is not set to true or false");
  EXPECT_EQ(Complaint({"x", "--tokens=99999999999999999999"}).what, "`--tokens` is not set to true or false");
}

TEST(Args, LogLevelBelongsToTheProgram) {
  EXPECT_EQ(ParseArgs(kSample, {"x", "--log-level", "error"}).program.log_level, LogLevel::kError);
}

TEST(Args, SharedCommandsTakeANumberOfProcesses) {
  EXPECT_EQ(Complaint({"x", "--processes", "2"}).what, "`genview sample` has no option `--processes`");
  EXPECT_EQ(CommandHelp(kSample).find("--processes"), std::string::npos);
  Command shared = kSample;
  shared.shared = true;
  EXPECT_EQ(ParseArgs(shared, {"x"}).program.processes, 1);
  EXPECT_EQ(ParseArgs(shared, {"x", "--processes", "2"}).program.processes, 2);
  EXPECT_EQ(ParseArgs(shared, {"x", "--processes=auto"}).program.processes, 0);
  EXPECT_NE(CommandHelp(shared).find("--processes N|auto"), std::string::npos);
}

TEST(Args, EveryCommandTakesTheCommonOptions) {
  const std::vector<std::string> common = {"--device",    "cpu",       "--precision", "fp32",   "--batch",
                                           "auto",        "--threads", "2",           "--seed", "3",
                                           "--log-level", "error",     "--strict"};
  for (const Command& command : AllCommands()) {
    std::vector<std::string> words;
    for (const FieldInfo& field : FieldsOf(command)) {
      if (field.rule != "required") continue;
      if (!FlaglessOf(command).contains(field.name)) words.push_back("--" + FlagName(field.name));
      words.emplace_back("x");
    }
    words.insert(words.end(), common.begin(), common.end());
    EXPECT_NO_THROW((void)ParseArgs(command, words)) << command.name;
    const std::string help = CommandHelp(command);
    for (const std::string& word : common) {
      const bool taken = !word.starts_with("--") || help.find(word) != std::string::npos;
      EXPECT_TRUE(taken) << command.name << " " << word;
    }
  }
}

TEST(Args, OptionsWithoutEffectAreCheckedAndNamed) {
  size_t taken = 0;
  const Command& doctor = *FindCommand({"doctor"}, &taken);
  const Json own = {{"device", "cpu"}};
  EXPECT_EQ(ParseArgs(doctor, {"--device", "cpu", "--threads", "2"}).values, own);
  EXPECT_THROW((void)ParseArgs(doctor, {"--threads", "-1"}), UsageError);
  EXPECT_THROW((void)ParseArgs(doctor, {"--precision", "fp8"}), UsageError);
  EXPECT_NE(CommandHelp(doctor).find("of no effect here: --precision, --batch, --threads, --seed, --strict"),
            std::string::npos);
  EXPECT_EQ(CommandHelp(kSample).find("of no effect"), std::string::npos);
}

TEST(Help, ShowsDefaultsRangesAndCommonOptions) {
  const std::string help = CommandHelp(kSample);
  for (const char* part : {"--per-image N", "views of each picture [1 to 16; default 1]", "--levels N,...",
                           "default 0,100", "--quality-gamma X", "common options:", "--threads N|auto", "--log-level",
                           "IMAGES", "--device auto|cpu|cuda"}) {
    EXPECT_NE(help.find(part), std::string::npos) << part << "\n" << help;
  }
  EXPECT_EQ(help.find("--run-"), std::string::npos);
}

TEST(Help, IsGivenWhenAskedForAndOnlyThen) {
  EXPECT_TRUE(AnswerHelp({"--help"}));
  EXPECT_TRUE(AnswerHelp({"--version"}));
  EXPECT_TRUE(AnswerHelp({"doctor", "--help"}));
  EXPECT_TRUE(AnswerHelp({"help", "inspect"}));
  EXPECT_FALSE(AnswerHelp({"inspect", "--", "--help"}));
  EXPECT_FALSE(AnswerHelp({"nonsense", "--help"}));
  EXPECT_FALSE(AnswerHelp({}));
}

// The training's batch is --batch, as ever, and the frozen encoder's has a flag of its own.
TEST(Args, EvaluationsThatTrainHaveTwoBatches) {
  for (const char* name : {"linear", "finetune"}) {
    size_t taken = 0;
    const Command* command = FindCommand({"eval", name}, &taken);
    ASSERT_NE(command, nullptr);
    std::set<std::string> flags;
    for (const auto& field : FieldsOf(*command)) flags.insert(FlagName(field.name));
    EXPECT_TRUE(flags.contains("batch") && flags.contains("encode-batch")) << name;
    const auto failure = [&](const std::string& flag, const std::string& value) -> ErrorText {
      Progress silent;
      try {
        command->run(ParseArgs(*command, {"--checkpoint", "/no/such/file", "--train", "/no/such/folder", "--test",
                                          "/no/such/folder", "--device", "cpu", flag, value}),
                     silent);
      } catch (const Error& error) {
        return error.text();
      }
      return {};
    };
    EXPECT_EQ(failure("--encode-batch", "1048577").where, "command line, --encode-batch") << name;
    EXPECT_EQ(failure("--batch", "0").where, "command line, --batch") << name;
    for (const char* flag : {"--batch", "--encode-batch"}) {
      for (const char* value : {"auto", "8"}) EXPECT_EQ(failure(flag, value).where, "/no/such/folder") << name << flag;
    }
  }
}

TEST(Help, EveryCommandDescribesEveryField) {
  for (const Command& command : AllCommands()) {
    std::set<std::string> flags = {"log-level", "processes", "help"};
    for (const auto& field : FieldsOf(command)) {
      EXPECT_FALSE(field.help.empty()) << command.name << " " << field.name;
      EXPECT_TRUE(flags.insert(FlagName(field.name)).second)
          << command.name << " has two fields for --" << FlagName(field.name);
    }
  }
}

}  // namespace
}  // namespace genview
