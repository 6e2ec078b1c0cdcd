"""Stable unCLIP pipelines of diffusers: every network's settings, texts, and schedulers: `views --noise --dump`."""
import diffusers
import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

import sweep
from sweep_encoders import processor_rules

diffusers.utils.logging.set_verbosity_error()
KINDS = ["DDIMScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler"]
ACTIVATIONS = ["gelu", "quick_gelu", "gelu_new", "silu", "relu"]
MERGES = ["c a", "ca t</w>", "a t</w>", "t h", "th e</w>", "p h", "o t", "ph ot", "phot o</w>", "h at</w>", "s t", "2 0", "' s</w>"]
WORDS = ["a", "cat", "The", "photo", "hat's", "2024", "don't", "STOP!", "!", "...", ",", "\t", "  ", "café", "Été", "Жук", "中文", "½", "😀", "ﬁ", "ß", "İ",
         "<|endoftext|>", "<|startoftext|>", "x_y", "&amp;", "\"q\"", "\u00a0", "Kadıköy", "ﷺ", "٣", "Ⅷ"]


def tokenizer(draw):
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = [chr(b) for b in visible] + [chr(0x100 + i) for i in range(256 - len(visible))]
    words = letters + [c + "</w>" for c in letters] + [m.replace(" ", "") for m in MERGES] + ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[tuple(m.split(" ")) for m in MERGES], model_max_length=16,
                         **draw.some(0.5, pad_token=["!"]))


def text(draw):
    return "".join(draw.choice(WORDS) + draw.choice(["", " ", " "]) for _ in range(draw.randint(0, 9))).strip()


def scheduler_settings(draw, kind):
    config = {"num_train_timesteps": draw.choice([1000, 1000, 200, 1024]), "prediction_type": draw.choice(["epsilon", "v_prediction", "v_prediction", "sample"]),
              "beta_schedule": draw.choice(["linear", "scaled_linear", "squaredcos_cap_v2"]), "beta_start": 0.00085, "beta_end": 0.012}
    config |= draw.some(0.5, timestep_spacing=["leading", "trailing", "linspace"], steps_offset=[0, 1, 5])
    if kind != "PNDMScheduler" and config["prediction_type"] != "epsilon":  # of the last time nothing is left to divide by
        config |= draw.some(0.3, rescale_betas_zero_snr=[True])
    thresholds = {"thresholding": True} | draw.some(0.7, dynamic_thresholding_ratio=[0.9, 0.7], sample_max_value=[1.0, 1.5, 4.0])
    if kind == "DDIMScheduler":
        config |= draw.some(0.5, clip_sample=[False, True], clip_sample_range=[0.7, 2.0], set_alpha_to_one=[True, False])
        config |= thresholds if draw.maybe(0.2) else {}
    elif kind == "PNDMScheduler":
        config |= draw.some(0.5, skip_prk_steps=[True, False], set_alpha_to_one=[True, False])
        if config["prediction_type"] == "sample":
            draw.unsupported.append("prediction_type")
    else:
        config |= draw.some(0.3, use_karras_sigmas=[True], final_sigmas_type=["zero", "sigma_min"])
    if kind == "DPMSolverMultistepScheduler":
        config |= draw.some(0.4, solver_order=[1, 2, 3], solver_type=["midpoint", "heun", "bh2"], lower_order_final=[True, False], euler_at_final=[True, False],
                            algorithm_type=["dpmsolver++", "dpmsolver"], lambda_min_clipped=[-5.1])
        if config.get("algorithm_type") == "dpmsolver":
            config["final_sigmas_type"] = "sigma_min"
        if config.get("use_karras_sigmas") and config.get("solver_type") == "heun" or config.get("solver_order") == 3:
            config["final_sigmas_type"] = "zero" if config.get("algorithm_type") != "dpmsolver" else "sigma_min"
        config |= thresholds if draw.maybe(0.2) else {}
        config |= draw.foreign(0.1, use_exponential_sigmas=[True], use_lu_lambdas=[True], use_beta_sigmas=[True], use_flow_sigmas=[True],
                               algorithm_type=["sde-dpmsolver++"], variance_type=["learned_range"])
    if kind == "EulerDiscreteScheduler":
        if config.get("use_karras_sigmas"):
            config |= draw.some(0.4, sigma_min=[0.05], sigma_max=[8.0])
        config |= draw.foreign(0.1, use_exponential_sigmas=[True], use_beta_sigmas=[True], interpolation_type=["log_linear"], timestep_type=["continuous"])
    return config


