// Whole training steps of a method beside those of another library, for tests.
//
//   MocoV2 method(config, TinyResnet(), Seed(0));
//   Training training("ssl/moco_v2", method);
//   training.Run(/*lr=*/0.06, /*predictor_lr=*/0.06);
//   training.ExpectEnd(1e-5);
#pragma once

#include <c10/core/GradMode.h>

#include <map>
#include <string>
#include <vector>

#include "genview/ssl/method.h"
#include "tests/golden/compare.h"

namespace genview {

// Takes the golden's weights at the start and the plain SGD of its maker through all its steps. `shared`: a golden that
// has the encoder's start and the pictures of several.
class Training {
 public:
  Training(const std::string& name, Method& method, const std::string& shared = "")
      : golden_(Golden(name)), method_(method) {
    if (!shared.empty()) {
      const WeightMap common = Golden(shared);
      for (const auto& [key, tensor] : common.tensors())
        golden_.Add(key, tensor.is_floating_point() ? tensor.to(at::kFloat) : tensor.clone());
    }
    const WeightMap start = golden_.WithPrefixRemoved("start.");
    WeightReader reader(start);
    LoadWeights(method.Weights(), reader);
    for (WeightRef& ref : method.Extra()) {
      if (ref.name == "queue" && start.tensors().count("queue")) ref.tensor->copy_(start.At("queue"));
      if (ref.name.starts_with("momentum_"))
        ref.tensor->copy_(start.At(ref.name.substr(std::string("momentum_").size())));
    }
    UseChannelsLast(method.Weights());
    ConvertWeights(method.Weights(), at::kDouble);  // as the maker does
    ConvertWeights(method.Extra(), at::kDouble);
    SetRequiresGrad(method.Weights(), true);
  }

  void Run(double lr, double predictor_lr) {
    const WeightList weights = method_.Weights();
    std::vector<Tensor> momentum(weights.size()), losses;
    const Tensor views = golden_.At("views").to(at::kDouble);  // [steps,2,N,3,S,S]
    for (int64_t step = 0; step < views.size(0); ++step) {
      const auto view = [&](int64_t v) { return views[step][v].contiguous(at::MemoryFormat::ChannelsLast); };
      const Tensor loss = method_.PairLoss(view(0), view(1)).mean();
      losses.push_back(loss.detach());
      loss.backward();
      const c10::AutoGradMode no_grad(false);
      for (size_t i = 0; i < weights.size(); ++i) {
        Tensor& weight = *weights[i].tensor;
        if (!weight.grad().defined()) continue;
        const Tensor gradient = weight.grad() + 1e-4 * weight;
        momentum[i] = momentum[i].defined() ? 0.9 * momentum[i] + gradient : gradient.clone();
        weight.sub_(momentum[i] * (weights[i].name.starts_with("predictor.") ? predictor_lr : lr));
      }
      ZeroGrad(weights);
      method_.AfterStep(step, views.size(0));
    }
    EXPECT_CLOSE(at::stack(losses), golden_.At("losses"), 1e-7);
  }

  void ExpectEnd(double tolerance) {
    std::map<std::string, Tensor> now;
    for (const WeightRef& ref : method_.Weights()) now[ref.name] = *ref.tensor;
    for (const WeightRef& ref : method_.Extra()) now[ref.name] = *ref.tensor;
    int64_t compared = 0;
    const WeightMap end = golden_.WithPrefixRemoved("end.");
    for (const auto& [name, expected] : end.tensors()) {
      ASSERT_TRUE(now.count(name)) << name;
      EXPECT_CLOSE(now[name], expected, tolerance) << name;
      ++compared;
    }
    EXPECT_GT(compared, 40);
  }

 private:
  WeightMap golden_;
  Method& method_;
};

inline BackboneConfig TinyResnet() {
  BackboneConfig config;
  config.width = 2.0 / 64;
  config.small_stem = true;
  return config;
}

}  // namespace genview
