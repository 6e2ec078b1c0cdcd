#!/usr/bin/env python3
"""Every command in README and docs is run, in order, in an empty folder beside recipes and models.

    docs.py GENVIEW

Commands are the lines of fenced `sh` blocks. What a reader has to fill in is filled in here; commands that train for
hours are held to their recipe and their options alone; of `make TARGET` the target must exist."""
import glob
import os
import re
import shlex
import subprocess
import sys
import tempfile

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILLED_IN = {"PHOTOS": "photos/images", "ENCODER": "models/demo/tower", "GENERATOR": "models/demo/unclip", "my.toml": "recipes/smoke.toml"}
HOURS = ("generator train", "generator tower", "generator measure", "run recipes/demo")


def commands(path):
    """(line number, command) of the fenced sh blocks; a backslash at the end joins lines."""
    inside, joined = False, ""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            if line.startswith("```"):
                inside = not inside and line[3:].strip().split(" ")[0] == "sh"
                continue
            if not inside:
                continue
            joined += line
            if joined.endswith("\\"):
                joined = joined[:-1]
                continue
            words = shlex.split(joined, comments=True)
            joined = ""
            if words:
                yield number, words


def check_genview(program, words, folder):
    words = [FILLED_IN.get(word, word) for word in words]
    text = " ".join(words)
    if not text.startswith(HOURS):
        return subprocess.run([program, *words], cwd=folder, capture_output=True, text=True)
    for word in words:
        if word.endswith(".toml") and not os.path.exists(os.path.join(folder, word)):
            return subprocess.CompletedProcess(words, 2, "", f"{word} is not there")
    command = [word for word in words if not word.startswith("-") and not word.endswith(".toml")][:2 if words[0] != "run" else 1]
    text = subprocess.run([program, *command, "--help"], capture_output=True, text=True).stdout
    unknown = [word for word in words if word.startswith("--") and word.split("=")[0] not in text]
    return subprocess.CompletedProcess(words, 2 if unknown or not text else 0, "", f"options {unknown}")


def main():
    program = os.path.abspath(sys.argv[1])
    with open(os.path.join(SOURCE, "Makefile"), encoding="utf-8") as file:
        targets = set(re.findall(r"^([a-z]+):", file.read(), re.M))
    failed, ran = [], 0
    with tempfile.TemporaryDirectory(prefix="genview-docs-") as folder:
        for name in ("recipes", "models"):
            os.symlink(os.path.join(SOURCE, name), os.path.join(folder, name))
        subprocess.run([program, "dataset", "make", "shapes", "--out", os.path.join(folder, "photos"), "--count", "40", "--size", "32"],
                       check=True, capture_output=True)
        for path in [os.path.join(SOURCE, "README.md"), *sorted(glob.glob(os.path.join(SOURCE, "docs", "*.md")))]:
            for number, words in commands(path):
                where = f"{os.path.relpath(path, SOURCE)}:{number}: {' '.join(words)}"
                if words[0] == "make" and words[1] not in targets:
                    failed.append(f"{where}\n  no such target")
                elif words[0].endswith("genview"):
                    done = check_genview(program, words[1:], folder)
                    ran += 1
                    if done.returncode != 0:
                        failed.append(f"{where}\n  " + done.stderr.strip().replace("\n", "\n  "))
    if failed:
        sys.exit("FAILED:\n" + "\n".join(failed))
    if ran == 0:
        sys.exit("FAILED: no command was found")
    print(f"good: {ran} commands")


if __name__ == "__main__":
    main()