def unet_settings(draw, width, cross):
    groups, levels = draw.choice([2, 4]), draw.randint(1, 3)
    channels = [groups * draw.choice([2, 4]) for _ in range(levels)]
    kinds = ["DownBlock2D", "AttnDownBlock2D"] + (["CrossAttnDownBlock2D"] if cross else [])
    down = [draw.choice(kinds) for _ in range(levels)]
    up = [draw.choice(kinds).replace("Down", "Up") for _ in range(levels)]
    config = {"sample_size": 8, "block_out_channels": channels, "norm_num_groups": groups, "down_block_types": down, "up_block_types": up,
              "mid_block_type": draw.choice(["UNetMidBlock2DCrossAttn"] if cross else ["UNetMidBlock2D", None]), "class_embed_type": "projection",
              "projection_class_embeddings_input_dim": 2 * width, "attention_head_dim": draw.choice([1, 2, [draw.choice([1, 2]) for _ in range(levels)]]),
              "layers_per_block": draw.choice([1, 2, [draw.choice([1, 2]) for _ in range(levels)]])}
    if cross:
        config |= {"cross_attention_dim": cross} | draw.some(use_linear_projection=[True], upcast_attention=[True], transformer_layers_per_block=[1, 2])
    config |= draw.some(0.2, norm_eps=[1e-4, 1e-6], flip_sin_to_cos=[False], freq_shift=[1], dropout=[0.1], act_fn=["silu", "swish"])
    return config | draw.foreign(0.1, act_fn=["gelu", "mish"], resnet_time_scale_shift=["scale_shift"], time_embedding_type=["fourier"], center_input_sample=[True],
                                 mid_block_scale_factor=[2.0], resnet_out_scale_factor=[2.0], class_embeddings_concat=[True], time_embedding_act_fn=["silu"],
                                 resnet_skip_time_act=[True], only_cross_attention=[True], dual_cross_attention=[True])


def vae_settings(draw):
    groups, levels = 2, draw.randint(1, 3)
    config = {"block_out_channels": [groups * draw.choice([1, 2, 4]) for _ in range(levels)], "norm_num_groups": groups, "sample_size": 16, "latent_channels": 4,
              "down_block_types": ["DownEncoderBlock2D"] * levels, "up_block_types": ["UpDecoderBlock2D"] * levels, "scaling_factor": draw.choice([0.18215, 0.4, 1.0])}
    config |= draw.some(layers_per_block=[1, 2], use_quant_conv=[False], use_post_quant_conv=[False], mid_block_add_attention=[False], act_fn=["silu", "swish"],
                        force_upcast=[False], shift_factor=[0.1])
    return config | draw.foreign(0.05, act_fn=["gelu", "mish"])


