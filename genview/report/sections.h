// The parts of the page, in its order. Each writes one <section>, or nothing when the run has nothing to show for it.
#pragma once

#include "genview/report/html.h"
#include "genview/report/pictures.h"
#include "genview/report/run_record.h"

namespace genview {

// What the page says first.
struct Headline {
  std::string sentence;  // "“genview” reaches 57.1% linear accuracy, 2.8 points above “baseline” (95% interval ...)."
  std::string detail;    // number of test images, seeds, where the interval comes from
};
Headline MakeHeadline(const std::vector<RunRecord>& runs);

void WriteResults(Html& html, const std::vector<RunRecord>& runs);
void WriteGallery(Html& html, const RunRecord& run, PictureShelf& shelf);
void WriteLevels(Html& html, const RunRecord& run, PictureShelf& shelf);
void WriteLikeness(Html& html, const RunRecord& run);
void WritePairs(Html& html, const RunRecord& run, PictureShelf& shelf);
void WriteWeights(Html& html, const RunRecord& run);
void WriteRatios(Html& html, const RunRecord& run);
void WriteCurves(Html& html, const std::vector<RunRecord>& runs);
void WriteStages(Html& html, const RunRecord& run);
void WriteLeftOut(Html& html, const RunRecord& run);
void WriteEncoders(Html& html, const RunRecord& run);
void WriteRecipe(Html& html, const RunRecord& run);

extern const std::string_view kPageStyle;

}  // namespace genview
