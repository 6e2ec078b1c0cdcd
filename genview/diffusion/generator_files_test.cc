// A small Stable unCLIP, once as a pipeline folder and once in one file under the names that diffusers' converter takes
// for the same weights (tests/golden/make_ldm.py): both must give the same pictures.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include <c10/core/InferenceMode.h>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/diffusion/generator_files.h"
#include "genview/diffusion/pipeline.h"
#include "genview/models/ldm.h"
#include "genview/tensor/safetensors.h"
#include "tests/source_dir.h"
#include "tests/temporary_folder.h"

namespace genview {
namespace {

using Tensors = std::map<std::string, Tensor>;

const Json& Golden() {
  static const Json json = ReadJson(SourceDir() / "tests/golden/ldm/names.json");
  return json;
}

// The longest beginning that the converter's list has says what becomes of a name.
std::string Original(const char* part, const std::string& name) {
  const Json& list = Golden()[part];
  for (size_t end = name.size(); end != std::string::npos && end > 0; end = name.rfind('.', end - 1)) {
    if (const auto found = list.find(name.substr(0, end)); found != list.end())
      return found->get<std::string>() + name.substr(end);
  }
  return name;
}

constexpr int64_t kEmbedding = 16, kText = 32, kTokens = 40, kPositions = 16, kBlocks = 3;

// Norms too: freshly made ones are 1 and 0, and would hide that they are exchanged.
void Fill(const WeightList& list) {
  for (const WeightRef& ref : list) {
    *ref.tensor = NormalTensor(Seed(3).With(ref.name), ref.tensor->sizes()).mul_(0.1);
    if (ref.role == WeightRole::kNormScale) ref.tensor->add_(1);
  }
}

UnetConfig SmallUnet() {
  UnetConfig c = ParseUnetConfig(Golden()["unet_config"], "names.json");
  c.channels = {32, 64, 128, 128};  // as 1, 2, 4, 4, so that shortcuts are where the published model has them
  c.attention_head_dim = {1, 1, 2, 2};
  c.cross_attention_dim = {kText, kText, kText, kText};
  c.class_width = 2 * kEmbedding;
  return c;
}

VaeConfig SmallVae() {
  VaeConfig c = ParseVaeConfig(Golden()["vae_config"], "names.json");
  c.channels = {32, 64, 96, 96};
  return c;
}

ClipVisionConfig SmallTower() {
  ClipVisionConfig c;
  c.width = 32;
  c.layers = 2;
  c.heads = 16;
  c.mlp_width = 48;
  c.patch_size = 8;
  c.image_size = 16;
  c.embedding_width = kEmbedding;
  return c;
}

// As CLIPTextModel has them.
Tensors TextTensors(int64_t blocks) {
  Tensors tensors;
  const auto add = [&](const std::string& name, at::IntArrayRef shape) {
    tensors[name] = NormalTensor(Seed(5).With(name), shape).mul_(0.2);
  };
  const auto pair = [&](const std::string& name, at::IntArrayRef shape) {
    add(name + ".weight", shape);
    add(name + ".bias", shape.slice(0, 1));
  };
  add("embeddings.token_embedding.weight", {kTokens, kText});
  add("embeddings.position_embedding.weight", {kPositions, kText});
  for (int64_t i = 0; i < blocks; ++i) {
    const std::string layer = Format("encoder.layers.{}.", i);
    for (const char* part : {"q_proj", "k_proj", "v_proj", "out_proj"})
      pair(layer + "self_attn." + part, {kText, kText});
    pair(layer + "layer_norm1", {kText});
    pair(layer + "mlp.fc1", {64, kText});
    pair(layer + "mlp.fc2", {kText, 64});
    pair(layer + "layer_norm2", {kText});
  }
  pair("final_layer_norm", {kText});
  return tensors;
}

void WriteTextFolder(const Path& folder) {
  const Tensors tensors = TextTensors(kBlocks);
  WriteSafetensors(folder / "text_encoder/model.safetensors", {tensors.begin(), tensors.end()});
  WriteJson(folder / "text_encoder/config.json", {{"vocab_size", kTokens},
                                                  {"max_position_embeddings", kPositions},
                                                  {"hidden_size", kText},
                                                  {"num_hidden_layers", kBlocks},
                                                  {"num_attention_heads", 16},
                                                  {"intermediate_size", 64},
                                                  {"hidden_act", "gelu"}});
  WriteJson(folder / "tokenizer/vocab.json",
            {{"!", 0}, {"a</w>", 1}, {"<|startoftext|>", kTokens - 2}, {"<|endoftext|>", kTokens - 1}});
  WriteFile(folder / "tokenizer/merges.txt", "#version: 0.2\n");
  WriteJson(folder / "tokenizer/special_tokens_map.json", {{"pad_token", "!"}});
  Json index = ReadJson(folder / "model_index.json");
  index["text_encoder"] = {"transformers", "CLIPTextModel"};
  index["tokenizer"] = {"transformers", "CLIPTokenizer"};
  WriteJson(folder / "model_index.json", index);
}

// q, k and v of a block are one matrix in the original, and there is one block more, which nothing reads.
void AddText(Tensors& file) {
  const std::string prefix = "cond_stage_model.model.";
  std::map<std::string, std::vector<Tensor>> parts;
  for (const auto& [name, tensor] : TextTensors(kBlocks + 1)) {
    std::string original;
    for (const auto& [from, to] : Golden()["text"].items()) {
      for (int64_t i = 0; i <= kBlocks; ++i) {
        const auto numbered = [i](std::string text) {
          if (const size_t at = text.find('#'); at != std::string::npos) text.replace(at, 1, Format("{}", i));
          return text;
        };
        if (numbered(from) == name) original = numbered(to.get<std::string>());
      }
    }
    ASSERT_FALSE(original.empty()) << name;
    parts[prefix + original].push_back(tensor);
  }
  for (const auto& [name, tensors] : parts) {
    // By name: k, q, v.
    file[name] = tensors.size() == 3 ? at::cat({tensors[1], tensors[0], tensors[2]}) : tensors[0];
  }
  file[prefix + "text_projection"] = at::ones({kText, kText});
  file[prefix + "logit_scale"] = at::ones({});
}

void WriteSmallFolder(const Path& folder) {
  ClipVision tower = MakeClipVision(SmallTower());
  Unet unet = MakeUnet(SmallUnet());
  Vae vae = MakeVae(SmallVae());
  for (const WeightList& list : {ListWeights(tower), ListWeights(unet), ListWeights(vae)}) Fill(list);
  WriteUnclipFolder({&tower,
                     {},
                     PreprocessFromHuggingFace(Json::object(), 16, "test"),
                     MakeEmbeddingNoiser(kEmbedding),
                     SchedulerConfig(),
                     unet,
                     vae},
                    folder);
}

TEST(WriteUnclipFolder, OfTwoGeneratorsHalfAndHalfIsNoPipeline) {
  const TemporaryFolder folder;
  const auto write = [&] { WriteSmallFolder(folder.path()); };
  write();
  const std::string index = ReadFile(folder.path() / "model_index.json");
  // Stopped between UNet and autoencoder.
  const Path weights = folder.path() / "vae/diffusion_pytorch_model.safetensors";
  std::filesystem::remove(weights);
  std::filesystem::create_directory(weights);
  EXPECT_THROW(write(), Error);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "model_index.json"));
  std::filesystem::remove(weights);
  write();
  EXPECT_EQ(ReadFile(folder.path() / "model_index.json"), index);
}

