"""One network of full size in the hands of the peer: a warm-up and one measured call.

usage: full_part.py features ENCODER IMAGES BATCH fp32|bf16
       full_part.py unet|decode GENERATOR LATENTS - fp32|bf16
       full_part.py load GENERATOR - - fp32
"""
import os
import pathlib
import sys
import time

BEGIN = float(os.environ.get("BENCH_BEGIN", time.time()))  # when this process was started, imports included

import torch

from common import THREADS, report

what, folder, given, batch, precision = sys.argv[1:]
dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
torch.set_num_threads(THREADS)
torch.manual_seed(0)


def features():
    import open_clip
    from PIL import Image
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    del model.transformer, model.token_embedding  # the text tower, which nobody asks for here
    model = model.eval().to(dtype)
    files = sorted(p for p in pathlib.Path(given).rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"})[:int(batch)]
    pixels = torch.stack([transform(Image.open(f).convert("RGB")) for f in files]).to(dtype)
    return len(files), lambda: model.encode_image(pixels)


def unet():
    from diffusers import UNet2DConditionModel
    model = UNet2DConditionModel.from_pretrained(folder + "/unet", torch_dtype=dtype).eval()
    side, c = int(given), model.config
    x, labels = torch.randn(2, 4, side, side, dtype=dtype), torch.randn(2, c.projection_class_embeddings_input_dim, dtype=dtype)
    prompt = torch.randn(2, 77, c.cross_attention_dim, dtype=dtype)
    return 1, lambda: model(x, 500, encoder_hidden_states=prompt, class_labels=labels)


def decode():
    from diffusers import AutoencoderKL
    model = AutoencoderKL.from_pretrained(folder + "/vae", torch_dtype=dtype).eval()
    x = torch.randn(1, 4, int(given), int(given), dtype=dtype)
    return 1, lambda: model.decode(x).sample


if what == "load":
    from diffusers import StableUnCLIPImg2ImgPipeline
    pipeline = StableUnCLIPImg2ImgPipeline.from_pretrained(folder, torch_dtype=dtype)
    report(1, time.time() - BEGIN)
else:
    images, step = {"features": features, "unet": unet, "decode": decode}[what]()
    with torch.inference_mode():
        step()
        begin = time.perf_counter()
        step()
        report(images, time.perf_counter() - begin)
