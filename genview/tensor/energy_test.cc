#include "genview/tensor/energy.h"

#include <fstream>

#include <gtest/gtest.h>

#include "tests/temporary_folder.h"

namespace genview {
namespace {

class Energy : public testing::Test {
 protected:
  void Put(const std::string& zone, const std::string& file, const std::string& text) {
    std::filesystem::create_directories(folder_.path() / zone);
    std::ofstream(folder_.path() / zone / file) << text << "\n";
  }
  void Zone(const std::string& zone, const std::string& name, const std::string& microjoules) {
    Put(zone, "name", name);
    Put(zone, "max_energy_range_uj", "1000000000");
    Put(zone, "energy_uj", microjoules);
  }

  TemporaryFolder folder_;
};

TEST_F(Energy, PackagesAndMemoryAreAddedAndTheirPartsAreNot) {
  Zone("intel-rapl:0", "package-0", "1000000");
  Zone("intel-rapl:0:0", "core", "1000000");
  Zone("intel-rapl:0:1", "dram", "1000000");
  Zone("intel-rapl:1", "psys", "1000000");
  Zone("intel-rapl-mmio:0", "package-0", "1000000");
  EnergyCounter counter(folder_.path());
  Put("intel-rapl:0", "energy_uj", "3000000");
  Put("intel-rapl:0:0", "energy_uj", "2000000");
  Put("intel-rapl:0:1", "energy_uj", "1500000");
  Put("intel-rapl:1", "energy_uj", "9000000");
  Put("intel-rapl-mmio:0", "energy_uj", "3000000");
  EXPECT_DOUBLE_EQ(counter.Joules().value(), 2.5);
}

TEST_F(Energy, ACounterThatWrapsGoesOn) {
  Zone("intel-rapl:0", "package-0", "999000000");
  EnergyCounter counter(folder_.path());
  Put("intel-rapl:0", "energy_uj", "1000000");
  EXPECT_DOUBLE_EQ(counter.Joules().value(), 2);
  Put("intel-rapl:0", "energy_uj", "4000000");
  EXPECT_DOUBLE_EQ(counter.Joules().value(), 5);
}

TEST_F(Energy, IsNotKnownWithoutCounters) {
  EXPECT_FALSE(EnergyCounter(folder_.path()).Joules().has_value());
  EXPECT_FALSE(EnergyCounter(folder_.path() / "none").Joules().has_value());
  Put("intel-rapl:0", "name", "package-0");  // what only root may read
  EXPECT_FALSE(EnergyCounter(folder_.path()).Joules().has_value());
}

TEST(HumanEnergyOf, SaysWattHours) {
  EXPECT_EQ(HumanEnergy(3600 * 12.34), "12.3 Wh");
  EXPECT_EQ(HumanEnergy(3.6e6 * 1.25), "1.25 kWh");
}

}  // namespace
}  // namespace genview
