"""Full-size networks beside their peers: `make bench-full`. Random weights of the real architectures, made by the peers once
(about 9 GB of disk), then every row ours and peer in turn, as a table in markdown; and how far their numbers are apart.

    full.py [--cache build/bench-full] [--rows vit-h,unet,...] [--repeats 3] [--threads 2] [--images DIR] [--tiny] [--clean]

Each row can be run alone. --tiny: small architectures through the same code, in a minute. --clean: the weights go at the end.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

from pictures import make_pictures

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / "bench/peers"
GENVIEW = ROOT / "build/bin/genview"


def run(command, env):
    """The process's standard output, its seconds and its peak memory."""
    begin = time.time()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True, cwd=PEERS, env={**env, "BENCH_BEGIN": repr(begin)})
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise RuntimeError(f"failed with {status}: {' '.join(map(str, command))}")
    return text, time.time() - begin, usage.ru_maxrss * 1024


def json_of(command, env):
    text, seconds, peak = run(command, env)
    return {**json.loads([line for line in text.splitlines() if line.startswith("{")][-1]), "wall": seconds, "process_peak": peak}


class Bench:
    def __init__(self, options):
        self.options = options
        self.cache = pathlib.Path(options.cache).resolve() / ("tiny" if options.tiny else "full")
        self.env = {**os.environ, "BENCH_THREADS": str(options.threads), "OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1",
                    "PYTHONWARNINGS": "ignore"}
        self.amx = "amx_bf16" in pathlib.Path("/proc/cpuinfo").read_text()

    def folder(self, part):
        """The random weights of a part, made when they are first asked for."""
        folder = self.cache / part
        if not (folder / ".whole").exists():
            print(f"making {folder} ...", file=sys.stderr, flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            run([sys.executable, PEERS / "make_full.py", part, folder, *(["tiny"] if self.options.tiny else [])], self.env)
        return folder

    def pictures(self, count):
        """A folder of `count` photographs: of --images, or made ones of about their detail."""
        folder = self.cache / f"pictures-{count}"
        if folder.exists():
            return folder
        folder.mkdir(parents=True)
        if self.options.images:
            files = sorted(p for p in pathlib.Path(self.options.images).rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"})[:count]
            for i, file in enumerate(files):
                shutil.copy(file, folder / f"{i:03d}{file.suffix.lower()}")
            return folder
        make_pictures(folder, count, 500, 375)
        return folder

    # Rows: seconds of one image, view or call, and the process's peak.
    def ours(self, kind, *words, precision="fp32"):
        figures = json_of([GENVIEW, "bench", kind, *words, "--rounds", 1, "--threads", self.options.threads, "--precision", precision, "--device", "cpu", "--json",
                           "--log-level", "error"], self.env)
        return 1 / figures["images_per_second"], figures["peak_memory_bytes"]

    def peer(self, *words, precision="fp32"):
        figures = json_of([sys.executable, PEERS / "full_part.py", *words, precision], self.env)
        return 1 / figures["images_per_second"], figures["process_peak"]

    def features(self, part, batch, precision="fp32"):
        encoder, images = self.folder(part), self.pictures(batch)
        return (lambda: self.ours("features", images, "--encoder", encoder, "--batch", batch, precision=precision),
                lambda: self.peer("features", encoder, images, batch, precision=precision))

    def part(self, part, precision="fp32"):
        generator, side = self.folder("pipeline"), 16 if self.options.tiny else 64
        return (lambda: self.ours("views", "--generator", generator, "--part", part, "--latents", side, "--batch", 1, precision=precision),
                lambda: self.peer(part, generator, side, "-", precision=precision))

    def load(self):
        generator = self.folder("pipeline")

        def start():  # of the program itself, which its own figure leaves out
            begin = time.time()
            run([GENVIEW, "--help"], self.env)
            return time.time() - begin

        def mine():
            seconds, peak = self.ours("views", "--generator", generator, "--part", "load")
            return seconds + start(), peak

        return mine, lambda: self.peer("load", generator, "-", "-")

    def rows(self):
        table = {
            "vit-h": ("ViT-H/14, 224 px, batch 4, per image", "1.15x, 2.7 GB", lambda: self.features("vit", 4)),
            "convnext": ("ConvNeXt-Base-wide, 256 px, batch 8, per image", "1.15x", lambda: self.features("convnext", 8)),
            "unet": ("UNet of 870 M, 64 x 64 latents, one row with guidance", "1.15x, 3.8 GB", lambda: self.part("unet")),
            "decode": ("VAE decoder, 512 px", "1.1x, 1.2 GB", lambda: self.part("decode")),
            "load": ("pipeline read until the first step", "2x", self.load),
        }
        if self.amx:
            table |= {
                "vit-h-bf16": ("ViT-H/14 in bf16", "1x", lambda: self.features("vit", 4, "bf16")),
                "convnext-bf16": ("ConvNeXt-Base-wide in bf16", "1x", lambda: self.features("convnext", 8, "bf16")),
                "unet-bf16": ("UNet in bf16", "1x", lambda: self.part("unet", "bf16")),
                "decode-bf16": ("VAE decoder in bf16", "1x", lambda: self.part("decode", "bf16")),
            }
        return table

    def measure(self, name, make):
        mine, theirs = make()
        pairs = [(mine(), theirs()) for _ in range(self.options.repeats)]
        ratios = [b[0] / a[0] for a, b in pairs]
        median = lambda values: statistics.median(values)
        return {"name": name, "ours_s": median([a[0] for a, _ in pairs]), "peer_s": median([b[0] for _, b in pairs]), "ratio": median(ratios), "min": min(ratios),
                "max": max(ratios), "ours_bytes": max(a[1] for a, _ in pairs), "peer_bytes": max(b[1] for _, b in pairs), "repeats": len(pairs)}

    # Parity: the largest difference of a tensor over its largest value; of pictures in steps of 1/255.
    def compare(self, title, ours, theirs, both):
        import torch
        from safetensors.torch import load_file
        ours, theirs = load_file(ours), load_file(theirs)
        lines = []
        for key in both:
            a, b = ours[key].double(), theirs[key].double()
            if a.shape != b.shape:
                raise RuntimeError(f"{title}, {key}: {tuple(a.shape)} and {tuple(b.shape)}")
            picture = key == "image"
            apart = (a - b).abs().max().item() if picture else ((a - b).abs().max() / b.abs().max()).item()
            good = apart <= (1 if picture else 1e-4) and bool(torch.isfinite(a).all())
            lines.append({"what": title, "tensor": key, "apart": apart, "unit": "1/255" if picture else "relative", "good": good})
        return lines

    def parity_features(self):
        encoder, images, out = self.folder("vit"), self.pictures(20), self.cache / "parity"
        out.mkdir(exist_ok=True)
        mine = run([GENVIEW, "features", images, "--encoder", encoder, "--out", out / "features.safetensors", "--tokens", "--precision", "fp32", "--device", "cpu",
                    "--batch", 4, "--threads", self.options.threads, "--log-level", "error"], self.env)
        theirs = run([sys.executable, PEERS / "full_parity.py", "features", encoder, images, out / "features-peer.safetensors"], self.env)
        return self.compare("features, 20 pictures", out / "features.safetensors", out / "features-peer.safetensors", ["embeddings", "tokens"]), mine, theirs

    def parity_views(self):
        import torch
        from safetensors.torch import save_file
        generator, images, out = self.folder("pipeline"), self.pictures(4), self.cache / "parity"
        out.mkdir(exist_ok=True)
        side, width = (8, 32) if self.options.tiny else (32, 1024)
        torch.manual_seed(1)
        save_file({"latents": torch.randn(4, 4, side, side), "embedding_noise": torch.randn(4, width)}, out / "noise.safetensors")
        levels, names = [0, 200, 400, 200], sorted(path.name for path in images.iterdir())
        (out / "levels.txt").write_text("".join(f"{name} {level}\n" for name, level in zip(names, levels)))
        shutil.rmtree(out / "views", ignore_errors=True)
        mine = run([GENVIEW, "views", images, "--generator", generator, "--out", out / "views", "--ratios", out / "levels.txt", "--levels", "0,200,400", "--size", side * 8,
                    "--steps", 4, "--noise", out / "noise.safetensors", "--dump", out / "dump.safetensors", "--precision", "fp32", "--device", "cpu", "--batch", 4,
                    "--threads", self.options.threads, "--log-level", "error"], self.env)
        theirs = run([sys.executable, PEERS / "full_parity.py", "views", generator, images, out / "dump-peer.safetensors", out / "noise.safetensors",
                      ",".join(map(str, levels)), 4, 10], self.env)
        tensors = ["image_embeds", "class_labels", "prompt_embeds", "unet_first", "latents", "image"]
        return self.compare("views, 4 pictures at 3 levels in one batch", out / "dump.safetensors", out / "dump-peer.safetensors", tensors), mine, theirs


def gigabytes(count):
    return f"{count / 1e9:.2f} GB"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", default=ROOT / "build/bench-full")
    parser.add_argument("--rows", default="")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", default=os.environ.get("BENCH_IMAGES", ""))
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--clean", action="store_true")
    options = parser.parse_args()
    bench = Bench(options)
    bench.cache.mkdir(parents=True, exist_ok=True)
    parities = {"parity-features": bench.parity_features, "parity-views": bench.parity_views}
    chosen = [name for name in options.rows.split(",") if name] or [*bench.rows(), *parities]
    unknown = set(chosen) - {*bench.rows(), *parities}
    if unknown:
        sys.exit(f"unknown rows: {', '.join(sorted(unknown))}; there are {', '.join([*bench.rows(), *parities])}")
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    results, good = [], True
    print(f"{cpu}, {options.threads} threads, load {os.getloadavg()[0]:.1f}{', TINY architectures' if options.tiny else ''}\n")
    print("| work | ours | peer | time ratio (least to most) | peak ours | peak peer | goal |\n|---|---|---|---|---|---|---|", flush=True)
    for name, (title, goal, make) in bench.rows().items():
        if name not in chosen:
            continue
        r = bench.measure(name, make)
        results.append(r)
        print(f"| {title} | {r['ours_s']:.3g} s | {r['peer_s']:.3g} s | {r['ratio']:.2f} ({r['min']:.2f} to {r['max']:.2f}) | {gigabytes(r['ours_bytes'])} | "
              f"{gigabytes(r['peer_bytes'])} | {goal} |", flush=True)
    if any(name in chosen for name in parities):
        print("\n| parity | tensor | apart | | |\n|---|---|---|---|---|", flush=True)
    for name, make in parities.items():
        if name not in chosen:
            continue
        lines, mine, theirs = make()
        for line in lines:
            good = good and line["good"]
            print(f"| {line['what']} | `{line['tensor']}` | {line['apart']:.2g} {line['unit']} | {'good' if line['good'] else 'TOO FAR APART'} | |")
        print(f"| whole command | ours {mine[1]:.1f} s, {gigabytes(mine[2])} | peer {theirs[1]:.1f} s, {gigabytes(theirs[2])} | | |", flush=True)
        results.append({"name": name, "tensors": lines, "ours_s": mine[1], "peer_s": theirs[1], "ours_bytes": mine[2], "peer_bytes": theirs[2]})
    (bench.cache / "result.json").write_text(json.dumps({"cpu": cpu, "threads": options.threads, "results": results}, indent=1) + "\n")
    if options.clean:
        for part in ("vit", "convnext", "pipeline"):
            shutil.rmtree(bench.cache / part, ignore_errors=True)
    sys.exit(0 if good else 1)


main()
