// Patch tokens of whole pictures and of their generated views, computed once and kept on the disk in half precision:
// what a crop of a picture shows is then a part of its map, and judging a pair costs next to nothing.
//
//   TokenStore store({.images = source, .views = views, .encoder = encoder, .file = "tokens.safetensors"});
//   store.Prepare(progress);                                  // encodes what an earlier call has not
//   Tensor maps = store.Read({0, 5, store.RowOfView(12)});    // [3,G*G,C] fp32
//
// The file holds `tokens` [R,G*G,C] fp16: a row per picture in source order, then a row per view, by id and index. One
// that cannot be read is a row of zeros.
#pragma once

#include <memory>
#include <optional>

#include "genview/base/files.h"
#include "genview/base/progress.h"
#include "genview/data/generated_views.h"
#include "genview/models/encoder.h"
#include "genview/tensor/run_options.h"

namespace genview {

struct TokenStorePlan {
  std::shared_ptr<const ImageSource> images;
  std::shared_ptr<const GeneratedViews> views;  // may be null
  std::shared_ptr<const Encoder> encoder;
  int64_t grid = 0;  // G, tokens are averaged down to it; 0: the encoder's own, at most 8
  Path file;
  bool replace = true;  // a file of other inputs is written anew; otherwise it is an error
  RunOptions run;
};

class TokenStore {
 public:
  explicit TokenStore(const TokenStorePlan& plan);
  ~TokenStore();

  // A file of other inputs, or one that is damaged, is written anew. Throws UsageError for one that is not to be
  // replaced. Where another process writes it, this one waits.
  // Killed at any point, the same call goes on and ends with the same bytes.
  void Prepare(Progress& progress);
  Tensor Read(const std::vector<int64_t>& rows) const;  // after Prepare
  int64_t RowOfView(int64_t row) const;                 // row: of plan.views->rows()
  int64_t grid() const { return grid_; }

 private:
  struct Part;
  std::string Header() const;
  int64_t rows() const;
  bool Whole() const;
  void RefuseOther() const;
  void Write(GrowingFile& file, Progress& progress) const;
  void Encode(const Part& part, int64_t done, GrowingFile& file, Progress& progress) const;

  TokenStorePlan plan_;
  int64_t grid_;
  std::string identity_;
  std::optional<WeightMap> stored_;
};

}  // namespace genview
