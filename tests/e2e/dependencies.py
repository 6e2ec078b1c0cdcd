#!/usr/bin/env python3
"""What tools/deps.sh says where it may install nothing, in a folder with a blank in its name: a user without root rights, a machine without
pip, and a build that was made with a LibTorch of the user's."""
import os
import shutil
import subprocess
import sys
import tempfile

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def install(folder, programs, words=()):
    """Runs the script in `folder`, where these programs (texts of sh) stand for the machine's."""
    for part in ("tools/deps.sh", "cmake/packages.txt"):
        os.makedirs(os.path.join(folder, os.path.dirname(part)), exist_ok=True)
        shutil.copy(os.path.join(SOURCE, part), os.path.join(folder, part))
    os.makedirs(os.path.join(folder, "bin"), exist_ok=True)
    for name, text in programs.items():
        path = os.path.join(folder, "bin", name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\n{text}\n")
        os.chmod(path, 0o755)
    environment = {**os.environ, "PATH": os.path.join(folder, "bin") + os.pathsep + os.environ["PATH"]}
    environment.pop("TORCH_ROOT", None)
    done = subprocess.run([os.path.join(folder, "tools/deps.sh"), *words], env=environment, capture_output=True, text=True)
    if os.path.exists(os.path.join(folder, ".deps")):
        sys.exit("FAILED: something was written")
    lines = done.stderr.splitlines()
    if done.returncode != 0 and (done.returncode != 1 or [line.split(":")[0] for line in lines] != ["error", "where", "try"]):
        sys.exit(f"FAILED: exit code {done.returncode}\n{done.stderr}")
    return lines


def complaint(known):
    """The three lines, where no package is installed and `known` (a pattern of sh) are those that apt knows."""
    with tempfile.TemporaryDirectory(prefix="genview deps ") as folder:
        return install(folder, {"dpkg-query": "exit 1", "id": "echo 1000", "sudo": "exit 1", "apt-cache": f"case $2 in {known}) exit 0;; esac; exit 100"})


def check_kept_root():
    """The LibTorch that a build was made with is taken again; without a word of it, pip is asked, which is not there."""
    machine = {"dpkg-query": "echo installed", "python3": "exit 1"}
    with tempfile.TemporaryDirectory(prefix="genview deps ") as folder:
        torch, cache = os.path.join(folder, "my torch"), os.path.join(folder, "build", "CMakeCache.txt")
        os.makedirs(os.path.join(torch, "lib"))
        os.makedirs(os.path.dirname(cache))

        def said(kept, *words):
            with open(cache, "w", encoding="utf-8") as file:
                file.write(f"A:PATH=/\nTORCH_ROOT:PATH={kept}\n")
            return install(folder, machine, words)

        no_pip = "error: python3 has no pip"
        for kept, words, wanted in ((torch, (), f"where: TORCH_ROOT={torch}, kept in build/CMakeCache.txt"), (torch, ("--extra", "clang"), no_pip),
                                    (os.path.join(os.path.realpath(folder), ".deps/libtorch/torch"), (), no_pip)):
            if wanted not in said(kept, *words):
                sys.exit(f"FAILED: {kept} {words}: {said(kept, *words)}")
        with open(os.path.join(torch, "lib", "libtorch_cpu.so"), "w", encoding="utf-8"):
            pass
        if said(torch):
            sys.exit(f"FAILED: {said(torch)}")


def main():
    for known, has_gloo in (("*", True), ("cmake", False), ("none", True)):  # none: the lists were never fetched
        command = complaint(known)[2]
        if not command.startswith("try: sudo apt-get update && sudo apt-get install -y g++") or (" libgloo-dev" in command) != has_gloo:
            sys.exit(f"FAILED: apt knows {known}: {command}")
    check_kept_root()
    print("good: four machines, three lines each")


if __name__ == "__main__":
    main()
