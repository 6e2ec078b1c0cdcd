// A Progress that speaks to another one; who derives from it changes what it has to.
#pragma once

#include "genview/base/progress.h"

namespace genview {

class ForwardingProgress : public Progress {
 public:
  explicit ForwardingProgress(Progress& shown) : shown_(shown) {}
  void Begin(std::string_view stage, int64_t total, std::string_view unit) override {
    shown_.Begin(stage, total, unit);
  }
  void Update(int64_t done, double wait_share, std::string_view note) override {
    shown_.Update(done, wait_share, note);
  }
  void End(std::string_view summary) override { shown_.End(summary); }
  void Warn(std::string_view message) override { shown_.Warn(message); }
  bool Stopped() const override { return shown_.Stopped(); }

 private:
  Progress& shown_;
};

}  // namespace genview
