"""What the peers make of photographs with full-size weights, to be compared tensor by tensor.

usage: full_parity.py features ENCODER IMAGES OUT
       full_parity.py views GENERATOR IMAGES OUT NOISE LEVELS STEPS GUIDANCE
"""
import pathlib
import sys

import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from common import THREADS

what, folder, images, out = sys.argv[1:5]
torch.set_num_threads(THREADS)
files = sorted(p for p in pathlib.Path(images).iterdir() if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
pictures = [Image.open(f).convert("RGB") for f in files]


def features():
    import open_clip
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    model.eval()
    model.visual.output_tokens = True
    pooled, tokens = zip(*[model.visual(transform(p)[None]) for p in pictures])
    return {"embeddings": torch.cat(pooled), "tokens": torch.cat(tokens)}


def views():
    from diffusers import StableUnCLIPImg2ImgPipeline
    from transformers import CLIPImageProcessorPil
    noise, levels, steps, guidance = load_file(sys.argv[5]), [int(level) for level in sys.argv[6].split(",")], int(sys.argv[7]), float(sys.argv[8])
    pipe = StableUnCLIPImg2ImgPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipe.feature_extractor = CLIPImageProcessorPil.from_pretrained(folder + "/feature_extractor")  # Pillow's resize, as the weights were trained with
    pipe.set_progress_bar_config(disable=True)
    plain = pipe.noise_image_embeddings
    rows = {"image_embeds": [], "class_labels": [], "prompt_embeds": [], "unet_first": [], "latents": [], "image": []}
    for i, picture in enumerate(pictures):  # the pipeline takes one level a call
        calls, keep = [], {}
        hook = pipe.unet.register_forward_hook(lambda m, a, k, o: calls.append((k["class_labels"], k["encoder_hidden_states"], o[0])) if not calls else None, with_kwargs=True)
        pipe.noise_image_embeddings = lambda image_embeds, noise_level, generator=None: (
            keep.update(embeds=image_embeds), plain(image_embeds, noise_level, noise=noise["embedding_noise"][i:i + 1]))[1]
        made = pipe(image=picture, prompt="", num_inference_steps=steps, guidance_scale=guidance, noise_level=levels[i], latents=noise["latents"][i:i + 1],
                    output_type="np", callback=lambda step, time, x: keep.update(latents=x))
        hook.remove()
        rows["image_embeds"].append(keep["embeds"])
        rows["class_labels"].append(calls[0][0][-1:])
        rows["prompt_embeds"].append(calls[0][1][-1:])
        rows["unet_first"].append(calls[0][2])
        rows["latents"].append(keep["latents"])
        rows["image"].append(torch.from_numpy((made.images * 255).round().astype("uint8")))
    # Unconditional rows of all pictures first.
    rows["unet_first"] = [part[half:half + 1] for half in (0, 1) for part in rows["unet_first"]]
    return {key: torch.cat(parts) for key, parts in rows.items()}


with torch.inference_mode():
    save_file({key: value.float().contiguous() if value.dtype != torch.uint8 else value.contiguous() for key, value in (features if what == "features" else views)().items()}, out)
