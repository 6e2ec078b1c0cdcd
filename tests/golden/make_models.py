"""Writes tests/golden/models/*.safetensors: what open_clip, transformers, torchvision and timm compute with small
random weights. Run with the versions of tests/golden/requirements.txt:  python tests/golden/make_models.py

Each file: `weights.<name in that library's file>`, inputs, outputs, and gradients `grad.<name>` of sum(output * factor).
Weights are rounded to half precision, so that they can be stored as such without changing anything.
"""
import functools
import json
import pathlib
import tempfile

import numpy
import open_clip
import PIL.Image
import timm
import torch
import torchvision.models.resnet as tv
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

OUT = pathlib.Path(__file__).parent / "models"


def round_weights(model, spread=0.0):
    """Half-precision values everywhere; with `spread`, norms and biases away from the 1 and 0 they begin with."""
    with torch.no_grad():
        for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
            if not tensor.is_floating_point():
                continue
            if spread and tensor.dim() == 1:
                if "running_var" in name:
                    tensor.uniform_(0.5, 1.5)
                else:
                    tensor.add_(torch.randn_like(tensor) * spread)
            tensor.copy_(tensor.half().float())


def halves(state):
    return {f"weights.{k}": (v.half() if v.is_floating_point() else v).contiguous() for k, v in state.items()}


def save(name, tensors, config):
    tensors = {k: v.detach().clone().contiguous() for k, v in tensors.items()}
    save_file(tensors, OUT / f"{name}.safetensors", {"config": json.dumps(config)})
    (OUT / f"{name}.safetensors").chmod(0o644)
    print(name, sum(t.numel() * t.element_size() for t in tensors.values()) // 1000, "kB")


def gradients(model, loss, names):
    named = dict(model.named_parameters())
    grads = torch.autograd.grad(loss, [named[n] for n in names])
    return {f"grad.{n}": g for n, g in zip(names, grads)}


def open_clip_tower(name, config, grads):
    model = open_clip.CLIP(**{**config, "vision_cfg": {**config["vision_cfg"], "output_tokens": True},
                              "text_cfg": {"width": 8, "heads": 2, "layers": 1, "context_length": 4, "vocab_size": 6}}).eval()
    round_weights(model, spread=0.2)
    size = config["vision_cfg"]["image_size"]
    pixels = torch.randn(3, 3, size, size)
    embedding, tokens = model.visual(pixels)
    if model.visual.attn_pool is not None:  # its tokens are learned queries: the patches are those of the last block
        tokens = model.visual.forward_intermediates(pixels, indices=1, output_fmt="NLC", intermediates_only=True)["image_intermediates"][-1]
        embedding = embedding.reshape(3, -1)  # of two parts: one query
    factor = torch.randn_like(embedding)
    loss = (embedding * factor).sum() + tokens.square().sum()
    save(name, {**halves(model.state_dict()), "pixels": pixels, "embedding": embedding, "tokens": tokens, "factor": factor,
                **gradients(model, loss, [f"visual.{n}" for n in grads])}, config)


def hugging_face(name, model, vision, project, config):
    round_weights(model, spread=0.2)
    size = vision.config.image_size
    pixels = torch.randn(3, 3, size, size)
    with torch.no_grad():
        out = vision(pixels)
        hidden = vision.post_layernorm(out.last_hidden_state)
        embedding = project(hidden[:, 0])
    with tempfile.TemporaryDirectory() as folder:  # the names are those of the files, not of the modules
        model.save_pretrained(folder)
        state = load_file(folder + "/model.safetensors")
        config = json.loads((pathlib.Path(folder) / "config.json").read_text())
    save(name, {**halves(state), "pixels": pixels, "embedding": embedding, "tokens": hidden[:, 1:]}, config)


class SmallResnet(tv.ResNet):
    """torchvision's network with `planes` in place of 64 channels, and the small stem if asked for."""

    def __init__(self, block, layers, planes, small_stem):
        nn.Module.__init__(self)
        self._norm_layer, self.inplanes, self.dilation, self.groups, self.base_width = nn.BatchNorm2d, planes, 1, 1, 64
        self.conv1 = nn.Conv2d(3, planes, 3, 1, 1, bias=False) if small_stem else nn.Conv2d(3, planes, 7, 2, 3, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(planes), nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small_stem else nn.MaxPool2d(3, 2, 1)
        for i, count in enumerate(layers):
            setattr(self, f"layer{i + 1}", self._make_layer(block, planes << i, count, stride=1 if i == 0 else 2))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Identity()
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")


def resnet(name, block, layers, planes, small_stem, size, depth):
    model = SmallResnet(block, layers, planes, small_stem)
    round_weights(model, spread=0.2)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    pixels = torch.randn(4, 3, size, size).half()
    features = {}
    model.layer4.register_forward_hook(lambda m, i, o: features.update(map=o))
    model.eval()
    with torch.no_grad():
        pooled, map_ = model(pixels.float()), features["map"]
    model.train()
    trained = model(pixels.float())
    factor = torch.randn_like(trained)
    last = "conv3" if block is tv.Bottleneck else "conv2"
    grads = gradients(model, (trained * factor).sum(),
                      ["conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "layer2.0.downsample.0.weight",
                       f"layer4.1.{last}.weight", "layer4.1.bn2.bias"])
    after = {f"after.{k}": v for k, v in model.state_dict().items() if "running" in k or "num_batches" in k}
    save(name, {**halves(before), "pixels": pixels, "pooled": pooled, "map": map_, "trained": trained, "factor": factor,
                **grads, **after}, {"depth": depth, "width": planes / 64, "small_stem": small_stem})


def timm_vit():
    config = dict(img_size=24, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=0)
    model = timm.models.vision_transformer.VisionTransformer(**config).eval()
    round_weights(model, spread=0.2)
    pixels = torch.randn(3, 3, 24, 24)
    out = model.forward_features(pixels)
    pooled = model.forward_head(out)
    factor = torch.randn_like(pooled)
    loss = (pooled * factor).sum() + out[:, 1:].square().sum()
    save("timm_vit", {**halves(model.state_dict()), "pixels": pixels, "pooled": pooled, "tokens": out[:, 1:], "factor": factor,
                      **gradients(model, loss, ["cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight",
                                                "blocks.1.mlp.fc2.bias", "norm.weight"])}, config)


def open_clip_poolings():
    """CLIPA and CoCa, with layer scale, fixed positions and the tanh GELU where they fit."""
    tower = {"image_size": 11, "layers": 1, "width": 8, "head_width": 4, "patch_size": 5, "mlp_ratio": 2.0}
    coca = {**tower, "attentional_pool": True, "attn_pooler_queries": 5, "attn_pooler_heads": 2, "norm_kwargs": {"eps": 1e-4}}
    for name, embedding, vision in [
        ("clipa", 10, {**tower, "pool_type": "avg", "final_ln_after_pool": True, "no_ln_pre": True, "pos_embed_type": "sin_cos_2d"}),
        ("mean", 10, {**tower, "pool_type": "avg", "ls_init_value": 0.1, "act_kwargs": {"approximate": "tanh"}, "patch_dropout": 0.5}),
        ("coca", 10, coca), ("coca_mean", 8, {**coca, "pool_type": "avg", "ls_init_value": 0.1}),
        ("coca_parallel", 8, {**coca, "attentional_pool": "parallel"}), ("coca_cascade", 8, {**coca, "attentional_pool": "cascade"})]:
        open_clip_tower("open_clip_" + name, {"embed_dim": embedding, "vision_cfg": vision}, ["class_embedding"])


def transformers_activations():
    """One tower and its embeddings with every activation that is known here beside the usual two."""
    names = ["gelu_python", "gelu_pytorch_tanh", "gelu_new", "gelu_fast", "gelu_accurate", "relu", "silu", "swish"]
    vision = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4, projection_dim=6)
    pixels, tensors, state = torch.randn(2, 3, 8, 8), {}, None
    for name in names:
        model = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**vision, hidden_act=name)).eval()
        if state is None:
            round_weights(model, spread=0.2)
            state = model.state_dict()
        model.load_state_dict(state)
        with torch.no_grad():
            tensors[f"embedding.{name}"] = model(pixels).image_embeds
    save("transformers_activations", {**halves(state), **tensors, "pixels": pixels}, model.config.to_diff_dict())


