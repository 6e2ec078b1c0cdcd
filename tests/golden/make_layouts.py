"""Encoders as torchvision, timm, transformers, MoCo, MoCo v3, DINO and mmpretrain save them, tiny, with what they compute:
tests/golden/layouts/. And, with a folder as argument, the way back: whether what `genview export` wrote loads with
strict=True and gives the features that genview gives.

python tests/golden/make_layouts.py               writes the goldens
python tests/golden/make_layouts.py build/bin     checks the program in that folder against the libraries
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import timm
import torch
import torchvision
import transformers
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from make_models import SmallResnet, round_weights, tv  # noqa: E402

OUT = pathlib.Path(__file__).parent / "layouts"


def vit(**changes):
    config = dict(img_size=16, patch_size=8, embed_dim=12, depth=1, num_heads=3, num_classes=0) | changes
    model = timm.models.vision_transformer.VisionTransformer(**config).eval()
    round_weights(model, spread=0.2)
    return model


def resnet():
    model = SmallResnet(tv.BasicBlock, [2, 2, 2, 2], 1, False).eval()
    round_weights(model, spread=0.2)
    return model


def begin(state):
    """Enough of an encoder to be found, for those that must not be chosen."""
    return {k: torch.zeros_like(v) for k, v in state.items()
            if k in ("conv1.weight", "layer1.0.conv1.weight", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight")}


def with_prefix(prefix, state):
    return {prefix + k: v for k, v in state.items()}


def mmpretrain_names(state):
    def name(key):
        key = key.replace("patch_embed.proj.", "patch_embed.projection.").replace("blocks.", "layers.")
        key = key.replace(".norm1.", ".ln1.").replace(".norm2.", ".ln2.")
        key = key.replace("mlp.fc1", "ffn.layers.0.0").replace("mlp.fc2", "ffn.layers.1")
        return "ln1" + key[4:] if key.startswith("norm.") else key
    return {name(k): v for k, v in state.items()}


def make():
    torch.manual_seed(0)
    OUT.mkdir(exist_ok=True)
    expected = {"pixels": torch.randn(1, 3, 16, 16), "pixels32": torch.randn(1, 3, 32, 32)}

    def keep(name, model, pixels="pixels", output=lambda out: out):
        with torch.no_grad():
            expected[name] = output(model(expected[pixels])).contiguous()

    q = resnet()
    keep("moco", q, "pixels32")
    torch.save({"epoch": 200, "arch": "resnet18",
                "state_dict": with_prefix("module.encoder_q.", q.state_dict()) | with_prefix("module.encoder_k.", begin(q.state_dict())) |
                {"module.encoder_q.fc.0.weight": torch.zeros(3, 8), "module.encoder_q.fc.2.bias": torch.zeros(2),
                 "module.queue": torch.zeros(2, 4), "module.queue_ptr": torch.zeros(1, dtype=torch.int64)}},
               OUT / "moco.pth.tar")

    base = vit()
    keep("moco-v3", base)
    torch.save({"epoch": 300, "arch": "vit_small", "scaler": {"scale": 65536.0},
                "state_dict": with_prefix("module.base_encoder.", base.state_dict()) |
                with_prefix("module.momentum_encoder.", begin(base.state_dict())) |
                {"module.base_encoder.head.0.weight": torch.zeros(2, 12), "module.predictor.0.weight": torch.zeros(2, 2)}},
               OUT / "moco-v3.pth")

    teacher = vit()
    keep("dino", teacher)
    torch.save({"student": with_prefix("module.backbone.", begin(teacher.state_dict())) | {"module.head.mlp.0.weight": torch.zeros(2, 12)},
                "teacher": with_prefix("backbone.", teacher.state_dict()) | {"head.last_layer.weight_v": torch.zeros(2, 12)},
                "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
                "epoch": 100, "args": argparse.Namespace(arch="vit_small", patch_size=8),
                "dino_loss": {"center": torch.zeros(1, 2)}}, OUT / "dino.pth")

    mm = vit()
    keep("mmpretrain", mm)
    torch.save({"meta": {"epoch": 300, "cfg": "model = dict()", "seed": 0},
                "state_dict": with_prefix("backbone.", mmpretrain_names(mm.state_dict())) |
                {"neck.fc0.weight": torch.zeros(2, 12), "momentum_encoder.steps": torch.tensor(5),
                 "head.predictor.fc0.weight": torch.zeros(2, 2)},
                "message_hub": {"log_scalars": {}, "runtime_info": {"epoch": 300}}, "optimizer": {}, "param_schedulers": []},
               OUT / "mmpretrain.pth")

    for name, model, pixels, output in (
            ("transformers_resnet", transformers.ResNetModel(transformers.ResNetConfig(
                embedding_size=2, hidden_sizes=[2, 4, 8, 16], depths=[2, 2, 2, 2], layer_type="basic")), "pixels32",
             lambda out: out.pooler_output.flatten(1)),
            ("transformers_vit", transformers.ViTModel(transformers.ViTConfig(
                hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, image_size=16, patch_size=8)),
             "pixels", lambda out: out.last_hidden_state[:, 0])):
        model.eval()
        round_weights(model, spread=0.2)
        keep(name, model, pixels, output)
        model.save_pretrained(OUT / name)  # the names that its files have, which are not those of its modules

    # As it begins: of small variances, so that what the norms add to them (1e-12 here, 1e-6 elsewhere) is seen.
    model = transformers.ViTModel(transformers.ViTConfig(hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
                                                         image_size=16, patch_size=8), add_pooling_layer=False).eval()
    keep("transformers_vit_begin", model, output=lambda out: out.last_hidden_state[:, 0])
    model.save_pretrained(OUT / "transformers_vit_begin")

    model = torchvision.models.VisionTransformer(image_size=16, patch_size=8, num_layers=1, num_heads=3, hidden_dim=12, mlp_dim=48,
                                                 num_classes=2).eval()
    round_weights(model, spread=0.2)
    torch.save(model.state_dict(), OUT / "torchvision_vit.pth")
    model.heads = torch.nn.Identity()
    keep("torchvision_vit", model)

    lines = []
    for name, model in {
            "resnet50": transformers.ResNetModel(transformers.ResNetConfig()),
            "vit-tiny": transformers.ViTModel(transformers.ViTConfig(
                hidden_size=192, num_hidden_layers=2, num_attention_heads=3, intermediate_size=768), add_pooling_layer=False)}.items():
        lines.append(name)
        lines += [f"{key} {','.join(map(str, value.shape))}" for key, value in model.state_dict().items()]
    (OUT / "names.txt").write_text("\n".join(lines) + "\n")
    save_file(expected, OUT / "expected.safetensors")
    for file in OUT.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
    print(sum(f.stat().st_size for f in OUT.rglob("*") if f.is_file()) // 1000, "kB")


def check(program):
    """Peer file -> genview import -> genview export -> the lines of Python that it prints, strict; and the features of both."""
    torch.manual_seed(1)
    for name in ("resnet18", "resnet34", "resnet50", "vit_tiny", "vit_small", "vit_base", "transformers_vit"):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)

            def genview(*words):
                return subprocess.run([program / "genview", *map(str, words)], check=True, stdout=subprocess.PIPE, text=True).stdout

            is_vit, size = "vit" in name, 32 if name == "transformers_vit" else 224
            first = (lambda m: m(pixels).last_hidden_state[:, 0])
            if name == "transformers_vit":  # as it begins, with its own epsilon
                made = transformers.ViTModel(transformers.ViTConfig(hidden_size=192, num_hidden_layers=2, num_attention_heads=6, intermediate_size=768,
                                                                    image_size=32, patch_size=8), add_pooling_layer=False).eval()
                made.save_pretrained(folder / "made")
                source, features = folder / "made", first
            else:
                made = timm.create_model(f"{name}_patch16_224", num_classes=0) if is_vit else getattr(torchvision.models, name)()
                if not is_vit:
                    made.fc = torch.nn.Identity()
                round_weights(made.eval(), spread=0.1)
                torch.save(made.state_dict(), folder / "made.pth")
                source, features = folder / "made.pth", lambda m: m(pixels)
            genview("import", source, "--out", folder / "own.safetensors")
            pixels = torch.randn(2, 3, size, size)
            for layout in ["torchvision", "timm", "transformers", "transformers-4", "moco", "mmpretrain"]:
                (folder / "config.json").unlink(missing_ok=True)
                out = folder / "model.safetensors"
                python = genview("export", folder / "own.safetensors", "--layout", layout, "--out", out).split("in Python:\n")[1]
                if layout in ("moco", "mmpretrain"):
                    if name == "transformers_vit":
                        continue
                    state = load_file(out)
                    prefix = {"mmpretrain": "backbone.", "moco": "module.base_encoder." if is_vit else "module.encoder_q."}[layout]
                    expected = mmpretrain_names(made.state_dict()) if is_vit and layout == "mmpretrain" else made.state_dict()
                    assert sorted(state) == sorted(prefix + k for k in expected), (name, layout)
                    assert all(torch.equal(state[prefix + k], v) for k, v in expected.items())
                    print(name, layout, "names and values equal")
                    continue
                names = {}
                exec(python.replace("FOLDER", repr(str(folder))), names)
                peer, read = names["model"], lambda m: m(pixels)
                if layout.startswith("transformers"):
                    read = first if is_vit else (lambda m: m(pixels).pooler_output.flatten(1))
                if layout == "transformers-4":
                    _, info = type(peer).from_pretrained(folder, output_loading_info=True, **({"add_pooling_layer": False} if is_vit else {}))
                    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"], info
                    assert not is_vit or peer.pooler is None  # by the Python that was printed
                with torch.no_grad():
                    ours, theirs = features(made), read(peer.eval())
                difference = ((ours - theirs).abs().max() / ours.abs().max()).item()
                assert difference < 1e-4, (name, layout, difference)
                print(name, layout, f"loads strictly, features differ by {difference:.1e} of the largest")


if __name__ == "__main__":
    check(pathlib.Path(sys.argv[1])) if len(sys.argv) > 1 else make()
