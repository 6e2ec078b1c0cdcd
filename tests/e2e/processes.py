#!/usr/bin/env python3
"""Two and three processes, started as launchers start them: the bytes of one, no process left behind by another that dies.

    processes.py GENVIEW"""
import functools
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from run_folder import differences, genview, snapshot

GENVIEW = ""
GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "diffusion", "pipeline_ddim")
RECIPE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiny.toml")
IMAGES = "shapes:count=23,size=32,seed=3"


def variables(launcher, rank, size):
    names = {"torchrun": ("RANK", "WORLD_SIZE"), "mpirun": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), "mpich": ("PMI_RANK", "PMI_SIZE"),
             "srun": ("SLURM_PROCID", "SLURM_NTASKS")}[launcher]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("RANK", "WORLD_SIZE", "OMPI_", "PMI_", "SLURM_"))}
    return {**clean, names[0]: str(rank), names[1]: str(size), "OMP_NUM_THREADS": "1"}


def start(words, rank, size, launcher="torchrun"):
    return subprocess.Popen([GENVIEW, *map(str, words)], env=variables(launcher, rank, size), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def together(words, size, launcher="torchrun"):
    """Runs `size` processes; (codes, stdouts, stderrs) by rank. The last starts first: they wait for each other."""
    processes = [start(words, rank, size, launcher) for rank in reversed(range(size))][::-1]
    texts = [process.communicate(timeout=240) for process in processes]
    return [p.returncode for p in processes], [t[0] for t in texts], [t[1] for t in texts]


def runs(process):
    """Not: one that has ended and stays as a zombie, which in a container without an init nobody takes away."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@functools.cache
def pretraining_is_shared():
    return "but pretraining" not in genview(GENVIEW, "doctor").stdout


class Processes(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="genview-processes-")
        self.addCleanup(self.folder.cleanup)

    def path(self, *parts):
        return os.path.join(self.folder.name, *parts)

    def same(self, first, second):
        self.assertEqual(differences(snapshot(first), snapshot(second)), [])

    def good(self, words, size, launcher="torchrun"):
        codes, outs, errors = together(words, size, launcher)
        self.assertEqual(codes, [0] * size, errors)
        self.assertEqual(outs[1:], [""] * (size - 1))
        self.assertEqual(errors[1:], [""] * (size - 1))
        return outs[0]

    def alone(self, words):
        done = genview(GENVIEW, *words, env={**os.environ, "OMP_NUM_THREADS": "1"})
        return done.stdout

    def views(self, out, *more):
        return ["views", IMAGES, "--generator", GOLDEN, "--out", out, "--policy", "random", "--steps", 2, "--batch", 2, "--precision", "fp32", "--device", "cpu", *more]

    def test_views(self):
        said = self.alone(self.views(self.path("1", "views")))
        for size, launcher in ((2, "torchrun"), (3, "srun")):
            out = self.path(str(size), "views")
            self.assertEqual(self.good(self.views(out), size, launcher).replace(out, ""), said.replace(self.path("1", "views"), ""))
            self.same(self.path("1"), self.path(str(size)))
        # More processes than batches, and nothing left to do.
        self.good(self.views(self.path("2", "views")), 3, "mpirun")
        self.same(self.path("1"), self.path("2"))

    def test_views_in_shards(self):
        self.alone(self.views(self.path("1", "views"), "--per-shard", 5))
        for size in (2, 3):
            self.good(self.views(self.path(str(size), "views"), "--per-shard", 5), size)
            self.same(self.path("1"), self.path(str(size)))
        # What two have made and packed, three go on with.
        os.remove(self.path("2", "views", "views-0001.tar"))
        self.good(self.views(self.path("2", "views"), "--per-shard", 5), 3)
        self.same(self.path("1"), self.path("2"))

    def test_features(self):
        words = ["features", IMAGES, "--encoder", GOLDEN, "--tokens", "--batch", 4, "--device", "cpu", "--precision", "fp32", "--out"]
        self.alone([*words, self.path("1", "f.safetensors")])
        for size, launcher in ((2, "mpich"), (3, "torchrun")):
            self.good([*words, self.path(str(size), "f.safetensors")], size, launcher)
            self.same(self.path("1"), self.path(str(size)))
        words[words.index("--batch") + 1] = 16  # fewer batches than processes
        self.alone([*words, self.path("few", "1", "f.safetensors")])
        self.good([*words, self.path("few", "4", "f.safetensors")], 4)
        self.same(self.path("few", "1"), self.path("few", "4"))

    def test_foreground(self):
        model = self.path("fg.safetensors")
        self.good(["foreground", "fit", IMAGES, "--encoder", GOLDEN, "--out", model, "--device", "cpu", "--precision", "fp32"], 2)  # process 0 alone
        words = ["foreground", "score", IMAGES, "--model", model, "--encoder", GOLDEN, "--batch", 4, "--device", "cpu", "--precision", "fp32"]
        scored = lambda out: [*words, "--out", self.path(out, "ratios.tsv"), "--masks", self.path(out, "masks"), "--lists", self.path(out)]
        for size in (1, 2, 3):
            self.alone(scored(str(size))) if size == 1 else self.good(scored(str(size)), size)
            self.same(self.path("1"), self.path(str(size)))
        words[words.index("--batch") + 1] = 32  # fewer batches than processes: those without one open no journal, which would be the same one
        self.alone(scored("few-1"))
        journal = self.path("few-4", ".ratios.tsv.journal.share.0-0")
        os.makedirs(os.path.join(journal, "in the way"))
        self.good(scored("few-4"), 4)
        shutil.rmtree(journal)
        self.same(self.path("few-1"), self.path("few-4"))

    def test_a_whole_run(self):
        words = lambda out: ["run", RECIPE, "--out", self.path(out), "--set", "pretrain.accumulate=2", "--set", "pretrain.quality.features='cached'"]
        self.alone(words("1"))
        self.good(words("2"), 2)
        first, second = snapshot(self.path("1")), snapshot(self.path("2"))
        for files in (first, second):
            del files["recipe.toml"]
        self.assertEqual(differences(first, second), [])
        # More processes than a step has parts, and nothing left to do.
        self.good(words("2"), 3)
        self.assertEqual(differences(second, {name: data for name, data in snapshot(self.path("2")).items() if name != "recipe.toml"}), [])

    def run_of(self, out, *more, settings=()):
        """A whole run of two arms, by processes that it starts itself where `more` says so."""
        words = ["run", RECIPE, "--out", self.path(out), *more, *(word for setting in settings for word in ("--set", setting))]
        return list(map(str, words))

    def same_run(self, first, second):
        files = [snapshot(self.path(name)) for name in (first, second)]
        for each in files:
            del each["recipe.toml"]
        self.assertEqual(differences(*files), [])

    def test_arms_side_by_side(self):
        self.alone(self.run_of("1"))
        for count in (2, 3):
            said = subprocess.run([GENVIEW, *self.run_of(str(count), "--processes", count)], env={**os.environ, "OMP_NUM_THREADS": "1"},
                                  capture_output=True, text=True, check=True).stderr
            self.assertIn("[4/10] pretrain baseline", said)
            self.assertIn("[5/10] pretrain genview: made beside the others", said)
            self.assertNotIn("alone", said)
            self.same_run("1", str(count))
        self.assertEqual(glob.glob(self.path(".genview-group*")), [])
        # Without OMP_NUM_THREADS each takes a share of the cores, and every arm is there all the same.
        free = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        genview(GENVIEW, *self.run_of("free", "--processes", 2), env=free)
        self.assertEqual(set(snapshot(self.path("free"))), set(snapshot(self.path("1"))))

    def test_arms_side_by_side_share_tokens(self):
        settings = ("pretrain.pair.source='generated'", "pretrain.quality.enabled=true", "pretrain.quality.features='cached'", "eval.linear.enabled=false")
        self.alone(self.run_of("1", settings=settings))
        self.alone(self.run_of("2", "--processes", 2, settings=settings))
        self.same_run("1", "2")
        self.assertEqual(len(glob.glob(self.path("2", "foreground", "tokens-*"))), 1)

    def test_one_arm_leaves_the_others_idle(self):
        recipe = self.path("one.toml")
        with open(recipe, "w", encoding="utf-8") as file:
            file.write(f"extends = '{RECIPE}'\n[[arms]]\nname = 'baseline'\n")
        _, _, errors = together(["run", recipe, "--out", self.path("one")], 2)
        self.assertIn("process 0 will pretrain alone", errors[0])

    def wait_for(self, happened, *processes, seconds=120):
        """A machine that takes longer, and a process that ends before, are failures that say so."""
        deadline = time.monotonic() + seconds
        while not happened():
            late = time.monotonic() > deadline
            if late or any(process.poll() is not None for process in processes):
                for process in processes:
                    process.kill()
                self.fail(f"{'too slow' if late else 'over too soon'}: {[process.communicate()[1] for process in processes]}")
            time.sleep(0.01)

    def children_of(self, process):
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="utf-8") as file:
            return [int(child) for child in file.read().split()]

    def cut(self, words, how, count):
        """Sends a signal to the command once both arms have a new checkpoint; its exit code and what it said. No process remains."""
        checkpoints = lambda: set(glob.glob(os.path.join(words[3], "*", "pretrain", "checkpoints", "step-*")))
        before = checkpoints()
        process = subprocess.Popen([GENVIEW, *words], env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.wait_for(lambda: len({path.split(os.sep)[-4] for path in checkpoints() - before}) >= 2, process)
        children = self.children_of(process)
        self.assertEqual(len(children), count)
        process.send_signal(how)
        said = process.communicate(timeout=100)[1]
        self.wait_for(lambda: not any(map(runs, children)), seconds=30)
        return process.returncode, said

    def test_arms_side_by_side_go_on(self):
        settings = ("pretrain.epochs=40", "pretrain.knn_epochs=0", "pretrain.log_steps=10", "eval.linear.enabled=false")
        self.alone(self.run_of("1", settings=settings))
        words = self.run_of("2", "--processes", 2, settings=settings)
        code, _ = self.cut(words, signal.SIGKILL, 2)
        self.assertEqual(code, -signal.SIGKILL)
        for how in (signal.SIGINT, signal.SIGTERM):
            code, said = self.cut(words, how, 2)
            self.assertEqual(code, 130, said)
            self.assertEqual(said.count("interrupted"), 1, said)
        genview(GENVIEW, *words, env={**os.environ, "OMP_NUM_THREADS": "1"})
        self.same_run("1", "2")

    def test_stopped_at_once_it_is_no_failure(self):
        for number, pause in enumerate((0.2, 0.4, 0.6, 0.8, 1.0, 1.5)):  # as a terminal does it: all get the signal
            words = self.run_of(f"at-once-{number}", "--processes", 2, settings=["pretrain.epochs=400"])
            process = subprocess.Popen([GENVIEW, *map(str, words)], env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True, start_new_session=True)
            time.sleep(pause)
            os.killpg(process.pid, signal.SIGINT)
            said = process.communicate(timeout=100)[1]
            self.assertIn(process.returncode, (130, -signal.SIGINT), said)
            self.assertNotIn("error: ", said)

    def test_what_another_process_has_made_is_kept_when_the_run_is_stopped(self):
        recipe = self.path("lengths.toml")
        with open(recipe, "w", encoding="utf-8") as file:
            file.write(f"extends = '{RECIPE}'\n" + "".join(f"[[arms]]\nname = '{name}'\nset = {{ pretrain.epochs = {epochs} }}\n"
                                                           for name, epochs in (("long", 2000), ("short", 1))))
        words = ["run", recipe, "--out", self.path("lengths"), "--processes", "2"]
        process = subprocess.Popen([GENVIEW, *words], env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

        def read(arm):
            state = self.path("lengths", "state", f"pretrain-{arm}.json")
            if not os.path.exists(state):
                return {"finished": False}
            with open(state, encoding="utf-8") as file:
                return json.load(file)

        self.wait_for(lambda: read("short")["finished"], process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=100)
        self.assertEqual(process.returncode, 130)
        self.assertEqual((read("long")["finished"], read("short")["finished"]), (False, True))
        self.assertGreater(min(read("long")["seconds"], read("short")["seconds"], read("short")["peak_memory_bytes"]), 0)

    def test_an_arm_that_fails_ends_the_others(self):
        for arm, other in (("baseline", "genview"), ("genview", "baseline")):
            os.makedirs(self.path(arm, arm, "pretrain"))
            with open(self.path(arm, arm, "pretrain", "checkpoints"), "w", encoding="utf-8"):
                pass  # a file where the arm wants a folder
            done = genview(GENVIEW, *self.run_of(arm, "--processes", 2, settings=["pretrain.epochs=400"]), check=False, timeout=100)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertEqual(done.stderr.count("error: "), 1, done.stderr)
            self.assertIn(os.path.join(arm, "pretrain", "checkpoints"), done.stderr)
            self.assertFalse(os.path.exists(self.path(arm, other, "pretrain", "encoder.safetensors")))

    def test_processes_of_its_own(self):
        self.alone(self.views(self.path("1", "views")))
        self.alone(self.views(self.path("2", "views"), "--processes", 2))
        self.same(self.path("1"), self.path("2"))
        codes, _, errors = together(self.views(self.path("3", "views"), "--processes", 3), 2)
        self.assertEqual(codes, [2, 2])
        self.assertIn("--processes is 3, and a launcher has started 2", errors[0])

    def pretrain(self, out, *settings):
        if not pretraining_is_shared():
            self.skipTest("built without gloo")
        words = ["pretrain", RECIPE, "--arm", "baseline", "--out", self.path(out)]
        return [*words, *(word for setting in ("pretrain.accumulate=4", *settings) for word in ("--set", setting))]

    def test_pretraining(self):
        self.alone(["dataset", "make", "shapes", "--count", 40, "--size", 32, "--out", self.path("pictures")])
        for folder, _, names in os.walk(self.path("pictures", "images")):
            for name in names:
                if name.endswith(("3.png", "8.png")):  # cut off, so that processes skip pictures of their own
                    os.truncate(os.path.join(folder, name), 60)
        pictures = f"data.train='{self.path('pictures', 'images')}'"
        for method, size, launcher in (("moco-v2", 3, "torchrun"), ("byol", 2, "srun")):
            more = (pictures, f"pretrain.method='{method}'")
            said = self.alone(self.pretrain(f"{method}-1", *more))
            other = self.good(self.pretrain(f"{method}-{size}", *more), size, launcher)
            self.assertEqual(other.replace(f"{method}-{size}", f"{method}-1"), said)
            self.same(self.path(f"{method}-1"), self.path(f"{method}-{size}"))
        with open(self.path("moco-v2-1", "skipped.tsv"), encoding="utf-8") as file:
            self.assertEqual(len(file.readlines()), 9)

    def test_pretraining_that_cannot_be_shared(self):
        codes, _, errors = together(self.pretrain("few", "pretrain.accumulate=1"), 2)
        self.assertEqual(codes, [2, 2], errors)
        self.assertIn("set it to 2: each part is 8 pairs", errors[0])
        self.assertEqual([len(errors[0].splitlines()), errors[1]], [3, ""])

    def stop_one(self, words, rank, how):
        """Sends the signal to a process once a checkpoint is new; (codes, texts) by rank."""
        checkpoints = lambda: set(glob.glob(os.path.join(words[5], "checkpoints", "step-*.safetensors")))
        before = checkpoints()
        processes = [start(words, r, 2) for r in range(2)]
        self.wait_for(lambda: not checkpoints() <= before, *processes)
        processes[rank].send_signal(how)
        texts = [process.communicate(timeout=100)[1] for process in processes]
        return [process.returncode for process in processes], texts

    def test_pretraining_goes_on(self):
        more = ("pretrain.epochs=12", "pretrain.knn_epochs=0", "pretrain.log_steps=10", "pretrain.checkpoint_steps=2")
        self.alone(self.pretrain("whole", *more))
        words = self.pretrain("cut", *more)
        for rank in (1, 0):
            codes, texts = self.stop_one(words, rank, signal.SIGKILL)
            self.assertEqual(codes[rank], -signal.SIGKILL)
            self.assertEqual(codes[1 - rank], 1, texts)
            self.assertIn(f"process {rank} of 2 has ended without a word", texts[1 - rank])
            self.assertEqual(len(texts[1 - rank].split("error: ")[1].splitlines()), 3, texts)
        codes, texts = self.stop_one(words, 1, signal.SIGINT)  # all stop after the same step
        self.assertEqual(codes, [130, 130], texts)
        self.assertIn("interrupted", texts[0])
        self.good(self.pretrain("cut", *more), 3)
        self.same(self.path("whole"), self.path("cut"))

    def test_other_commands_and_errors(self):
        self.assertIn("version", self.good(["doctor"], 2))
        codes, outs, errors = together(self.views(self.path("v"), "--noise-level", 5000), 2)
        self.assertEqual(codes, [2, 2], errors)
        self.assertEqual([len(errors[0].splitlines()), errors[1]], [3, ""])
        codes, _, errors = together(["views", "nowhere", *self.views(self.path("v"))[2:]], 3)
        self.assertEqual(codes, [1, 1, 1], errors)
        self.assertEqual([line.split(":")[0] for line in errors[0].splitlines()], ["error", "where", "try"])

    def kill_one(self, killed):
        words = self.views(self.path("k", "views"), "--steps", 40, "--per-image", 3)
        manifest = self.path("k", "views", "manifest.jsonl")
        size = lambda: os.path.getsize(manifest) if os.path.exists(manifest) else 0
        before = size()
        processes = [start(words, rank, 3) for rank in range(3)]
        self.wait_for(lambda: size() > before, *processes)  # all have met, and at least one row is new
        processes[killed].send_signal(signal.SIGKILL)
        began, said = time.time(), ""
        for rank, process in enumerate(processes):
            _, error = process.communicate(timeout=120)
            said += error
            if rank != killed:
                self.assertEqual(process.returncode, 1, error)
        self.assertIn(f"process {killed} of 3 has ended without a word", said)  # who hears it from another does not repeat it
        self.assertLess(time.time() - began, 100)

    def test_a_killed_process_ends_the_others_and_the_command_goes_on(self):
        words = self.views(self.path("w", "views"), "--steps", 40, "--per-image", 3)
        self.alone(words)
        for killed in (0, 1):
            self.kill_one(killed)
        self.good(self.views(self.path("k", "views"), "--steps", 40, "--per-image", 3), 2)
        self.same(self.path("w", "views"), self.path("k", "views"))
        with open(self.path("k", "views", "manifest.jsonl"), encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        self.assertEqual(len({(row["id"], row["index"]) for row in rows}), 69)


if __name__ == "__main__":
    GENVIEW = sys.argv.pop(1)
    unittest.main()
