"""Writes tests/golden/image: pictures of every stored form, and what Pillow and torchvision make of them.

    python tests/golden/make_image.py            (versions: tests/golden/requirements.txt)

`files/` holds the pictures that are decoded. `cases.json` lists what is compared; the expected bytes, rows of R G B, lie
in `expected.bin` at the offset that a case names. The same seed gives the same files with the same versions.
"""

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps
from torchvision.transforms import functional as F

OUT = Path(__file__).parent / "image"
FILES = OUT / "files"
rng = np.random.default_rng(20240607)
expected = bytearray()
cases = []


def store(pixels):
    """Appends the pixels of an RGB image or array; returns what a case says about them."""
    array = np.ascontiguousarray(np.asarray(pixels, dtype=np.uint8))
    assert array.ndim == 3 and array.shape[2] == 3, array.shape
    place = {"width": array.shape[1], "height": array.shape[0], "offset": len(expected)}
    expected.extend(array.tobytes())
    return place


def photo(width, height, channels=3):
    """Smooth areas, an edge and some noise."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for c in range(channels):
        fx, fy, phase = rng.uniform(0.02, 0.25), rng.uniform(0.02, 0.25), rng.uniform(0, 6)
        plane = 128 + 90 * np.sin(fx * x + phase) * np.cos(fy * y) + 60 * ((x * (c + 1) + y) % 29 > 14)
        planes.append(plane + rng.normal(0, 12, (height, width)))
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


# --- decoding -------------------------------------------------------------------------------------------------------

def decode_case(name, data, pixels, tolerance):
    (FILES / name).write_bytes(data)
    cases.append({"op": "decode", "file": name, "tolerance": tolerance, **store(pixels)})


def as_seen(data):
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")


def over_white(rgba):
    v = np.asarray(rgba, dtype=np.int64)
    alpha = v[..., 3:]
    return (v[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255


def saved(image, form, **options):
    data = io.BytesIO()
    image.save(data, form, **options)
    return data.getvalue()


def exif(orientation, order="<"):
    """A TIFF block of one directory: an unrelated tag, then the orientation."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    entries = struct.pack(order + "HHII", 0x0100, 4, 1, 7) + struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return head + struct.pack(order + "H", 2) + entries + struct.pack(order + "I", 0)


def jpegs():
    picture = Image.fromarray(photo(37, 26))
    for name, options in {
        "plain-420": {"quality": 85, "subsampling": 2},
        "plain-422": {"quality": 85, "subsampling": 1},
        "plain-444": {"quality": 92, "subsampling": 0},
        "progressive": {"quality": 80, "progressive": True},
        "restart": {"quality": 80, "restart_marker_blocks": 2},
    }.items():
        data = saved(picture, "JPEG", **options)
        decode_case(f"{name}.jpg", data, as_seen(data), 1)
    data = saved(picture.convert("L"), "JPEG", quality=85)
    decode_case("gray.jpg", data, as_seen(data), 1)
    data = saved(Image.fromarray(photo(21, 18, 4), "CMYK"), "JPEG", quality=90)
    decode_case("cmyk.jpg", data, as_seen(data), 1)
    at = data.index(b"Adobe") + 11  # the colour transform of the Adobe segment: 2 is YCCK
    data = data[:at] + b"\x02" + data[at + 1:]
    decode_case("ycck.jpg", data, as_seen(data), 1)
    small = Image.fromarray(photo(19, 13))
    for orientation in range(1, 9):
        data = saved(small, "JPEG", quality=90, exif=b"Exif\0\0" + exif(orientation, "<>"[orientation % 2]))
        decode_case(f"orientation-{orientation}.jpg", data, as_seen(data), 1)


PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png(samples, color, depth, interlaced=False, before=(), after=()):
    """A PNG of samples [H,W,C], with chunks (name, data) before and after its picture data."""
    samples = np.asarray(samples)
    samples = samples.reshape(samples.shape[0], samples.shape[1], PNG_CHANNELS[color])

    def rows(part):
        result = b""
        for row in part:
            bits = "".join(format(int(v), f"0{depth}b") for v in row.reshape(-1))
            bits += "0" * (-len(bits) % 8)
            result += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
        return result

    if interlaced:
        parts = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7]
        body = b"".join(rows(part) for part in parts if part.size)
    else:
        body = rows(samples)

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], depth, color, 0, 0, int(interlaced))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    for name, value in before:
        data += chunk(name, value)
    data += chunk(b"IDAT", zlib.compress(body, 9))
    for name, value in after:
        data += chunk(name, value)
    return data + chunk(b"IEND", b"")