TEST(SweepUnclipFolder, ReachesEveryFolderThatIsWritten) {
  const TemporaryFolder folder;
  WriteSmallFolder(folder.path());
  const auto files = [&] {
    std::set<Path> all;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path())) {
      if (entry.is_regular_file()) all.insert(entry.path());
    }
    return all;
  };
  const std::set<Path> written = files();
  std::set<Path> folders;
  for (const Path& file : written) folders.insert(file.parent_path());
  EXPECT_EQ(folders.size(), 8);
  for (const Path& each : folders) WriteFile(each / ".config.json.1.part", "{");
  EXPECT_EQ(files().size(), written.size() + folders.size());
  SweepUnclipFolder(folder.path());
  EXPECT_EQ(files(), written);
}

class SingleFile : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    at::set_num_threads(1);
    folder_ = std::make_unique<TemporaryFolder>();
    Unet unet = MakeUnet(SmallUnet());
    Vae vae = MakeVae(SmallVae());
    ClipVision tower = MakeClipVision(SmallTower());
    Fill(ListWeights(unet));
    Fill(ListWeights(vae));
    Fill(ListWeights(tower));
    const Json scheduler{{"_class_name", "PNDMScheduler"},
                         {"beta_start", 0.00085},
                         {"beta_end", 0.012},
                         {"beta_schedule", "scaled_linear"},
                         {"prediction_type", "v_prediction"},
                         {"skip_prk_steps", true},
                         {"steps_offset", 1},
                         {"set_alpha_to_one", false}};
    const SchedulerConfig config = ParseSchedulerConfig(scheduler, "", "test");
    WriteUnclipFolder({&tower,
                       {},
                       PreprocessFromHuggingFace(Json::object(), 16, "test"),
                       MakeEmbeddingNoiser(kEmbedding),
                       config,
                       unet,
                       vae},
                      Folder());
    WriteTextFolder(Folder());

    Tensors file;
    for (const auto& [name, tensor] : NamedTensors(ListWeights(unet)))
      file["model.diffusion_model." + Original("unet", name)] = tensor;
    for (const auto& [name, tensor] : NamedTensors(ListWeights(vae))) {
      const std::string original = Original("vae", name);
      const bool convolved = original.find(".attn_1.") != std::string::npos && tensor.dim() == 2;
      file["first_stage_model." + original] = convolved ? tensor.unsqueeze(-1).unsqueeze(-1) : tensor;
    }
    for (const auto& [name, tensor] : ClipTensors(tower, ClipLayout::kOpenClip))
      file["embedder.model." + name] = tensor;
    AddText(file);
    file["alphas_cumprod"] = NoiseTable(config.noise).to(at::kHalf);
    file["noise_augmentor.alphas_cumprod"] = MakeEmbeddingNoiser(1).alpha_bar;
    file["embedder.model.logit_scale"] = file["model_ema.decay"] = file["first_stage_model.loss.logvar"] = at::ones({});
    tensors_ = file;
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static Path Folder() { return folder_->path() / "folder"; }
  // `prefix` in front of all names.
  static Path Write(const std::string& name, const Tensors& tensors, const std::string& prefix = "") {
    std::vector<std::pair<std::string, Tensor>> named;
    for (const auto& [key, tensor] : tensors) named.emplace_back(prefix + key, tensor.contiguous());
    WriteSafetensors(folder_->path() / name, named);
    return folder_->path() / name;
  }
  static ErrorText Failure(const Tensors& tensors, bool open_all = true) {
    const Path path = Write("wrong.safetensors", tensors);
    try {
      if (open_all) UnclipPipeline::Open(path);
      else (void)GeneratorFiles::Open(path);
    } catch (const Error& error) {
      return error.text();
    }
    return {};
  }
  static Tensors Without(const std::string& beginning) {
    Tensors tensors = tensors_;
    std::erase_if(tensors, [&](const auto& one) { return one.first.starts_with(beginning); });
    return tensors;
  }

  static inline std::unique_ptr<TemporaryFolder> folder_;
  static inline Tensors tensors_;
};

