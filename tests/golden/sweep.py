"""Sweeps: random small configurations, each written by the library it belongs to and read by the program, by command line.

    python tests/golden/sweep.py                          20 draws of every case
    python tests/golden/sweep.py --only schedulers --count 500 --seed 7

A case is a function of a sweep_*.py: it draws settings, writes a folder with the peer, runs `genview`, and returns what
was computed on both sides. A line for each draw: the worst difference, |ours - theirs| / (|theirs| + their root mean
square), and the settings. The sweep fails above 1e-4, and where the program refuses what it should read or reads what it
should refuse; what the peer itself refuses is counted and not judged. Where many steps of a random network blow up the
peer's own rounding, both sides are held against the peer in fp64. A draw depends on seed, case and number alone.
"""
import argparse
import collections
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
TOLERANCE = 1e-4  # of contract 6: encoder outputs, generator intermediates


class Refused(Exception):
    """By the program: its error in one line."""


class Draw(random.Random):
    """Random settings, and the names of those that the program must refuse."""

    def __init__(self, seed):
        super().__init__(seed)
        self.unsupported = []

    def maybe(self, share=0.5):
        return self.random() < share

    def some(self, share=0.3, **values):
        """Some of the keys, each with one of its values."""
        return {key: self.choice(options) for key, options in values.items() if self.maybe(share)}

    def foreign(self, share=0.1, **values):
        """Seldom one key, with a value that the program does not support."""
        if not self.maybe(share):
            return {}
        key = self.choice(sorted(values))
        self.unsupported.append(key)
        return {key: self.choice(values[key])}


def genview(*arguments):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    if done.returncode < 0:
        raise RuntimeError(f"ended by signal {-done.returncode}")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith(("error:", "where:"))]
        raise Refused(" ".join(lines) or f"exit {done.returncode}: {done.stderr[-300:]}")
    return done.stdout


def randomise(model, draw):
    """All weights away from what they begin with, in values that half precision holds."""
    import torch
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if not tensor.is_floating_point() or tensor.dim() == 0:
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if "running_var" in name:
                noise = 1 + 0.2 * noise.tanh()
            elif tensor.dim() > 1:
                noise *= tensor[0].numel() ** -0.5
            elif name.endswith("weight") or "gamma" in name:  # norms, layer scale
                noise = 1 + 0.2 * noise
            else:
                noise *= 0.2
            tensor.copy_(noise.half().float())
    return model.eval()


def pictures(draw, folder, count=3, sides=(12, 60)):
    """Smooth random pictures of several shapes, as PNG; a number of `sides`: all of that size."""
    import numpy as np
    from PIL import Image
    rng = np.random.default_rng(draw.getrandbits(32))
    folder.mkdir(parents=True)
    images = []
    for i in range(count):
        size = (sides, sides) if isinstance(sides, int) else (draw.randint(*sides), draw.randint(*sides))
        images.append(Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC))
        images[-1].save(folder / f"{i}.png")
    return images


def difference(ours, theirs):
    import torch
    if ours.shape != theirs.shape:
        raise AssertionError(f"shape {tuple(ours.shape)}, the peer's is {tuple(theirs.shape)}")
    if theirs.dtype == torch.uint8:  # pictures: within 1
        return 0.0 if (ours.int() - theirs.int()).abs().max() <= 1 else float("inf")
    ours, theirs = ours.double(), theirs.double()
    if not theirs.isfinite().all():
        raise ArithmeticError("the peer's numbers are not finite")
    worst = ((ours - theirs).abs() / (theirs.abs() + theirs.square().mean().sqrt())).max().item()
    return worst if worst == worst else float("inf")


def judge(case, draw, folder):
    """What is wrong ("" for nothing, None where the peer gives no answer), and a line about it."""
    try:
        settings, peer, program = case(draw, folder)
    except Exception as error:  # of the peer, whatever its kind
        return None, f"not built: {type(error).__name__} {str(error)[:120]!r}"
    told = " ".join(f"{key}={value}" for key, value in settings.items())
    try:
        theirs = peer()
    except Exception as error:
        return None, f"{told}: the peer says {type(error).__name__} {str(error)[:120]!r}"
    try:
        ours = program()
    except Refused as error:
        expected = any(f"`{name}`" in str(error) or name == "" for name in draw.unsupported)
        return ("" if expected else "refused"), f"{told}: {error}"
    except Exception as error:  # what it wrote is not what the peer loads
        return "broken", f"{told}: {type(error).__name__} {str(error)[:200]!r}"
    if draw.unsupported:
        return "read", f"{told}: should be refused for {draw.unsupported}"
    try:
        missing = theirs.keys() - ours.keys()
        parts = {key: difference(ours[key], value) for key, value in theirs.items() if key in ours}
    except ArithmeticError as error:
        return None, f"{told}: {error}"
    except AssertionError as error:
        return "differs", f"{told}: {error}"
    if not parts:
        return "differs", f"{told}: nothing in common"
    key = max(parts, key=parts.get)
    wrong = sorted(missing | {key for key, value in parts.items() if value > TOLERANCE})
    if wrong and not missing and hasattr(peer, "exact"):
        exact = peer.exact()
        apart = {key: (difference(ours[key], exact[key]), difference(theirs[key], exact[key])) for key in wrong}
        told += " in fp64: " + ", ".join(f"{key} ours {a:.1e} peer's {b:.1e}" for key, (a, b) in apart.items())
        wrong = [key for key, (a, b) in apart.items() if not a <= max(TOLERANCE, 4 * b)]
    return "differs" if wrong else "", f"{parts[key]:.1e} {key} {told}{' wrong: ' + ', '.join(wrong) if wrong else ''}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases, parted by commas")
    parser.add_argument("--count", type=int, default=20, help="draws of each case")
    parser.add_argument("--first", type=int, default=0, help="number of the first draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--genview", default=str(ROOT / "build/bin/genview"))
    parser.add_argument("--keep", help="folder for what was drawn and found wrong")
    options = parser.parse_args()
    global PROGRAM
    PROGRAM = options.genview
    import torch
    torch.set_num_threads(1)
    import sweep_backbones
    import sweep_encoders
    import sweep_generators
    cases = sweep_encoders.CASES | sweep_backbones.CASES | sweep_generators.CASES
    chosen = options.only.split(",") if options.only else list(cases)
    counts, answered = collections.Counter(), set()
    for name in chosen:
        for i in range(options.first, options.first + options.count):
            folder = pathlib.Path(tempfile.mkdtemp(prefix="sweep-"))
            draw = Draw(f"{options.seed} {name} {i}")
            bad, line = judge(cases[name], draw, folder)
            word = "PEER" if bad is None else bad.upper() or ("refused" if draw.unsupported else "ok")
            counts[word] += 1
            answered.update([name] if word in ("ok", "refused") else [])
            print(f"{word:8} {name} {i}: {line}", flush=True)
            if bad and options.keep:
                shutil.copytree(folder, pathlib.Path(options.keep) / f"{name}-{i}", dirs_exist_ok=True)
            shutil.rmtree(folder)
    print(", ".join(f"{word} {count}" for word, count in sorted(counts.items())))
    silent = sorted(set(chosen) - answered)
    if silent:
        print(f"never compared: {', '.join(silent)}")
    return 1 if silent or counts.keys() - {"ok", "refused", "PEER"} else 0


if __name__ == "__main__":
    os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1", TRANSFORMERS_VERBOSITY="error")
    sys.modules["sweep"] = sys.modules["__main__"]  # the cases' `sweep` is this module
    sys.exit(main())
