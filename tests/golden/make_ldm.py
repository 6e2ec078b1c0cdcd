"""Names and settings of Stable unCLIP 2-1 in one file, for genview/models/ldm, by diffusers' own converter.

    python tests/golden/make_ldm.py        # versions: tests/golden/requirements.txt; writes tests/golden/ldm/

A state dict of the full-size model under the names of the original programs is listed below, from their architecture. The converter turns it
into diffusers' modules: every name and shape of these must come out, and none be left over. Tensors are one number, which tells where they end.
"""

import json
import pathlib
import shutil

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint, convert_open_clip_checkpoint
from diffusers.pipelines.stable_diffusion.convert_from_ckpt import create_unet_diffusers_config, create_vae_diffusers_config
from transformers import CLIPTextConfig, CLIPTextModel

OUT = pathlib.Path(__file__).parent / "ldm"
UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.model."

# What the original's configuration says of the two networks.
ORIGINAL = {"model": {"params": {
    "unet_config": {"params": dict(num_classes="sequential", adm_in_channels=2048, in_channels=4, out_channels=4, model_channels=320, attention_resolutions=[4, 2, 1],
                                   num_res_blocks=2, channel_mult=[1, 2, 4, 4], num_head_channels=64, use_linear_in_transformer=True, transformer_depth=1, context_dim=1024)},
    "first_stage_config": {"params": {"embed_dim": 4, "ddconfig": dict(z_channels=4, in_channels=3, out_ch=3, ch=128, ch_mult=[1, 2, 4, 4], num_res_blocks=2, attn_resolutions=[])}}}}}
PICTURE = 768


class Names(dict):
    """name -> shape"""

    def layer(self, name, *shape, bias=True):
        self[name + ".weight"] = shape
        if bias:
            self[name + ".bias"] = shape[:1]

    def conv(self, name, into, out, kernel=3):
        self.layer(name, out, into, kernel, kernel)


def unet_names(width=320, mult=(1, 2, 4, 4), attends=(True, True, True, False), layers=2, classes=2048, text=1024):
    names, time = Names(), 4 * width

    def resnet(name, into, out):
        names.layer(name + ".in_layers.0", into)
        names.conv(name + ".in_layers.2", into, out)
        names.layer(name + ".emb_layers.1", out, time)
        names.layer(name + ".out_layers.0", out)
        names.conv(name + ".out_layers.3", out, out)
        if into != out:
            names.conv(name + ".skip_connection", into, out, 1)

    def transformer(name, c):
        names.layer(name + ".norm", c)
        names.layer(name + ".proj_in", c, c)
        names.layer(name + ".proj_out", c, c)
        block = name + ".transformer_blocks.0."
        for i, seen in ((1, c), (2, text)):
            for part, into in (("to_q", c), ("to_k", seen), ("to_v", seen)):
                names.layer(f"{block}attn{i}.{part}", c, into, bias=False)
            names.layer(f"{block}attn{i}.to_out.0", c, c)
        names.layer(block + "ff.net.0.proj", 8 * c, c)
        names.layer(block + "ff.net.2", c, 4 * c)
        for i in (1, 2, 3):
            names.layer(f"{block}norm{i}", c)

    names.layer("time_embed.0", time, width)
    names.layer("time_embed.2", time, time)
    names.layer("label_emb.0.0", time, classes)
    names.layer("label_emb.0.2", time, time)
    names.conv("input_blocks.0.0", 4, width)
    skips, block, c = [width], 1, width
    for level, m in enumerate(mult):
        for _ in range(layers):
            resnet(f"input_blocks.{block}.0", c, m * width)
            c = m * width
            if attends[level]:
                transformer(f"input_blocks.{block}.1", c)
            skips.append(c)
            block += 1
        if level + 1 < len(mult):
            names.conv(f"input_blocks.{block}.0.op", c, c)
            skips.append(c)
            block += 1
    resnet("middle_block.0", c, c)
    transformer("middle_block.1", c)
    resnet("middle_block.2", c, c)
    block = 0
    for level in reversed(range(len(mult))):
        for i in range(layers + 1):
            resnet(f"output_blocks.{block}.0", c + skips.pop(), mult[level] * width)
            c = mult[level] * width
            if attends[level]:
                transformer(f"output_blocks.{block}.1", c)
            if level > 0 and i == layers:
                names.conv(f"output_blocks.{block}.{2 if attends[level] else 1}.conv", c, c)
            block += 1
    names.layer("out.0", width)
    names.conv("out.2", width, 4)
    return names


