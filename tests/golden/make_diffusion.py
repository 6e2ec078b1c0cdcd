"""Reference values for genview/models/{unet,vae}, genview/diffusion and genview/views, from diffusers and transformers.

    python tests/golden/make_diffusion.py        # versions: tests/golden/requirements.txt; writes tests/golden/diffusion/

Everything is tiny and random: what is compared is arithmetic, not pictures. Weights are rounded to fp16 before anything is
computed, so that the files are half as large and exact.
"""

import json
import pathlib
import shutil

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.embeddings import get_timestep_embedding
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

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
            # Tiles of 8 latents; 13 x 21 ends in tiles smaller than the overlap, 6 x 14 is less than a tile high.
            wide = {"wide": torch.randn(1, config["latent_channels"], 13, 21, generator=g), "flat": torch.randn(2, config["latent_channels"], 6, 14, generator=g)}
            vae.enable_tiling()
            io |= wide | {f"{key}_tiled": vae.decode(value).sample for key, value in wide.items()}
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
    solver, wide = dict(unclip, final_sigmas_type="sigma_min"), dict(thresholding=True, dynamic_thresholding_ratio=0.8, sample_max_value=1.5)
    cases += [("DPMSolverMultistepScheduler", config) for config in (
        dict(unclip, solver_order=3), dict(epsilon, solver_order=3, final_sigmas_type="sigma_min"), dict(unclip, solver_order=3, lower_order_final=False),
        dict(solver, algorithm_type="dpmsolver"), dict(solver, algorithm_type="dpmsolver", solver_type="heun"),
        dict(solver, algorithm_type="dpmsolver", solver_order=3), dict(solver, algorithm_type="dpmsolver", solver_order=1, prediction_type="sample"),
        dict(solver, algorithm_type="dpmsolver", prediction_type="epsilon", **wide), dict(unclip, **wide), dict(solver, algorithm_type="deis", solver_type="logrho"),
        dict(unclip, use_karras_sigmas=True, sigma_min=0.1, sigma_max=9.0))]
    cases += [("DDIMScheduler", dict(epsilon, clip_sample=True, **wide)), ("DDIMScheduler", dict(unclip, thresholding=True)),
              ("EulerDiscreteScheduler", dict(unclip, use_karras_sigmas=True, sigma_min=0.1, sigma_max=9.0))]
    out = []
    for kind, config in cases:
        for steps in (4, 20):
            scheduler = getattr(diffusers, kind).from_config(dict(config))
            scheduler.set_timesteps(steps)
            x = torch.tensor([[[1.0], [-0.5], [0.25]]], dtype=torch.float64) * float(scheduler.init_noise_sigma)
            path = []
            for t in scheduler.timesteps:
                x = scheduler.step(toy_network(scheduler.scale_model_input(x, t), t), t, x).prev_sample
                path.append([round(v, 7) for v in x.flatten().tolist()])
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
    for schedule in ("sigmoid", "laplace"):
        io[f"alpha_bar_{schedule}"] = diffusers.DDPMScheduler(num_train_timesteps=1000, beta_schedule=schedule).alphas_cumprod
    save_file({k: v.contiguous() for k, v in io.items()}, OUT / "noising.safetensors")


def make_pictures(folder, count=3):
    """Smooth random pictures of several shapes, as PNG."""
    rng = np.random.default_rng(7)
    pictures = []
    for i, size in enumerate([(40, 32), (32, 44), (36, 36)][:count]):
        small = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        pictures.append(Image.fromarray(small).resize(size, Image.BICUBIC))
        pictures[-1].save(folder / f"picture{i}.png")
    return pictures


TEXTS = ["", "a cat", "don't  STOP 2024!", "A photo of the cat's hat,\tcaf\u00e9 \u00c9t\u00e9 \u0416\u0443\u043a \u4e2d\u6587 \u00bd \U0001f600", "<|endoftext|> then more", "stop! now!!", "!", "\u0130stanbul",
         "a very long text that has to be cut because it does not fit into the few places there are"]


