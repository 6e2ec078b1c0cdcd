#include "genview/views/plan.h"

#include <algorithm>
#include <chrono>

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include "genview/base/text.h"
#include "genview/data/ordered_batches.h"
#include "genview/data/source.h"
#include "genview/diffusion/picture_tensors.h"
#include "genview/diffusion/pipeline.h"
#include "genview/records/records.h"
#include "genview/tensor/energy.h"
#include "genview/views/batch_size.h"
#include "genview/views/noise_levels.h"
#include "genview/views/view_noise.h"
#include "genview/views/view_picture.h"

namespace genview {
namespace {

using Clock = std::chrono::steady_clock;
double SecondsSince(Clock::time_point time) { return std::chrono::duration<double>(Clock::now() - time).count(); }

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

class Probe {
 public:
  Probe(const ViewsConfig& config, Progress& progress);
  ViewsPlan Run(double seconds);

 private:
  std::vector<Tensor> ReadPixels(int64_t count);
  double Once(int64_t batch, int64_t steps);
  PlannedBatch Measure(int64_t batch, double seconds);
  PlannedBatch Reckoned(const PlannedBatch& measured, int64_t batch) const;
  std::vector<int64_t> Candidates() const;

  ViewsConfig config_;
  Progress& progress_;
  std::shared_ptr<const ImageSource> source_;
  at::Device device_;
  at::ScalarType compute_;
  std::shared_ptr<const UnclipPipeline> pipeline_;
  std::vector<int64_t> shape_;
  std::vector<Tensor> pixels_;  // of the first pictures that can be read
  double read_seconds_ = 0;     // per picture, on all threads
  int64_t samples_ = 0;
  double sample_bytes_ = 0;
  bool whole_samples_ = false;  // the samples are views of all steps
  double short_seconds_ = 0;    // of the short probes before the whole ones, per view
  int64_t chosen_ = 0;
  ViewsPlan plan_;
};

Probe::Probe(const ViewsConfig& config, Progress& progress)
    : config_(config),
      progress_(progress),
      device_(ChooseDevice(config.run.device)),
      compute_(ComputeOf(config, device_)) {
  const NoiseLevels levels = NoiseLevels::Open(config_);
  source_ = OpenSource(config_.images);
  const auto start = Clock::now();
  pipeline_ = UnclipPipeline::Open(config_.generator, device_, compute_, config_.keep);
  plan_.open_seconds = SecondsSince(start);
  CheckLevels(levels, *pipeline_);
  plan_.pictures = source_->size();
  plan_.views = plan_.pictures * config_.per_image;
  shape_ = ViewNoiseSource(config_.noise, plan_.views, pipeline_->latent_shape(), pipeline_->embedding_width())
               .latent_shape();
  plan_.device = device_.str();
  plan_.precision = PrecisionName(compute_);
  plan_.scheduler = config_.scheduler.empty() ? pipeline_->scheduler_name()
                                              : SchedulerName(ParseSchedulerKind(config_.scheduler, "--scheduler"));
  plan_.width = config_.size > 0 ? config_.size : shape_[2] * pipeline_->picture_scale();
  plan_.height = config_.size > 0 ? config_.size : shape_[1] * pipeline_->picture_scale();
  if (std::filesystem::exists(config_.out / "manifest.jsonl"))
    plan_.there = static_cast<int64_t>(ReadViewTable(config_.out / "manifest.jsonl").size());
  chosen_ = config_.run.batch > 0 ? config_.run.batch : AutoViewBatch(device_, shape_);
}

// As the job reads: on all threads, while others compute.
std::vector<Tensor> Probe::ReadPixels(int64_t count) {
  std::vector<Tensor> pixels(static_cast<size_t>(count));
  const auto start = Clock::now();
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Outcome<Image> image = source_->Read(i);
      if (image) pixels[static_cast<size_t>(i)] = PixelsForEncoder(pipeline_->preprocess(), *image);
    }
  });
  read_seconds_ = SecondsSince(start) / static_cast<double>(count);
  std::erase_if(pixels, [](const Tensor& one) { return !one.defined(); });
  return pixels;
}