def vae_names(width=128, mult=(1, 2, 4, 4), layers=2, latent=4):
    names = Names()

    def resnet(name, into, out):
        names.layer(name + ".norm1", into)
        names.conv(name + ".conv1", into, out)
        names.layer(name + ".norm2", out)
        names.conv(name + ".conv2", out, out)
        if into != out:
            names.conv(name + ".nin_shortcut", into, out, 1)

    def middle(half, c):
        resnet(half + ".mid.block_1", c, c)
        names.layer(half + ".mid.attn_1.norm", c)
        for part in ("q", "k", "v", "proj_out"):
            names.conv(f"{half}.mid.attn_1.{part}", c, c, 1)
        resnet(half + ".mid.block_2", c, c)

    names.conv("encoder.conv_in", 3, width)
    c = width
    for level, m in enumerate(mult):
        for i in range(layers):
            resnet(f"encoder.down.{level}.block.{i}", c, m * width)
            c = m * width
        if level + 1 < len(mult):
            names.conv(f"encoder.down.{level}.downsample.conv", c, c)
    middle("encoder", c)
    names.layer("encoder.norm_out", c)
    names.conv("encoder.conv_out", c, 2 * latent)
    names.conv("quant_conv", 2 * latent, 2 * latent, 1)
    names.conv("post_quant_conv", latent, latent, 1)
    names.conv("decoder.conv_in", latent, c)
    middle("decoder", c)
    for level in reversed(range(len(mult))):
        for i in range(layers + 1):
            resnet(f"decoder.up.{level}.block.{i}", c, mult[level] * width)
            c = mult[level] * width
        if level > 0:
            names.conv(f"decoder.up.{level}.upsample.conv", c, c)
    names.layer("decoder.norm_out", c)
    names.conv("decoder.conv_out", c, 3)
    return names


def text_names(width=16, blocks=24, tokens=50, positions=77):
    """Names do not depend on the widths, which are small here."""
    names = Names()
    names["token_embedding.weight"] = (tokens, width)
    names["positional_embedding"] = (positions, width)
    names["text_projection"] = (width, width)
    for i in range(blocks):
        block = f"transformer.resblocks.{i}."
        names.layer(block + "ln_1", width)
        names[block + "attn.in_proj_weight"] = (3 * width, width)
        names[block + "attn.in_proj_bias"] = (3 * width,)
        names.layer(block + "attn.out_proj", width, width)
        names.layer(block + "ln_2", width)
        names.layer(block + "mlp.c_fc", 4 * width, width)
        names.layer(block + "mlp.c_proj", width, 4 * width)
    names.layer("ln_final", width)
    return names


def pairs_of(names, prefix, model, convert, unused=()):
    """diffusers' name -> the original's, for all of the module."""
    order = list(names)
    checkpoint = {prefix + name: torch.tensor(float(i)).expand(names[name]) for i, name in enumerate(order)}
    converted = convert(checkpoint)
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items() if not name.endswith("position_ids")}
    root = "text_model." if any(name.startswith("text_model.") for name in converted) and not any(name.startswith("text_model.") for name in wanted) else ""
    converted = {name.removeprefix(root): value for name, value in converted.items()}
    projection = converted.pop("text_projection.weight", None)
    assert {name: tuple(value.shape) for name, value in converted.items()} == wanted, set(wanted) ^ set(converted)
    pairs = {name: order[int(value.flatten()[0])] for name, value in converted.items()}
    left = set(order) - set(pairs.values()) - ({"text_projection"} if projection is not None else set())
    assert all(name.startswith(unused) for name in left) if unused else not left, left
    return pairs


def shortened(pairs):
    """Without the parts at the end that both names share; the longest beginning that is listed says what becomes of a name."""
    short = {}
    for name, original in pairs.items():
        a, b = name.split("."), original.split(".")
        while len(a) > 1 and len(b) > 1 and a[-1] == b[-1]:
            a, b = a[:-1], b[:-1]
        short[".".join(a)] = ".".join(b)
    for name, original in pairs.items():
        parts = name.split(".")
        begin = next(".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in short)
        assert short[begin] + name[len(begin):] == original, name
    return short


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    unet, vae = create_unet_diffusers_config(ORIGINAL, PICTURE), create_vae_diffusers_config(ORIGINAL, PICTURE)
    vae["scaling_factor"] = 0.18215
    with torch.device("meta"):
        models = UNet2DConditionModel(**unet), AutoencoderKL(**vae), CLIPTextModel(CLIPTextConfig(
            vocab_size=50, hidden_size=16, intermediate_size=64, num_hidden_layers=23, num_attention_heads=16, max_position_embeddings=77))
    pairs = {"unet": pairs_of(unet_names(), UNET, models[0], lambda c: convert_ldm_unet_checkpoint(c, unet)),
             "vae": pairs_of(vae_names(), VAE, models[1], lambda c: convert_ldm_vae_checkpoint(c, vae)),
             "text": pairs_of(text_names(), TEXT, models[2], lambda c: convert_open_clip_checkpoint(models[2], c), ("transformer.resblocks.23.", "text_projection"))}
    counts = {part: len(names) for part, names in pairs.items()}
    layers = [{name.replace(f"layers.{i}.", "layers.#."): original.replace(f"resblocks.{i}.", "resblocks.#.") for name, original in pairs["text"].items()
               if f"layers.{i}." in name} for i in range(23)]
    assert all(layer == layers[0] for layer in layers)
    text = {name: original for name, original in pairs["text"].items() if "layers." not in name} | layers[0]
    golden = {"unet_config": unet, "vae_config": vae, "counts": counts, "unet": shortened(pairs["unet"]), "vae": shortened(pairs["vae"]), "text": text}
    (OUT / "names.json").write_text(json.dumps(golden, indent=0, separators=(",", ":")) + "\n")
    torch.save((torch.arange(16) / 16, torch.arange(1, 17) / 8), OUT / "ViT-L-14_stats.th")
    print(counts)


if __name__ == "__main__":
    main()
