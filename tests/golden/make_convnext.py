"""Writes tests/golden/models/convnext_*.safetensors: what open_clip computes with two small ConvNeXt towers of timm and random
weights. Run with the versions of tests/golden/requirements.txt:  python tests/golden/make_convnext.py

timm's smallest named towers are too large to keep, so two smaller ones are named here; the file's config says their sizes.
"""
import json
import pathlib

import open_clip
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models.convnext import _create_convnext

OUT = pathlib.Path(__file__).parent / "models"

TOWERS = {
    # As convnext_base_w: exact GELU, linear layers, one projection without bias.
    "convnext_linear": (dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32)), dict(timm_pool="", timm_proj="linear", image_size=64), 10),
    # Every other road: layers stored as convolutions, other kernels, tanh GELU, another eps, two projections with bias, an odd size.
    "convnext_mlp": (dict(depths=(2, 1, 1, 1), dims=(8, 8, 16, 24), kernel_sizes=(7, 5, 5, 3), conv_mlp=True, act_layer="gelu_tanh", norm_eps=1e-5),
                     dict(timm_pool="avg", timm_proj="mlp", timm_proj_bias=True, image_size=75), 6),
}


def make(name, trunk, vision, width):
    def create(pretrained=False, **kwargs):
        return _create_convnext("convnext_tiny", pretrained=pretrained, **dict(trunk, **kwargs))

    create.__name__, create.__module__ = name, "timm.models.convnext"
    timm.models.register_model(create)
    model = open_clip.CLIP(embed_dim=width, vision_cfg=dict(vision, timm_model_name=name),
                           text_cfg={"width": 8, "heads": 2, "layers": 1, "context_length": 4, "vocab_size": 6}).eval()
    with torch.no_grad():
        for key, tensor in model.named_parameters():
            if key.endswith("gamma"):
                tensor.copy_(0.5 + 0.3 * torch.randn_like(tensor))  # freshly made it is 1e-6 and would hide the branch
            elif tensor.dim() < 2:
                tensor.add_(0.2 * torch.randn_like(tensor))
            else:
                tensor.normal_(std=max(tensor[0].numel(), 1) ** -0.5)
            tensor.copy_(tensor.half().float())
    pixels = torch.randn(2, 3, vision["image_size"], vision["image_size"]).half().float()
    with torch.no_grad():
        tokens = model.visual.trunk.forward_features(pixels).flatten(2).transpose(1, 2)
        embedding = model.visual(pixels)
    tensors = {f"weights.{k}": v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    tensors.update(pixels=pixels.half(), embedding=embedding, tokens=tokens)
    tensors = {k: v.detach().clone().contiguous() for k, v in tensors.items()}
    config = {"trunk": trunk, "vision": vision, "embed_dim": width}
    save_file(tensors, OUT / f"{name}.safetensors", {"config": json.dumps(config)})
    print(name, sum(t.numel() * t.element_size() for t in tensors.values()) // 1000, "kB")


def as_training_programs_write_it():
    """The tower of open_clip_quick in a .pt file, wrapped twice, beside what only a training goes on from."""
    tensors = load_file(OUT / "open_clip_quick.safetensors")
    state = {"module." + k[len("weights."):]: v for k, v in tensors.items() if k.startswith("weights.")}
    torch.save({"epoch": 3, "name": "run", "state_dict": state, "optimizer": {"state": {0: {"step": torch.tensor(7.0)}}, "param_groups": [{"lr": 0.1}]}},
               OUT / "open_clip_quick.pt")


if __name__ == "__main__":
    torch.manual_seed(0)
    for name, (trunk, vision, width) in TOWERS.items():
        make(name, trunk, vision, width)
    as_training_programs_write_it()