// Makes a batch of views and throws it away; how long that takes, written pictures included.
double Probe::Once(int64_t batch, int64_t steps) {
  progress_.ThrowIfStopped();
  const auto start = Clock::now();
  std::vector<Tensor> chosen;
  for (int64_t i = 0; i < batch; ++i) chosen.push_back(pixels_[static_cast<size_t>(i) % pixels_.size()]);
  const Seed seed = Seed(config_.run.seed).With("plan").With(static_cast<uint64_t>(batch));
  std::vector<int64_t> latents = shape_;
  latents.insert(latents.begin(), batch);
  UnclipRequest request{.embeddings = pipeline_->EncodeImages(at::stack(chosen)),
                        .levels = std::vector<int64_t>(static_cast<size_t>(batch), 0),
                        .guidance = std::vector<double>(static_cast<size_t>(batch), config_.guidance),
                        .embedding_noise = NormalTensor(seed.With("embedding"), {batch, pipeline_->embedding_width()}),
                        .latents = NormalTensor(seed.With("latents"), latents),
                        .latents_as_given = false,
                        .steps = steps,
                        .scheduler = config_.scheduler,
                        .prompts = std::vector<std::string>(pipeline_->has_text() ? static_cast<size_t>(batch) : 0),
                        .negative_prompt = "",
                        .tiles = DecodesInTiles(config_.decode, *pipeline_, shape_, batch)};
  const UnclipViews views = pipeline_->Generate(request);
  std::vector<double> bytes(static_cast<size_t>(batch));
  at::parallel_for(0, batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      bytes[static_cast<size_t>(i)] =
          static_cast<double>(EncodeView(config_, ViewImage(views.pictures[i], config_.size)).size());
  });
  const double seconds = SecondsSince(start);
  const bool whole = steps == config_.steps;
  if (whole && !whole_samples_) {  // views of all steps count more than those of fewer, which are forgotten
    whole_samples_ = true;
    samples_ = 0;
    sample_bytes_ = 0;
  }
  if (whole || samples_ == 0) {
    samples_ += batch;
    for (const double one : bytes) sample_bytes_ += one;
  }
  return seconds;
}

// Several whole batches where they fit into the time, otherwise reckoned from batches of few steps.
PlannedBatch Probe::Measure(int64_t batch, double seconds) {
  const auto start = Clock::now();
  PlannedBatch result{.batch = batch, .chosen = batch == chosen_};
  // Not one step: some schedulers make a call less of it than of all others.
  const int64_t fewer = std::min<int64_t>(config_.steps, 2);
  std::vector<double> times;
  const double first = Once(batch, fewer);
  const bool slow = first > seconds / 4;  // then touching memory for the first time does not show
  const int64_t few = std::min<int64_t>(config_.steps, slow ? 3 : 5);
  const double of_fewer = slow ? first : Once(batch, fewer);
  const double of_few = few > fewer ? Once(batch, few) : of_fewer;
  short_seconds_ = (first + of_fewer + of_few) / static_cast<double>(batch);
  const double per_step = few > fewer ? std::max(0.0, of_few - of_fewer) / static_cast<double>(few - fewer) : 0;
  const double reckoned = of_few + static_cast<double>(config_.steps - few) * per_step;
  while (times.size() < 5 && SecondsSince(start) + reckoned < seconds) {
    times.push_back(Once(batch, config_.steps));
    progress_.Update(static_cast<int64_t>(times.size()));
  }
  result.whole = !times.empty();
  if (times.empty()) times = {reckoned};
  const double batches = static_cast<double>((plan_.views + batch - 1) / batch);
  // Reading goes on beside the computing of a GPU; on a processor both want the same cores.
  const double reading = device_.is_cpu() ? read_seconds_ * static_cast<double>(std::min(batch, plan_.views)) : 0;
  const auto whole_job = [&](double one) { return plan_.open_seconds + batches * (one + reading); };
  result.seconds = whole_job(Median(times));
  result.least = whole_job(*std::min_element(times.begin(), times.end()));
  result.most = whole_job(*std::max_element(times.begin(), times.end()));
  result.views_per_second = static_cast<double>(std::min(batch, plan_.views)) / (Median(times) + reading);
  result.peak_bytes = PeakMemoryBytes(device_);
  return result;
}

// As fast for each view as a batch that was measured.
PlannedBatch Probe::Reckoned(const PlannedBatch& measured, int64_t batch) const {
  PlannedBatch result = measured;
  result.batch = batch;
  result.chosen = true;
  result.whole = false;
  return result;
}

