"""Whether what we train is as good as what lightly trains: the arms of a finished run that learn from augmentations alone, beside
encoders that lightly trains on the same pictures in the same settings and with the same seeds (peers/train_lightly.py), both judged by
our `eval`.

    accuracy.py RUN [--arms NAME,...] [--seeds S,...] [--jobs 1]

RUN is a folder that `genview run` made of `shapes:` pictures with a linear probe and neighbours, runs/methods-small for one. What lightly
has trained is kept in RUN/lightly, so that a stopped comparison goes on. Prints a table in markdown.
"""
import argparse
import concurrent.futures
import json
import pathlib
import subprocess
import sys
import tomllib

from scipy import stats

ROOT = pathlib.Path(__file__).resolve().parent.parent
GENVIEW = ROOT / "build/bin/genview"


def merged(base, change):
    return {**base, **{key: merged(base.get(key, {}), value) if isinstance(value, dict) else value for key, value in change.items()}}


def run(*command, **how):
    subprocess.run([str(word) for word in command], check=True, cwd=ROOT, **how)


def pictures(spec, folder):
    """The pictures of `shapes:key=value,...` as files."""
    if not spec.startswith("shapes:"):
        sys.exit(f"{spec}: lightly is trained on `shapes:` here")
    options = [word for pair in spec.removeprefix("shapes:").split(",") for word in ("--" + pair.split("=")[0], pair.split("=")[1])]
    run(GENVIEW, "dataset", "make", "shapes", "--out", folder, *options, "--log-level", "error", stdout=subprocess.DEVNULL)
    return folder / "images"


def judged(recipe, encoder, folder):
    """Top-1 with its interval, by the probe and by neighbours."""
    scores = {}
    for kind in ("linear", "knn"):
        out = folder / f"{kind}.json"
        settings = {key: value for key, value in recipe["eval"][kind].items() if key != "enabled"}
        flags = []
        for key, value in settings.items():
            name = key.replace("_", "-")
            if isinstance(value, bool):
                flags.append(f"--{name}" if value else f"--no-{name}")
            else:
                flags += [f"--{name}", ",".join(map(str, value)) if isinstance(value, list) else value]
        if not out.exists():
            run(GENVIEW, "eval", kind, "--checkpoint", encoder, "--train", recipe["data"]["train"], "--test", recipe["data"]["test"], *flags, "--out", out,
                "--log-level", "error", stdout=subprocess.DEVNULL)
        scores[kind] = json.loads(out.read_text())
    return scores


def of_lightly(recipe, settings, seed, images, folder):
    folder.mkdir(parents=True, exist_ok=True)
    weights, encoder = folder / "torchvision.safetensors", folder / "encoder.safetensors"
    if not weights.exists():
        part = folder / "part.safetensors"
        run(sys.executable, ROOT / "bench/peers/train_lightly.py", images, json.dumps(settings), part, seed)
        part.rename(weights)
    if not encoder.exists():
        run(GENVIEW, "import", weights, "--layout", "torchvision", "--size", settings["size"], "--out", encoder, "--log-level", "error", stdout=subprocess.DEVNULL)
    return judged(recipe, encoder, folder)


def text(scores):
    """The mean over the seeds with its 95% t interval; of one seed the score, with that of its test pictures."""
    tops = [score["top1"] for score in scores]
    if len(tops) == 1:
        return f"{tops[0]:.1f} ({scores[0]['top1_low']:.1f} to {scores[0]['top1_high']:.1f})"
    mean = sum(tops) / len(tops)
    low, high = stats.t.interval(0.95, len(tops) - 1, mean, stats.sem(tops))
    return f"{mean:.1f} ({low:.1f} to {high:.1f})"


def apart(ours, theirs):
    """Ours less theirs, and half of the 95% interval of that: Student's of two samples of seeds; of one seed, of two samples of pictures."""
    if len(ours) == 1:
        error = sum(share * (1 - share) / score["images"] for score in (*ours, *theirs) for share in [score["top1"] / 100])
        return f"{ours[0]['top1'] - theirs[0]['top1']:+.1f} ± {196 * error ** 0.5:.1f}"
    a, b = ([score["top1"] for score in side] for side in (ours, theirs))
    low, high = stats.ttest_ind(a, b).confidence_interval()
    return f"{(low + high) / 2:+.1f} ± {(high - low) / 2:.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--arms", default="", help="these alone; else all without generated views")
    parser.add_argument("--seeds", default="", help="of the run's, these alone")
    parser.add_argument("--jobs", type=int, default=1, help="encoders trained at a time; give each its share of threads by BENCH_THREADS")
    options = parser.parse_args()
    folder = options.run.resolve()
    recipe = tomllib.loads((folder / "recipe.toml").read_text())
    arms = {arm["name"]: merged(recipe["pretrain"], arm.get("set", {}).get("pretrain", {})) for arm in recipe["arms"]}
    chosen = options.arms.split(",") if options.arms else [name for name, c in arms.items() if c["pair"]["source"] == "augment"]
    seeds = recipe.get("seeds") or [recipe["run"]["seed"]]
    compared = [seed for seed in seeds if not options.seeds or str(seed) in options.seeds.split(",")]
    part = (lambda seed: f"seed-{seed}") if len(seeds) > 1 else (lambda seed: "")
    images = pictures(recipe["data"]["train"], folder / "lightly" / "pictures")
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        each = [(arm, seed) for arm in chosen for seed in compared]
        theirs = dict(zip(each, pool.map(lambda at: of_lightly(recipe, arms[at[0]], at[1], images, folder / "lightly" / at[0] / part(at[1])), each)))
    print("| method | linear, ours | linear, lightly | apart | kNN, ours | kNN, lightly | apart |\n|---|---|---|---|---|---|---|")
    for arm in chosen:
        cells = []
        for kind in ("linear", "knn"):
            ours = [json.loads((folder / arm / part(seed) / "eval" / f"{kind}.json").read_text()) for seed in compared]
            peer = [theirs[arm, seed][kind] for seed in compared]
            cells += [text(ours), text(peer), apart(ours, peer)]
        print(f"| {arm} | " + " | ".join(cells) + " |")


main()
