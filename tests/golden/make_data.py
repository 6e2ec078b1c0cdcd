"""Writes tests/golden/data: views that torchvision makes of Pillow images for drawn parameters, and its fallback crops.

    python tests/golden/make_data.py            (versions: tests/golden/requirements.txt)

`views.json` lists the cases; the bytes, rows of R G B, lie in `views.bin` at the offset that a case names. The colour
changes run inside torchvision's own ColorJitter, which is handed the parameters in place of drawing them.
"""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps
from torchvision import transforms
from torchvision.transforms import functional as F

OUT = Path(__file__).parent / "data"
rng = np.random.default_rng(20260117)
torch.manual_seed(20260117)
stored = bytearray()


def store(pixels):
    array = np.ascontiguousarray(np.asarray(pixels, dtype=np.uint8))
    place = {"width": array.shape[1], "height": array.shape[0], "offset": len(stored)}
    stored.extend(array.tobytes())
    return place


def photo(width, height):
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for c in range(3):
        fx, fy, phase = rng.uniform(0.02, 0.25), rng.uniform(0.02, 0.25), rng.uniform(0, 6)
        plane = 128 + 100 * np.sin(fx * x + phase) * np.cos(fy * y) + 70 * ((x * (c + 1) + y) % 31 > 15)
        planes.append(plane + rng.normal(0, 10, (height, width)))
    return Image.fromarray(np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8))


def draw(preset, view):
    """Parameters within the ranges of the preset, every change more often than in training."""
    b, c, s, h = {"moco-v2": (0.4, 0.4, 0.4, 0.1), "simclr": (0.8, 0.8, 0.8, 0.2), "byol": (0.4, 0.4, 0.2, 0.1)}[preset]
    factor = lambda x: float(rng.uniform(max(0, 1 - x), 1 + x))
    return {
        "jitter": bool(rng.random() < 0.8), "order": [int(i) for i in rng.permutation(4)], "brightness": factor(b),
        "contrast": factor(c), "saturation": factor(s), "hue": float(rng.uniform(-h, h)), "gray": bool(rng.random() < 0.2),
        "sigma": float(rng.uniform(0.1, 2)) if rng.random() < 0.6 else 0.0,
        "solarize": bool(preset == "byol" and view == 1 and rng.random() < 0.5), "flip": bool(rng.random() < 0.5),
    }


def change(p, image):
    if p["jitter"]:
        jitter = transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)
        jitter.get_params = lambda *_: (torch.tensor(p["order"]), p["brightness"], p["contrast"], p["saturation"], p["hue"])
        image = jitter(image)
    if p["gray"]:
        image = F.rgb_to_grayscale(image, num_output_channels=3)
    if p["sigma"] > 0:
        image = image.filter(ImageFilter.GaussianBlur(radius=p["sigma"]))
    return ImageOps.solarize(image) if p["solarize"] else image


images = [photo(61, 47), photo(160, 120)]
sources = [store(image) for image in images]
cases = []
for i in range(36):
    preset, view = [("moco-v2", 0), ("simclr", 0), ("byol", 0), ("byol", 1)][i % 4]
    which = int(rng.integers(2))
    image, size = images[which], [24, 32][int(rng.integers(2))]
    p = draw(preset, view)
    y, x, h, w = transforms.RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3])
    if i < 2:
        y, x, h, w = 0, 0, image.height, image.width
    filter = F.InterpolationMode.BICUBIC if preset == "byol" else F.InterpolationMode.BILINEAR
    out = F.resized_crop(image, y, x, h, w, [size, size], filter, antialias=True)
    flip_first = preset != "moco-v2"  # SimCLR and BYOL flip before the colours
    if p["flip"] and flip_first:
        out = F.hflip(out)
    out = change(p, out)
    if p["flip"] and not flip_first:
        out = F.hflip(out)
    cases.append({"preset": preset, "view": view, "source": sources[which], "size": size, "crop": [x, y, w, h], **p, "out": store(out)})

# No crop of at least a fifth of these fits, so torchvision always takes its fallback.
fallbacks = []
for width, height in [(200, 10), (10, 200), (333, 21), (17, 301), (1000, 1), (1, 77)]:
    y, x, h, w = transforms.RandomResizedCrop.get_params(Image.new("RGB", (width, height)), [0.2, 1.0], [3 / 4, 4 / 3])
    fallbacks.append({"width": width, "height": height, "crop": [x, y, w, h]})

OUT.mkdir(exist_ok=True)
(OUT / "views.json").write_text(json.dumps({"cases": cases, "fallbacks": fallbacks}, indent=1) + "\n")
(OUT / "views.bin").write_bytes(stored)
