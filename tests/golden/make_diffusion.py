"""Reference values for genview/models/{unet,vae}, genview/diffusion and genview/views, from diffusers and transformers.

    python tests/golden/make_diffusion.py        # versions: tests/golden/requirements.txt; writes tests/golden/diffusion/

Everything is tiny and random: what is compared is arithmetic, not pictures. Weights are rounded to fp16 before anything is
computed, so that the files are half as large and exact.
"""

import json
import pathlib
import shutil

import diffusers
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.embeddings import get_timestep_embedding
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).parent / "diffusion"


def randomise(model, seed):
    """Norms too: freshly made ones are 1 and 0, and would hide a forgotten scale or shift."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if p.dim() > 1:
                noise *= (p[0].numel()) ** -0.5
            elif "norm" in name and name.endswith("weight"):
                noise = 1 + 0.2 * noise
            else:
                noise *= 0.2
            p.copy_(noise.half().float())
    return model.eval()


def save_model(model, folder):
    """config.json as diffusers writes it, weights in fp16."""
    model.save_config(folder)
    state = {name: t.half().contiguous() for name, t in model.state_dict().items()}
    save_file(state, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})


UNETS = {
    # The kind the generator stage trains: no text, attention over the pixels alone.
    "unet_plain": dict(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), mid_block_type="UNetMidBlock2D",
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), attention_head_dim=8, class_embed_type="projection",
        projection_class_embeddings_input_dim=12),
    # As Stable unCLIP 2-1: text, linear projections, head counts in a list.
    "unet_text": dict(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=(2, 4), cross_attention_dim=6, use_linear_projection=True, upcast_attention=True,
        class_embed_type="projection", projection_class_embeddings_input_dim=10),
    # Every other road: projections as convolutions, lists everywhere, no class vector, no mid block, odd sizes, sin first.
    "unet_lists": dict(
        sample_size=7, in_channels=3, out_channels=5, block_out_channels=(8, 8, 16), layers_per_block=(1, 2, 1), norm_num_groups=2,
        norm_eps=1e-4, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"), mid_block_type=None,
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=(1, 2, 4),
        cross_attention_dim=(5, 5, 5), transformer_layers_per_block=(1, 1, 2), flip_sin_to_cos=False, freq_shift=1),
    # attention_head_dim of Attn blocks is a width, and up blocks take the list unreversed.
    "unet_heads": dict(
        sample_size=4, block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=4,
        down_block_types=("AttnDownBlock2D", "AttnDownBlock2D"), mid_block_type=None,
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D"), attention_head_dim=(2, 4)),
}


def make_unets():
    for seed, (name, config) in enumerate(UNETS.items()):
        unet = randomise(UNet2DConditionModel(**config), seed)
        save_model(unet, OUT / name)
        g = torch.Generator().manual_seed(100 + seed)
        size, n = config["sample_size"], 3
        io = {"sample": torch.randn(n, unet.config.in_channels, size, size, generator=g),
              "timesteps": torch.tensor([1, 500, 951])}
        if unet.config.class_embed_type:
            io["class_labels"] = torch.randn(n, config["projection_class_embeddings_input_dim"], generator=g)
        cross = config.get("cross_attention_dim")
        if cross is not None:
            io["prompt"] = torch.randn(n, 5, cross if isinstance(cross, int) else cross[0], generator=g)
        with torch.no_grad():
            io["output"] = unet(io["sample"], io["timesteps"], encoder_hidden_states=io.get("prompt"), class_labels=io.get("class_labels")).sample
        save_file({k: v.contiguous() for k, v in io.items()}, OUT / name / "io.safetensors")


def make_vaes():
    configs = {
        "vae": dict(block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, sample_size=16, latent_channels=4,
                    down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2),
        "vae_bare": dict(block_out_channels=(8,), layers_per_block=2, norm_num_groups=2, sample_size=8, latent_channels=2,
                         use_quant_conv=False, use_post_quant_conv=False, mid_block_add_attention=False, scaling_factor=0.5),
    }
    for seed, (name, config) in enumerate(configs.items()):
        vae = randomise(AutoencoderKL(**config), 10 + seed)
        save_model(vae, OUT / name)
        g = torch.Generator().manual_seed(200 + seed)
        pixels = torch.rand(2, 3, 16, 12, generator=g) * 2 - 1
        latents = torch.randn(2, config["latent_channels"], 4, 6, generator=g)
        with torch.no_grad():
            posterior = vae.encode(pixels).latent_dist
            io = {"pixels": pixels, "mean": posterior.mean, "logvar": posterior.logvar, "latents": latents,
                  "decoded": vae.decode(latents).sample}
        save_file({k: v.contiguous() for k, v in io.items()}, OUT / name / "io.safetensors")


def toy_network(x, t):
    return 0.5 * x - 0.3 + 0.2 * float(t) / 1000


def make_schedulers():
    """Times and trajectories of every scheduler, driven by the same toy network in fp64."""
    latent = dict(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    unclip = dict(latent, prediction_type="v_prediction", steps_offset=1, set_alpha_to_one=False, clip_sample=False, skip_prk_steps=True)
    cases = [("PNDMScheduler", unclip), ("DDIMScheduler", unclip), ("DPMSolverMultistepScheduler", unclip), ("EulerDiscreteScheduler", unclip)]
    for spacing in ("leading", "linspace", "trailing"):
        for kind in ("PNDMScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler"):
            cases.append((kind, dict(unclip, timestep_spacing=spacing)))
    epsilon = dict(unclip, prediction_type="epsilon")
    sample = dict(unclip, prediction_type="sample")
    cosine = dict(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample=False)
    cases += [
        ("PNDMScheduler", epsilon), ("DDIMScheduler", epsilon), ("DPMSolverMultistepScheduler", epsilon), ("EulerDiscreteScheduler", epsilon),
        ("DDIMScheduler", sample), ("DPMSolverMultistepScheduler", sample), ("EulerDiscreteScheduler", sample),
        ("PNDMScheduler", dict(unclip, skip_prk_steps=False)), ("PNDMScheduler", dict(epsilon, set_alpha_to_one=True)),
        ("DDIMScheduler", dict(unclip, set_alpha_to_one=True)), ("DDIMScheduler", dict(unclip, clip_sample=True, clip_sample_range=0.5)),
        ("DDIMScheduler", dict(unclip, rescale_betas_zero_snr=True, timestep_spacing="trailing")),
        ("DPMSolverMultistepScheduler", dict(unclip, rescale_betas_zero_snr=True, timestep_spacing="trailing")),
        ("DPMSolverMultistepScheduler", dict(unclip, final_sigmas_type="sigma_min")),
        ("DPMSolverMultistepScheduler", dict(unclip, solver_type="heun")), ("DPMSolverMultistepScheduler", dict(unclip, solver_order=1)),
        ("DPMSolverMultistepScheduler", dict(unclip, use_karras_sigmas=True)), ("DPMSolverMultistepScheduler", dict(unclip, euler_at_final=True, final_sigmas_type="sigma_min")),
        ("DPMSolverMultistepScheduler", dict(cosine, lambda_min_clipped=-5.1)), ("EulerDiscreteScheduler", dict(unclip, use_karras_sigmas=True)),
        ("EulerDiscreteScheduler", dict(epsilon, final_sigmas_type="sigma_min")), ("PNDMScheduler", dict(cosine, skip_prk_steps=True)),
        ("DDIMScheduler", dict(num_train_timesteps=200, trained_betas=[0.001 * (i % 20 + 1) for i in range(200)])), ("DDIMScheduler", {}), ("PNDMScheduler", {}),
    ]
    out = []
    for kind, config in cases:
        for steps in (4, 20):
            scheduler = getattr(diffusers, kind).from_config(dict(config))
            scheduler.set_timesteps(steps)
            x = torch.tensor([[1.0, -0.5, 0.25]], dtype=torch.float64) * float(scheduler.init_noise_sigma)
            path = []
            for t in scheduler.timesteps:
                x = scheduler.step(toy_network(scheduler.scale_model_input(x, t), t), t, x).prev_sample
                path.append([round(v, 7) for v in x[0].tolist()])
            out.append({"kind": kind, "config": config, "steps": steps, "times": [round(float(t), 5) for t in scheduler.timesteps],
                        "initial_sigma": float(scheduler.init_noise_sigma), "path": path})
    (OUT / "schedulers.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")
    # A file as diffusers writes it, -Infinity and all.
    diffusers.DPMSolverMultistepScheduler(**latent).save_config(OUT / "dpm_scheduler")


def make_noising():
    noiser = diffusers.DDPMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")
    g = torch.Generator().manual_seed(300)
    normaliser = StableUnCLIPImageNormalizer(embedding_dim=6)
    with torch.no_grad():
        normaliser.mean.copy_(torch.randn(1, 6, generator=g))
        normaliser.std.copy_(torch.rand(1, 6, generator=g) + 0.5)
    levels = torch.tensor([0, 1, 100, 400, 999])
    embeds, noise = torch.randn(5, 6, generator=g), torch.randn(5, 6, generator=g)
    with torch.no_grad():
        noised = normaliser.unscale(noiser.add_noise(normaliser.scale(embeds), noise, levels))
        level = get_timestep_embedding(levels, 6, flip_sin_to_cos=True, downscale_freq_shift=0)
    io = {"mean": normaliser.mean.data, "std": normaliser.std.data, "levels": levels, "embeddings": embeds, "noise": noise,
          "class_vectors": torch.cat([noised, level], 1), "alpha_bar": noiser.alphas_cumprod}
    save_file({k: v.contiguous() for k, v in io.items()}, OUT / "noising.safetensors")


if __name__ == "__main__":
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    make_unets()
    make_vaes()
    make_schedulers()
    make_noising()
