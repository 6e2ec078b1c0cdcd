"""Random weights in the layouts that people have on their disks, written by the peers: the architectures of OpenCLIP ViT-H/14,
OpenCLIP ConvNeXt-Base-wide and stable-diffusion-2-1-unclip, or with `tiny` small ones through the same code.

usage: make_full.py vit|convnext|pipeline FOLDER [tiny]
"""
import gzip
import json
import pathlib
import sys

import open_clip
import torch
from safetensors.torch import save_file

part, folder, tiny = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:] == ["tiny"]
torch.manual_seed(0)

SMALL_TEXT = {"context_length": 16, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1}
TOWERS = {
    "vit": ("ViT-H-14", {"embed_dim": 32, "vision_cfg": {"image_size": 56, "layers": 2, "width": 64, "head_width": 16, "patch_size": 14}, "text_cfg": SMALL_TEXT}),
    "convnext": ("convnext_base_w", {"embed_dim": 32, "vision_cfg": {"timm_model_name": "convnext_atto", "timm_model_pretrained": False, "timm_pool": "",
                                                                    "timm_proj": "linear", "timm_drop": 0.0, "timm_drop_path": 0.1, "image_size": 64},
                                     "text_cfg": SMALL_TEXT}),
}


def make_tower(name, small):
    config = small if tiny else open_clip.get_model_config(name)
    model = open_clip.CLIP(**config).eval()
    with torch.no_grad():
        for key, tensor in model.named_parameters():
            if key.endswith("gamma"):  # freshly made it is 1e-6 and would hide the branch
                tensor.fill_(0.5)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors", {"format": "pt"})
    cfg = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": cfg}, indent=2))


def make_tokenizer(target):
    """CLIP's own words, out of open_clip's package, as transformers keeps them."""
    lines = gzip.open(pathlib.Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz").read().decode().split("\n")
    merges = lines[1:49152 - 256 - 2 + 1]
    letters = list(open_clip.tokenizer.bytes_to_unicode().values())
    words = letters + [letter + "</w>" for letter in letters] + ["".join(merge.split()) for merge in merges] + ["<|startoftext|>", "<|endoftext|>"]
    target.mkdir(parents=True, exist_ok=True)
    (target / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}, ensure_ascii=False))
    (target / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "!"}
    (target / "special_tokens_map.json").write_text(json.dumps(special))
    (target / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 77, "tokenizer_class": "CLIPTokenizer", **special}))


def make_pipeline():
    import diffusers
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
    from transformers import CLIPImageProcessorPil, CLIPTextConfig, CLIPTextModel, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection

    width, text_width, size = (32, 32, 56) if tiny else (1024, 1024, 224)
    vision = (dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4) if tiny else
              dict(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=16))
    text = (dict(num_hidden_layers=1, num_attention_heads=2, intermediate_size=64) if tiny else
            dict(num_hidden_layers=23, num_attention_heads=16, intermediate_size=4096))
    unet = (dict(block_out_channels=(32, 64, 64, 64), attention_head_dim=[2, 4, 4, 4], sample_size=16, norm_num_groups=8) if tiny else
            dict(block_out_channels=(320, 640, 1280, 1280), attention_head_dim=[5, 10, 20, 20], sample_size=96))
    vae = (dict(block_out_channels=(16, 16, 32, 32), norm_num_groups=8, sample_size=128) if tiny else dict(block_out_channels=(128, 256, 512, 512), sample_size=768))
    half = lambda model: model.eval().half()  # as the files of the release with `fp16` in their name
    make_tokenizer(folder / "tokenizer")
    # One after the other: only halves are kept.
    image_encoder = half(CLIPVisionModelWithProjection(CLIPVisionConfig(image_size=size, patch_size=14, projection_dim=width, hidden_act="gelu", **vision)))
    text_encoder = half(CLIPTextModel(CLIPTextConfig(vocab_size=49408, hidden_size=text_width, max_position_embeddings=77, hidden_act="gelu", projection_dim=512, **text)))
    unet = half(diffusers.UNet2DConditionModel(
        cross_attention_dim=text_width, use_linear_projection=True, class_embed_type="projection", projection_class_embeddings_input_dim=2 * width,
        upcast_attention=True, **unet))
    vae = half(diffusers.AutoencoderKL(layers_per_block=2, latent_channels=4, down_block_types=("DownEncoderBlock2D",) * 4,
                                       up_block_types=("UpDecoderBlock2D",) * 4, scaling_factor=0.18215, **vae))
    diffusers.StableUnCLIPImg2ImgPipeline(
        feature_extractor=CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size}), image_encoder=image_encoder,
        image_normalizer=StableUnCLIPImageNormalizer(embedding_dim=width),
        image_noising_scheduler=diffusers.DDPMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2"),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"), text_encoder=text_encoder, unet=unet,
        scheduler=diffusers.PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction", steps_offset=1,
                                          set_alpha_to_one=False, skip_prk_steps=True),
        vae=vae).save_pretrained(folder)
    make_tokenizer(folder / "tokenizer")  # as the release has it; newer versions of transformers write another file


folder.mkdir(parents=True, exist_ok=True)
make_pipeline() if part == "pipeline" else make_tower(*TOWERS[part])
(folder / ".whole").touch()
