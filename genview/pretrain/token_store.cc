#include "genview/pretrain/token_store.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <thread>

#include <c10/core/InferenceMode.h>

#include "genview/base/error.h"
#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/data/loader.h"
#include "genview/tensor/device.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

constexpr int64_t kBlock = 64;  // encoded together; also after a kill, so that rounding is the same
constexpr int64_t kLargestGrid = 8;

Path Growing(const Path& file) { return file.parent_path() / Format(".{}.growing", file.filename().string()); }

}  // namespace

// Rows first .. first+count-1 of the file.
struct TokenStore::Part {
  std::shared_ptr<const ImageSource> source;
  int64_t first, count;
};

TokenStore::TokenStore(const TokenStorePlan& plan)
    : plan_(plan),
      grid_(plan.grid > 0 ? std::min(plan.grid, plan.encoder->grid()) : std::min(plan.encoder->grid(), kLargestGrid)) {
  identity_ =
      Fingerprint(Format("{} {} {} {} {}", plan_.encoder->fingerprint(), PrecisionName(plan_.encoder->compute()), grid_,
                         plan_.images->Fingerprint(), plan_.views ? plan_.views->Fingerprint() : ""));
}

TokenStore::~TokenStore() = default;

int64_t TokenStore::rows() const {
  return plan_.images->size() + (plan_.views ? static_cast<int64_t>(plan_.views->rows().size()) : 0);
}

int64_t TokenStore::RowOfView(int64_t row) const { return plan_.images->size() + row; }

// Padded, length in front: all of the file before its data.
std::string TokenStore::Header() const {
  const int64_t tokens = grid_ * grid_, width = plan_.encoder->token_width();
  const auto bytes = static_cast<uint64_t>(rows() * tokens * width) * sizeof(at::Half);
  std::string text = SafetensorsHeaderText(
      {{.name = "tokens", .dtype = "F16", .shape = {rows(), tokens, width}, .begin = 0, .end = bytes}},
      {{"genview", Json{{"kind", "tokens"}, {"inputs", identity_}}.dump()}});
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text;
}

bool TokenStore::Whole() const {
  std::error_code code;
  if (!std::filesystem::exists(plan_.file, code)) return false;
  const std::string header = Header();
  const MappedFile file(plan_.file);
  const auto data = static_cast<uint64_t>(rows() * grid_ * grid_ * plan_.encoder->token_width()) * sizeof(at::Half);
  return file.size() == header.size() + data && file.text().starts_with(header);
}

// What is there begins as the file is to begin, or nothing is.
void TokenStore::RefuseOther() const {
  RefuseToReplace(plan_.file);
  std::error_code code;
  if (plan_.replace || !std::filesystem::exists(plan_.file, code)) return;
  if (MappedFile(plan_.file).text().starts_with(Header())) return;
  throw UsageError({.what = "the file is not of these pictures, views, encoder, precision and grid",
                    .where = Format("{}, key `pretrain.quality.cache`", plan_.file.string()),
                    .next = "name another file, or remove this one if it is one of kept tokens"});
}

void TokenStore::Prepare(Progress& progress) {
  RefuseOther();
  bool waits = false;
  while (!Whole()) {
    if (const auto file = GrowingFile::OpenUnlessHeld(Growing(plan_.file))) {
      // Another process may have ended in between.
      if (Whole()) std::filesystem::remove(Growing(plan_.file));
      else Write(*file, progress);
      continue;
    }
    if (!waits) progress.Begin("tokens for the weights of pairs, which another process makes", 0, "");
    waits = true;
    progress.ThrowIfStopped();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  stored_ = ReadSafetensors(plan_.file);
}

void TokenStore::Write(GrowingFile& file, Progress& progress) const {
  const std::string header = Header();
  const int64_t images = plan_.images->size();
  if (file.size() < header.size() || !MappedFile(Growing(plan_.file)).text().starts_with(header)) {
    file.Resize(0);
    file.Append(header);
  }
  const int64_t row_bytes = grid_ * grid_ * plan_.encoder->token_width() * static_cast<int64_t>(sizeof(at::Half));
  int64_t done = static_cast<int64_t>(file.size() - header.size()) / row_bytes;
  const auto block_of = [](int64_t row) { return row / kBlock * kBlock; };
  done = done < images ? block_of(done) : images + block_of(done - images);
  file.Resize(header.size() + static_cast<uint64_t>(done * row_bytes));
  progress.Begin("tokens for the weights of pairs", rows(), "pictures");
  const c10::InferenceMode guard;
  Encode({plan_.images, 0, images}, done, file, progress);
  if (plan_.views) Encode({ViewsAsSource(plan_.views), images, rows() - images}, done, file, progress);
  file.MoveTo(plan_.file);
  progress.End();
}

void TokenStore::Encode(const Part& part, int64_t done, GrowingFile& file, Progress& progress) const {
  const int64_t begin = std::max<int64_t>(0, done - part.first);
  if (begin >= part.count) return;
  Preprocess whole = plan_.encoder->preprocess();  // all of the picture, so that places in it are places in its map
  whole.squash = true;
  std::vector<int64_t> indices(static_cast<size_t>(part.count - begin));
  std::iota(indices.begin(), indices.end(), begin);
  SkippedLog skipped;  // they are written down when the training meets them
  EncodeLoader loader(part.source, indices, whole, kBlock, plan_.run.threads, skipped, plan_.run.strict);
  const int64_t tokens = grid_ * grid_, width = plan_.encoder->token_width(), own = plan_.encoder->grid();
  int64_t next = begin;
  const auto append = [&](const Tensor& rows) {
    const Tensor data = rows.to(at::kHalf).contiguous();
    file.Append({static_cast<const char*>(data.const_data_ptr()), data.nbytes()});
    next += rows.size(0);
  };
  for (EncodeBatch batch; loader.Next(batch);) {
    progress.ThrowIfStopped();
    Tensor maps = plan_.encoder->Encode(batch.pixels, /*tokens=*/true).tokens;  // [n,own*own,C]
    if (own != grid_) {
      const Tensor planes = maps.transpose(1, 2).reshape({maps.size(0), width, own, own});
      maps = at::adaptive_avg_pool2d(planes, {grid_, grid_}).flatten(2).transpose(1, 2);
    }
    maps = maps.cpu();
    for (size_t i = 0; i < batch.indices.size(); ++i) {
      if (const int64_t gap = batch.indices[i] - next; gap > 0) append(at::zeros({gap, tokens, width}));
      append(maps[static_cast<int64_t>(i)].unsqueeze(0));
    }
    progress.Update(part.first + next, loader.WaitShare());
  }
  if (next < part.count) append(at::zeros({part.count - next, tokens, width}));
}

Tensor TokenStore::Read(const std::vector<int64_t>& rows) const {
  GENVIEW_CHECK(stored_.has_value(), "Read before Prepare");
  return stored_->At("tokens").index_select(0, at::tensor(rows, at::kLong)).to(at::kFloat);
}

}  // namespace genview