def make_tokenizer(folder):
    """A byte-pair vocabulary of a few merges, in the layout of the published folders; also as tokenizer.json."""
    visible = list(range(0x21, 0x7F)) + list(range(0xA1, 0xAD)) + list(range(0xAE, 0x100))
    letters = [chr(b) for b in visible] + [chr(0x100 + i) for i in range(256 - len(visible))]
    merges = ["c a", "ca t</w>", "a t</w>", "t h", "th e</w>", "p h", "o t", "ph ot", "phot o</w>", "h at</w>", "s t", "2 0"]
    vocabulary = letters + [c + "</w>" for c in letters] + [m.replace(" ", "") for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate(vocabulary)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[tuple(m.split(" ")) for m in merges], pad_token="!", model_max_length=16)
    folder.mkdir(parents=True, exist_ok=True)
    # "!" is a word too; where it is the padding token, it is taken out of the text as that.
    plain = CLIPTokenizer(vocab=vocabulary, merges=[tuple(m.split(" ")) for m in merges], model_max_length=16)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps({"bos_token": {"content": "<|startoftext|>"}, "eos_token": {"content": "<|endoftext|>"},
                                                                "unk_token": {"content": "<|endoftext|>"}, "pad_token": "!"}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 16, "tokenizer_class": "CLIPTokenizer", "pad_token": "!"}))
    (OUT / "tokens.json").write_text(json.dumps([{"text": t, "ids": plain(t, add_special_tokens=False).input_ids,
                                                     "ids_where_it_pads": tokenizer(t, add_special_tokens=False).input_ids} for t in TEXTS]))
    plain.save_pretrained(OUT / "tokenizer_json")
    return tokenizer


def make_pipeline(name, seed, unet, scheduler, width, vae, normaliser=False, text=False):
    """A whole pipeline folder, and what diffusers makes of three pictures at three levels with given noise."""
    folder = OUT / name
    g = torch.Generator().manual_seed(400 + seed)
    vision = CLIPVisionConfig(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=8,
                              projection_dim=width, hidden_act="gelu")
    norm = StableUnCLIPImageNormalizer(embedding_dim=width)
    if normaliser:
        with torch.no_grad():
            norm.mean.copy_(torch.randn(1, width, generator=g).half().float())
            norm.std.copy_((torch.rand(1, width, generator=g) + 0.5).half().float())
    pipe = diffusers.StableUnCLIPImg2ImgPipeline(
        feature_extractor=CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}),
        image_encoder=randomise(CLIPVisionModelWithProjection(vision), seed + 1), image_normalizer=norm,
        image_noising_scheduler=diffusers.DDPMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2"),
        tokenizer=None, text_encoder=None, unet=randomise(UNet2DConditionModel(**unet), seed + 2), scheduler=scheduler,
        vae=randomise(AutoencoderKL(**vae), seed + 3))
    pipe.set_progress_bar_config(disable=True)
    prompt = {"prompt_embeds": torch.zeros(1, 1, 1), "negative_prompt_embeds": torch.zeros(1, 1, 1)}
    if text:
        prompt = {}
        tokenizer = make_tokenizer(folder / "tokenizer")
        config = CLIPTextConfig(vocab_size=len(tokenizer), hidden_size=6, intermediate_size=10, num_hidden_layers=2, num_attention_heads=2,
                                max_position_embeddings=16, hidden_act="gelu", projection_dim=4)
        pipe.register_modules(text_encoder=randomise(CLIPTextModel(config), seed + 4), tokenizer=tokenizer)
    pipe.save_pretrained(folder)
    if text:
        make_tokenizer(folder / "tokenizer")
        (folder / "tokenizer" / "tokenizer.json").unlink(missing_ok=True)
    for part in ("image_encoder", "image_normalizer", "unet", "vae") + (("text_encoder",) if text else ()):  # the same weights, half the bytes
        file = next((folder / part).glob("*.safetensors"))
        save_file({k: v.half().contiguous() if v.is_floating_point() else v for k, v in load_file(file).items()}, file, metadata={"format": "pt"})
    run_pipeline(pipe, folder, g, prompt)


