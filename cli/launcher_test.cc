#include "cli/launcher.h"

#include <gtest/gtest.h>

#include <map>

#include "genview/base/files.h"
#include "tests/temporary_folder.h"

namespace genview {
namespace {

using Variables = std::map<std::string, std::string>;

LauncherPlace Read(const Variables& variables) {
  return ReadLauncher([&](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional<std::string>(found->second);
  });
}

TEST(Launcher, NothingSetIsAWorldOfOne) {
  EXPECT_EQ(Read({}).size, 1);
  EXPECT_EQ(Read({{"RANK", "3"}}).size, 1);                                                        // half of it
  EXPECT_EQ(Read({{"SLURM_JOB_ID", "7"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}}).size, 1);  // a batch script
}

TEST(Launcher, EachLauncherIsUnderstood) {
  for (const Variables& variables :
       {Variables{{"RANK", "2"}, {"WORLD_SIZE", "4"}, {"LOCAL_RANK", "1"}},
        Variables{{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}},
        Variables{{"PMI_RANK", "2"}, {"PMI_SIZE", "4"}, {"MPI_LOCALRANKID", "1"}},
        Variables{{"SLURM_PROCID", "2"}, {"SLURM_NTASKS", "4"}, {"SLURM_LOCALID", "1"}},
        Variables{{"SLURM_JOB_ID", "7"},
                  {"SLURM_STEP_ID", "0"},
                  {"SLURM_PROCID", "2"},
                  {"SLURM_NTASKS", "9"},
                  {"SLURM_STEP_NUM_TASKS", "4"},
                  {"SLURM_LOCALID", "1"}}}) {
    const LauncherPlace place = Read(variables);
    EXPECT_EQ(place.rank, 2);
    EXPECT_EQ(place.size, 4);
    EXPECT_EQ(place.local_rank, 1);
  }
}

TEST(Launcher, NumbersThatMakeNoSenseAreRefused) {
  for (const Variables& variables :
       {Variables{{"RANK", "4"}, {"WORLD_SIZE", "4"}}, Variables{{"RANK", "-1"}, {"WORLD_SIZE", "4"}},
        Variables{{"RANK", "0"}, {"WORLD_SIZE", "many"}}}) {
    EXPECT_THROW(Read(variables), UsageError);
  }
}

TEST(Launcher, ProcessesOfAJobMeetBesideTheResultAndThoseOfAnotherElsewhere) {
  const LauncherPlace one = Read({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_PORT", "1"}}),
                      other = Read({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_PORT", "1"}});
  const LauncherPlace elsewhere = Read({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_PORT", "2"}});
  EXPECT_EQ(MeetingPlace(one, "a/views").folder, MeetingPlace(other, "a/./views/").folder);
  EXPECT_EQ(MeetingPlace(one, "a/views").folder.parent_path(), "a");
  EXPECT_NE(MeetingPlace(one, "a/views").folder, MeetingPlace(elsewhere, "a/views").folder);
  EXPECT_EQ(MeetingPlace(one, "").folder.parent_path(), "");
  EXPECT_EQ(MeetingPlace(other, "x").rank, 1);
}

TEST(Launcher, EachProcessOfAMachineSeesAGpuOfItsOwn) {
  EXPECT_EQ(VisibleGpu(1, "", 4), "1");
  EXPECT_EQ(VisibleGpu(5, "", 4), "1");
  EXPECT_EQ(VisibleGpu(1, "4,6", 8), "6");
  EXPECT_EQ(VisibleGpu(1, "6", 8), std::nullopt);
  EXPECT_EQ(VisibleGpu(1, "", 1), std::nullopt);
  EXPECT_EQ(VisibleGpu(-1, "", 4), std::nullopt);
  EXPECT_EQ(UsableGpus("", 4), 4);
  EXPECT_EQ(UsableGpus("4,6", 8), 2);
  EXPECT_EQ(UsableGpus("0,1", 0), 0);
}

TEST(Launcher, AContainersGpusAreThoseWhoseFilesItHas) {
  const TemporaryFolder place;
  const Path& root = place.path();
  EXPECT_EQ(CountGpus(root), 0);
  for (const char* gpu : {"0000:01:00.0", "0000:02:00.0", "0000:03:00.0"})
    std::filesystem::create_directories(root / "proc/driver/nvidia/gpus" / gpu);
  EXPECT_EQ(CountGpus(root), 3);
  for (const char* file : {"nvidiactl", "nvidia-uvm", "nvidia2"}) WriteFile(root / "dev" / file, "");
  EXPECT_EQ(CountGpus(root), 1);
  WriteFile(root / "dev/nvidia0", "");
  EXPECT_EQ(CountGpus(root), 2);
}

}  // namespace
}  // namespace genview
