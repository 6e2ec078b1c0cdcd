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

from pictures import make_pictures

ROOT = pathlib.Path(__file__).resolve().parent.parent
GENVIEW = ROOT / "build/bin/genview"
REPEATS = int(os.environ.get("BENCH_REPEATS", "5"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "8"))
ONLY = [name for name in os.environ.get("BENCH_ONLY", "").split(",") if name]
THREADS = os.environ.get("BENCH_THREADS", "2")
WORK = ROOT / "build/bench"
RATE, MEMORY = "images_per_second", "peak_memory_bytes"
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


def peer(script, *arguments, python=sys.executable):
    return lambda: json_of([python, ROOT / "bench/peers" / script, *arguments])


def wall(*command):
    def run():
        begin = time.perf_counter()
        subprocess.run([str(part) for part in command], check=True, capture_output=True)
        return {"seconds": time.perf_counter() - begin}
    return run


def benchmarks():
    """What is measured: ours, the peer, and the rows that one measurement of both serves."""
    photographs = os.environ.get("BENCH_IMAGES") or make_pictures(WORK / "photographs", 200, 500, 375)
    small = make_pictures(WORK / "small", 2000, 32, 32)

    def loader(name, folder, size):
        return (ours("loader", folder, "--size", size, "--views", 2, "--seconds", SECONDS), peer("loader_torchvision.py", folder, size, SECONDS), {name: RATE})

    def ffcv(folder):  # ours with all of MoCo v2's transforms, theirs with some
        return (ours("loader", folder, "--size", 224, "--views", 2, "--seconds", SECONDS),
                peer("loader_ffcv.py", folder, 224, SECONDS, python=os.environ["FFCV"]), {"loader-224-ffcv": RATE})

    def moco_step(backbone, size, batch, precision, *more):
        stem = [] if size <= 64 else ["--no-small-stem"]
        return ours("step", "--method", "moco-v2", "--backbone", backbone, "--patch-size", 4, "--size", size, "--batch", batch, "--precision", precision,
                    "--queue", 4096 if size <= 64 else 65536, "--optimizer", "sgd", *stem, "--seconds", SECONDS, *more)

    def moco(rows, loss, precision, theirs, backbone="resnet18", size=32, batch=128, how="eager"):
        return moco_step(backbone, size, batch, precision), peer("step_torch.py", loss, backbone, size, batch, theirs, SECONDS, how), rows

    def quality(features, encoder):  # beside our own step without weights: the ratio is one over what they cost
        measure = lambda: moco_step("resnet50", 224, 16, "auto", "--quality", features, "--encoder", encoder())()
        return measure, moco_step("resnet50", 224, 16, "auto"), {f"step-resnet50-quality-{features}": RATE}

    def convnext():
        """The paper's judge of pairs, with random weights: shared with `make bench-full`."""
        folder = ROOT / "build/bench-full/full/convnext"
        if not (folder / ".whole").exists():
            subprocess.run([sys.executable, ROOT / "bench/peers/make_full.py", "convnext", folder], check=True)
        return folder

    def method(name):
        return (ours("step", "--method", name, "--backbone", "resnet18", "--size", 32, "--batch", 128, "--precision", "fp32", "--optimizer", "sgd",
                     "--seconds", SECONDS),
                peer("method_lightly.py", name, 32, 128, SECONDS), {f"step-{name}-lightly": RATE, f"step-{name}-memory": MEMORY})

    def views(name, *how):
        return (ours("views", "--generator", GENERATOR, "--batch", 16, "--steps", 20, "--seconds", SECONDS),
                peer("views_diffusers.py", GENERATOR, 16, 20, SECONDS, *how), {name: RATE})

    return [
        loader("loader-224", photographs, 224),
        loader("loader-32", small, 32),
        *([ffcv(photographs)] if "FFCV" in os.environ else []),  # a Python that has it: loader_ffcv.py says how
        moco({"step-resnet18-fp32-eager": RATE, "step-resnet18-memory": MEMORY}, "torch", "fp32", "fp32"),
        moco({"step-resnet18-fp32-lightly": RATE}, "lightly", "fp32", "fp32"),
        moco({"step-resnet18-auto-against-fp32": RATE}, "torch", "auto", "fp32"),
        moco({"step-resnet18-auto-against-bf16": RATE}, "torch", "auto", "bf16"),
        moco({"step-resnet50-fp32-eager": RATE, "step-resnet50-memory": MEMORY}, "torch", "fp32", "fp32", "resnet50", 224, 16),
        moco({"step-resnet50-fp32-lightly": RATE}, "lightly", "fp32", "fp32", "resnet50", 224, 16),
        moco({"step-resnet50-fp32-compile": RATE}, "torch", "fp32", "fp32", "resnet50", 224, 16, "compile"),
        moco({"step-vit-small-auto-against-fp32": RATE}, "torch", "auto", "fp32", "vit-small", 32, 64),
        moco({"step-vit-small-auto-against-bf16": RATE}, "torch", "auto", "bf16", "vit-small", 32, 64),
        quality("cached", lambda: TOWER),
        quality("online", convnext),
        *(method(name) for name in ("simclr", "simsiam", "byol", "swav", "moco-v3")),
        views("views-batch16-20steps"),
        views("views-16levels-20steps", "one-by-one"),  # the peer takes one level for a whole batch
        (ours("features", small, "--encoder", TOWER, "--batch", 256, "--seconds", SECONDS), peer("features_open_clip.py", small, TOWER, 256, SECONDS),
         {"features-small-tower": RATE}),
        (ours("linear", "--images", 50000, "--width", 2048, "--classes", 10, "--rates", 9, "--epochs", 30, "--seconds", SECONDS),
         peer("linear_torch.py", 50000, 2048, 10, 9, 256, SECONDS), {"linear-50000x2048-9rates": RATE}),
        (ours("knn", "--images", 50000, "--queries", 10000, "--width", 512, "--k", 200, "--seconds", SECONDS),
         peer("knn_torch.py", 50000, 10000, 512, 10, 200, SECONDS), {"knn-10000-of-50000x512": RATE}),
        (wall(GENVIEW, "--help"), wall(sys.executable, "-c", "import torch, torchvision, diffusers"), {"start-help": "seconds"}),
    ]


def compared(name, key, pairs):
    ratios = [a / b if key == RATE else b / a for a, b in pairs]
    a, b = (statistics.median(column) for column in zip(*pairs))
    print(f"{name} {a:.4g} {b:.4g} {statistics.median(ratios):.3f} {min(ratios):.3f} {max(ratios):.3f}", flush=True)
    return {"unit": key, "ours": a, "peer": b, "ratio": statistics.median(ratios), "min": min(ratios), "max": max(ratios), "pairs": pairs}


def main():
    results = {}
    works = benchmarks()
    known = {name for _, _, rows in works for name in rows}
    if unknown := [name for name in ONLY if name not in known]:
        raise SystemExit(f"BENCH_ONLY names no row: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    for mine, theirs, rows in works:
        rows = {name: key for name, key in rows.items() if not ONLY or name in ONLY}
        if not rows:
            continue
        measured = [(mine(), theirs()) for _ in range(REPEATS)]
        for name, key in rows.items():
            results[name] = compared(name, key, [(a[key], b[key]) for a, b in measured])
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    report = {"machine": {"cpu": cpu, "threads": int(THREADS), "system": platform.platform()}, "repeats": REPEATS, "results": results}
    WORK.parent.mkdir(exist_ok=True)
    (ROOT / "build/bench.json").write_text(json.dumps(report, indent=1) + "\n")


main()
