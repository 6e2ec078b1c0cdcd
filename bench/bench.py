"""Runs every benchmark beside its peer, in turn (ours, peer, ours, peer, ...), and prints one line for each:

    NAME ours peer ratio min max

ours and peer are medians in the unit of the line's group; the ratio is the median of the pairwise ratios, above 1 where
we are better; min and max are its extremes. The same goes into build/bench.json with the machine it was measured on, after each
line. Where ours or a peer fails, the rows are named, the others go on, and the end is a failure. Rows beside a peer in bf16 are
left out, by name, on processors that do not multiply it: there they take hours.
"""
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

from pictures import make_pictures

ROOT = pathlib.Path(__file__).resolve().parent.parent
GENVIEW = ROOT / "build/bin/genview"
REPORT = ROOT / "build/bench.json"
CPU = pathlib.Path("/proc/cpuinfo").read_text()
BF16 = any(flag in CPU.split() for flag in ("amx_bf16", "avx512_bf16"))
REPEATS = int(os.environ.get("BENCH_REPEATS", "5"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "8"))
ONLY = [name for name in os.environ.get("BENCH_ONLY", "").split(",") if name]
THREADS = os.environ.get("BENCH_THREADS", "2")
WORK = ROOT / "build/bench"
RATE, MEMORY = "images_per_second", "peak_memory_bytes"
TOWER, GENERATOR = ROOT / "models/demo/tower", ROOT / "models/demo/unclip"


def output_of(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=ROOT / "bench/peers")
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return done.stdout


def json_of(command):
    return json.loads([line for line in output_of(command).splitlines() if line.startswith("{")][-1])


def ours(*arguments):
    def run():
        return json_of([GENVIEW, "bench", *arguments, "--threads", THREADS, "--json"])
    return run


def peer(script, *arguments, python=sys.executable):
    return lambda: json_of([python, ROOT / "bench/peers" / script, *arguments])


def wall(*command):
    def run():
        begin = time.perf_counter()
        output_of(command)
        return {"seconds": time.perf_counter() - begin}
    return run


def first_features():
    with tempfile.TemporaryDirectory() as folder:  # what is there is not computed again
        return wall(GENVIEW, "features", "shapes:count=1,size=32", "--encoder", TOWER, "--out", f"{folder}/features.safetensors")()


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
            output_of([sys.executable, ROOT / "bench/peers/make_full.py", "convnext", folder])
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
        (first_features, wall(sys.executable, ROOT / "bench/peers/start_open_clip.py", TOWER), {"start-features": "seconds"}),
    ]


def compared(name, key, pairs):
    ratios = [a / b if key == RATE else b / a for a, b in pairs]
    a, b = (statistics.median(column) for column in zip(*pairs))
    print(f"{name} {a:.4g} {b:.4g} {statistics.median(ratios):.3f} {min(ratios):.3f} {max(ratios):.3f}", flush=True)
    return {"unit": key, "ours": a, "peer": b, "ratio": statistics.median(ratios), "min": min(ratios), "max": max(ratios), "pairs": pairs}


def write_report(results, failed):
    """Whole or not at all: a run of hours that is stopped leaves the rows that it has."""
    model = next((line.split(":", 1)[1].strip() for line in CPU.splitlines() if line.startswith("model name")), "")
    report = {"machine": {"cpu": model, "threads": int(THREADS), "system": platform.platform()}, "repeats": REPEATS, "results": results}
    if failed:
        report["failed"] = failed
    REPORT.parent.mkdir(exist_ok=True)
    part = REPORT.with_suffix(".part")
    part.write_text(json.dumps(report, indent=1) + "\n")
    os.replace(part, REPORT)


def main():
    results, failed = {}, {}
    works = benchmarks()
    known = {name for _, _, rows in works for name in rows}
    if unknown := [name for name in ONLY if name not in known]:
        raise SystemExit(f"BENCH_ONLY names no row: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    for mine, theirs, rows in works:
        rows = {name: key for name, key in rows.items() if not ONLY or name in ONLY}
        for name in [name for name in rows if name.endswith("-against-bf16") and not BF16]:
            print(f"skipped {name}: this processor does not multiply bf16, which the peer would take hours for", file=sys.stderr, flush=True)
            del rows[name]
        if not rows:
            continue
        try:
            measured = [(mine(), theirs()) for _ in range(REPEATS)]
            results |= {name: compared(name, key, [(a[key], b[key]) for a, b in measured]) for name, key in rows.items()}
        except Exception as error:
            failed |= {name: str(error) for name in rows}
            print(f"FAILED {', '.join(rows)}: {error}", file=sys.stderr, flush=True)
        write_report(results, failed)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