UnclipRequest Request(const Tensor& embeddings) {
  return {.embeddings = embeddings,
          .levels = {0, 300},
          .guidance = {1, 5},
          .embedding_noise = NormalTensor(Seed(1).With("noise"), {2, kEmbedding}),
          .latents = NormalTensor(Seed(1).With("latents"), {2, 4, 8, 8}),
          .steps = 4,
          .scheduler = {},
          .prompts = {},
          .negative_prompt = {}};
}

TEST_F(SingleFile, GiveThePicturesOfTheFolder) {
  const c10::InferenceMode guard;
  const Tensor pixels = NormalTensor(Seed(1).With("pixels"), {2, 3, 16, 16});
  const auto folder = UnclipPipeline::Open(Folder());
  UnclipTrace wanted;
  const UnclipViews views = folder->Generate(Request(folder->EncodeImages(pixels)), &wanted);
  ASSERT_EQ(views.faults, std::vector<std::string>(2, ""));
  ASSERT_NE(views.pictures.min().item<int>(), views.pictures.max().item<int>());
  for (const auto& [name, prefix, residency] : {std::tuple{"plain.safetensors", "", Residency::kAll},
                                                std::tuple{"trained.ckpt", "state_dict.", Residency::kOne}}) {
    const auto file = UnclipPipeline::Open(Write(name, tensors_, prefix), at::kCPU, at::kFloat, residency);
    EXPECT_EQ(file->preprocess().ToJson(), folder->preprocess().ToJson());
    EXPECT_EQ(file->native_size(), 768);
    EXPECT_EQ(file->scheduler_name(), folder->scheduler_name());
    EXPECT_EQ(file->levels(), folder->levels());
    EXPECT_TRUE(file->has_text());
    EXPECT_FALSE(file->reads_prompts());
    UnclipTrace trace;
    const UnclipViews same = file->Generate(Request(file->EncodeImages(pixels)), &trace);
    EXPECT_TRUE(at::equal(trace.class_labels, wanted.class_labels)) << name;
    EXPECT_TRUE(at::equal(trace.prompt_embeds, wanted.prompt_embeds)) << name;
    EXPECT_TRUE(at::equal(trace.unet_first, wanted.unet_first)) << name;
    EXPECT_TRUE(at::equal(same.pictures, views.pictures)) << name;
    UnclipRequest prompted = Request(file->EncodeImages(pixels));
    prompted.negative_prompt = "a";
    EXPECT_THROW(file->Generate(prompted), UsageError);
  }
}