def preprocess(name="preprocess", open_clip_cases=None, hugging_face_cases=None, shapes=(("wide", (37, 60)), ("high", (71, 40)))):
    """Pixels of one wide and one high picture by open_clip's transform and transformers' CLIP processor."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    mean, std = [0.4, 0.5, 0.45], [0.2, 0.3, 0.25]
    open_clip_cases = open_clip_cases or [{}, {"size": 24, "resize_mode": "squash", "interpolation": "bilinear", "mean": mean, "std": std},
                       {"size": [31, 31], "resize_mode": "shortest", "interpolation": "random", "fill_color": 0, "mode": "RGB"}]
    hugging_face_cases = hugging_face_cases or [{"size": {"shortest_edge": 24}, "crop_size": {"height": 24, "width": 24}},
                          {"size": {"shortest_edge": 29}, "crop_size": 24, "resample": 2, "image_mean": mean, "image_std": std},
                          {"size": {"height": 24, "width": 24}, "do_center_crop": False, "do_normalize": False},
                          {"size": 25, "crop_size": {"height": 24, "width": 24}, "resample": 3, "do_convert_rgb": True}]
    tensors = {}
    for shape, (height, width) in shapes:
        smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 6, 7), (height, width), mode="bicubic").clamp(0, 1)[0]
        picture = (smooth.permute(1, 2, 0) * 255).to(torch.uint8)
        tensors[f"image.{shape}"] = picture
        image = PIL.Image.fromarray(picture.numpy())
        for i, case in enumerate(open_clip_cases):
            config = open_clip.transform.PreprocessCfg(**{"size": 24, **case})
            tensors[f"open_clip.{i}.{shape}"] = open_clip.transform.image_transform_v2(config, is_train=False)(image)
        for i, case in enumerate(hugging_face_cases):
            pixels = CLIPImageProcessorPil(**case)(image, return_tensors="np")["pixel_values"][0]
            tensors[f"hugging_face.{i}.{shape}"] = torch.from_numpy(numpy.ascontiguousarray(pixels))
    save(name, tensors, {"open_clip": open_clip_cases, "hugging_face": hugging_face_cases})


def preprocess_rules():
    """The rarer settings of both."""
    edge, crop = {"shortest_edge": 17}, {"height": 12, "width": 12}
    preprocess("preprocess_rules",
               [{"size": 16, "resize_mode": "longest"}, {"size": 13, "resize_mode": "longest", "fill_color": 128, "interpolation": "bilinear"},
                {"size": 12, "resize_mode": "squash", "fill_color": 7}],
               [{"size": edge, "crop_size": crop, "resample": filter_} for filter_ in range(6)]
               + [{"do_resize": False, "crop_size": crop}, {"do_resize": False, "crop_size": 16},
                  {"size": {"height": 14, "width": 19}, "crop_size": crop}, {"size": {"height": 10, "width": 22}, "crop_size": crop},
                  {"size": {"shortest_edge": 9}, "crop_size": crop}, {"size": 15, "crop_size": 12, "do_convert_rgb": False},
                  {"size": edge, "crop_size": crop, "do_rescale": False}, {"size": edge, "crop_size": crop, "rescale_factor": 1 / 127.5},
                  {"size": edge, "crop_size": crop, "do_rescale": False, "do_normalize": False},
                  {"size": edge, "crop_size": crop, "do_rescale": False, "image_mean": 127.5, "image_std": [100, 110, 120]}],
               shapes=(("wide", (13, 22)), ("high", (25, 14))))


def timm_drop_path():
    """A block of timm's in training, and the factors that its drop path drew."""
    keep = 0.6
    block = timm.models.vision_transformer.Block(8, 2, mlp_ratio=2, qkv_bias=True, norm_layer=functools.partial(nn.LayerNorm, eps=1e-6),
                                                drop_path=1 - keep).train()
    factors = {}
    for name, module in (("keep1", block.drop_path1), ("keep2", block.drop_path2)):
        module.register_forward_hook(lambda _, x, y, name=name: factors.__setitem__(name, (y.flatten(1).abs().sum(1) > 0).float() / keep))
    x = torch.randn(7, 3, 8, requires_grad=True)
    out = block(x)
    factor = torch.randn_like(out)
    (out * factor).sum().backward()
    save("timm_drop_path", {**block.state_dict(), **factors, "x": x, "out": out, "factor": factor, "grad": x.grad}, {})


