#include "genview/diffusion/scheduler.h"

#include <gtest/gtest.h>

#include <cmath>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/diffusion/python_json.h"
#include "tests/source_dir.h"

namespace genview {
namespace {

const Path kGolden = SourceDir() / "tests/golden/diffusion";

Tensor Toy(const Tensor& x, double time) { return 0.5 * x - 0.3 + 0.2 * time / 1000; }

// The state after each call of the toy network, from x * initial_sigma.
std::vector<Tensor> Path20(Scheduler& scheduler, Tensor x) {
  std::vector<Tensor> path;
  x = x * scheduler.initial_sigma();
  for (const double time : scheduler.times()) {
    x = scheduler.Step(Toy(scheduler.ScaleInput(x), time), x);
    path.push_back(x);
  }
  return path;
}

TEST(Scheduler, TimesAndPathsEqualDiffusers) {
  const Json cases = ReadJson(kGolden / "schedulers.json");
  ASSERT_GT(cases.size(), 100u);
  for (const Json& one : cases) {
    const std::string kind = one.at("kind"),
                      name = Format("{} {} {}", kind, one.at("steps").get<int>(), one.at("config").dump());
    const auto scheduler = MakeScheduler(ParseSchedulerConfig(one.at("config"), kind, "golden"), one.at("steps"));
    ASSERT_EQ(scheduler->times().size(), one.at("times").size()) << name;
    for (size_t i = 0; i < scheduler->times().size(); ++i)
      EXPECT_NEAR(scheduler->times()[i], one.at("times")[i].get<double>(), 1e-3) << name;
    EXPECT_NEAR(scheduler->initial_sigma(), one.at("initial_sigma").get<double>(), 1e-5) << name;
    const auto path = Path20(*scheduler, at::tensor({1.0, -0.5, 0.25}, at::kDouble).unsqueeze(0));
    for (size_t i = 0; i < path.size(); ++i) {
      for (int64_t j = 0; j < 3; ++j) {
        const double wanted = one.at("path")[i][static_cast<size_t>(j)];
        ASSERT_NEAR(path[i][0][j].item<double>(), wanted, 2e-5 * std::max(1.0, std::abs(wanted)))
            << name << " call " << i;
      }
    }
  }
}

SchedulerConfig Unclip(const std::string& kind, const char* more = "{}") {
  Json json = Json::parse(
      R"({"_class_name":"PNDMScheduler","beta_start":0.00085,"beta_end":0.012,"beta_schedule":"scaled_linear",
      "prediction_type":"v_prediction","steps_offset":1,"set_alpha_to_one":false,"clip_sample":false,"skip_prk_steps":true})");
  json.update(Json::parse(more));
  return ParseSchedulerConfig(json, kind, "test");
}

TEST(Scheduler, PublishedTimesOf20Steps) {
  const std::vector<double> pndm{951, 901, 901, 851, 801, 751, 701, 651, 601, 551, 501,
                                 451, 401, 351, 301, 251, 201, 151, 101, 51,  1};
  EXPECT_EQ(MakeScheduler(Unclip(""), 20)->times(), pndm);
  const std::vector<double> dpm{999, 949, 899, 849, 799, 749, 699, 649, 599, 549,
                                500, 450, 400, 350, 300, 250, 200, 150, 100, 50};
  EXPECT_EQ(MakeScheduler(Unclip("DPMSolverMultistep"), 20)->times(), dpm);
  const std::vector<double> ddim{999, 946, 894, 841, 789, 736, 684, 631, 578, 526,
                                 473, 421, 368, 315, 263, 210, 158, 105, 53,  0};
  EXPECT_EQ(MakeScheduler(Unclip("DDIMScheduler", R"({"timestep_spacing":"linspace"})"), 20)->times(), ddim);
}

// round(arange(1000, 0, -1000 / steps)) - 1 of numpy, where the exact numbers are halves.
TEST(Scheduler, TrailingHalvesAreRoundedAsByNumpy) {
  for (const char* kind : {"DDIM", "DPMSolverMultistep", "EulerDiscrete"}) {
    const auto times = [&](int64_t steps) {
      return MakeScheduler(Unclip(kind, R"({"timestep_spacing":"trailing"})"), steps)->times();
    };
    const auto of48 = times(48), of96 = times(96), of112 = times(112);
    ASSERT_EQ(of48.size(), 48u);
    EXPECT_EQ(std::vector<double>(of48.begin(), of48.begin() + 5), (std::vector<double>{999, 978, 957, 936, 916}));
    EXPECT_EQ((std::vector<double>{of48[15], of48[27], of48[39], of48[47]}), (std::vector<double>{686, 436, 186, 20}));
    EXPECT_EQ((std::vector<double>{of96[18], of96[42], of96[90]}), (std::vector<double>{812, 562, 62}));
    EXPECT_EQ((std::vector<double>{of112[7], of112[35], of112[91]}), (std::vector<double>{936, 686, 186}));
    EXPECT_EQ(times(61).size(), 61u);
  }
}

TEST(Scheduler, PublishedEndsOf20Steps) {
  const auto end = [](const SchedulerConfig& config) {
    const Tensor x = Path20(*MakeScheduler(config, 20), at::tensor({1.0, -0.5, 0.25}, at::kDouble)).back();
    return std::vector<double>{x[0].item<double>(), x[1].item<double>(), x[2].item<double>()};
  };
  const auto expect = [&](const SchedulerConfig& config, std::vector<double> wanted) {
    const auto got = end(config);
    for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(got[i], wanted[i], 2e-5);
  };
  expect(Unclip("DDIM"), {.681349, .014217, .347783});
  expect(Unclip("PNDM"), {.690295, .011521, .350908});
  expect(Unclip("DPMSolverMultistep"), {.707263, .017294, .362278});
  expect(Unclip("DPMSolverMultistep", R"({"timestep_spacing":"leading"})"), {.712824, .012768, .362796});
  expect(Unclip("DPMSolverMultistep", R"({"final_sigmas_type":"sigma_min"})"), {.775326, -.002165, .386581});
}

TEST(Scheduler, FilesOfDiffusersWithInfinityAreRead) {
  const SchedulerConfig config =
      ParseSchedulerConfig(ReadPythonJson(kGolden / "dpm_scheduler/scheduler_config.json"), "", "test");
  EXPECT_EQ(config.kind, SchedulerKind::kDpmSolverMultistep);
  EXPECT_EQ(config.spacing, "linspace");
  EXPECT_DOUBLE_EQ(config.noise.beta_end, 0.012);
}

TEST(Scheduler, WrittenConfigReadsBack) {
  for (const char* kind : {"PNDM", "DDIM", "DPMSolverMultistep", "EulerDiscrete"}) {
    const Json json = SchedulerConfigToJson(Unclip(kind));
    EXPECT_EQ(SchedulerConfigToJson(ParseSchedulerConfig(json, "", "test")), json);
  }
  const Json json = SchedulerConfigToJson(
      Unclip("DPMSolverMultistep",
             R"({"solver_order":3,"algorithm_type":"dpmsolver","final_sigmas_type":"sigma_min","thresholding":true,
      "sample_max_value":2,"use_karras_sigmas":true,"sigma_min":0.1,"sigma_max":9,"lambda_min_clipped":-5.1})"));
  EXPECT_EQ(SchedulerConfigToJson(ParseSchedulerConfig(json, "", "test")), json);
  EXPECT_EQ(json.at("lambda_min_clipped"), -5.1);
}

// Whatever a class of diffusers knows and this program does not is refused by its name, never passed over.
TEST(Scheduler, SettingsOfDiffusersThatAreNotHereAreRefusedByName) {
  const std::pair<const char*, Json> cases[] = {
      {"DDIM", {{"prediction_type", "flow_prediction"}}},
      {"DDIM", {{"beta_schedule", "sigmoid"}}},
      {"DDIM", {{"timestep_spacing", "middle"}}},
      {"DDIM", {{"dynamic_thresholding_ratio", 2}}},
      {"DDIM", {{"sample_max_value", 0.5}}},
      {"PNDM", {{"prediction_type", "sample"}}},
      {"PNDM", {{"trained_betas", {0.1, 0.2}}}},
      {"PNDM", {{"trained_betas", {0.1, 1.2}}, {"num_train_timesteps", 2}}},
      {"DDIM", {{"beta_start", 7e100}}},
      {"EulerDiscrete", {{"beta_end", -0.1}}},
      {"DPMSolverMultistep", {{"solver_order", 4}}},
      {"DPMSolverMultistep", {{"algorithm_type", "sde-dpmsolver++"}}},
      {"DPMSolverMultistep", {{"algorithm_type", "sde-dpmsolver"}}},
      {"DPMSolverMultistep", {{"solver_type", "euler"}}},
      {"DPMSolverMultistep", {{"final_sigmas_type", "last"}}},
      {"DPMSolverMultistep", {{"variance_type", "learned_range"}}},
      {"DPMSolverMultistep", {{"use_lu_lambdas", true}}},
      {"DPMSolverMultistep", {{"use_flow_sigmas", true}}},
      {"DPMSolverMultistep", {{"use_beta_sigmas", true}}},
      {"EulerDiscrete", {{"use_exponential_sigmas", true}}},
      {"EulerDiscrete", {{"interpolation_type", "log_linear"}}},
      {"EulerDiscrete", {{"timestep_type", "continuous"}}},
      {"EulerDiscrete", {{"sigma_min", -1}}},
  };
  for (const auto& [kind, json] : cases) {
    try {
      ParseSchedulerConfig(json, kind, "test");
      ADD_FAILURE() << kind << " " << json;
    } catch (const Error& error) {
      EXPECT_NE(error.text().what.find("`" + json.begin().key() + "`"), std::string::npos) << error.text().what;
    }
  }
  // That one needs another setting beside it.
  EXPECT_THROW(Unclip("DPMSolverMultistep", R"({"algorithm_type":"dpmsolver"})"), Error);
}

TEST(Scheduler, UnknownNamesAndImpossibleStepsAreRefused) {
  EXPECT_THROW(Unclip("DDPM"), UsageError);
  EXPECT_THROW(MakeScheduler(Unclip(""), 0), UsageError);
  EXPECT_THROW(MakeScheduler(Unclip(""), 1000), UsageError);
  EXPECT_THROW(MakeScheduler(Unclip("", R"({"skip_prk_steps":false})"), 3), UsageError);
}

TEST(Scheduler, RowsDoNotInfluenceEachOther) {
  for (const char* kind : {"PNDM", "DDIM", "DPMSolverMultistep", "EulerDiscrete"}) {
    const Tensor x = NormalTensor(Seed(1), {3, 4});
    const Tensor all = Path20(*MakeScheduler(Unclip(kind), 7), x).back();
    for (int64_t i = 0; i < 3; ++i) {
      EXPECT_TRUE(at::equal(Path20(*MakeScheduler(Unclip(kind), 7), x.slice(0, i, i + 1)).back()[0], all[i])) << kind;
    }
  }
}

TEST(Scheduler, EveryStepCountWorks) {
  for (const char* spacing : {"leading", "linspace", "trailing"}) {
    for (const char* kind : {"PNDM", "DDIM", "DPMSolverMultistep", "EulerDiscrete"}) {
      for (int64_t steps = 1; steps < 1000; steps += steps < 60 ? 1 : 97) {
        const auto scheduler =
            MakeScheduler(Unclip(kind, Format(R"({{"timestep_spacing":"{}"}})", spacing).c_str()), steps);
        const Tensor x = Path20(*scheduler, at::ones({1}, at::kDouble)).back();
        EXPECT_TRUE(std::isfinite(x[0].item<double>())) << kind << " " << spacing << " " << steps;
      }
    }
  }
}

}  // namespace
}  // namespace genview
