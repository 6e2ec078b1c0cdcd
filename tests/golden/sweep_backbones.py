"""ViTs and ResNets of timm, torchvision and transformers: `import`, `features --tokens`, and `export` back to each of them."""
import timm
import torch
import torchvision
import transformers
from safetensors.torch import load_file, save_file

import sweep
from make_models import SmallResnet, tv

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def pixels_of(images):
    to_tensor = torchvision.transforms.ToTensor()
    return torch.stack([(to_tensor(image) - MEAN) / STD for image in images])


def resnet_outputs(model, pixels):
    maps = {}
    hook = model.layer4.register_forward_hook(lambda module, inputs, out: maps.update(last=out))
    pooled = model(pixels)
    hook.remove()
    return {"embeddings": pooled, "tokens": maps["last"].flatten(2).transpose(1, 2)}


def vit_outputs(model, pixels):
    if isinstance(model, timm.models.vision_transformer.VisionTransformer):
        tokens = model.forward_features(pixels)
    elif isinstance(model, transformers.ViTModel):
        tokens = model(pixels).last_hidden_state
    else:
        tokens = model._process_input(pixels)
        tokens = model.encoder(torch.cat([model.class_token.expand(len(pixels), -1, -1), tokens], 1))
    return {"embeddings": tokens[:, 0], "tokens": tokens[:, 1:]}


def wrapped(draw, state):
    """As training programs save a state."""
    prefix = draw.choice(["", "", "module.", "backbone.", "module.encoder_q.", "module.base_encoder."])
    state = {prefix + name: tensor for name, tensor in state.items()}
    return draw.choice([state, {"state_dict": state, "epoch": 3}, {"model": state}])


def case(draw, folder, model, settings, side, outputs, exports, flags=()):
    """`exports`: layout -> a fresh network that loads it."""
    weights, images = folder / "weights", sweep.pictures(draw, folder / "pictures", sides=side)
    pixels, own, out = pixels_of(images), folder / "own.safetensors", folder / "out.safetensors"
    if isinstance(model, transformers.PreTrainedModel):
        model.save_pretrained(weights)
    elif draw.maybe():
        weights = weights.with_suffix(".safetensors")
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, weights)
    else:
        weights = weights.with_suffix(".pth")
        torch.save(wrapped(draw, model.state_dict()), weights)

    def peer():
        with torch.no_grad():
            theirs = outputs(model, pixels)
        return theirs | {f"{layout}.{key}": value for layout in exports for key, value in theirs.items()}

    def program():
        sweep.genview("import", weights, "--out", own, "--size", side, "--resize", side, *flags)
        sweep.genview("features", folder / "pictures", "--encoder", own, "--out", out, "--tokens", "--precision", "fp32", "--device", "cpu")
        ours = {key: value.float() for key, value in load_file(out).items()}
        for layout, fresh in exports.items():
            file = folder / layout / "model.safetensors"
            sweep.genview("export", own, "--layout", layout, "--out", file)
            if layout == "transformers-4":
                fresh = type(fresh).from_pretrained(file.parent, **({"add_pooling_layer": False} if "ViT" in type(fresh).__name__ else {}))
            else:
                fresh.load_state_dict(load_file(file), strict=True)
            with torch.no_grad():
                ours |= {f"{layout}.{key}": value for key, value in outputs_of(fresh.eval(), pixels).items()}
        return ours
    return {"side": side, "file": weights.suffix or "folder", **settings}, peer, program


def outputs_of(model, pixels):
    if isinstance(model, transformers.ResNetModel):
        out = model(pixels)
        return {"embeddings": out.pooler_output.flatten(1), "tokens": out.last_hidden_state.flatten(2).transpose(1, 2)}
    return (resnet_outputs if isinstance(model, (tv.ResNet, timm.models.resnet.ResNet)) else vit_outputs)(model, pixels)


def resnet(draw, folder):
    depth, planes, small = draw.choice([18, 34, 50]), draw.choice([2, 3, 8]), draw.maybe(0.3)
    block, layers = (tv.Bottleneck if depth == 50 else tv.BasicBlock), {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3]}[depth]
    make = lambda: SmallResnet(block, layers, planes, small)
    model = sweep.randomise(make(), draw)
    exports = {"torchvision": make()}
    if not small:
        widths = [planes * block.expansion << i for i in range(4)]
        exports["transformers-4"] = transformers.ResNetModel(transformers.ResNetConfig(
            embedding_size=planes, hidden_sizes=widths, depths=layers, layer_type="bottleneck" if depth == 50 else "basic"))
    return case(draw, folder, model, {"depth": depth, "planes": planes, "small_stem": small}, draw.choice([32, 48, 64]), resnet_outputs, exports)


def vit(draw, folder):
    heads, depth, patch = draw.choice([2, 3, 4]), draw.randint(1, 3), draw.choice([4, 8])
    width, side = heads * draw.choice([6, 8, 16]), patch * draw.randint(2, 4)
    fresh = {
        "timm": lambda **more: timm.models.vision_transformer.VisionTransformer(img_size=side, patch_size=patch, embed_dim=width, depth=depth,
                                                                               num_heads=heads, num_classes=0, **more),
        "torchvision": lambda: torchvision.models.vision_transformer.VisionTransformer(side, patch, depth, heads, width, 4 * width),
        "transformers": lambda: transformers.ViTModel(transformers.ViTConfig(
            hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, intermediate_size=4 * width, image_size=side, patch_size=patch,
            layer_norm_eps=1e-6), add_pooling_layer=False)}
    library, more = draw.choice(sorted(fresh)), {}
    if library == "timm":
        more = draw.foreign(init_values=[0.1], reg_tokens=[2], qkv_bias=[False], pre_norm=[True])
        draw.unsupported = [""] if more else []  # the file has no such name: any error will do
    model = sweep.randomise(fresh[library](**more), draw)
    exports = {}
    if not more:
        exports = {name: fresh[name]() for name in fresh}
        exports["torchvision"].heads = torch.nn.Identity()
        exports["transformers-4"] = fresh["transformers"]()
    flags = ("--heads", heads) if library != "transformers" else ()
    return case(draw, folder, model, {"library": library, "width": width, "heads": heads, "depth": depth, "patch": patch, **more}, side, vit_outputs, exports, flags)


CASES = {"resnet": resnet, "vit": vit}