// Powers of two around what the job would take: the process's peak grows with them.
std::vector<int64_t> Probe::Candidates() const {
  std::vector<int64_t> batches{chosen_};
  for (int64_t batch = 1; batch <= std::min<int64_t>(chosen_ * 2, plan_.views); batch *= 2) {
    if (batch != chosen_) batches.push_back(batch);
  }
  std::sort(batches.begin(), batches.end());
  constexpr size_t kMost = 5;
  while (batches.size() > kMost) batches.erase(batches.begin() + (batches[0] == chosen_ ? 1 : 0));
  return batches;
}

ViewsPlan Probe::Run(double seconds) {
  const c10::InferenceMode guard;
  const auto start = Clock::now();
  EnergyCounter energy;
  progress_.Begin("views --plan", 0, "probes");
  const std::vector<int64_t> batches = Candidates();
  pixels_ = ReadPixels(std::min<int64_t>(plan_.pictures, std::max<int64_t>(batches.back(), 16)));
  if (pixels_.empty()) {
    throw Error({.what = "none of the first pictures can be read",
                 .where = config_.images,
                 .next = "look at them with another program, or give other pictures"});
  }
  for (size_t i = 0; i < batches.size(); ++i) {
    // What is to be run gets half of the time that is left, the others their part of it.
    const double left = seconds - SecondsSince(start);
    const bool chosen = batches[i] == chosen_;
    if (i > 0 && short_seconds_ * static_cast<double>(batches[i]) > left) {
      if (chosen) plan_.batches.push_back(Reckoned(plan_.batches.back(), batches[i]));
      continue;
    }
    plan_.batches.push_back(
        Measure(batches[i], chosen ? left * 0.6 : left / static_cast<double>(batches.size() - i + 1)));
  }
  plan_.bytes_per_view = samples_ > 0 ? sample_bytes_ / static_cast<double>(samples_) : 0;
  plan_.probed_seconds = SecondsSince(start);
  // The counters know nothing of GPUs.
  const std::optional<double> joules = device_.is_cpu() ? energy.Joules() : std::nullopt;
  if (joules) plan_.watts = *joules / plan_.probed_seconds;
  progress_.End();
  return plan_;
}

}  // namespace

ViewsPlan PlanViews(const ViewsConfig& config, const ViewsPlanOptions& options, Progress& progress) {
  ViewsPlan plan = Probe(config, progress).Run(options.seconds);
  plan.watts_given = options.watts > 0;
  if (plan.watts_given) plan.watts = options.watts;
  return plan;
}

std::string PlanToText(const ViewsConfig& config, const ViewsPlan& p) {
  std::string text =
      Format("{} views of {} pictures, {} x {} px {}, {} steps, guidance {}, {}; on {} in {}, probed for {}\n", p.views,
             p.pictures, p.width, p.height, EnumName(config.format), config.steps, config.guidance, p.scheduler,
             p.device, p.precision, HumanSeconds(p.probed_seconds));
  if (p.there > 0) text += Format("{} of them are there already; the times are for all\n", p.there);
  text += Format("{:<8} {:<10} {:<34} {}\n", "batch", "views/s", "time (fastest to slowest probe)", "memory");
  for (const PlannedBatch& b : p.batches) {
    const std::string time =
        b.whole ? Format("{} ({} to {})", HumanSeconds(b.seconds), HumanSeconds(b.least), HumanSeconds(b.most))
                : Format("{} (reckoned from less)", HumanSeconds(b.seconds));
    text += Format("{:<8} {:<10.3g} {:<34} {}\n", Format("{}{}", b.batch, b.chosen ? " *" : ""), b.views_per_second,
                   time, HumanBytes(b.peak_bytes));
  }
  text += Format("* what this command takes; disk: {} ({} a view)\n", HumanBytes(static_cast<uint64_t>(p.disk_bytes())),
                 HumanBytes(static_cast<uint64_t>(p.bytes_per_view)));
  const auto chosen = std::find_if(p.batches.begin(), p.batches.end(), [](const PlannedBatch& b) { return b.chosen; });
  text += p.watts > 0 && chosen != p.batches.end()
              ? Format("  energy: {} at {:.0f} W{}\n", HumanEnergy(p.watts * chosen->seconds), p.watts,
                       p.watts_given ? "" : " (processors and memory, measured while probing)")
              : "  energy: not known; --watts W says what the machine draws\n";
  return text;
}

}  // namespace genview