TEST_F(SingleFile, ItsImageTowerIsAnEncoder) {
  const c10::InferenceMode guard;
  const Tensor pixels = NormalTensor(Seed(1).With("pixels"), {2, 3, 16, 16});
  const auto folder = Encoder::Open(Folder());
  for (const auto& [name, prefix] : {std::pair{"tower.safetensors", ""}, std::pair{"tower.ckpt", "state_dict."}}) {
    const auto file = Encoder::Open(Write(name, tensors_, prefix));
    EXPECT_EQ(file->preprocess().ToJson(), folder->preprocess().ToJson());
    const Encoder::Output wanted = folder->Encode(pixels, /*tokens=*/true), same = file->Encode(pixels, true);
    EXPECT_TRUE(at::equal(same.embeddings, wanted.embeddings)) << name;
    EXPECT_TRUE(at::equal(same.tokens, wanted.tokens)) << name;
  }
  try {
    Encoder::Open(Write("texts.safetensors", Without("embedder.")));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.text().what.find("it lacks the image tower"), std::string::npos);
  }
}

TEST_F(SingleFile, FingerprintsAreOfTheContents) {
  Tensors other = tensors_;
  const auto fingerprint = [](const Path& path) { return UnclipPipeline::Open(path)->fingerprint(); };
  const std::string one = fingerprint(Write("one.safetensors", tensors_));
  EXPECT_EQ(fingerprint(Write("two.ckpt", tensors_)), one);
  other["model.diffusion_model.out.2.bias"] = at::zeros({4});
  EXPECT_NE(fingerprint(Write("other.safetensors", other)), one);
}

