// One pair per command: the fields of its config, for flags and --help, and the command itself.
#pragma once

#include <vector>

#include "cli/args.h"

namespace genview {

std::vector<FieldInfo> RunFields();
int RunRun(const Args& args, Progress& progress);

std::vector<FieldInfo> DatasetMakeFields();
int RunDatasetMake(const Args& args, Progress& progress);

std::vector<FieldInfo> ForegroundFitFields();
int RunForegroundFit(const Args& args, Progress& progress);

std::vector<FieldInfo> ForegroundScoreFields();
int RunForegroundScore(const Args& args, Progress& progress);

std::vector<FieldInfo> GeneratorTrainFields();
int RunGeneratorTrain(const Args& args, Progress& progress);

std::vector<FieldInfo> GeneratorTowerFields();
int RunGeneratorTower(const Args& args, Progress& progress);

std::vector<FieldInfo> GeneratorMeasureFields();
int RunGeneratorMeasure(const Args& args, Progress& progress);

std::vector<FieldInfo> ViewsFields();
int RunViews(const Args& args, Progress& progress);

std::vector<FieldInfo> ViewsVerifyFields();
int RunViewsVerify(const Args& args, Progress& progress);

std::vector<FieldInfo> PretrainFields();
int RunPretrain(const Args& args, Progress& progress);

std::vector<FieldInfo> EvalLinearFields();
int RunEvalLinear(const Args& args, Progress& progress);

std::vector<FieldInfo> EvalKnnFields();
int RunEvalKnn(const Args& args, Progress& progress);

std::vector<FieldInfo> ExportFields();
int RunExport(const Args& args, Progress& progress);

std::vector<FieldInfo> ImportFields();
int RunImport(const Args& args, Progress& progress);

std::vector<FieldInfo> EvalFewshotFields();
int RunEvalFewshot(const Args& args, Progress& progress);

std::vector<FieldInfo> EvalFinetuneFields();
int RunEvalFinetune(const Args& args, Progress& progress);

std::vector<FieldInfo> DatasetPackFields();
int RunDatasetPack(const Args& args, Progress& progress);

std::vector<FieldInfo> FeaturesFields();
int RunFeatures(const Args& args, Progress& progress);

std::vector<FieldInfo> BenchLoaderFields();
int RunBenchLoader(const Args& args, Progress& progress);

std::vector<FieldInfo> BenchStepFields();
int RunBenchStep(const Args& args, Progress& progress);

std::vector<FieldInfo> BenchFeaturesFields();
int RunBenchFeatures(const Args& args, Progress& progress);

std::vector<FieldInfo> BenchViewsFields();
int RunBenchViews(const Args& args, Progress& progress);

std::vector<FieldInfo> BenchLinearFields();
int RunBenchLinear(const Args& args, Progress& progress);

std::vector<FieldInfo> BenchKnnFields();
int RunBenchKnn(const Args& args, Progress& progress);

std::vector<FieldInfo> ReportFields();
int RunReport(const Args& args, Progress& progress);

std::vector<FieldInfo> InspectFields();
int RunInspect(const Args& args, Progress& progress);

std::vector<FieldInfo> DoctorFields();
int RunDoctor(const Args& args, Progress& progress);

}  // namespace genview
