#!/usr/bin/env python3
"""docs/recipe.md, out of the comments that `genview run --dry-run` prints for a recipe of defaults.

    recipe_page.py GENVIEW            writes it
    recipe_page.py GENVIEW --check    exit code 1 where it is not what would be written"""
import os
import re
import subprocess
import sys
import tempfile

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(SOURCE, "docs", "recipe.md")
HEAD = """# Every key of a recipe

A recipe is a TOML file; every key has a default, and a recipe says what differs from it. `genview run my.toml --dry-run` prints all keys
with their values and these texts. An unknown key is an error that names the nearest one. Ready recipes are in `recipes/`.

- Paths are looked for from where the program is started, then beside the recipe. What "the run's own" is, `run` makes; `pretrain` looks
  for views, masks and the foreground model in `runs/NAME`, where an earlier `run` of the recipe has put them.
- `extends = "other.toml"` takes all of another recipe, then what follows it here.
- `[[arms]]` with `name` and `set` are trainings that one report compares: `set` holds keys of `[pretrain]`, `[views]` and `[eval]` that an
  arm has for itself. Without arms there is one, `main`.
- `--set pretrain.epochs=10` on the command line goes before the file.
- `genview generator train` takes the keys of `[generator]` at the top of a file of their own, with `out` and `[run]`: `recipes/own-generator.toml`.

This page is written by `tools/recipe_page.py`.
"""


def cell(text):
    return text.replace("|", "\\|")


def page(program):
    with tempfile.TemporaryDirectory() as folder:
        recipe = os.path.join(folder, "recipe.toml")
        open(recipe, "w").close()
        printed = subprocess.run([program, "run", recipe, "--dry-run"], check=True, capture_output=True, text=True).stdout
    text, comment, table = HEAD, [], False
    for line in printed.splitlines():
        if line == "[[arms]]":
            break
        if line.startswith("# "):
            comment.append(line[2:])
        elif line.startswith("["):
            text += f"\n## `{line}`\n\n{' '.join(comment)}.\n"
            table, comment = False, []
        elif " = " in line:
            help_text, notes = re.fullmatch(r"(.*?)(?: \[([^\[\]]*)\])?", " ".join(comment)).groups()
            notes = (notes or "").split("; ")
            allowed = [note for note in notes if note and not note.startswith("default ")]
            default = [note[8:] for note in notes if note.startswith("default ")]
            if not table:
                text += "\n| key | default | allowed | what it is |\n|---|---|---|---|\n"
            text += f"| `{line.split(' = ')[0]}` | {cell(default[0]) if default else ''} | {cell(', '.join(allowed))} | {cell(help_text)} |\n"
            table, comment = True, []
    return text


def main():
    text = page(os.path.abspath(sys.argv[1]))
    if sys.argv[2:] == ["--check"]:
        with open(PAGE, encoding="utf-8") as file:
            if file.read() != text:
                sys.exit(f"FAILED: docs/recipe.md is not what the program says: tools/recipe_page.py {sys.argv[1]}")
        return
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
