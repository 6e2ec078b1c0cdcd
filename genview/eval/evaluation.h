// What the evaluations share: pictures, encoder, features, and the result file.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "genview/base/fields.h"
#include "genview/base/progress.h"
#include "genview/data/source.h"
#include "genview/models/encoder.h"
#include "genview/records/mean_interval.h"
#include "genview/records/records.h"
#include "genview/tensor/run_options.h"

namespace genview {

struct EvalInputs {
  std::string train, test;
  Path checkpoint;
  Path out;
  Path cache;
  double fraction = 1;
  RunOptions run;
};

// To be called first by the VisitFields of a config that has a member `inputs`.
template <class Visit>
void VisitInputs(EvalInputs& c, Visit&& visit) {
  visit("train", c.train, Required{}, "labelled pictures to learn from");
  visit("test", c.test, Required{}, "labelled pictures to be tested on");
  visit("checkpoint", c.checkpoint, Required{}, "checkpoint of this program, or an encoder folder");
  visit("out", c.out, Any{}, "result file (.json)");
  visit("cache", c.cache, Any{}, "folder in which features are kept for the next evaluation");
  visit("fraction", c.fraction, Range<double>{1e-6, 1}, "share of the training pictures of each class that is used");
  visit("run", c.run, Section{}, "device, precision, seed and the like");
}

struct FeatureRows {
  Tensor features;               // [N,D] fp32 on the CPU
  Tensor labels;                 // [N] int64, index into the training pictures' classes
  std::vector<int64_t> indices;  // [N] of the pictures in their source
};

int64_t SkippedOf(const EvalResult& result);  // training and test pictures that could not be read

// Throws Error where pictures of `train` and `test` cannot give a score: no classes, one alone, or some that only
// `test` has.
void CheckClasses(const std::string& train, const std::string& test);

// Opens the inputs at once and encodes on demand.
class Evaluation {
 public:
  // settings: what besides the inputs decides the result.
  Evaluation(std::string kind, const EvalInputs& inputs, const Json& settings);
  ~Evaluation();

  // The result of an earlier call with the same inputs and settings, if `out` holds it. Warns of the pictures that are
  // missing from it, and under `run.strict` throws Error. Where it is not there, throws Error for pictures that cannot
  // give a score (see CheckClasses): what is wrong there is not to be found after hours.
  bool Known(EvalResult& result, Progress& progress) const;

  FeatureRows Train(Progress& progress);  // `fraction` of each class, at least one picture
  FeatureRows Train(Progress& progress, const std::vector<int64_t>& indices);  // of these pictures; never from a cache
  FeatureRows Test(Progress& progress);
  int64_t classes() const;
  const Encoder& encoder() const;

  // For evaluations that train on the pictures themselves: those that Train and Test encode.
  std::shared_ptr<const ImageSource> train_source() const, test_source() const;
  std::vector<int64_t> TrainIndices() const;  // with labels, `fraction` of each class
  std::vector<int64_t> TestIndices() const;   // with labels
  std::vector<int64_t> TestPlaces() const;    // of each class of the test pictures among the training pictures'
  // Pictures that could not be read, of those looked at, which are "training" or "test" pictures: warns, counts them,
  // and keeps them for skipped.tsv. Train and Test do so of their own.
  void LeaveOut(const SkippedLog& skipped, const std::vector<std::string>& looked_at, const std::string& what,
                Progress& progress);
  const std::string& request() const { return request_; }
  // Where a training keeps its state until the result is there (see KeptTraining); empty without `out`. Known and
  // Finish remove it.
  Path StateFolder() const { return inputs_.out.empty() ? Path() : HiddenBeside(inputs_.out, "state"); }
  Seed seed() const { return Seed(inputs_.run.seed).With(kind_); }

  // Fills in what every result has, writes `out`, skipped.tsv beside it, and returns the result. hits: of the test
  // pictures.
  EvalResult Finish(int64_t top1_hits, int64_t top5_hits, int64_t images, Json settings) const;
  // The same of scores that are means over several trials.
  EvalResult Finish(const MeanInterval& top1, const MeanInterval& top5, int64_t images, Json settings) const;

 private:
  struct Opened;
  EvalResult Finish(EvalResult result) const;
  bool ReadResult(EvalResult& result, Progress& progress) const;
  void ForgetState() const;
  // Rows on their way, which stay beside `out` until the result is there: a kill is not to cost what is encoded.
  Path RowsFolder() const { return inputs_.out.empty() ? inputs_.cache : HiddenBeside(inputs_.out, "features"); }
  Path SkippedFile() const { return inputs_.out.parent_path() / "skipped.tsv"; }
  std::string kind_;
  EvalInputs inputs_;
  std::unique_ptr<Opened> opened_;
  std::string request_;  // fingerprint of all that the result depends on
  SkippedLog skipped_;
  std::vector<std::string> looked_at_;  // ids
  std::set<std::string> left_out_;      // source and id: two sources may have pictures of one id
};

}  // namespace genview
