"""Image towers of open_clip (ViT, ConvNeXt) and of transformers (CLIP), with their rules for pictures: `features --tokens`."""
import json

import open_clip
import torch
import transformers
from open_clip.transform import PreprocessCfg, image_transform_v2
from safetensors.torch import load_file, save_file
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

import sweep

TEXT = {"width": 8, "heads": 2, "layers": 1, "context_length": 4, "vocab_size": 6}


def features(folder):
    sweep.genview("features", folder / "pictures", "--encoder", folder / "tower", "--out", folder / "out.safetensors", "--tokens",
                  "--precision", "fp32", "--device", "cpu")
    return load_file(folder / "out.safetensors")


def colours(draw):
    return draw.choice([{}, {"mean": 0.5, "std": 0.25}, {"mean": [0.4, 0.5, 0.45], "std": [0.2, 0.3, 0.25]}, {"mean": [0, 0, 0], "std": [1, 1, 1]}])


def open_clip_rules(draw):
    return colours(draw) | draw.some(resize_mode=["shortest", "squash", "longest", "longest"], interpolation=["bicubic", "bilinear", "random"],
                                     fill_color=[0, 128, 255], mode=["RGB"])


def open_clip_case(draw, folder, config, tokens):
    tower = folder / "tower"
    tower.mkdir(parents=True)
    images, rules = sweep.pictures(draw, folder / "pictures"), open_clip_rules(draw)
    (tower / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": rules}))
    model = sweep.randomise(open_clip.create_model(f"local-dir:{tower}", load_weights=False), draw)
    kind = draw.choice(["safetensors", "safetensors", "half", "bin", "pt"])
    state = {name: (t.half() if kind == "half" and t.is_floating_point() else t).contiguous() for name, t in model.state_dict().items()}
    if kind in ("bin", "pt"):
        torch.save(state if kind == "bin" else {"epoch": 1, "state_dict": {"module." + name: t for name, t in state.items()}},
                   tower / ("open_clip_pytorch_model.bin" if kind == "bin" else "epoch_1.pt"))
    else:
        save_file(state, tower / "open_clip_model.safetensors")

    def peer():
        transform = image_transform_v2(PreprocessCfg(**{"size": model.visual.image_size, **rules}), is_train=False)
        pixels = torch.stack([transform(image) for image in images])
        with torch.no_grad():
            out = model.visual(pixels)
            pooled = out[0] if isinstance(out, tuple) else out
            return {"embeddings": pooled.reshape(len(images), -1), "tokens": tokens(model.visual, pixels)}
    return {"file": kind, **config["vision_cfg"], **{k: v for k, v in config.items() if "cfg" not in k}, **rules}, peer, lambda: features(folder)


def vit_tokens(visual, pixels):
    if visual.attn_pool is not None:  # its tokens are learned queries: the patches are those of the last block
        return visual.forward_intermediates(pixels, indices=1, output_fmt="NLC", intermediates_only=True)["image_intermediates"][-1]
    visual.output_tokens = True
    return visual(pixels)[1]


def open_clip_vit(draw, folder):
    heads, head_width = draw.randint(1, 4), draw.choice([8, 12, 16])
    width = heads * head_width
    vision = {"image_size": draw.choice([16, 20, 24, 33]), "patch_size": draw.choice([4, 5, 8]), "width": width, "head_width": head_width,
              "layers": draw.randint(1, 3)}
    vision |= draw.some(mlp_ratio=[1.5, 2.0, 4.3637], ls_init_value=[0.1], no_ln_pre=[True], final_ln_after_pool=[True], pool_type=["tok", "avg"],
                        pos_embed_type=["learnable", "sin_cos_2d"], patch_dropout=[0.5], output_tokens=[True], norm_kwargs=[{}, {"eps": 1e-4}])
    config = {"embed_dim": draw.choice([8, 24, width])}
    if draw.maybe(0.3):
        vision |= {"attentional_pool": True, "attn_pooler_queries": draw.randint(2, 6), "attn_pooler_heads": draw.choice([1, 2, 4])}
        if draw.maybe():
            config["embed_dim"], vision["attentional_pool"] = width, draw.choice(["parallel", "cascade"])
    vision |= draw.foreign(qk_norm=[True], scale_heads=[True], scale_attn=[True], scale_fc=[True], scale_attn_inner=[True], pool_type=["none"])
    if "pool_type" in draw.unsupported and isinstance(vision.get("attentional_pool"), str):
        draw.unsupported.clear()  # it means nothing there
    if draw.maybe(0.3):
        config["quick_gelu"] = True
    else:
        vision |= draw.some(act_kwargs=[{}, {"approximate": "tanh"}])
    config |= {"vision_cfg": vision, "text_cfg": TEXT}
    if vision.get("attentional_pool") is True and draw.maybe():  # a whole CoCa
        config |= {"text_cfg": TEXT | {"embed_cls": True, "output_tokens": True}, "multimodal_cfg": TEXT | {"attn_pooler_heads": 2}, "custom_text": True}
        vision["output_tokens"] = True
    elif draw.maybe(0.3):
        config["custom_text"] = True
    return open_clip_case(draw, folder, config, vit_tokens)


def open_clip_convnext(draw, folder):
    vision = {"timm_model_name": draw.choice(["test_convnext", "test_convnext2", "test_convnext3", "convnext_atto"]), "timm_model_pretrained": False,
              "image_size": draw.choice([32, 64, 75]), "timm_pool": draw.choice(["", "avg"]), "timm_proj": draw.choice(["linear", "mlp"])}
    vision |= draw.some(timm_proj_bias=[True], timm_drop=[0.1], timm_drop_path=[0.1])
    if draw.maybe(0.2):
        vision |= {"timm_pool": "avg", "timm_proj": ""}
    vision |= draw.foreign(timm_pool=["abs_attn", "rot_attn"])
    if "timm_pool" in draw.unsupported:
        vision["timm_proj"] = "linear"
    config = {"embed_dim": draw.choice([8, 24]), "vision_cfg": vision, "text_cfg": TEXT}
    return open_clip_case(draw, folder, config, lambda visual, pixels: visual.trunk.forward_features(pixels).flatten(2).transpose(1, 2))


def processor_rules(draw, side):
    """Of a CLIPImageProcessor whose pictures are `side` px."""
    rules, crop = {}, draw.choice([side, {"height": side, "width": side}])
    edge = draw.choice([side, side + 7, max(4, side - 5)])
    kind = draw.randint(0, 5)
    if kind <= 2:
        rules = {"size": draw.choice([edge, {"shortest_edge": edge}]), "crop_size": crop}
    elif kind == 3:
        rules = {"size": {"height": edge, "width": draw.choice([edge, edge + 5])}, "crop_size": crop}
    elif kind == 4:
        rules = {"size": {"height": side, "width": side}, "do_center_crop": False}
    else:
        rules = {"do_resize": False, "crop_size": crop}
    rules |= {"image_" + key: value for key, value in colours(draw).items()}
    rules |= draw.some(resample=range(6), do_convert_rgb=[True, False])
    return rules | draw.some(0.15, do_normalize=[False], do_rescale=[False], rescale_factor=[1 / 127.5, 1 / 256])


def transformers_clip(draw, folder):
    heads = draw.randint(1, 4)
    vision = {"hidden_size": heads * draw.choice([6, 8, 10]), "num_attention_heads": heads, "intermediate_size": draw.choice([20, 33, 64]),
              "num_hidden_layers": draw.randint(1, 3), "image_size": draw.choice([16, 20, 26]), "patch_size": draw.choice([4, 5, 6])}
    vision |= draw.some(layer_norm_eps=[1e-6, 1e-3], hidden_act=["gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_python", "relu", "silu"])
    vision |= draw.foreign(hidden_act=["mish", "tanh", "relu6"])
    kind, projection = draw.choice(["projected", "projected", "bare", "whole"]), draw.choice([8, 12])
    if kind == "whole":
        text = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, vocab_size=6, max_position_embeddings=4)
        model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=projection))
    elif kind == "bare":
        model = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**vision))
    else:
        model = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**vision, projection_dim=projection))
    sweep.randomise(model, draw)
    tower, rules = folder / "tower", processor_rules(draw, vision["image_size"])
    model.save_pretrained(tower, **draw.some(max_shard_size=["20KB"]))
    processor = CLIPImageProcessorPil(**rules)
    processor.save_pretrained(tower)
    images = sweep.pictures(draw, folder / "pictures")

    def peer():
        pixels = torch.cat([torch.as_tensor(processor(images=image, return_tensors="np")["pixel_values"]) for image in images]).float()
        visual = getattr(model, "vision_model", model)
        with torch.no_grad():
            out = visual(pixels)
            tokens = visual.post_layernorm(out.last_hidden_state)
            pooled = tokens[:, 0]
            return {"embeddings": pooled if kind == "bare" else model.visual_projection(pooled), "tokens": tokens[:, 1:]}
    return {"kind": kind, **vision, **rules}, peer, lambda: features(folder)


CASES = {"open_clip_vit": open_clip_vit, "open_clip_convnext": open_clip_convnext, "transformers_clip": transformers_clip}
