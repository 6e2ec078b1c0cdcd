#!/usr/bin/env python3
"""Every command that writes files goes on where it was cut short, and ends with the bytes of an undisturbed run: killed at
a random moment, and stopped by a full disk, which is an error of three lines.

    resume.py GENVIEW [--kills 1] [--seed 0] [COMMAND ...]

A full disk is a limit on the size of files, which needs no rights and no disk of its own."""
import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import sample_run
from run_folder import differences, genview, snapshot

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PIPELINE = os.path.join(SOURCE, "tests/golden/diffusion/pipeline_ddim")
TINY = os.path.join(SOURCE, "tests/e2e/tiny.toml")
MOCO = os.path.join(SOURCE, "tests/golden/layouts/moco.pth.tar")
IMAGES = "shapes:count=96,size=32,seed=4"
TRAINING = "training = { steps = 12, shards = 1, batch = 8, warmup = 2, save_every = 3, log_every = 1 }"
GENERATOR = f"""images = "{IMAGES}"
encoder = "{PIPELINE}/image_encoder"
size = 16
cache = 64
[autoencoder]
channels = [8, 8]
groups = 4
{TRAINING}
[denoiser]
channels = [8, 16]
groups = 4
head_width = 4
{TRAINING}
[run]
precision = "fp32"
"""
TOWER = f"""size = 16
patch = 8
width = 16
layers = 1
heads = 2
embedding_width = 8
text_width = 16
text_heads = 2
{TRAINING}
[run]
precision = "fp32"
"""
MEASURE = f"""generator = "{PIPELINE}"
pictures = 8
levels = [0, 100]
steps = 2
[judge]
size = 16
{TRAINING}
[judge.backbone]
width = 0.0625
[run]
precision = "fp32"
"""
RECIPES = {"generator.toml": GENERATOR, "tower.toml": TOWER, "measure.toml": MEASURE}
THREADS = ["--threads", "2"]
FP32 = ["--precision", "fp32", "--batch", "8", *THREADS]

# name -> (words; {} is the folder written to, size in bytes at which a file is cut off)
COMMANDS = {
    "features": (["features", IMAGES, "--encoder", PIPELINE, "--out", "{}/f.safetensors", "--tokens", *FP32], 9000),
    "foreground fit": (["foreground", "fit", IMAGES, "--encoder", PIPELINE, "--out", "{}/fg.safetensors", *FP32], 300),
    "foreground score": (["foreground", "score", IMAGES, "--model", "fg.safetensors", "--encoder", PIPELINE, "--out", "{}/ratios.tsv",
                          "--masks", "{}/masks", *FP32], 1500),
    "views": (["views", IMAGES, "--generator", PIPELINE, "--noise-level", "100", "--steps", "2", "--out", "{}", *FP32], 9000),
    "dataset make": (["dataset", "make", "shapes", "--count", "200", "--size", "32", "--out", "{}", *THREADS], 1800),
    "dataset pack": (["dataset", "pack", IMAGES, "--out", "{}/shard", *THREADS], 60000),
    "pretrain": (["pretrain", TINY, "--arm", "baseline", "--out", "{}", "--precision", "fp32", *THREADS], 40000),
    "generator train": (["generator", "train", "generator.toml", "--out", "{}", *THREADS], 20000),
    "generator tower": (["generator", "tower", "tower.toml", "--out", "{}", *THREADS], 20000),
    "generator measure": (["generator", "measure", "measure.toml", "--out", "{}", *THREADS], 20000),
    "eval linear": (["eval", "linear", "--checkpoint", PIPELINE, "--train", IMAGES, "--test", "shapes:count=40,size=32,seed=5", "--epochs", "3",
                     "--out", "{}/linear.json", *FP32], 200),
    "eval linear --crops": (["eval", "linear", "--crops", "--checkpoint", PIPELINE, "--train", IMAGES, "--test", "shapes:count=40,size=32,seed=5",
                             "--epochs", "3", "--lrs", "0.01,0.1", "--out", "{}/crops.json", *FP32], 200),
    "eval knn": (["eval", "knn", "--checkpoint", PIPELINE, "--train", IMAGES, "--test", "shapes:count=40,size=32,seed=5",
                  "--out", "{}/knn.json", *FP32], 200),
    "eval finetune": (["eval", "finetune", "--checkpoint", "own.safetensors", "--train", IMAGES, "--test", "shapes:count=40,size=32,seed=5",
                       "--epochs", "3", "--out", "{}/finetune.json", *FP32], 9000),
    "import": (["import", MOCO, "--out", "{}/own.safetensors"], 9000),
    "export": (["export", "own.safetensors", "--layout", "timm", "--out", "{}/model.safetensors"], 9000),
    "report": (["report", "run", "--out", "{}/page.html"], 9000),
}


