// What a result depends on beside its recipe, as environment.json and `genview doctor` show it. No times: two runs on
// one machine write the same.
#pragma once

#include "genview/base/json.h"
#include "genview/tensor/run_options.h"

namespace genview {

Json DescribeMachine();                               // program, system, processor, instructions, cores, threads
Json DescribeEnvironment(const RunOptions& options);  // the same with device and precision as they are chosen here

}  // namespace genview
