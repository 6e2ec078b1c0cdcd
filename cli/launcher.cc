#include "cli/launcher.h"

#include <algorithm>
#include <cstdlib>

#include "cli/command.h"
#include "genview/base/hash.h"
#include "genview/base/text.h"

namespace genview {
namespace {

struct Names {
  const char *rank, *size, *local_rank;
};
constexpr Names kTorchrun{"RANK", "WORLD_SIZE", "LOCAL_RANK"};
constexpr Names kOpenMpi{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"};
constexpr Names kMpich{"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"};
constexpr Names kSlurm{"SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"};
constexpr Names kSlurmStep{"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"};

// What tells one job from another.
constexpr const char* kJobNames[] = {"TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT",
                                     "MASTER_ADDR",         "MASTER_PORT",
                                     "SLURM_JOB_ID",        "SLURM_STEP_ID",
                                     "SLURM_RESTART_COUNT", "OMPI_MCA_ess_base_jobid",
                                     "PMIX_NAMESPACE",      "PMI_JOBID"};

int64_t NumberOf(const Environment& environment, const char* name, int64_t low, int64_t high) {
  const std::string text = environment(name).value_or("");
  int64_t number = 0;
  if (ParseInt(text, number) && number >= low && number <= high) return number;
  throw UsageError({.what = Format("{} is \"{}\", wanted {} to {}", name, text, low, high),
                    .where = Format("environment variable {}", name),
                    .next = "start all processes with torchrun, srun or mpirun, or unset the variable"});
}

}  // namespace

Environment ProcessEnvironment() {
  return [](const char* name) -> std::optional<std::string> {
    const char* value = std::getenv(name);
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
}

LauncherPlace ReadLauncher(const Environment& environment) {
  const auto set = [&](const char* name) { return environment(name).has_value(); };
  const auto is_set = [&](const Names& names) { return set(names.rank) && set(names.size); };
  Names names{};
  if (is_set(kTorchrun)) names = kTorchrun;
  else if (is_set(kOpenMpi)) names = kOpenMpi;
  else if (is_set(kMpich)) names = kMpich;
  else if (is_set(kSlurmStep)) names = kSlurmStep;
  // A batch script has the job's variables, too, but is one process: it is in no step.
  else if (is_set(kSlurm) && (set("SLURM_STEP_ID") || !set("SLURM_JOB_ID"))) names = kSlurm;
  else return {};
  LauncherPlace place;
  place.size = NumberOf(environment, names.size, 1, 1 << 20);
  place.rank = NumberOf(environment, names.rank, 0, place.size - 1);
  if (set(names.local_rank)) place.local_rank = NumberOf(environment, names.local_rank, 0, place.size - 1);
  for (const char* name : kJobNames) place.job += environment(name).value_or("") + "\n";
  return place;
}

GroupPlace MeetingPlace(const LauncherPlace& place, const Path& out) {
  Path whole = out.empty() ? Path() : out.lexically_normal();
  if (!whole.empty() && !whole.has_filename()) whole = whole.parent_path();  // "views/"
  const std::string name = whole.empty() ? "" : whole.filename().string();
  GroupPlace result{.rank = place.rank, .size = place.size, .folder = whole.parent_path()};
  result.folder /= ".genview-group-" + Fingerprint(place.job + name).substr(0, 12);
  return result;
}

std::optional<std::string> VisibleGpu(int64_t local_rank, const std::string& visible, int64_t gpus) {
  if (local_rank < 0 || gpus < 2) return std::nullopt;
  if (visible.empty()) return std::to_string(local_rank % gpus);
  const auto given = Split(visible, ',');
  if (given.size() < 2) return std::nullopt;  // the launcher has given each process its own
  return given[static_cast<size_t>(local_rank) % given.size()];
}

int64_t UsableGpus(const std::string& visible, int64_t gpus) {
  return visible.empty() ? gpus : std::min<int64_t>(gpus, std::ssize(Split(visible, ',')));
}

int64_t CountGpus(const Path& root) {
  const auto count = [&](const char* folder, auto&& is_one) {
    std::error_code code;
    int64_t found = 0;
    for (std::filesystem::directory_iterator it(root / folder, code), end; !code && it != end; it.increment(code))
      found += is_one(it->path().filename().string()) ? 1 : 0;
    return found;
  };
  const int64_t driven = count("proc/driver/nvidia/gpus", [](const std::string&) { return true; });
  // A container sees all that the driver has, but has the files of its own alone. Without any they are still to be
  // made.
  const int64_t given = count("dev", [](const std::string& name) {
    int64_t number = 0;
    return name.starts_with("nvidia") && ParseInt(name.substr(6), number);  // not nvidiactl
  });
  return given > 0 ? std::min(driven, given) : driven;
}

}  // namespace genview
