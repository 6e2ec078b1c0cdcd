#!/usr/bin/env python3
"""Wrong use and bad input, as a user meets them: exit codes, three lines, the nearest name, results on stdout alone.

    command_line.py GENVIEW"""
import importlib.util
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import sample_run

GENVIEW = ""
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOWER, GENERATOR = os.path.join(SOURCE, "models/demo/tower"), os.path.join(SOURCE, "models/demo/unclip")


def bare_names(source, target):
    """The weights of an encoder as another library would have saved them: without what this program says of its files."""
    with open(source, "rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header, data = json.loads(file.read(length)), file.read()
    header.pop("__metadata__", None)
    text = json.dumps({name.removeprefix("encoder."): place for name, place in header.items()}).encode()
    text += b" " * (-len(text) % 8)
    with open(target, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def genview(*words, **options):
    return subprocess.run([GENVIEW, *words], capture_output=True, text=True, timeout=120, **options)


class CommandLine(unittest.TestCase):
    def refused(self, code, *words, **options):
        """Runs, expects `code` (or one of several) and three lines, and returns them without their names."""
        done = genview(*words, **options)
        self.assertIn(done.returncode, code if isinstance(code, tuple) else (code,), (words, done.stderr))
        self.assertEqual(done.stdout, "")
        lines = done.stderr.splitlines()
        self.assertEqual([line.split(":")[0] for line in lines], ["error", "where", "try"], (words, done.stderr))
        for line in lines:
            self.assertGreater(len(line.split(": ", 1)[1]), 3, line)
        return [line.split(": ", 1)[1] for line in lines]

    def refused_either(self, *words):
        """Three lines and exit code 1 or 2: whether a source or only its name is wrong is not always to be told apart."""
        return self.refused((1, 2), *words)

    def commands(self):
        text = genview("--help").stdout
        rows = text.split("commands:\n")[1].split("\n\n")[0].splitlines()
        return [row[2:20].strip() for row in rows if row.startswith("  ") and row[2] != " "]

    def test_help_and_version_exit_with_0(self):
        self.assertIn("usage: genview COMMAND", genview("--help").stdout)
        self.assertTrue(genview("--version").stdout.startswith("genview "))
        self.assertGreater(len(self.commands()), 2)
        for command in self.commands():
            done = genview(*command.split(), "--help")
            self.assertEqual((done.returncode, done.stderr), (0, ""), command)
            self.assertIn(f"usage: genview {command}", done.stdout)
            for option in ("--device", "--precision", "--batch", "--threads", "--seed", "--log-level", "--strict"):
                self.assertIn(option, done.stdout, command)

    def test_help_before_and_after_the_libraries_start_is_the_same(self):
        for command in self.commands():
            self.assertEqual(genview("help", *command.split()).stdout, genview(*command.split(), "--help").stdout)

    def test_commands(self):
        self.assertEqual(self.refused(2, "inspekt"), ["no command `inspekt`", "command line", "did you mean `inspect`?"])
        self.assertEqual(self.refused(2)[0], "no command")
        self.assertEqual(self.refused(2, "")[0], "no command ``")
        self.assertEqual(self.refused(2, "help", "inspekt")[0], "no command `inspekt`")
        self.refused(2, "--nonsense")

    def test_flags(self):
        self.assertEqual(self.refused(2, "report", "x", "--ouT", "y")[2], "did you mean `--out`?")
        self.assertIn("needs a value", self.refused(2, "report", "x", "--out")[0])
        self.assertIn("too many", self.refused(2, "inspect", "a", "b")[0])
        self.assertIn("is missing", self.refused(2, "inspect")[0])
        self.assertIn("log_level", self.refused(2, "doctor", "--log-level", "loud")[0])

    def test_missing_and_damaged_files(self):
        with tempfile.TemporaryDirectory() as folder:
            gone = os.path.join(folder, "gone")
            self.assertEqual(self.refused(1, "inspect", gone)[1], gone)
            self.assertEqual(self.refused(1, "report", folder)[1], folder)
            bad = os.path.join(folder, "bad.safetensors")
            for contents in (struct.pack("<Q", 1 << 60) + b"{}", struct.pack("<Q", 2) + b"{]", struct.pack("<Q", 80) + json.dumps(
                    {"a": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 4]}}).ljust(80).encode() + b"1234"):
                with open(bad, "wb") as file:
                    file.write(contents)
                self.assertIn(bad, self.refused(1, "inspect", bad)[1])

    def test_a_report_replaces_no_result(self):
        with tempfile.TemporaryDirectory() as folder:
            run, page = os.path.join(folder, "run"), os.path.join(folder, "run", "page.html")
            sample_run.main(run)
            for name in ("recipe.toml", "gallery/gallery.json", "baseline/pretrain/log.jsonl"):
                before = open(os.path.join(run, name), "rb").read()
                self.assertEqual(self.refused(2, "report", run, "--out", os.path.join(run, name))[0], "a file of the run would be replaced")
                self.assertEqual(open(os.path.join(run, name), "rb").read(), before)
            for _ in range(2):  # a page may be made again
                self.assertEqual(genview("report", run, "--out", page).returncode, 0)

    def test_export_prints_python_for_vits(self):
        with tempfile.TemporaryDirectory() as folder:
            encoder, out = os.path.join(folder, "own.safetensors"), os.path.join(folder, "model.safetensors")
            golden = os.path.join(os.path.dirname(__file__), "..", "golden", "layouts")
            for name, norms in (("transformers_vit", True), ("torchvision_vit.pth", False)):
                done = genview("import", os.path.join(golden, name), "--out", encoder, *([] if norms else ["--heads", "3"]))
                self.assertEqual(done.returncode, 0, done.stderr)
                for layout in ("torchvision", "timm", "transformers-4", "mmpretrain"):
                    done = genview("export", encoder, "--layout", layout, "--out", out)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    python = done.stdout.split("in Python:\n")[1]
                    compile(python, layout, "exec")
                    self.assertEqual(norms and layout in ("torchvision", "timm"), "eps=1e-12" in python)
                    self.assertEqual(norms and layout == "mmpretrain", "norms add 1e-12" in done.stderr)
                    if layout == "transformers-4":
                        self.assertIn("ViTModel.from_pretrained(FOLDER, add_pooling_layer=False)", python)
                    if layout == "torchvision" and importlib.util.find_spec("torchvision"):
                        exec(python, {})  # it loads, strictly

    def test_export_prints_python_for_the_network_as_it_is(self):
        with tempfile.TemporaryDirectory() as folder:
            recipe = os.path.join(folder, "r.toml")
            with open(recipe, "w", encoding="utf-8") as file:
                file.write('[data]\ntrain = "shapes:count=8,size=16"\n[pretrain]\nmethod = "simclr"\nwidth = 0.125\nsmall_stem = true\nsize = 16\n'
                           'epochs = 1\nbatch = 4\nprojector_hidden = 8\nprojector_output = 8\n')
            done = genview("pretrain", recipe, "--out", os.path.join(folder, "run"))
            self.assertEqual(done.returncode, 0, done.stderr)
            encoder, out = os.path.join(folder, "run", "encoder.safetensors"), os.path.join(folder, "w.safetensors")
            again, padded = os.path.join(folder, "own.safetensors"), os.path.join(folder, "padded.safetensors")
            for layout in ("torchvision", "timm", "moco"):
                done = genview("export", encoder, "--layout", layout, "--out", out)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("0.125 of its usual width, a stem of 8 channels", done.stderr)
                python = done.stdout.split("in Python:\n")[1]
                self.assertTrue(python.startswith("import safetensors.torch, torch"), python)
                compile(python, layout, "exec")
                if layout != "moco":
                    self.assertIn("Conv2d(3, 8, 3, 1, 1, bias=False)", python)
                if layout != "moco" and importlib.util.find_spec("torchvision"):
                    exec(python, {})  # it loads, strictly
            bare_names(encoder, again)
            done = genview("import", again, "--out", padded, "--stem-padding", "2")
            self.assertEqual(done.returncode, 0, done.stderr)
            done = genview("export", padded, "--layout", "torchvision", "--out", out)
            self.assertIn("the same conv1 with padding 2", done.stderr)
            self.assertIn("Conv2d(3, 8, 3, 1, 2, bias=False)", done.stdout)
            done = genview("import", padded, "--out", again, "--stem-padding", "1")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("--stem-padding", done.stderr)

    def test_verify_names_the_first_problems_and_counts_the_rest(self):
        with tempfile.TemporaryDirectory() as folder:
            views = os.path.join(folder, "views")
            self.assertEqual(genview("views", "shapes:count=23,size=32", "--generator", GENERATOR, "--noise-level", "0", "--steps", "1",
                                     "--out", views).returncode, 0)
            for name in os.listdir(views):
                if os.path.isdir(os.path.join(views, name)):
                    shutil.rmtree(os.path.join(views, name))
            done = genview("views", "verify", views)
            lines = done.stdout.splitlines()
            self.assertEqual((done.returncode, len(lines)), (1, 22), done.stdout)
            self.assertEqual(lines[20], "and 3 problems more")
            self.assertIn("23 problems", lines[21])
            with open(os.path.join(views, "manifest.jsonl"), "rb") as file:
                before = file.read()
            if "GPU           none" in genview("doctor").stdout:  # nothing is removed that could not be made again
                done = genview("views", "verify", views, "--repair", "--device", "cuda")
                self.assertEqual((done.returncode, "no CUDA device" in done.stderr), (2, True), done.stderr)
            with open(os.path.join(views, "manifest.jsonl"), "rb") as file:
                self.assertEqual(file.read(), before)
            self.assertEqual(genview("views", "verify", views, "--repair", "--device", "cpu", "--threads", "1").returncode, 0)
            self.assertEqual(genview("views", "verify", views).returncode, 0)

    def test_recipes(self):
        with tempfile.TemporaryDirectory() as folder:
            def refused(text, *words, code=2):
                recipe = os.path.join(folder, "r.toml")
                with open(recipe, "wb") as file:
                    file.write(text.encode() if isinstance(text, str) else text)
                return self.refused(code, "run", recipe, "--dry-run", *words)

            for text in ("[[[", "a = ", "name = \"x", "name = 1\nname = 2", b"name = '\xff'", "name = 1979-05-27"):
                refused(text)
            for text, line in (("[data]\ntrian = 'x'", 2), ("[pretrain]\nepochs = 'x'", 2), ("\n[pretrain]\nlr = nan", 3), ("[pretrain]\nlr = -1.0", 2),
                               ("[pretrain]\nepochs = 9223372036854775807", 2), ("[pretrain]\nsize = 0", 2), ("[views]\nlevels = [0, 5000]", 2),
                               ("[pretrain.pair]\nsource = 'generate'", 2), ("[pretrain.pair]\nprobability = 2", 2), ("[eval.knn]\nk = 0", 2)):
                self.assertIn(f"line {line}", refused(text)[1], text)
            for text in ("data = 3", "arms = 5", "seeds = ['a']", "seeds = [-1]", "seeds = [1, 1]", "name = '../x'", "extends = 5", "extends = 'gone.toml'",
                         "extends = 'r.toml'", "[views]\nlevels = []", "[eval.linear]\nlrs = []", "[eval.linear]\noptimizer = 'adamw'",
                         "[eval.linear]\noptimizer = 'lars'\nnesterov = true"):
                refused(text)
            for arms in ("name = 3", "", "name = 'a'\n[[arms]]\nname = 'a'", "name = 'a/b'", "name = '..'", "name = 'state'", "name = ''",
                         "name = 'a'\nset = 5", "name = 'a'\n[arms.set]\ndata.train = 'x'"):
                refused("[[arms]]\n" + arms)
            for word in ("x", "=1", "..=1", "pretrain.epochs", "pretrain=1", "pretrain.epochs=abc", "pretrain.epochs=1e99", "pretrain.lr=inf",
                         "pretrain.method=moco", "pretrain.backbone=resnet19", "views.levels=[1,x]", "views.levels=5000"):
                refused("", "--set", word)
            for words in (("--only", "pretrian"), ("--device", "tpu"), ("--precision", "fp8"), ("--threads", "-1"), ("--batch", "0.5"), ("--seed", "-1")):
                refused("", *words)

    def test_images_and_models(self):
        with tempfile.TemporaryDirectory() as folder:
            shapes, out = "shapes:count=4,size=32", os.path.join(folder, "out.safetensors")
            os.makedirs(os.path.join(folder, "empty"))
            os.symlink("self", os.path.join(folder, "self"))
            with open(os.path.join(folder, "list.txt"), "w") as file:
                file.write("gone.png\n")
            with open(os.path.join(folder, "bytes"), "wb") as file:
                file.write(bytes(range(256)) * 8)
            with open(os.path.join(TOWER, "open_clip_model.safetensors"), "rb") as whole, open(os.path.join(folder, "cut.safetensors"), "wb") as file:
                file.write(whole.read(50_000))
            for images in ("gone", "empty", "bytes", "cut.safetensors", "self", "a-{0..}.tar", "a-{3..0}.tar", "a-{0..99999999}.tar", "x.tar.gz"):
                self.refused_either("features", os.path.join(folder, images), "--encoder", TOWER, "--out", out)
            for images in ("", "shapes:count=0", "shapes:count=-1", "shapes:size=100000", "shapes:foo=1", "shapes:seed=-1", "/dev/null"):
                self.refused_either("features", images, "--encoder", TOWER, "--out", out)
            for encoder in ("gone", "empty", "cut.safetensors", "list.txt"):
                self.refused_either("features", shapes, "--encoder", os.path.join(folder, encoder), "--out", out)
            for place in ("/proc/x.safetensors", os.path.join(folder, "list.txt", "x.safetensors"), os.path.join(folder, "empty")):
                self.refused(1, "features", shapes, "--encoder", TOWER, "--out", place)
            for words in (("--share", "2"), ("--share", "nan"), ("--sample", "0")):
                self.refused(2, "foreground", "fit", shapes, "--encoder", TOWER, "--out", out, *words)
            for words in ((), ("--noise-level", "-1"), ("--ratios", os.path.join(folder, "gone")), ("--ratios", os.path.join(folder, "bytes")),
                          ("--policy", "foo"), ("--noise-level", "0", "--steps", "0"), ("--noise-level", "0", "--scheduler", "Foo"), ("--noise-level", "0", "--guidance", "nan"),
                          ("--noise-level", "0", "--noise", os.path.join(folder, "cut.safetensors"))):
                self.refused_either("views", shapes, "--generator", GENERATOR, "--out", os.path.join(folder, "views"), *words)
            for generator in ("gone", "empty", "list.txt"):
                self.refused_either("views", shapes, "--generator", os.path.join(folder, generator), "--out", os.path.join(folder, "views"),
                                    "--noise-level", "0")
            self.assertEqual(genview("dataset", "make", "shapes", "--count", "20", "--size", "32", "--out", os.path.join(folder, "shapes")).returncode, 0)
            os.makedirs(os.path.join(folder, "one"))
            os.symlink(os.path.join(folder, "shapes/images/disc"), os.path.join(folder, "one/disc"))
            for kind in ("linear", "knn"):
                only = os.path.join(folder, "one")
                self.assertIn("one class", self.refused(1, "eval", kind, "--checkpoint", TOWER, "--train", only, "--test", only, "--log-level", "error")[0])
            self.refused(2, "features", b"caf\xe9", "--encoder", TOWER, "--out", out)

    def test_one_bad_picture_is_skipped_named_and_counted_or_ends_the_command(self):
        with tempfile.TemporaryDirectory() as folder:
            pictures, encoders = os.path.join(folder, "pictures"), ("--encoder", TOWER, "--precision", "fp32")
            self.assertEqual(genview("dataset", "make", "shapes", "--count", "20", "--size", "32", "--out", pictures).returncode, 0)
            images = os.path.join(pictures, "images")
            bad = sorted(os.path.join(where, name) for where, _, names in os.walk(images) for name in names)[7]
            os.truncate(bad, 50)
            model = os.path.join(folder, "fg.safetensors")
            self.assertEqual(genview("foreground", "fit", "shapes:count=20,size=32", *encoders, "--out", model).returncode, 0)
            for name, words in {"features": ("features", images, *encoders, "--out", "{}/f.safetensors"),
                                "fit": ("foreground", "fit", images, *encoders, "--out", "{}/fg.safetensors"),
                                "score": ("foreground", "score", images, *encoders, "--model", model, "--out", "{}/ratios.tsv"),
                                "views": ("views", images, "--generator", GENERATOR, "--noise-level", "0", "--steps", "1", "--out", "{}"),
                                "pack": ("dataset", "pack", images, "--out", "{}/shard"),
                                "knn": ("eval", "knn", "--checkpoint", TOWER, "--train", images, "--test", "shapes:count=20,size=32", "--k", "3",
                                        "--out", "{}/knn.json")}.items():
                for strict in (False, True):
                    out = os.path.join(folder, f"{name}-{strict}")
                    command = [word.replace("{}", out) for word in words]
                    if strict:
                        said = self.refused(1, *command, "--strict", "--log-level", "error")
                        self.assertRegex(said[1], f"{os.path.basename(bad)}|skipped.tsv", name)
                        continue
                    done = genview(*command)
                    self.assertEqual(done.returncode, 0, (name, done.stderr))
                    self.assertRegex(done.stdout, r"\(1 (images )?skipped\)", name)
                    if name != "fit":  # which draws a sample
                        with open(os.path.join(out, "skipped.tsv"), encoding="utf-8") as file:
                            header, row = file.read().splitlines()
                        self.assertEqual((header, row.split("\t")[0]), ("id\treason", os.path.relpath(bad, images)))

    def test_what_a_killed_call_left_beside_a_file_is_swept(self):
        with tempfile.TemporaryDirectory() as folder:
            own, left = os.path.join(folder, "own.safetensors"), os.path.join(folder, ".any.safetensors.999999999.part")
            sample_run.main(os.path.join(folder, "run"))
            for words in (("import", os.path.join(SOURCE, "tests/golden/layouts/moco.pth.tar"), "--out", own),
                          ("export", own, "--layout", "timm", "--out", os.path.join(folder, "timm.safetensors")),
                          ("report", os.path.join(folder, "run"), "--out", os.path.join(folder, "page.html")),
                          ("eval", "knn", "--checkpoint", TOWER, "--train", "shapes:count=20,size=32", "--test", "shapes:count=20,size=32,seed=1",
                           "--out", os.path.join(folder, "knn.json")),
                          ("foreground", "fit", "shapes:count=20,size=32", "--encoder", TOWER, "--out", os.path.join(folder, "fg.safetensors")),
                          ("foreground", "score", "shapes:count=20,size=32", "--encoder", TOWER, "--model", os.path.join(folder, "fg.safetensors"),
                           "--out", os.path.join(folder, "ratios.tsv"))):
                with open(left, "w", encoding="utf-8"):
                    pass
                done = genview(*words)
                self.assertEqual(done.returncode, 0, (words, done.stderr))
                self.assertFalse(os.path.exists(left), words)

    def test_devices_and_precisions_that_are_not_there_are_refused(self):
        if not re.search("^GPU +none", genview("doctor").stdout, re.M):
            self.skipTest("there is a GPU")
        with tempfile.TemporaryDirectory() as folder:
            features = ("features", "shapes:count=4,size=32", "--encoder", TOWER, "--out", os.path.join(folder, "x.safetensors"))
            for words in (("--device", "cuda"), ("--precision", "fp16")):
                self.assertIn(words[0], self.refused(2, *features, *words)[1])
            self.assertEqual(os.listdir(folder), [])

    def test_bench_prints_its_figures_as_json(self):
        for words, share in ((("loader", "shapes:count=16,size=16", "--size", "16", "--views", "2", "--threads", "1", "--seconds", "0.05"), False),
                             (("step", "--width", "0.03125", "--small-stem", "--size", "8", "--batch", "4", "--queue", "16", "--steps", "1"), True),
                             (("features", "shapes:count=8,size=32", "--encoder", TOWER, "--batch", "2", "--rounds", "1"), True),
                             (("views", "--generator", GENERATOR, "--batch", "2", "--steps", "2", "--rounds", "1"), True)):
            done = genview("bench", *words, "--json", "--log-level", "error")
            self.assertEqual((done.returncode, done.stderr), (0, ""), words)
            figures = json.loads(done.stdout)
            for key in ("images_per_second", "peak_memory_bytes", *(["peak_share"] if share else [])):
                self.assertGreater(figures[key], 0, (words, key))
            if words[0] in ("loader", "step"):
                self.assertRegex(genview("bench", *words, "--log-level", "error").stdout, r", \d+ MB at most\n", words)

    def test_inspect_says_what_is_in_files_of_every_kind(self):
        with tempfile.TemporaryDirectory() as folder:
            shard = os.path.join(folder, "shard")
            self.assertEqual(genview("dataset", "pack", "shapes:count=6,size=32", "--out", shard).returncode, 0)
            tar = genview("inspect", shard + "-0000.tar").stdout
            self.assertIn("tar, 12 files", tar)
            self.assertRegex(tar, r"\.png +6 files")
            self.assertIn("6 images", genview("inspect", shard + "-{0000..0000}.tar").stdout)
            with open(os.path.join(folder, "a.npy"), "wb") as file:
                header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }".ljust(117) + b"\n"
                file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(24))
            self.assertIn("[2,3]", genview("inspect", os.path.join(folder, "a.npy")).stdout)
            for name, row in (("w", "w +F4 +"), ("model.diffusion_model.w", r"UNet +0\.00 million parameters +F4 +2 B")):  # which is read nowhere else
                header = json.dumps({name: {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}).encode()
                with open(os.path.join(folder, "four.safetensors"), "wb") as file:
                    file.write(struct.pack("<Q", len(header)) + header + bytes(2))
                done = genview("inspect", os.path.join(folder, "four.safetensors"))
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertRegex(done.stdout, row)
            with open(os.path.join(folder, "manifest.jsonl"), "w") as file:
                file.write('{"id": "a.png", "noise_level": 0}\n{"id": "b.png", "noise_level": 400}\n')
            rows = genview("inspect", os.path.join(folder, "manifest.jsonl")).stdout
            self.assertIn("2 rows", rows)
            self.assertRegex(rows, "noise_level +0 to 400, 2 different")
            with open(os.path.join(folder, "list.txt"), "w", encoding="utf-8") as file:
                file.write("a" + "\u0436" * 200 + ".png\n")  # cut within a letter, and still letters
            text = genview("inspect", os.path.join(folder, "list.txt")).stdout
            self.assertIn("a\u0436\u0436", text)
            self.assertIn("no list of images: none of the first 1 files", text)
            with open(os.path.join(folder, "here.txt"), "w") as file:
                file.write("a.npy cat\nfour.safetensors dog\ngone.png cat\n\n")
            self.assertIn("list, 4 lines\n  3 images, 2 classes, 1 files missing\n  a.npy cat\n", genview("inspect", os.path.join(folder, "here.txt")).stdout)
            with open(os.path.join(folder, "ratios.txt"), "w") as file:
                file.write("a.npy 0.25\nfour.safetensors 1\n")
            self.assertIn("2 images, a column of ratios, 0 files missing\n", genview("inspect", os.path.join(folder, "ratios.txt")).stdout)
            with open(os.path.join(folder, "ratios.tsv"), "w") as file:
                file.write("id\tforeground_ratio\na.png\t0.25\nb.png\t0.75\n")
            table = genview("inspect", os.path.join(folder, "ratios.tsv")).stdout
            self.assertIn("table, 2 rows, 2 columns", table)
            self.assertRegex(table, r"id +a\.png\n  foreground_ratio +0\.25 to 0\.75, mean 0\.5\n")
            for name, contents, what in (("old.pth", b"\x80\x02\x8a\nl\xfc\x9cF", "a bare pickle, the format of PyTorch before 1.6"),
                                         ("weights", b"\x80\x02}q\x00.", "a bare pickle, the format of PyTorch before 1.6"),
                                         ("page.ckpt", b"<html>not found</html>", "no checkpoint of PyTorch")):
                with open(os.path.join(folder, name), "wb") as file:
                    file.write(contents)
                self.assertIn(what, self.refused(1, "inspect", os.path.join(folder, name))[0])
            for damage in (b"\x93NUMPY\x01\x00\xff\xff", b"\x93NUMPY"):
                with open(os.path.join(folder, "bad.npy"), "wb") as file:
                    file.write(damage)
                self.refused(1, "inspect", os.path.join(folder, "bad.npy"))
            with open(shard + "-0000.tar", "rb") as whole, open(os.path.join(folder, "cut.tar"), "wb") as file:
                file.write(whole.read(3000))
            self.refused(1, "inspect", os.path.join(folder, "cut.tar"))

    def test_waiting_threads_sleep_unless_the_user_says_otherwise(self):
        def environment_of(variables):
            clean = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
            with tempfile.TemporaryDirectory() as folder:
                process = subprocess.Popen([GENVIEW, "dataset", "make", "shapes", "--count", "100000", "--out", folder, "--log-level", "error"],
                                           env={**clean, **variables})
                time.sleep(0.2)
                while not os.listdir(folder) and process.poll() is None:
                    time.sleep(0.02)
                with open(f"/proc/{process.pid}/comm", encoding="utf-8") as file:
                    self.assertEqual(file.read(), "genview\n")  # for top and killall
                with open(f"/proc/{process.pid}/environ", "rb") as file:
                    found = file.read().split(b"\0")
                process.kill()
                process.wait()
                return [entry for entry in found if entry.startswith((b"GOMP_SPINCOUNT", b"OMP_WAIT_POLICY"))]

        self.assertEqual(environment_of({}), [b"GOMP_SPINCOUNT=1000"])
        self.assertEqual(environment_of({"OMP_WAIT_POLICY": "active"}), [b"OMP_WAIT_POLICY=active"])

    def test_what_a_file_says_cannot_reach_the_terminal(self):
        with tempfile.TemporaryDirectory() as folder:
            name = os.path.join(folder, "list.txt")
            with open(name, "w") as file:
                file.write("a\x1b[2Jb.png\n")
            self.assertNotIn("\x1b", genview("inspect", name).stdout)

    def test_a_full_disk_behind_stdout_is_a_failure(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        with open("/dev/full", "w") as full:
            done = subprocess.run([GENVIEW, "doctor"], stdout=full, stderr=subprocess.PIPE, text=True)
            self.assertEqual(done.returncode, 1)
            self.assertIn("standard output", done.stderr)
            done = subprocess.run([GENVIEW, "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 3))
            self.assertIn("standard output", done.stderr)

    def test_no_file_takes_the_number_of_a_closed_stream(self):
        if not os.path.exists("/proc/self/fd"):
            self.skipTest("no /proc")
        with tempfile.TemporaryDirectory() as folder:
            words = ["features", "shapes:count=20000,size=32", "--encoder", TOWER, "--out", os.path.join(folder, "x.safetensors")]
            for stream in range(3):
                with subprocess.Popen(["sh", "-c", f'exec "$@" {stream}>&-', "sh", GENVIEW, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                    link, begin = f"/proc/{process.pid}/fd/{stream}", time.monotonic()
                    while not (os.path.lexists(link) and os.path.exists(os.path.join(folder, ".x.safetensors.column0"))) and time.monotonic() < begin + 60:
                        time.sleep(0.01)
                    self.assertEqual(os.readlink(link), "/dev/null")
                    process.kill()
                for name in os.listdir(folder):
                    os.remove(os.path.join(folder, name))

    def test_inspect_of_model_folders(self):
        golden = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "diffusion", "pipeline_text")
        text = genview("inspect", golden).stdout
        for part in ("StableUnCLIPImg2ImgPipeline", "image_encoder", "text_encoder", "UNet2DConditionModel", "AutoencoderKL", " parameters  F16", "memory, estimated"):
            self.assertIn(part, text)
        self.assertIn("tokens 2 x 2 of 16", genview("inspect", os.path.join(golden, "image_encoder")).stdout)

    def test_doctor(self):
        done = genview("doctor")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        for part in ("version ", "processor ", "memory ", "cpu fp32: good", "everything is as it should be"):
            self.assertIn(part, done.stdout)
        gpus = re.findall(r"^GPU (\d+) .+ of its memory free$", done.stdout, re.M)
        self.assertEqual(gpus == [], bool(re.search("^GPU +none: ", done.stdout, re.M)))
        for gpu in gpus:
            self.assertIn(f"cuda:{gpu} fp32: good", done.stdout)
        done = genview("doctor", "--device", "cpu", "--precision", "fp32", "--batch", "auto", "--threads", "2", "--seed", "1", "--strict")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        for part in ("cpu           device cpu, ", "GPU           left alone (--device cpu)", "cpu fp32: good"):
            self.assertIn(part, done.stdout)
        self.refused(2, "doctor", "--threads", "-1")


if __name__ == "__main__":
    GENVIEW = sys.argv.pop(1)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    unittest.main()
