"""What must hold for the tree as a whole: no large files, no pickles, no links, every header says what it is for.

usage: tree.py SOURCE_DIR
"""
import pathlib
import subprocess
import sys

root = pathlib.Path(sys.argv[1])
try:
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], capture_output=True, check=True).stdout
    files = [root / name for name in listed.decode().split("\0") if name]
except (OSError, subprocess.CalledProcessError):
    files = [f for f in root.rglob("*") if f.is_file() and not {".deps", ".git", "build"} & set(f.relative_to(root).parts)]

wrong = [f"{file.relative_to(root).as_posix()}: a link, which leads elsewhere on another machine" for file in files if file.is_symlink()]
files = [f for f in files if f.is_file()]
golden_bytes = models_bytes = 0
for file in files:
    name = file.relative_to(root).as_posix()
    size = file.stat().st_size
    if name.startswith("tests/golden/"):
        golden_bytes += size
    elif name.startswith("models/"):
        models_bytes += size
    elif size > 1_000_000:
        wrong.append(f"{name}: {size} bytes, too large for the repository")
    if file.suffix in {".pkl", ".pth", ".pt", ".bin"} and not name.startswith(("tests/", "fuzz/")):
        wrong.append(f"{name}: a pickle; weights are kept as safetensors")
    if name.startswith("genview/") and file.suffix == ".h" and not file.read_text().startswith("//"):
        wrong.append(f"{name}: a header begins with what it is for")
if golden_bytes > 5_000_000:
    wrong.append(f"tests/golden holds {golden_bytes} bytes, more than 5 MB")
if models_bytes > 10_000_000:
    wrong.append(f"models holds {models_bytes} bytes, more than 10 MB")
print("\n".join(wrong) or f"{len(files)} files, goldens {golden_bytes} bytes, models {models_bytes} bytes")
sys.exit(1 if wrong else 0)
