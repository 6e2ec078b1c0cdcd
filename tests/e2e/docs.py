#!/usr/bin/env python3
"""Every command in README, CONTRIBUTING and docs is run, in order, in an empty folder beside recipes and models.

    docs.py GENVIEW

Commands are the lines of fenced `sh` blocks. What a reader has to fill in is filled in here; some are run at a smaller size; commands
that train for hours are held to their recipe and their options alone; of `make TARGET ...` all targets must exist, of our own scripts the
file. What begins with another word is an error, unless OTHERS names it. Fenced `toml` blocks must be recipes. A fenced block of commands
that is not marked `sh` would escape, so it is an error; `genview ...` inside a sentence must name a command and options there are, `make ...`
targets."""
import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILLED_IN = {"PHOTOS": "photos/images", "LABELLED": "photos/images", "ENCODER": "models/demo/tower", "GENERATOR": "models/demo/unclip", "my.toml": "recipes/smoke.toml"}
HOURS = ("generator train recipes/models", "generator tower", "generator measure", "run recipes/demo", "run recipes/cifar10", "run recipes/cached-weights", "run recipes/methods")

SMALLER = {"pretrain recipes/own-images": [word for value in ("epochs=2", "size=32", "width=0.125", "batch=16", "queue=32")
                                            for word in ("--set", f"pretrain.{value}")],
           "generator train recipes/own-generator": [word for part in ("autoencoder", "denoiser") for name, value in (("steps", "4"), ("batch", "8"))
                                                      for word in (f"--{part}-training-{name}", value)]}

OTHERS = ("python3", ".venv/bin/pip")  # programs that a reader has or makes, which are not run here

UNWRITTEN = "how-to-add-a-method.md"  # its recipe names a method that a reader is about to write


def filled_in(word):
    """PHOTOS, and data.train=PHOTOS."""
    key, equals, value = word.rpartition("=")
    return key + equals + FILLED_IN.get(value, value)


def commands(path):
    """(line number, command) of the fenced sh blocks; a backslash at the end joins lines."""
    inside, joined = False, ""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            if line.lstrip().startswith("```"):
                inside = not inside and line.strip()[3:].split(" ")[0] == "sh"
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


def joined_by_and(words):
    """`a && b` as two commands."""
    parts = [[]]
    for word in words:
        if word == "&&":
            parts.append([])
        else:
            parts[-1].append(word)
    return [part for part in parts if part]


def make_complaint(words, targets):
    """Which targets of `make ...` there are not, or nothing. Behind `NAME=$(` are the words of another command."""
    asked = []
    for word in words:
        if "$(" in word:
            break
        if "=" not in word and not word.startswith("-"):
            asked.append(word)
    unknown = [word for word in asked if word not in targets]
    return f"no target {unknown}" if unknown else ""


def outside(path):
    """(line number, text) of what escapes the blocks: unmarked fenced lines that call the program, and code in sentences."""
    fence = None
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.lstrip().startswith("```"):
                fence = line.strip()[3:].strip() if fence is None else None
            elif fence is None and line.startswith(("    genview ", "    make ")):
                yield number, line.strip(), True
            elif fence is None:
                for text in re.findall(r"`((?:genview|make) [^`]+)`", line):
                    yield number, text, False
            elif fence != "sh" and line.lstrip().startswith(("genview ", "make ")):
                yield number, line.strip(), True


def recipes(path):
    """(line number, text) of the fenced toml blocks."""
    begin, lines = None, []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.lstrip().startswith("```"):
                if begin is not None:
                    yield begin, "".join(lines)
                begin, lines = number if begin is None and line.strip() == "```toml" else None, []
            elif begin is not None:
                lines.append(line)


class Help:
    """Which commands there are, and what each prints for --help."""

    def __init__(self, program):
        self.program, self.texts = program, {}

    def of(self, command):
        if command not in self.texts:
            self.texts[command] = subprocess.run([self.program, *command.split(), "--help"], capture_output=True, text=True).stdout
        return self.texts[command]

    def complaint(self, words):
        """What is wrong with a command line that is not run, or nothing."""
        names = [" ".join(words[:count]) for count in (2, 1)]
        command = next((name for name in names if self.of(name).startswith(f"usage: genview {name}")), None)
        if command is None:
            return f"no command `{words[0]}`"
        unknown = [word for word in words if word.startswith("--") and word != "--help" and word.split("=")[0] not in self.of(command)]
        return f"no option {unknown}" if unknown else ""


