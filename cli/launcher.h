// The place of this process in a job that torchrun, srun or mpirun started, told by their environment variables.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "genview/base/files.h"
#include "genview/dist/group.h"

namespace genview {

using Environment = std::function<std::optional<std::string>(const char* name)>;
Environment ProcessEnvironment();

struct LauncherPlace {
  int64_t rank = 0, size = 1;
  int64_t local_rank = -1;  // on its machine; -1: not told
  std::string job;          // the same in all processes of a job, another in other jobs as far as the launcher says
};

// torchrun (RANK, WORLD_SIZE), Open MPI (OMPI_COMM_WORLD_RANK, _SIZE), MPICH (PMI_RANK, PMI_SIZE), Slurm (SLURM_PROCID,
// SLURM_NTASKS, within a step); nothing of them: a world of one. Throws UsageError for numbers that make no sense.
LauncherPlace ReadLauncher(const Environment& environment);

// Where the processes of a job meet: beside `out`, in the working directory for commands without one.
GroupPlace MeetingPlace(const LauncherPlace& place, const Path& out);

// Several processes on a machine take a GPU each: the one that process `local_rank` is to see, of the list that is set
// (empty: not set) and of `gpus` that the machine has. Nothing where that is not to be changed.
std::optional<std::string> VisibleGpu(int64_t local_rank, const std::string& visible, int64_t gpus);
// How many of them a process may use that sees the list `visible`.
int64_t UsableGpus(const std::string& visible, int64_t gpus);
// As the driver tells without being started: those of the machine, or of the container where that has fewer. `root` is
// for tests.
int64_t CountGpus(const Path& root = "/");

}  // namespace genview
