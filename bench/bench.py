"""Runs every benchmark beside its peer, in turn (ours, peer, ours, peer, ...), and prints one line for each:

    NAME ours peer ratio min max

ours and peer are medians in the unit of the line's group; the ratio is the median of the pairwise ratios, above 1 where
we are better; min and max are its extremes. The same goes into build/bench.json with the machine it was measured on.
"""
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
GENVIEW = ROOT / "build/bin/genview"
REPEATS = int(os.environ.get("BENCH_REPEATS", "5"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "8"))
ONLY = [name for name in os.environ.get("BENCH_ONLY", "").split(",") if name]
THREADS = os.environ.get("BENCH_THREADS", "2")
WORK = ROOT / "build/bench"
TOWER, GENERATOR = ROOT / "models/demo/tower", ROOT / "models/demo/unclip"


def json_of(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=ROOT / "bench/peers")
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])


def ours(*arguments):
    def run():
        return json_of([GENVIEW, "bench", *arguments, "--threads", THREADS, "--json"])
    return run


def peer(script, *arguments):
    return lambda: json_of([sys.executable, ROOT / "bench/peers" / script, *arguments])


def wall(*command):
    def run():
        begin = time.perf_counter()
        subprocess.run([str(part) for part in command], check=True, capture_output=True)
        return {"seconds": time.perf_counter() - begin}
    return run


def make_pictures(folder, count, width, height):
    """JPEGs of about the detail and size of photographs, for where there are none."""
    import numpy
    from PIL import Image
    folder.mkdir(parents=True, exist_ok=True)
    generator = numpy.random.default_rng(0)
    for i in range(count):
        file = folder / f"{i:04d}.jpg"
        if file.exists():
            continue
        coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=numpy.uint8)).resize((width, height), Image.BICUBIC)
        noise = generator.normal(0, 12, (height, width, 3))
        Image.fromarray(numpy.clip(numpy.asarray(coarse) + noise, 0, 255).astype(numpy.uint8)).save(file, quality=90)
    return folder


def benchmarks():
    photographs = os.environ.get("BENCH_IMAGES") or make_pictures(WORK / "photographs", 200, 500, 375)
    small = make_pictures(WORK / "small", 2000, 32, 32)
    rate, memory = "images_per_second", "peak_memory_bytes"
    loader = lambda folder, size: (ours("loader", folder, "--size", size, "--views", 2, "--seconds", SECONDS),
                                   peer("loader_torchvision.py", folder, size, SECONDS))
    step = lambda loss, precision, backbone="resnet18", size=32, batch=128: (
        ours("step", "--method", "moco-v2", "--backbone", backbone, "--size", size, "--batch", batch, "--precision", "fp32" if precision == "fp32" else "auto",
             "--queue", 4096 if size <= 64 else 65536),
        peer("step_torch.py", loss, backbone, size, batch, precision, SECONDS))
    # The peer takes one level for a whole batch, so images at levels of their own go through it one by one.
    views = lambda how: (ours("views", "--generator", GENERATOR, "--batch", 16, "--steps", 20, "--seconds", SECONDS),
                         peer("views_diffusers.py", GENERATOR, 16, 20, SECONDS, *([how] if how == "one-by-one" else [])))
    return {
        "loader-224": (*loader(photographs, 224), rate),
        "loader-32": (*loader(small, 32), rate),
        "step-resnet18-fp32-eager": (*step("torch", "fp32"), rate),
        "step-resnet18-fp32-lightly": (*step("lightly", "fp32"), rate),
        "step-resnet18-memory": (*step("torch", "fp32"), memory),
        "step-resnet18-auto-against-fp32": (step("torch", "bf16")[0], step("torch", "fp32")[1], rate),
        "step-resnet18-auto-against-bf16": (*step("torch", "bf16"), rate),
        "views-batch16-20steps": (*views("together"), rate),
        "views-16levels-20steps": (*views("one-by-one"), rate),
        "features-small-tower": (ours("features", small, "--encoder", TOWER, "--batch", 256, "--seconds", SECONDS),
                                 peer("features_open_clip.py", small, TOWER, 256, SECONDS), rate),
        "start-help": (wall(GENVIEW, "--help"), wall(sys.executable, "-c", "import torch, torchvision, diffusers"), "seconds"),
    }


def main():
    results = {}
    for name, (a, b, key) in benchmarks().items():
        if ONLY and name not in ONLY:
            continue
        pairs = [(a()[key], b()[key]) for _ in range(REPEATS)]
        more_is_better = key == "images_per_second"
        ratios = [x / y if more_is_better else y / x for x, y in pairs]
        mine, theirs = (statistics.median(column) for column in zip(*pairs))
        print(f"{name} {mine:.4g} {theirs:.4g} {statistics.median(ratios):.3f} {min(ratios):.3f} {max(ratios):.3f}", flush=True)
        results[name] = {"unit": key, "ours": mine, "peer": theirs, "ratio": statistics.median(ratios), "min": min(ratios),
                         "max": max(ratios), "pairs": pairs}
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    report = {"machine": {"cpu": cpu, "threads": int(THREADS), "system": platform.platform()}, "repeats": REPEATS, "results": results}
    WORK.parent.mkdir(exist_ok=True)
    (ROOT / "build/bench.json").write_text(json.dumps(report, indent=1) + "\n")


main()