def pngs():
    rgb = photo(17, 11)
    gray = rgb[..., 0]
    alpha = photo(17, 11)[..., 1]
    triple = lambda plane: np.repeat(np.asarray(plane)[..., None], 3, -1)

    def case(name, pixels, *args, **options):
        decode_case(f"{name}.png", png(*args, **options), pixels, 0)

    case("rgb", rgb, rgb, 2, 8)
    case("rgb-interlaced", rgb, rgb, 2, 8, interlaced=True)
    case("gray", triple(gray), gray, 0, 8)
    for depth in (1, 2, 4):
        levels = gray >> (8 - depth)
        case(f"gray-{depth}", triple(levels * (255 // (2**depth - 1))), levels, 0, depth)
    case("gray-alpha", over_white(np.dstack([triple(gray), alpha])), np.dstack([gray, alpha]), 4, 8)
    case("rgba", over_white(np.dstack([rgb, alpha])), np.dstack([rgb, alpha]), 6, 8)
    case("rgba-interlaced", over_white(np.dstack([rgb, alpha])), np.dstack([rgb, alpha]), 6, 8, interlaced=True)
    # 16 bits: the upper half counts, as in Pillow.
    low = photo(17, 11).astype(np.int64)
    case("rgb-16", rgb, rgb.astype(np.int64) * 256 + low, 2, 16)
    case("gray-16", triple(gray), gray.astype(np.int64) * 256 + low[..., 0], 0, 16)
    wide = np.dstack([rgb.astype(np.int64), alpha]) * 256 + np.dstack([low, low[..., :1]])
    case("rgba-16", over_white(np.dstack([rgb, alpha])), wide, 6, 16)
    # Palettes, with and without transparency; one colour of gray and RGB that is transparent.
    palette = photo(16, 1)[0]
    place = rgb[..., 1] % 16
    case("palette", palette[place], place, 3, 8, before=[(b"PLTE", palette.tobytes())])
    case("palette-4", palette[place], place, 3, 4, before=[(b"PLTE", palette.tobytes())])
    trns = np.array([0, 60, 128, 200, 255], dtype=np.uint8)
    full = np.concatenate([trns, np.full(11, 255, np.uint8)])
    case("palette-trns", over_white(np.dstack([palette[place], full[place]])), place, 3, 8,
         before=[(b"PLTE", palette.tobytes()), (b"tRNS", trns.tobytes())])
    steps = gray >> 5
    see_through = np.where(steps == 3, 0, 255)
    case("gray-trns", over_white(np.dstack([triple(steps), see_through])), steps, 0, 8,
         before=[(b"tRNS", struct.pack(">H", 3))])
    few = rgb >> 7
    see_through = np.where((few == [1, 0, 1]).all(-1), 0, 255)
    assert (see_through == 0).any()
    case("rgb-trns", over_white(np.dstack([few, see_through])), few, 2, 8, before=[(b"tRNS", struct.pack(">HHH", 1, 0, 1))])
    turned = lambda data: np.asarray(as_seen(data))
    for name, where in (("exif-before", "before"), ("exif-after", "after")):
        data = png(rgb, 2, 8, **{where: [(b"eXIf", exif(6))]})
        decode_case(f"{name}.png", data, turned(data), 0)
    # Chunks that are not looked at: a text, and a colour profile that is none.
    case("texts", rgb, rgb, 2, 8, before=[(b"tEXt", b"Comment\0hello"), (b"iCCP", b"none\0\0" + zlib.compress(b"x" * 50))])
    # Against Pillow itself, where it says the same.
    for case_ in cases:
        name = case_["file"]
        if name.endswith(".png") and not any(part in name for part in ("alpha", "rgba", "trns", "gray-16")):
            count = case_["width"] * case_["height"] * 3
            ours = bytes(expected[case_["offset"]:case_["offset"] + count])
            assert as_seen((FILES / name).read_bytes()).tobytes() == ours, name


def webps():
    rgb = Image.fromarray(photo(31, 22))
    rgba = Image.fromarray(np.dstack([np.asarray(rgb), photo(31, 22)[..., 0]]), "RGBA")
    decode_case("lossy.webp", data := saved(rgb, "WEBP", quality=80), as_seen(data), 1)
    decode_case("lossless.webp", data := saved(rgb, "WEBP", lossless=True), as_seen(data), 0)
    data = saved(rgba, "WEBP", lossless=True, exact=True)
    decode_case("lossless-alpha.webp", data, over_white(Image.open(io.BytesIO(data)).convert("RGBA")), 0)
    data = saved(rgba, "WEBP", quality=80)
    decode_case("lossy-alpha.webp", data, over_white(Image.open(io.BytesIO(data)).convert("RGBA")), 1)
    data = saved(rgb, "WEBP", lossless=True, exif=exif(8, ">"))
    decode_case("exif.webp", data, as_seen(data), 0)


# --- geometry and colour ----------------------------------------------------------------------------------------------

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
RARE_FILTERS = {name: Image.Resampling[name.upper()] for name in ("nearest", "lanczos", "box", "hamming")}


def resizes(source, place, filters=FILTERS, count=None):
    """`count`: of the sizes and of the boxes, otherwise all."""
    width, height = source.size
    sizes = [(23, 17), (width * 2 + 1, height - 8), (7, height), (width, 9), (width, height + 10), (1, 1), (64, 3), (3, 64),
             (40, 24), (40, 25), (40, 26)]  # about where Pillow begins with the other direction
    for name, filter_ in filters.items():
        for w, h in sizes[:count]:
            cases.append({"op": "resize", "source": place, "filter": name, "box": [0, 0, width, height],
                          **store(source.resize((w, h), filter_))})
        for box in [(0, 0, 20, 20), (11, 5, 31, 27), (width - 9, height - 6, 9, 6), (40, 0, 1, height), (3, 3, 16, 16)][:count]:
            x, y, w, h = box
            part = source.crop((x, y, x + w, y + h))
            cases.append({"op": "resize", "source": place, "filter": name, "box": box,
                          **store(part.resize((16, 16), filter_))})


def colours(source, place):
    def case(op, image, **values):
        cases.append({"op": op, "source": place, **values, **store(image)})

    for factor in (0.0, 0.2, 0.6123, 1.0, 1.37, 3.5):
        case("brightness", F.adjust_brightness(source, factor), factor=factor)
        case("contrast", F.adjust_contrast(source, factor), factor=factor)
        case("saturation", F.adjust_saturation(source, factor), factor=factor)
    for factor in (-0.5, -0.21, -0.003, 0.0, 0.003, 0.0613, 0.1, 0.5):
        case("hue", F.adjust_hue(source, factor), factor=factor)
    case("gray", F.rgb_to_grayscale(source, 3))
    for sigma in (0.0, 0.1, 0.35, 0.8, 1.2345, 1.7, 2.0, 3.3, 8.0):
        case("blur", source.filter(ImageFilter.GaussianBlur(radius=sigma)), factor=sigma)
    for threshold in (0, 128, 200):
        case("solarize", F.solarize(source, threshold), factor=threshold)


def preprocessing():
    """torchvision's Resize(int) and CenterCrop, for sides whose difference to the crop is odd, and for too small ones."""
    for width, height, shortest, crop in [(50, 37, 24, 24), (37, 50, 24, 21), (41, 41, 24, 19), (30, 20, 9, 16), (25, 22, 0, 20)]:
        source = Image.fromarray(photo(width, height))
        place = store(source)
        resized = F.resize(source, shortest, FILTERS["bicubic"]) if shortest else source
        cases.append({"op": "preprocess", "source": place, "shortest": shortest, "size": crop,
                      **store(F.center_crop(resized, [crop, crop]))})


def main():
    FILES.mkdir(parents=True, exist_ok=True)
    for old in FILES.iterdir():
        old.unlink()
    jpegs()
    pngs()
    webps()
    source = Image.fromarray(photo(45, 35))
    place = store(source)
    resizes(source, place)
    colours(source, place)
    # All corners of the colour cube and random colours, for the conversions to HSV and back.
    cube = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    cube[:8] = np.array([[[a, b, c] for c in (0, 1, 128, 255) for b in (0, 127) for a in (0, 255, 3)] for _ in range(8)])
    source = Image.fromarray(cube)
    colours(source, store(source))
    tiny = Image.fromarray(photo(3, 2))
    colours(tiny, store(tiny))
    preprocessing()
    source = Image.fromarray(photo(45, 35))
    resizes(source, store(source), RARE_FILTERS, count=3)
    (OUT / "expected.bin").write_bytes(bytes(expected))
    lines = ",\n".join(json.dumps(case) for case in cases)
    (OUT / "cases.json").write_text(f'{{"cases": [\n{lines}\n]}}\n')
    print(len(cases), "cases,", len(expected), "bytes")


if __name__ == "__main__":
    main()
