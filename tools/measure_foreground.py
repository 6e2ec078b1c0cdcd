#!/usr/bin/env python3
"""How true the foreground of an encoder is, on procedural pictures, whose masks are known: for each of several seeds a model
is fitted on pictures of one seed and held against the masks of pictures of another. Ends with 1 where a sign is the wrong way round.

    tools/measure_foreground.py [--program build/bin/genview] [--encoder models/demo/tower] [--seeds 10] [--count 1000]"""
import argparse
import json
import os
import subprocess
import tempfile


def run(program, *words):
    subprocess.run([program, *map(str, words), "--log-level", "error"], check=True, stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default="build/bin/genview")
    parser.add_argument("--encoder", default="models/demo/tower")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=100)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--size", type=int, default=32)
    options = parser.parse_args()
    print("seed    IoU  Spearman  sign")
    overlaps, correlations = [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.first, options.first + options.seeds):
            source = f"shapes:count={options.count},size={options.size},seed="
            model, table = os.path.join(folder, f"{seed}.safetensors"), os.path.join(folder, f"{seed}.tsv")
            run(options.program, "foreground", "fit", f"{source}{seed}", "--encoder", options.encoder, "--out", model)
            run(options.program, "foreground", "score", f"{source}{seed + 1000}", "--model", model, "--encoder", options.encoder, "--out", table)
            with open(table.replace(".tsv", ".json"), encoding="utf-8") as file:
                summary = json.load(file)
            overlaps.append(summary["mean_overlap_with_truth"])
            correlations.append(summary["spearman_with_truth"])
            # With the sign the wrong way round a large object would be a small foreground.
            print(f"{seed}  {overlaps[-1]:.3f}     {correlations[-1]:.3f}  {'right' if correlations[-1] > 0 else 'WRONG'}", flush=True)
    right = sum(value > 0 for value in correlations)
    print(f"mean  {sum(overlaps) / len(overlaps):.3f}     {sum(correlations) / len(correlations):.3f}  {right} of {len(correlations)} right; "
          f"smallest {min(overlaps):.3f} and {min(correlations):.3f}")
    if right < len(correlations):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
