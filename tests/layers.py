"""Holds every #include "genview/..." to the DEPENDS of its folder, and the folders to an acyclic order; the library never sees the program.

usage: layers.py SOURCE_DIR LAYERS.txt | layers.py --self-test
LAYERS.txt is written by CMake: one line `folder:dependency,dependency` per genview_library().
"""
import pathlib
import re
import sys
import tempfile

INCLUDE = re.compile(r'^\s*#\s*include\s+"genview/([a-z_]+)/', re.M)
ABOVE = re.compile(r'^\s*#\s*include\s+"((?:cli|fuzz|torch_ops)/[^"]+)"', re.M)
CONTRACT = re.compile(r'^\s*#\s*include\s+[<"](torch/torch\.h)[>"]', re.M)
WITHOUT_TORCH = {"base", "records", "image", "report"}


def read_layers(path):
    layers = {}
    for line in pathlib.Path(path).read_text().split():
        folder, _, depends = line.partition(":")
        layers[folder] = [d for d in depends.split(",") if d]
    return layers


def problems(source, layers):
    found = []
    seen = set()
    for folder, depends in layers.items():  # CMake adds folders in order: a dependency must have come before
        for other in depends:
            if other not in seen:
                found.append(f"genview/{folder}: depends on {other}, which is not below it")
        seen.add(folder)
    root = pathlib.Path(source) / "genview"
    for file in sorted(root.glob("*/*.[ch]*")):
        folder = file.parent.name
        text = file.read_text()
        if folder not in layers:
            if (file.parent / "CMakeLists.txt").exists():
                found.append(f"{file}: folder {folder} has no genview_library()")
            continue
        allowed = {folder, *layers[folder]}
        for match in INCLUDE.finditer(text):
            if match.group(1) not in allowed:
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{file.relative_to(source)}:{line}: {folder} may not include {match.group(1)}")
        for match in ABOVE.finditer(text):
            found.append(f"{file.relative_to(source)}: may not include {match.group(1)}, which is above the library")
        if CONTRACT.search(text):
            found.append(f"{file.relative_to(source)}: <torch/torch.h> takes 30 s to compile; use ATen")
        if folder in WITHOUT_TORCH and re.search(r"#\s*include\s+<(ATen|c10|torch)/", text):
            found.append(f"{file.relative_to(source)}: {folder} never sees LibTorch")
    return found


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "genview/base").mkdir(parents=True)
        (root / "genview/data").mkdir()
        (root / "genview/base/a.h").write_text('#include "genview/data/b.h"\n')
        (root / "genview/data/b.h").write_text('#include "genview/base/a.h"\n#include "cli/print.h"\n')
        found = problems(root, {"base": [], "data": ["base"]})
        assert found == ["genview/base/a.h:1: base may not include data",
                         "genview/data/b.h: may not include cli/print.h, which is above the library"], found
        assert problems(root, {"data": ["base"], "base": []})[0].endswith("not below it")


if sys.argv[1] == "--self-test":
    self_test()
else:
    wrong = problems(pathlib.Path(sys.argv[1]), read_layers(sys.argv[2]))
    print("\n".join(wrong) or "every include is allowed")
    sys.exit(1 if wrong else 0)
