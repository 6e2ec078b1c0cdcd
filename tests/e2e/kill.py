#!/usr/bin/env python3
"""Killed (kill -9) at random moments, the same command ends with the bytes that an undisturbed run gives.

    kill.py GENVIEW [--kills 5] [--seed 0] [--recipe FILE | --command "views IMAGES --generator DIR ..."]

A run is started and killed until `--kills` kills have hit it while it worked; it is then let go to its end. Runs that
end before their kill are thrown away and begun anew. --command: another command that takes --out FOLDER, in place of `run`;
what `views` wrote must then also satisfy `views verify`."""
import argparse
import collections
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from run_folder import differences, genview, snapshot


def stage_of(run):
    """What the run was doing, by its newest file."""
    newest, when = "start", 0
    for folder, _, names in os.walk(run):
        for name in names:
            try:
                changed = os.stat(os.path.join(folder, name)).st_mtime_ns
            except FileNotFoundError:
                continue
            if changed > when:
                newest, when = os.path.relpath(folder, run).split(os.sep)[0], changed
    return newest


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("genview")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiny.toml"))
    parser.add_argument("--command", type=shlex.split)
    options = parser.parse_args()
    command = options.command or ["run", options.recipe]
    program, dice, hits = os.path.abspath(options.genview), random.Random(options.seed), collections.Counter()

    with tempfile.TemporaryDirectory(prefix="genview-kill-") as folder:
        whole, run = os.path.join(folder, "whole"), os.path.join(folder, "run")
        began = time.monotonic()
        genview(program, *command, "--out", whole)
        duration = time.monotonic() - began
        expected = snapshot(whole, book=True)
        runs, in_this_run, kills = 1, 0, 0
        while kills < options.kills:
            process = subprocess.Popen([program, *command, "--out", run], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            # Now and then very early, to hit the taking up of work; else anywhere in what the run takes.
            time.sleep(dice.uniform(0, 0.15 if dice.random() < 0.2 else 0.5) * duration)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
                in_this_run += 1
                hits[stage_of(run)] += 1
            else:
                if process.returncode != 0:
                    sys.exit(f"FAILED: exit code {process.returncode} after {in_this_run} kills")
            if process.returncode == 0 or kills == options.kills:
                genview(program, *command, "--out", run)
                if command[0] == "views":
                    genview(program, "views", "verify", run)
                wrong = differences(expected, snapshot(run, book=True))
                if wrong:
                    sys.exit(f"FAILED after {in_this_run} kills in one run:\n" + "\n".join(wrong[:20]))
                if kills < options.kills:
                    shutil.rmtree(run)
                    runs, in_this_run = runs + 1, 0
        left = [name for _, _, names in os.walk(run) for name in names if name.endswith(".part")]
        if left:
            sys.exit(f"FAILED: left behind: {left}")
    print(f"good: {kills} kills over {runs} runs of {duration:.1f} s, hitting {dict(hits)}")


if __name__ == "__main__":
    main()