TEST_F(SingleFile, WhatIsMissingIsNamed) {
  const auto what = [](const Tensors& tensors) { return Failure(tensors, /*open_all=*/false).what; };
  EXPECT_EQ(
      what(Without("model.diffusion_model.label_emb.")),
      "the file is no Stable unCLIP model, it lacks its class embedding "
      "(`model.diffusion_model.label_emb.0.0.`); it looks like Stable Diffusion 2 that takes texts, and no picture");
  EXPECT_NE(what(Without("embedder.")).find("the image tower (`embedder.model.visual."), std::string::npos);
  EXPECT_NE(what(Without("first_stage_model.")).find("the autoencoder"), std::string::npos);
  Tensors older = Without("cond_stage_model.");
  older["cond_stage_model.transformer.text_model.final_layer_norm.bias"] = at::ones({4});
  EXPECT_NE(what(older).find("Stable Diffusion 1"), std::string::npos);
  older["conditioner.embedders.0.transformer.x"] = at::ones({4});
  EXPECT_NE(what(older).find("Stable Diffusion XL"), std::string::npos);
  EXPECT_NE(what({{"input_blocks.0.0.weight", at::ones({4})}}).find("a single network"), std::string::npos);
  EXPECT_NE(Failure({{"a", at::ones({4})}}).next.find("model_index.json"), std::string::npos);
}

// Under the file's own names.
TEST_F(SingleFile, WhatDoesNotFitIsNamed) {
  const auto broken = [](const std::string& name, const Tensor& tensor) {
    Tensors tensors = tensors_;
    if (tensor.defined()) tensors[name] = tensor;
    else tensors.erase(name);
    return Failure(tensors).what;
  };
  for (const std::string name :
       {"model.diffusion_model.output_blocks.2.1.conv.bias", "first_stage_model.decoder.up.3.block.2.conv2.bias",
        "cond_stage_model.model.transformer.resblocks.1.attn.in_proj_weight"}) {
    EXPECT_NE(broken(name, {}).find(name + ": missing"), std::string::npos) << name;
    EXPECT_NE(broken(name, at::ones({3})).find(name + ": has [3]"), std::string::npos) << name;
    EXPECT_NE(broken(name + ".more", at::ones({3})).find("not part of this model"), std::string::npos) << name;
  }
  EXPECT_NE(broken("model.diffusion_model.input_blocks.1.0.out_layers.3.weight", at::ones({33, 1})).find("groups"),
            std::string::npos);
  EXPECT_NE(broken("model.diffusion_model.out.2.weight", at::ones({})).find("has the shape []"), std::string::npos);
  EXPECT_NE(broken("model.diffusion_model.out.2.weight", at::ones({2000, 1})).find("`out_channels` is 2000"),
            std::string::npos);
  EXPECT_NE(broken("first_stage_model.encoder.conv_in.weight", at::ones({1, 65})).find("`in_channels` is 65"),
            std::string::npos);
  Tensors deep = tensors_;
  for (int i = 1; i <= 32; ++i)
    deep[Format("model.diffusion_model.input_blocks.1.1.transformer_blocks.{}.norm1.weight", i)] = at::ones({32});
  EXPECT_NE(Failure(deep).what.find("`transformer_layers_per_block` is [33,"), std::string::npos);
  EXPECT_NE(broken("embedder.model.visual.positional_embedding", at::ones({4, 32})).find("no square"),
            std::string::npos);
  EXPECT_NE(broken("alphas_cumprod", at::linspace(1, 0, 1000)).find("`alphas_cumprod` is not the noise"),
            std::string::npos);
}

