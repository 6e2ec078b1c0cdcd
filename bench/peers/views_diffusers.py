"""Views from embeddings with diffusers' own networks, scheduler and embedding noise, in the loop of its Stable unCLIP pipeline
(the pipeline class itself insists on a text encoder). One level for the whole batch, as it can.

usage: views_diffusers.py GENERATOR BATCH STEPS SECONDS [one-by-one]
"""
import pathlib
import sys

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from transformers import CLIPVisionModelWithProjection
import diffusers
import json

from common import THREADS, timed_loop

folder, batch, steps, seconds = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
calls, rows = (batch, 1) if sys.argv[5:] == ["one-by-one"] else (1, batch)
torch.set_num_threads(THREADS)
torch.manual_seed(0)

load = lambda kind, part: kind.from_pretrained(folder / part).float().eval()
encoder, unet, vae = load(CLIPVisionModelWithProjection, "image_encoder"), load(UNet2DConditionModel, "unet"), load(AutoencoderKL, "vae")
unet, vae = unet.to(memory_format=torch.channels_last), vae.to(memory_format=torch.channels_last)
normalizer = StableUnCLIPImageNormalizer.from_pretrained(folder / "image_normalizer")
noiser = DDPMScheduler.from_pretrained(folder / "image_noising_scheduler")
index = json.loads((folder / "model_index.json").read_text())
scheduler = getattr(diffusers, index["scheduler"][1]).from_pretrained(folder / "scheduler")
size = encoder.config.image_size


def embeddings(pixels, level):
    x = normalizer.scale(encoder(pixels).image_embeds)
    times = torch.full((x.shape[0],), level)
    x = normalizer.unscale(noiser.add_noise(x, timesteps=times, noise=torch.randn_like(x)))
    from diffusers.models.embeddings import get_timestep_embedding
    return torch.cat([x, get_timestep_embedding(times, x.shape[-1], flip_sin_to_cos=True, downscale_freq_shift=0)], 1)


@torch.inference_mode()
def views():
    for _ in range(calls):
        labels = embeddings(torch.randn(rows, 3, size, size), 200)
        labels = torch.cat([torch.zeros_like(labels), labels])
        scheduler.set_timesteps(steps)
        latents = torch.randn(rows, unet.config.in_channels, unet.config.sample_size, unet.config.sample_size) * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            seen = scheduler.scale_model_input(torch.cat([latents] * 2), t)
            out = unet(seen, t, encoder_hidden_states=None, class_labels=labels, return_dict=False)[0]
            plain, told = out.chunk(2)
            latents = scheduler.step(plain + 3 * (told - plain), t, latents, return_dict=False)[0]
        vae.decode(latents / vae.config.scaling_factor, return_dict=False)


timed_loop(views, seconds, batch, warmup=1)