def build(draw, folder, unet=None, vae=None, vision=None, words=None, rules=None, scheduler=None, noising=None, width=4):
    """A pipeline in `folder`; what is not given is the least there is."""
    vision = {"hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 12, "patch_size": 6} | (vision or {})
    normaliser = sweep.randomise(StableUnCLIPImageNormalizer(embedding_dim=width), draw)
    with torch.no_grad():
        normaliser.std.abs_().add_(0.5)
    kind, settings = scheduler or ("PNDMScheduler", {"skip_prk_steps": True, "steps_offset": 1, "prediction_type": "v_prediction"})
    tower = CLIPVisionModelWithProjection(CLIPVisionConfig(**vision, projection_dim=width))
    parts = {"tokenizer": None, "text_encoder": None}
    if words is not None:
        parts["tokenizer"] = tokenizer(draw)
        parts["text_encoder"] = sweep.randomise(CLIPTextModel(CLIPTextConfig(
            **({"hidden_size": 6, "intermediate_size": 10, "num_hidden_layers": 1, "num_attention_heads": 2} | words), vocab_size=len(parts["tokenizer"]),
            max_position_embeddings=16)), draw)
    unet = unet or unet_settings(Small(), width, 6 if words is not None else 0)
    pipe = diffusers.StableUnCLIPImg2ImgPipeline(
        feature_extractor=CLIPImageProcessorPil(**(rules or {"size": 12, "crop_size": 12})), image_encoder=sweep.randomise(tower, draw), image_normalizer=normaliser,
        image_noising_scheduler=diffusers.DDPMScheduler(**{"beta_schedule": "squaredcos_cap_v2"} | (noising or {})),
        unet=sweep.randomise(UNet2DConditionModel(**unet), draw), scheduler=getattr(diffusers, kind)(**settings),
        vae=sweep.randomise(AutoencoderKL(**(vae or vae_settings(Small()))), draw), **parts)
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(folder)
    return pipe


class Small(sweep.Draw):
    """Draws the first of everything."""

    def __init__(self):
        super().__init__(0)

    def choice(self, values):
        return values[0]

    def randint(self, low, high):
        return low

    def random(self):
        return 1.0


def views(draw, folder, pipe, settings, kind="", prompt=None, negative=None, guidance=None):
    """The peer's and the program's tensors of two pictures; the peer takes one at a time."""
    steps, guidance = draw.choice([1, 2, 3, 4, 5, 7, 14, 15, 20]), guidance or draw.choice([1.0, 2.0, 5.0])
    level = draw.choice([0, 100, 400, pipe.image_noising_scheduler.config.num_train_timesteps - 1])
    images, generator = sweep.pictures(draw, folder / "pictures", count=2), torch.Generator().manual_seed(draw.getrandbits(32))
    size, width = pipe.unet.config.sample_size, pipe.image_encoder.config.projection_dim
    noise = {"latents": torch.randn(2, 4, size, size, generator=generator), "embedding_noise": torch.randn(2, width, generator=generator)}
    save_file(noise, folder / "noise.safetensors")

    def peer(kind_of_number=torch.float32):
        pipe.to(kind_of_number)
        own, given = pipe.scheduler, {key: value.to(kind_of_number) for key, value in noise.items()}
        if kind:
            pipe.scheduler = getattr(diffusers, kind).from_config(type(own).load_config(folder / "generator" / "scheduler"))
        texts = {key: value for key, value in {"prompt": prompt or "", "negative_prompt": negative}.items() if value is not None}
        if pipe.text_encoder is None:
            texts = {"prompt_embeds": torch.zeros(1, 1, 1), "negative_prompt_embeds": torch.zeros(1, 1, 1)}
        noised, rows = type(pipe).noise_image_embeddings, []
        pixels = torch.as_tensor(np.concatenate([pipe.feature_extractor(images=image, return_tensors="np")["pixel_values"] for image in images])).to(kind_of_number)
        for i, image in enumerate(images):
            calls, kept = [], {}
            hook = pipe.unet.register_forward_hook(lambda module, args, kwargs, out: calls.append((kwargs, out[0])), with_kwargs=True)
            pipe.noise_image_embeddings = lambda image_embeds, noise_level, generator=None, i=i: noised(
                pipe, image_embeds, noise_level, noise=given["embedding_noise"][i:i + 1])
            out = pipe(image=image, num_inference_steps=steps, guidance_scale=guidance, noise_level=level, latents=given["latents"][i:i + 1].clone(), output_type="np",
                       callback=lambda step, t, x: kept.update(latents=x), **texts)
            hook.remove()
            kwargs, first = calls[0]
            rows.append({"class_labels": kwargs["class_labels"][-1:], "prompt_embeds": kwargs["encoder_hidden_states"][-1:], "unet_first": first,
                         "latents": kept["latents"], "image": torch.from_numpy((out.images * 255).round().astype("uint8"))})
        pipe.scheduler = own
        with torch.no_grad():
            theirs = {"pixel_values": pixels, "image_embeds": pipe.image_encoder(pixels).image_embeds}
        theirs |= {key: torch.cat([row[key] for row in rows]) for key in rows[0] if key != "unet_first"}
        parts = zip(*(row["unet_first"].chunk(2) if guidance > 1 else (row["unet_first"],) for row in rows))
        theirs["unet_first"] = torch.cat([torch.cat(part) for part in parts])  # unconditional rows of all pictures first
        if pipe.text_encoder is None:
            del theirs["prompt_embeds"]
        return theirs

    peer.exact = lambda: peer(torch.float64)

    def program():
        texts = [*(["--prompt", prompt] if prompt is not None else []), *(["--negative-prompt", negative] if negative is not None else [])]
        sweep.genview("views", folder / "pictures", "--generator", folder / "generator", "--out", folder / "views", "--noise", folder / "noise.safetensors", "--dump",
                      folder / "dump.safetensors", "--steps", steps, "--guidance", guidance, "--noise-level", level, "--precision", "fp32", "--device", "cpu", *texts,
                      *(["--scheduler", kind] if kind else []))
        return load_file(folder / "dump.safetensors")
    return {"steps": steps, "guidance": guidance, "level": level, **settings}, peer, program


def schedulers(draw, folder):
    kind = draw.choice(KINDS)
    config = scheduler_settings(draw, kind)
    pipe = build(draw, folder / "generator", scheduler=(kind, config))
    other = draw.choice(KINDS) if draw.maybe(0.2) and not draw.unsupported and not config.get("rescale_betas_zero_snr") else ""
    if other == "PNDMScheduler" and config["prediction_type"] == "sample":
        draw.unsupported.append("prediction_type")
    return views(draw, folder, pipe, {"kind": kind, **config, **({"as": other} if other else {})}, kind=other, guidance=draw.choice([1.0, 2.0]))


def networks(draw, folder):
    width, words = draw.choice([4, 6]), None
    if draw.maybe():
        words = {"hidden_size": draw.choice([6, 8]), "num_hidden_layers": draw.randint(1, 2)} | draw.some(hidden_act=ACTIVATIONS, layer_norm_eps=[1e-4])
    side = draw.choice([12, 16])
    vision = {"image_size": side, "patch_size": draw.choice([4, 6])} | draw.some(hidden_act=ACTIVATIONS, layer_norm_eps=[1e-4])
    rules, unet, vae = processor_rules(draw, side), unet_settings(draw, width, words and words["hidden_size"]), vae_settings(draw)
    noising = draw.some(beta_schedule=["linear", "scaled_linear", "sigmoid", "laplace"], num_train_timesteps=[500], rescale_betas_zero_snr=[True])
    pipe = build(draw, folder / "generator", unet, vae, vision, words, rules, noising=noising, width=width)
    return views(draw, folder, pipe, {"unet": unet, "vae": vae, "vision": vision, "text": words, "rules": rules, "noising": noising})


def texts(draw, folder):
    pipe, prompt, negative = build(draw, folder / "generator", words={}), text(draw), text(draw) if draw.maybe() else None
    return views(draw, folder, pipe, {"prompt": repr(prompt), "negative": repr(negative)}, prompt=prompt, negative=negative)


CASES = {"schedulers": schedulers, "networks": networks, "texts": texts}