// Of -l: OpenAI's tower with its quick GELU, and statistics that its file does not hold.
TEST_F(SingleFile, StatisticsOfOpenAisTowerAreReadBesideTheFile) {
  Tensors tensors = tensors_;
  tensors["embedder.model.transformer.resblocks.0.ln_1.weight"] = at::ones({4});
  EXPECT_NE(Failure(tensors).next.find("ViT-L-14_stats.th"), std::string::npos);
  const Path path = Write("l.safetensors", tensors), beside = folder_->path() / "ViT-L-14_stats.th";
  const std::string plain = UnclipPipeline::Open(Write("h.safetensors", tensors_))->fingerprint();
  std::filesystem::copy_file(SourceDir() / "tests/golden/ldm/ViT-L-14_stats.th", beside);
  const auto files = GeneratorFiles::Open(path);
  const EmbeddingNoiser noiser = files->ReadNoiser(kEmbedding);
  EXPECT_TRUE(at::equal(noiser.mean, (at::arange(16) / 16).view({1, 16})));
  EXPECT_TRUE(at::equal(noiser.std, (at::arange(1, 17) / 8).view({1, 16})));
  EXPECT_THROW(files->ReadNoiser(kEmbedding + 1), Error);
  EXPECT_EQ(std::get<ClipVisionConfig>(LdmTowerFiles(ReadLdmFile(path)).config).activation, Activation::kQuickGelu);
  EXPECT_EQ(UnclipPipeline::Open(folder_->path() / "h.safetensors")->fingerprint(), plain);  // whose are not these
  WriteSafetensors(beside, {{"0", at::zeros({16})}, {"1", at::zeros({16})}});
  EXPECT_THROW(files->ReadNoiser(kEmbedding), Error);
  std::filesystem::remove(beside);
  tensors["noise_augmentor.data_mean"] = at::full({1, 16}, 0.5);
  tensors["noise_augmentor.data_std"] = at::full({1, 16}, 2.0);
  const EmbeddingNoiser inside = GeneratorFiles::Open(Write("inside.safetensors", tensors))->ReadNoiser(kEmbedding);
  EXPECT_TRUE(at::equal(inside.mean, at::full({1, 16}, 0.5)) && at::equal(inside.std, at::full({1, 16}, 2.0)));
}

// Names, shapes and settings of the model as it is published. Nothing is computed; memory is asked for, not touched.
TEST(SingleFileLayout, CoversTheFullSize) {
  const Json& golden = Golden();
  const UnetConfig unet = ParseUnetConfig(golden["unet_config"], "names.json");
  const VaeConfig vae = ParseVaeConfig(golden["vae_config"], "names.json");
  Unet unet_weights = MakeUnet(unet);
  Vae vae_weights = MakeVae(vae);
  WeightMap file("full size");
  const auto add = [&](const WeightList& list, const char* part, const std::string& prefix, auto&& rename) {
    EXPECT_EQ(list.size(), golden["counts"][part].get<size_t>()) << part;
    for (const WeightRef& ref : list) {
      const std::string original = Original(part, ref.name);
      EXPECT_EQ(rename(ref.name), original);
      std::vector<int64_t> shape = ref.tensor->sizes().vec();
      if (original.find(".mid.attn_1.") != std::string::npos && shape.size() == 2) shape.resize(4, 1);
      file.Add(prefix + original, at::empty(shape, at::TensorOptions(at::kFloat).device(at::kMeta)));
    }
  };
  add(ListWeights(unet_weights), "unet", "model.diffusion_model.",
      [&](const std::string& name) { return LdmUnetName(name, unet); });
  add(ListWeights(vae_weights), "vae", "first_stage_model.",
      [&](const std::string& name) { return LdmVaeName(name, vae); });
  EXPECT_EQ(UnetConfigToJson(ReadLdmUnet(file, Reads::kNames).config), UnetConfigToJson(unet));
  EXPECT_EQ(VaeConfigToJson(ReadLdmVae(file, Reads::kNames).config), VaeConfigToJson(vae));
  EXPECT_EQ(golden["counts"]["unet"], 690);
  EXPECT_EQ(golden["counts"]["vae"], 248);
}

}  // namespace
}  // namespace genview
