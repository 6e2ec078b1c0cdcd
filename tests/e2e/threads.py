#!/usr/bin/env python3
"""The same bytes with 1, 2 and 5 loader threads.

    threads.py GENVIEW"""
import os
import sys
import tempfile

from run_folder import differences, genview, snapshot

RECIPE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiny.toml")


def main():
    with tempfile.TemporaryDirectory(prefix="genview-threads-") as folder:
        runs = {}
        for threads in (1, 2, 5):
            out = os.path.join(folder, str(threads))
            genview(sys.argv[1], "run", RECIPE, "--out", out, "--threads", threads)
            runs[threads] = snapshot(out)
            del runs[threads]["recipe.toml"]  # names the number of threads
        for threads in (2, 5):
            wrong = differences(runs[1], runs[threads])
            if wrong:
                sys.exit(f"FAILED: 1 and {threads} threads:\n" + "\n".join(wrong[:20]))
    print("good")


if __name__ == "__main__":
    main()