def main():
    OUT.mkdir(exist_ok=True)
    torch.manual_seed(0)
    open_clip_tower("open_clip_gelu", {
        "embed_dim": 12, "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}},
        ["conv1.weight", "class_embedding", "positional_embedding", "proj", "ln_pre.weight",
         "transformer.resblocks.0.attn.in_proj_weight", "transformer.resblocks.1.mlp.c_fc.bias"])
    open_clip_tower("open_clip_quick", {
        "embed_dim": 10, "quick_gelu": True,
        "vision_cfg": {"image_size": 23, "layers": 2, "width": 24, "head_width": 8, "patch_size": 5, "mlp_ratio": 2.5,
                       "no_ln_pre": True, "norm_kwargs": {"eps": 1e-6}}},
        ["conv1.weight", "transformer.resblocks.0.attn.out_proj.weight"])
    vision = dict(hidden_size=32, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4, image_size=24,
                  patch_size=6, projection_dim=10)
    model = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**vision, hidden_act="gelu")).eval()
    hugging_face("transformers_gelu", model, model.vision_model, model.visual_projection, {})
    text = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, vocab_size=6,
                max_position_embeddings=4, projection_dim=10)
    model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=10)).eval()
    hugging_face("transformers_quick_whole", model, model.vision_model, model.visual_projection, {})
    resnet("resnet18", tv.BasicBlock, [2, 2, 2, 2], 3, False, 50, 18)
    resnet("resnet18_small", tv.BasicBlock, [2, 2, 2, 2], 3, True, 24, 18)
    resnet("resnet50", tv.Bottleneck, [3, 4, 6, 3], 2, False, 50, 50)
    timm_vit()
    preprocess()
    timm_drop_path()
    for make in (open_clip_poolings, transformers_activations, preprocess_rules):
        torch.manual_seed(1)  # each can be made alone
        make()


if __name__ == "__main__":
    main()
