#!/usr/bin/env python3
"""A made-up run folder with everything a report can show, in the layout that `genview run` leaves.

    sample_run.py FOLDER

Only the standard library; the pictures are drawn here, the numbers are invented and say so in the run's name."""
import json
import math
import os
import random
import struct
import sys
import zlib


def png(path, width, height, pixel):
    rows = b"".join(b"\0" + bytes(v for x in range(width) for v in pixel(x, y)) for y in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
                   + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def disc(seed, radius, size=64, jitter=0.0):
    """A coloured disc on a soft ground; the mask's own function says where the disc is."""
    dice = random.Random(seed)
    ground = [dice.randrange(60, 150) for _ in range(3)]
    body = [dice.randrange(120, 256) for _ in range(3)]
    moved = random.Random(f"{seed} {jitter}")
    cx, cy = size * (0.5 + jitter * moved.uniform(-0.2, 0.2)), size * (0.5 + jitter * moved.uniform(-0.2, 0.2))
    inside = lambda x, y: math.hypot(x - cx, y - cy) < radius * (1 + jitter * moved_scale)
    moved_scale = moved.uniform(-0.3, 0.3)

    def colour(x, y):
        base = body if inside(x, y) else ground
        light = 1 + 0.25 * math.sin((x + 2 * y) / 6) * (1 if inside(x, y) else 0.3)
        return [max(0, min(255, int(value * light))) for value in base]

    return colour, lambda x, y: [255 if inside(x, y) else 0] * 3


def gallery(folder):
    images = []
    for k in range(10):
        ratio = 0.05 + 0.09 * k
        radius = 64 * math.sqrt(ratio / math.pi)
        level = min(400, 100 * max(0, math.ceil(ratio / 0.2) - 1))
        colour, mask = disc(k, radius)
        height = 48 if k % 3 == 1 else 64  # as photographs are
        png(f"{folder}/{k:03}-image.png", 64, height, colour)
        png(f"{folder}/{k:03}-mask.png", 64, height, mask)
        png(f"{folder}/{k:03}-view.png", 64, 64, disc(k, radius, jitter=level / 400)[0])
        images.append({"id": f"disc/{k:06}.png", "ratio": round(ratio, 3), "level": level, "image": f"{k:03}-image.png",
                       "mask": f"{k:03}-mask.png", "view": f"{k:03}-view.png"})
    views = []
    for draw in range(3):
        for level in (0, 100, 200, 300, 400):
            png(f"{folder}/level-{level}-{draw}.png", 64, 64, disc(4, 22, jitter=level * (1 + draw / 10) / 300)[0])
            views.append({"level": level, "view": f"level-{level}-{draw}.png"})
    write(f"{folder}/gallery.json", json.dumps(
        {"images": images, "levels": {"id": "disc/000004.png", "image": "004-image.png", "views": views},
         "arm": "genview", "pairs": pairs(folder)}, indent=1))


def pairs(folder):
    rows = []
    for k in range(8):
        row = {"id": f"disc/{k:06}.png", "weight": round(1.9 - 0.22 * k, 3)}
        for view in (1, 2):
            colour, mask = disc(k, 14 + 2 * k, jitter=0.3 * view)
            png(f"{folder}/{k}-view{view}.png", 64, 64, colour)
            png(f"{folder}/{k}-map{view}.png", 64, 64, mask)
            row[f"view{view}"], row[f"map{view}"] = f"{k}-view{view}.png", f"{k}-map{view}.png"
        rows.append(row)
    return rows


def arm(run, name, linear, knn, seed):
    for kind, top1 in (("linear", linear), ("knn", knn)):
        share, n, z = top1 / 100, 2000, 1.96
        centre = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        write(f"{run}/{name}/eval/{kind}.json", json.dumps(
            {"kind": kind, "top1": top1, "top5": 90.0, "top1_low": 100 * (centre - half), "top1_high": 100 * (centre + half),
             "images": n, "classes": 10, "seed": 0, "checkpoint": "0" * 32, "normalisation": {}, "settings": {}}, indent=1))
    weight = lambda mean: {"pairs": 61_440, "mean": mean}
    weights = {"augmented": weight(1.07), "generated": weight(0.93), "levels": {str(level): weight(1 - level / 4000) for level in range(0, 500, 100)}}
    write(f"{run}/{name}/pretrain/summary.json", json.dumps({"encoder": "0" * 32, "weights": weights if name not in ("baseline", "generated") else None}))
    dice, rows = random.Random(seed), []
    for step in range(1, 641):
        epoch = step / 16
        row = {"step": step, "loss": 7.6 - 1.6 * (1 - math.exp(-epoch / (9 + seed))) + dice.gauss(0, 0.05),
               "relative_std": 1 - 0.34 * math.exp(-epoch / (3 + seed)) + dice.gauss(0, 0.005),
               "effective_rank": 60 - 40 * math.exp(-epoch / (4 + seed)) + dice.gauss(0, 0.4)}
        if step % 64 == 0:
            row["knn_top1"] = knn * (1 - math.exp(-epoch / 12))
        rows.append(json.dumps(row))
    write(f"{run}/{name}/pretrain/log.jsonl", "\n".join(rows) + "\n")


def main(run, last="genview"):
    write(f"{run}/recipe.toml", f'''name = "made up"
seeds = [0]

[data]
train = "shapes:count=4096,size=64,seed=0"
test = "shapes:count=2000,size=64,seed=1"

[views]
policy = "adaptive"
levels = [0, 100, 200, 300, 400]

[pretrain]
method = "moco-v2"
backbone = "resnet18"
epochs = 40

[[arms]]
name = "baseline"

[[arms]]
name = "generated"
[arms.set]
pretrain.pair.source = "generated"

[[arms]]
name = "{last}"
[arms.set]
pretrain.pair.source = "generated"
pretrain.quality.enabled = true
''')
    write(f"{run}/environment.json", json.dumps({"version": "genview 0.0.0", "system": "none", "processor": "none", "cores": 2,
                                                 "instructions": ["avx2", "fma"], "libtorch": "none"}))
    arm(run, "baseline", 54.6, 33.9, 0)
    arm(run, "generated", 56.9, 36.1, 1)
    arm(run, last, 58.8, 38.0, 2)
    gallery(f"{run}/gallery")
    bins, levels = [], []
    for level in (0, 100, 200, 300, 400):
        cosine = 0.93 - level / 8000
        levels.append({"level": level, "views": 100, "cosine": cosine, "kept": 84.0, "low": 75.6, "high": 89.9})
        bins += [{"level": level, "from": k / 5, "to": (k + 1) / 5, "views": 20, "cosine": cosine + k / 100, "kept": 80.0 + k, "low": 58.4, "high": 91.9}
                 for k in range(5)]
    write(f"{run}/gallery/likeness.json", json.dumps({"pictures": 100, "real_kept": 98.0, "levels": levels, "bins": bins}))
    write(f"{run}/foreground/ratios.json", json.dumps({"images_with_truth": 4096, "mean_overlap_with_truth": 0.71, "spearman_with_truth": 0.93}))
    dice = random.Random(5)
    ratios = [min(1, max(0, dice.betavariate(3, 5))) for _ in range(4096)]
    write(f"{run}/foreground/ratios.tsv", "id\tpath\tforeground_ratio\tnoise_level\n" + "".join(
        f"disc/{i:06}.png\tdisc/{i:06}.png\t{r:.6f}\t{min(400, 100 * max(0, math.ceil(r / 0.2) - 1))}\n" for i, r in enumerate(ratios)))
    write(f"{run}/views/skipped.tsv", "id\treason\nring/000017.png\tthe JPEG data ends too early\n")
    stages = [("foreground fit", "images", 4096, 4096, 0, 11.2), ("foreground score", "images", 4096, 4095, 1, 14.9),
              ("views", "views", 4096, 4095, 1, 96.0), ("pretrain baseline", "", 0, 0, 0, 121.5), ("eval linear baseline", "", 0, 0, 0, 9.0),
              (f"pretrain {last}", "", 0, 0, 0, 158.1), (f"eval linear {last}", "", 0, 0, 0, 9.2)]
    for order, (stage, unit, asked, made, failed, seconds) in enumerate(stages):
        write(f"{run}/state/{stage.replace(' ', '-')}.json", json.dumps(
            {"stage": stage, "order": order, "unit": unit, "asked": asked, "made": made, "failed": failed, "seconds": seconds,
             "peak_memory_bytes": 900_000_000 + 40_000_000 * order}))


if __name__ == "__main__":
    main(sys.argv[1])