def run_pipeline(pipe, folder, g, prompt):
    pictures = make_pictures(folder)
    levels = [0, 200, 400]
    n, size = len(pictures), pipe.unet.config.sample_size
    width = pipe.image_encoder.config.projection_dim
    io = {"levels": torch.tensor(levels), "latents_in": torch.randn(n, 4, size, size, generator=g), "embedding_noise": torch.randn(n, width, generator=g)}
    io["pixel_values"] = pipe.feature_extractor(images=pictures, return_tensors="pt").pixel_values
    with torch.no_grad():
        io["image_embeds"] = pipe.image_encoder(io["pixel_values"]).image_embeds
    noise_image_embeddings = pipe.noise_image_embeddings
    # Euler's way begins with noise of another size than 1; the pipeline takes latents that it is given as they are.
    cases = [("a", 20, 10.0, None, None), ("b", 4, 1.0, None, None), ("c", 6, 3.0, "DPMSolverMultistepScheduler", None),
             ("d", 5, 3.0, "EulerDiscreteScheduler", None)]
    if pipe.text_encoder is not None:  # a text for each picture, and one that guidance leads away from
        cases.append(("e", 3, 3.0, None, (["a cat", "", "the hat!"], "a photo")))
    for case, steps, guidance, kind, texts in cases:
        own = pipe.scheduler
        if kind:
            # As a user of the folder would: values that the file spells out are carried over, the class's defaults are not.
            pipe.scheduler = getattr(diffusers, kind).from_config(type(own).load_config(folder / "scheduler"))
        rows = {"class_labels": [], "prompt_embeds": [], "unet_first": [], "latents": [], "image": []}
        for i in range(n):  # the pipeline takes one level a call
            calls = []
            hook = pipe.unet.register_forward_hook(lambda m, a, k, out: calls.append((k["class_labels"], out[0], k["encoder_hidden_states"])), with_kwargs=True)
            pipe.noise_image_embeddings = lambda image_embeds, noise_level, generator=None: noise_image_embeddings(
                image_embeds, noise_level, noise=io["embedding_noise"][i:i + 1])
            keep = {}
            out = pipe(image=pictures[i], num_inference_steps=steps, guidance_scale=guidance, noise_level=levels[i], latents=io["latents_in"][i:i + 1],
                       output_type="np", callback=lambda s, t, x: keep.update(latents=x),
                       **({"prompt": texts[0][i], "negative_prompt": texts[1]} if texts else prompt))
            hook.remove()
            rows["class_labels"].append(calls[0][0][-1:])
            rows["unet_first"].append(calls[0][1])
            rows["prompt_embeds"].append(calls[0][2][-1:])
            rows["latents"].append(keep["latents"])
            rows["image"].append(torch.from_numpy((out.images * 255).round().astype("uint8")))
        if pipe.text_encoder is None:
            del rows["prompt_embeds"]
        if texts:  # the others have been compared
            del rows["class_labels"], rows["image"]
        for key, parts in rows.items():
            joined = torch.cat(parts)
            if key == "unet_first" and guidance > 1:  # unconditional rows of all pictures first
                joined = torch.cat([torch.cat([p[:1] for p in parts]), torch.cat([p[1:] for p in parts])])
            io[f"{case}.{key}"] = joined
        pipe.scheduler = own
    save_file({k: v.contiguous() for k, v in io.items()}, folder / "io.safetensors")


def make_pipelines():
    unclip = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction", steps_offset=1, set_alpha_to_one=False)
    vae = dict(block_out_channels=(4, 8), layers_per_block=1, norm_num_groups=2, sample_size=16, latent_channels=4,
               down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, scaling_factor=0.4)
    make_pipeline("pipeline_pndm", 20, dict(UNETS["unet_plain"], sample_size=8), diffusers.PNDMScheduler(skip_prk_steps=True, **unclip), 6, vae)
    make_pipeline("pipeline_ddim", 30, dict(UNETS["unet_heads"], sample_size=4, class_embed_type="projection", projection_class_embeddings_input_dim=10),
                  diffusers.DDIMScheduler(clip_sample=False, **dict(unclip, prediction_type="epsilon")), 5,
                  dict(vae, block_out_channels=(4, 4, 8), down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3), normaliser=True)
    make_pipeline("pipeline_text", 40, dict(UNETS["unet_text"], sample_size=8, projection_class_embeddings_input_dim=8), diffusers.PNDMScheduler(skip_prk_steps=True, **unclip), 4,
                  vae, text=True)


if __name__ == "__main__":
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    make_unets()
    make_vaes()
    make_schedulers()
    make_noising()
    make_pipelines()
