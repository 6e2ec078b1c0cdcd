#!/usr/bin/env python3
"""What tools/deps.sh says where it may install nothing: a user without root rights, in a folder with a blank in its name."""
import os
import shutil
import subprocess
import sys
import tempfile

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def complaint(known):
    """The three lines, where no package is installed and `known` (a pattern of sh) are those that apt knows."""
    with tempfile.TemporaryDirectory(prefix="genview deps ") as folder:
        for part in ("tools/deps.sh", "cmake/packages.txt"):
            os.makedirs(os.path.join(folder, os.path.dirname(part)), exist_ok=True)
            shutil.copy(os.path.join(SOURCE, part), os.path.join(folder, part))
        programs = {"dpkg-query": "exit 1", "id": "echo 1000", "sudo": "exit 1", "apt-cache": f"case $2 in {known}) exit 0;; esac; exit 100"}
        os.makedirs(os.path.join(folder, "bin"))
        for name, text in programs.items():
            path = os.path.join(folder, "bin", name)
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"#!/bin/sh\n{text}\n")
            os.chmod(path, 0o755)
        path = os.path.join(folder, "bin") + os.pathsep + os.environ["PATH"]
        done = subprocess.run([os.path.join(folder, "tools/deps.sh")], env={**os.environ, "PATH": path}, capture_output=True, text=True)
        lines = done.stderr.splitlines()
        if done.returncode != 1 or [line.split(":")[0] for line in lines] != ["error", "where", "try"]:
            sys.exit(f"FAILED: exit code {done.returncode}\n{done.stderr}")
        if os.path.exists(os.path.join(folder, ".deps")):
            sys.exit("FAILED: something was written")
        return lines


def main():
    for known, has_gloo in (("*", True), ("cmake", False), ("none", True)):  # none: the lists were never fetched
        command = complaint(known)[2]
        if not command.startswith("try: sudo apt-get update && sudo apt-get install -y g++") or (" libgloo-dev" in command) != has_gloo:
            sys.exit(f"FAILED: apt knows {known}: {command}")
    print("good: three machines, three lines each")


if __name__ == "__main__":
    main()
