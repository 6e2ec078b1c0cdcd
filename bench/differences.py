"""Differences between arms of a finished run over several seeds, seed by seed.

    differences.py RUN ARM:BASE...

Prints a table in markdown: the mean of ARM less BASE over the seeds that both have with half of its 95% t interval, for each score;
last, where there are several rows, that of all of them together, and how many differences are above 0.
"""
import argparse
import json
import pathlib

from scipy import stats


def text(values):
    mean = sum(values) / len(values)
    return f"{mean:+.1f} ± {stats.t.interval(0.95, len(values) - 1, mean, stats.sem(values))[1] - mean:.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("pairs", nargs="+", metavar="ARM:BASE")
    options = parser.parse_args()
    results = [score for score in json.loads((options.run / "results.json").read_text())["results"] if score["score"] == "top1"]
    evals = list(dict.fromkeys(score["eval"] for score in results))
    of = {(score["arm"], score["eval"]): {one["seed"]: one["value"] for one in score["seeds"]} for score in results}
    print("| | " + " | ".join(evals) + " |\n" + "|---" * (len(evals) + 1) + "|")
    all_of = {name: [] for name in evals}
    for pair in options.pairs:
        arm, base = pair.split(":")
        cells = []
        for name in evals:
            ours, theirs = of[arm, name], of[base, name]
            values = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
            all_of[name] += values
            cells.append(text(values))
        print(f"| {arm} less {base} | " + " | ".join(cells) + " |")
    if len(options.pairs) > 1:
        print("| all | " + " | ".join(f"{text(v)}, {sum(x > 0 for x in v)} of {len(v)} above 0" for v in all_of.values()) + " |")


main()