def check_genview(program, words, folder, help_of):
    words = [filled_in(word) for word in words]
    for start, more in SMALLER.items():
        if " ".join(words).startswith(start):
            words += more
    if not " ".join(words).startswith(HOURS):
        return subprocess.run([program, *words], cwd=folder, capture_output=True, text=True)
    gone = [word for word in words if word.endswith(".toml") and not os.path.exists(os.path.join(folder, word))]
    complaint = f"{gone} not there" if gone else help_of.complaint(words)
    return subprocess.CompletedProcess(words, 2 if complaint else 0, "", complaint)


def main():
    program = os.path.abspath(sys.argv[1])
    with open(os.path.join(SOURCE, "Makefile"), encoding="utf-8") as file:
        targets = set(re.findall(r"^([a-z-]+):", file.read(), re.M))
    failed, ran, named, help_of = [], 0, 0, Help(program)
    with tempfile.TemporaryDirectory(prefix="genview-docs-") as folder:
        os.symlink(os.path.join(SOURCE, "models"), os.path.join(folder, "models"))
        shutil.copytree(os.path.join(SOURCE, "recipes"), os.path.join(folder, "recipes"))
        subprocess.run([program, "dataset", "make", "shapes", "--out", os.path.join(folder, "photos"), "--count", "40", "--size", "32"],
                       check=True, capture_output=True)
        for path in [*(os.path.join(SOURCE, name) for name in ("README.md", "CONTRIBUTING.md")), *sorted(glob.glob(os.path.join(SOURCE, "docs", "*.md")))]:
            for number, words in ((number, part) for number, line in commands(path) for part in joined_by_and(line)):
                where, complaint = f"{os.path.relpath(path, SOURCE)}:{number}: {' '.join(words)}", ""
                if words[0] == "make":
                    complaint = make_complaint(words[1:], targets)
                elif os.path.basename(words[0]) == "genview":
                    done = check_genview(program, words[1:], folder, help_of)
                    ran += 1
                    complaint = (done.stderr.strip() or f"exit code {done.returncode}") if done.returncode != 0 else ""
                elif words[0].startswith("tools/"):
                    complaint = "" if os.access(os.path.join(SOURCE, words[0]), os.X_OK) else "no such script"
                elif words[0] not in OTHERS:
                    complaint = f"nobody checks `{words[0]}`"
                if complaint:
                    failed.append(f"{where}\n  " + complaint.replace("\n", "\n  "))
            for number, text in recipes(path) if os.path.basename(path) != UNWRITTEN else ():
                with open(os.path.join(folder, "recipes", "block.toml"), "w", encoding="utf-8") as file:
                    file.write(re.sub(r'"([A-Z]+)"', lambda name: f'"{filled_in(name[1])}"', text))
                done = subprocess.run([program, "run", "recipes/block.toml", "--dry-run"], cwd=folder, capture_output=True, text=True)
                ran += 1
                if done.returncode != 0:
                    failed.append(f"{os.path.relpath(path, SOURCE)}:{number}: a recipe\n  " + done.stderr.strip().replace("\n", "\n  "))
            for number, text, fenced in outside(path):
                where = f"{os.path.relpath(path, SOURCE)}:{number}: {text}"
                named += 1
                if fenced:
                    failed.append(f"{where}\n  in a block that is not marked `sh`")
                    continue
                words = text.split()
                complaint = make_complaint(words[1:], targets) if words[0] == "make" else ""
                if words[0] == "genview" and re.match(r"[a-z]", words[1]):
                    complaint = help_of.complaint(words[1:])
                if complaint:
                    failed.append(f"{where}\n  {complaint}")
    if failed:
        sys.exit("FAILED:\n" + "\n".join(failed))
    if ran == 0:
        sys.exit("FAILED: no command was found")
    print(f"good: {ran} commands run, {named} more named rightly")


if __name__ == "__main__":
    main()