def start(program, words, folder, out, **options):
    words = [word.replace("{}", out) for word in words]
    return subprocess.Popen([program, *words, "--log-level", "error"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options)


def finish(program, words, folder, out):
    process = start(program, words, folder, out)
    _, text = process.communicate()
    if process.returncode != 0:
        return f"exit code {process.returncode}\n{text}"
    return ""


def compare(expected, out, what):
    wrong = differences(expected, snapshot(out))
    return [f"{what}: {line}" for line in wrong[:10]]


def check_killed(program, words, folder, expected, duration, dice, kills):
    out = os.path.join(folder, "killed")
    hit = 0
    for _ in range(10 * kills):
        process = start(program, words, folder, out)
        time.sleep(dice.uniform(0.3, 1) * duration)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == 0:  # over before its kill: begun anew, and killed sooner
            shutil.rmtree(out)
            duration *= 0.8
        hit += process.returncode == -signal.SIGKILL
        if hit == kills:
            break
    if hit < kills:
        return [f"only {hit} of {kills} kills hit it at work"]
    complaint = finish(program, words, folder, out)
    return [f"after {hit} kills: {complaint}"] if complaint else compare(expected, out, f"after {hit} kills")


def check_full_disk(program, words, folder, expected, limit):
    out = os.path.join(folder, "full")
    process = start(program, words, folder, out, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY)))
    _, text = process.communicate()
    if process.returncode != 1 or [line.split(":")[0] for line in text.splitlines()] != ["error", "where", "try"]:
        return [f"files cut off at {limit} bytes: exit code {process.returncode}\n{text}"]
    complaint = finish(program, words, folder, out)
    return [f"after a full disk: {complaint}"] if complaint else compare(expected, out, "after a full disk")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("genview")
    parser.add_argument("commands", nargs="*")
    parser.add_argument("--kills", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    program, dice, failed = os.path.abspath(options.genview), random.Random(options.seed), []
    with tempfile.TemporaryDirectory(prefix="genview-resume-") as folder:
        genview(program, "foreground", "fit", IMAGES, "--encoder", PIPELINE, "--out", "fg.safetensors", *FP32, cwd=folder)
        genview(program, "import", MOCO, "--out", "own.safetensors", cwd=folder)
        sample_run.main(os.path.join(folder, "run"))
        for name, text in RECIPES.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        for name in options.commands or COMMANDS:
            words, limit = COMMANDS[name]
            whole = os.path.join(folder, "whole")
            began = time.monotonic()
            complaint = finish(program, words, folder, whole)
            duration = time.monotonic() - began
            if complaint:
                sys.exit(f"FAILED: {name}: {complaint}")
            expected = snapshot(whole)
            found = check_killed(program, words, folder, expected, duration, dice, options.kills)
            found += check_full_disk(program, words, folder, expected, limit)
            found += [f"left behind: {part}" for _, _, names in os.walk(folder) for part in names if part.endswith(".part")]
            failed += [f"{name}: {line}" for line in found]
            for left in ("whole", "killed", "full"):
                shutil.rmtree(os.path.join(folder, left), ignore_errors=True)
            print(f"{name}: {'FAILED' if found else 'good'}, {duration:.1f} s undisturbed", *found, sep="\n  ", flush=True)
    if failed:
        sys.exit("FAILED:\n" + "\n".join(failed))


if __name__ == "__main__":
    main()
