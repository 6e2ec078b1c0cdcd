"""Stable unCLIP image variation with diffusers' own components, all images at one level (it takes no other).

usage: views_diffusers.py PIPELINE_FOLDER BATCH STEPS SECONDS
"""
import json
import pathlib
import sys

import diffusers
import torch
import transformers

from common import THREADS, timed_loop

folder, batch, steps, seconds = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
torch.set_num_threads(THREADS)
torch.set_grad_enabled(False)
vision = transformers.CLIPVisionModelWithProjection.from_pretrained(folder / "image_encoder")
unet = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet")
vae = diffusers.AutoencoderKL.from_pretrained(folder / "vae")
scheduler_config = json.loads((folder / "scheduler/scheduler_config.json").read_text())
scheduler = getattr(diffusers, scheduler_config["_class_name"]).from_config(scheduler_config)
noising = diffusers.DDPMScheduler.from_config(json.loads((folder / "image_noising_scheduler/scheduler_config.json").read_text()))
pixels = torch.randn(batch, 3, vision.config.image_size, vision.config.image_size)
guidance, level = 2.0, 200


def once():
    embeds = vision(pixels).image_embeds
    embeds = noising.add_noise(embeds, torch.randn_like(embeds), torch.full((batch,), level))
    time = diffusers.models.embeddings.get_timestep_embedding(torch.full((batch,), level), embeds.shape[1], flip_sin_to_cos=True,
                                                             downscale_freq_shift=0)
    labels = torch.cat([embeds, time], 1)
    labels = torch.cat([torch.zeros_like(labels), labels])
    scheduler.set_timesteps(steps)
    size = unet.config.sample_size
    latents = torch.randn(batch, unet.config.in_channels, size, size) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        model_input = scheduler.scale_model_input(torch.cat([latents, latents]), t)
        free, conditioned = unet(model_input, t, encoder_hidden_states=None, class_labels=labels).sample.chunk(2)
        latents = scheduler.step(free + guidance * (conditioned - free), t, latents).prev_sample
    image = vae.decode(latents / vae.config.scaling_factor).sample
    return ((image / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)


timed_loop(once, seconds, batch, warmup=1)
