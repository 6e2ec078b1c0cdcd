#include "genview/generator/generator_page.h"

#include <algorithm>

#include <c10/core/InferenceMode.h>

#include "genview/base/text.h"
#include "genview/diffusion/picture_tensors.h"
#include "genview/diffusion/plain_views.h"
#include "genview/models/vae.h"

namespace genview {
namespace {

constexpr int64_t kLevels[] = {0, 100, 200, 300, 400};
constexpr int64_t kPictures = 16;

int64_t Enlargement(int64_t size) { return std::max<int64_t>(1, 64 / size); }

void WriteReconstructions(const GeneratorPage& page, const std::vector<Image>& images) {
  const Vae vae = ReadVaeFolder(page.folder / "vae");
  std::vector<Image> pairs;
  for (const Tensor& some : FromImages(images).split(PicturesAtOnce(0, images[0].width, kPictures))) {
    for (const Image& back : ToImages(DecodeVae(vae, EncodeVae(vae, some).mean))) {
      pairs.push_back(images[pairs.size() / 2]);
      pairs.push_back(back);
    }
  }
  WriteFile(page.folder / "reconstructions.png", EncodePng(Contact(pairs, 8, Enlargement(images[0].width))));
}

// pixels: of the pictures, as the pipeline's encoder sees them.
void WriteSamples(const GeneratorPage& page, const UnclipPipeline& pipeline, const Tensor& pixels,
                  const std::vector<Image>& small) {
  const Tensor embeddings = pipeline.EncodeImages(pixels);
  const Seed seed = Seed(page.seed).With("samples");
  std::vector<std::vector<Image>> columns{small};
  for (const int64_t level : kLevels) {
    const DrawnNoise noise = NoiseOf(pipeline, seed.With(static_cast<uint64_t>(level)), std::ssize(small));
    const std::vector<int64_t> levels(small.size(), level);
    columns.push_back(PicturesOf(PlainViews(pipeline, embeddings, levels, noise, {.guidance = 3}).pictures));
  }
  std::vector<Image> sheet;
  for (size_t i = 0; i < small.size(); ++i) {
    for (const auto& column : columns) sheet.push_back(column[i]);
  }
  WriteFile(page.folder / "samples.png",
            EncodePng(Contact(sheet, static_cast<int64_t>(columns.size()), Enlargement(small[0].width))));
}

}  // namespace

void WriteGeneratorPage(const GeneratorPage& page) {
  const c10::InferenceMode inference;
  const auto pipeline = UnclipPipeline::Open(page.folder, page.device, page.compute);
  std::vector<Image> small;
  std::vector<Tensor> pixels;
  for (const int64_t index : page.pictures.Indices(0, std::min(kPictures, page.pictures.size()))) {
    const Image original = page.pictures.Original(index);
    small.push_back(page.pictures.Resized(original));
    pixels.push_back(PixelsForEncoder(pipeline->preprocess(), original));
  }
  WriteReconstructions(page, small);
  WriteSamples(page, *pipeline, at::stack(pixels), small);
  std::string rows;
  for (const auto& [key, value] : page.summary.items())
    rows += Format("<tr><td>{}</td><td>{}</td></tr>\n", key, value.dump());
  WriteFile(
      page.folder / "index.html",
      Format("<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Generator</title>\n"
             "<style>body{{font:16px sans-serif;margin:2em}}img{{image-rendering:pixelated}}td{{padding:0 1em 0 "
             "0}}</style>\n"
             "<h1>Generator</h1>\n<table>\n{}</table>\n"
             "<h2>Views</h2>\n<p>Each row: an image, then a view of it at noise levels 0, 100, 200, 300, 400.</p>\n"
             "<img src=\"samples.png\" alt=\"images and views\">\n"
             "<h2>Reconstructions</h2>\n<p>Pairs: an image, and what the autoencoder gives back.</p>\n"
             "<img src=\"reconstructions.png\" alt=\"images and reconstructions\">\n</html>\n",
             rows));
}

}  // namespace genview
