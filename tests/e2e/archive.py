#!/usr/bin/env python3
"""What `make archive` packs runs by itself: with its own LibTorch, models and recipes, from any folder, without an environment.

    archive.py GENVIEW CMAKE BUILD"""
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

CMAKE = BUILD = ""


class Archive(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.root = os.path.join(cls.folder.name, "genview moved")  # no path of the machine that packed it
        for component in ([], ["--component", "archive"]):
            subprocess.run([CMAKE, "--install", BUILD, "--prefix", cls.root, *component], check=True, stdout=subprocess.DEVNULL)
        cls.program = os.path.join(cls.root, "bin", "genview")

    def run_bare(self, *words):
        return subprocess.run([self.program, *words], cwd=self.folder.name, env={}, text=True, capture_output=True, timeout=300)

    def test_every_library_is_its_own_or_the_systems(self):
        lines = subprocess.run(["ldd", self.program], env={}, text=True, capture_output=True, check=True).stdout.splitlines()
        found = dict(line.strip().split(" => ") for line in lines if " => " in line)
        for name in ("libtorch_cpu.so", "libc10.so"):
            self.assertTrue(found[name].startswith(self.root), found[name])
        for name, path in found.items():
            path = os.path.realpath(path.split(" (")[0])
            self.assertTrue(path.startswith((os.path.realpath(self.root), "/lib", "/usr/lib")), f"{name}: {path}")

    def test_needs_libtorch_and_the_systems_libraries_alone(self):
        """All others are inside: it runs wherever the same LibTorch is, whatever pictures that machine can read."""
        system = r"lib(gomp(-\w+)?|stdc\+\+|m|gcc_s|c|pthread|dl|rt)\.so\.[\d.]+|ld-linux-x86-64\.so\.2"
        for name in ("bin/genview", "lib/libgenview_torch.so"):
            text = subprocess.run(["readelf", "-dW", os.path.join(self.root, name)], text=True, capture_output=True, check=True).stdout
            needed = re.findall(r"\(NEEDED\).*\[(.*)\]", text)
            self.assertEqual({library for library in needed if not re.fullmatch(system, library)}, {"libtorch_cpu.so", "libc10.so"}, name)

    def test_works_with_its_models(self):
        out = os.path.join(self.folder.name, "run")
        done = self.run_bare("run", os.path.join(self.root, "recipes", "demo.toml"), "--out", out, "--set", "data.train=shapes:count=8,size=32",
                             "--set", "data.test=shapes:count=8,size=32,seed=1", "--only", "foreground,views")
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(os.path.join(out, "views", "manifest.jsonl"), encoding="utf-8") as file:
            self.assertEqual(len({json.loads(line)["id"] for line in file}), 8)

    def test_carries_its_licences(self):
        for name in ("LICENSE", "lib/genview/licenses/LICENSE"):
            self.assertGreater(os.path.getsize(os.path.join(self.root, name)), 1000, name)


if __name__ == "__main__":
    CMAKE, BUILD = sys.argv.pop(2), sys.argv.pop(2)
    sys.argv.pop(1)
    unittest.main(verbosity=2)
