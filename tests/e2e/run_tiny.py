#!/usr/bin/env python3
"""`genview run` on a recipe of seconds: the folder it leaves, and what it does when it is called again.

    run_tiny.py GENVIEW"""
import json
import os
import re
import shutil
import sys
import tempfile
import unittest

from run_folder import contents, differences, genview, snapshot, times

GENVIEW = ""
RECIPE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiny.toml")


class RunTiny(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="genview-run-")
        cls.run_folder = os.path.join(cls.folder, "run")
        cls.first = genview(GENVIEW, "run", RECIPE, "--out", cls.run_folder)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def path(self, *parts):
        return os.path.join(self.run_folder, *parts)

    def read(self, *parts):
        with open(self.path(*parts), encoding="utf-8") as file:
            return file.read()

    def test_everything_that_is_promised_is_there(self):
        for name in ("recipe.toml", "environment.json", "report.html", "results.json", "foreground/model.safetensors",
                     "foreground/ratios.tsv", "foreground/masks", "views/manifest.jsonl", "gallery/gallery.json", "gallery/likeness.json"):
            self.assertTrue(os.path.exists(self.path(name)), name)
        for arm in ("baseline", "genview"):
            for name in ("pretrain/checkpoints", "pretrain/log.jsonl", "pretrain/encoder.safetensors", "eval/linear.json", "eval/knn.json"):
                self.assertTrue(os.path.exists(self.path(arm, name)), f"{arm}/{name}")
            self.assertTrue(any(name.startswith("events.out.tfevents.") for name in os.listdir(self.path(arm, "pretrain"))))
            for kind in ("linear", "knn"):
                score = json.loads(self.read(arm, "eval", f"{kind}.json"))
                self.assertEqual((score["images"], score["classes"]), (40, 10))
                self.assertTrue(0 <= score["top1_low"] <= score["top1"] <= score["top1_high"] <= 100)
                self.assertTrue(score["checkpoint"] and score["normalisation"])

    def test_what_views_keep_and_how_true_the_foreground_is(self):
        likeness = json.loads(self.read("gallery", "likeness.json"))
        self.assertEqual([row["level"] for row in likeness["levels"]], [0, 100, 200, 300, 400])
        self.assertEqual(likeness["pictures"], 10)
        for level in likeness["levels"]:
            self.assertEqual(level["views"], 10)
            self.assertEqual(sum(row["views"] for row in likeness["bins"] if row["level"] == level["level"]), 10)
            self.assertTrue(-1 <= level["cosine"] <= 1 and 0 <= level["low"] <= level["kept"] <= level["high"] <= 100)
        truth = json.loads(self.read("foreground", "ratios.json"))
        self.assertEqual(truth["images_with_truth"], 48)
        page = self.read("report.html")
        self.assertIn("What views keep", page)
        self.assertIn(f"Held against the true masks of 48 pictures: mean intersection over union {truth['mean_overlap_with_truth']:.2f}", page)

    def test_tables_hold_a_row_for_every_picture(self):
        ratios = self.read("foreground", "ratios.tsv").splitlines()
        self.assertEqual(ratios[0].split("\t"), ["id", "path", "foreground_ratio", "noise_level"])
        self.assertEqual(len(ratios), 1 + 48)
        rows = [json.loads(line) for line in self.read("views", "manifest.jsonl").splitlines()]
        self.assertEqual(len(rows), 48)
        self.assertEqual({row["id"] for row in rows}, {line.split("\t")[0] for line in ratios[1:]})
        for row in rows:
            self.assertTrue(os.path.exists(self.path("views", row["shard"])))
            for member in ("noise_level", "seed", "steps", "guidance", "generator"):
                self.assertIn(member, row)

    def test_results_are_one_record_per_arm_and_score(self):
        results = json.loads(self.read("results.json"))["results"]
        keys = {(row["arm"], row["eval"], row["score"]) for row in results}
        self.assertEqual(keys, {(arm, kind, score) for arm in ("baseline", "genview") for kind in ("linear", "knn") for score in ("top1", "top5")})
        self.assertEqual(len(results), len(keys))
        held = [(row["arm"], row["eval"], row["score"], row["difference"]["against"]) for row in results if "difference" in row]
        self.assertEqual(held, [("genview", "linear", "top1", "baseline")])

    def test_stdout_holds_the_table_and_the_report_alone(self):
        lines = self.first.stdout.splitlines()
        self.assertEqual(lines[0].split()[0], "arm")
        self.assertEqual([line.split()[0] for line in lines[1:3]], ["baseline", "genview"])
        self.assertEqual(lines[4:], [f"encoder: {self.path(arm, 'pretrain', 'encoder.safetensors')}" for arm in ("baseline", "genview")] +
                         [self.path("report.html")])

    def test_progress_says_which_stage_of_how_many(self):
        said = [re.fullmatch(r"\[(\d+)/(\d+)\] (.*)", line) for line in self.first.stderr.splitlines() if line.startswith("[")]
        self.assertEqual({match[2] for match in said}, {"10"})
        numbers = [int(match[1]) for match in said]
        self.assertEqual(numbers, sorted(numbers))
        for name in ("pretrain genview: 2 epochs", "eval knn genview: top-1 ", "foreground score: 48 images"):
            self.assertTrue(any(match[3].startswith(name) for match in said), name)
        self.assertNotIn("loss 0 ", self.first.stderr)

    def test_the_report_shows_pictures_levels_and_pairs(self):
        page = self.read("report.html")
        for text in ("How a view is made", "One picture at every noise level", "Pairs and their quality", "Training", "Coverage and cost"):
            self.assertIn(text, page)
        self.assertNotIn("not there", page)

    def test_called_again_it_makes_nothing(self):
        before = times(self.run_folder)
        genview(GENVIEW, "run", RECIPE, "--out", self.run_folder)
        after = times(self.run_folder)
        rewritten = {"recipe.toml", "environment.json", "results.json", "report.html"}
        changed = {name for name in after if before.get(name) != after[name]} - rewritten
        self.assertEqual(changed, set())

    def test_the_resolved_recipe_gives_the_same_run(self):
        printed = genview(GENVIEW, "run", RECIPE, "--dry-run", cwd=self.folder).stdout
        self.assertFalse(os.path.exists(os.path.join(self.folder, "runs")))
        recipe = os.path.join(self.folder, "resolved.toml")
        with open(recipe, "w", encoding="utf-8") as file:
            file.write(printed)
        self.assertEqual(genview(GENVIEW, "run", recipe, "--dry-run").stdout, printed)
        self.assertEqual(self.read("recipe.toml"), printed)
        again = os.path.join(self.folder, "again")
        genview(GENVIEW, "run", recipe, "--out", again)
        self.assertEqual(differences(snapshot(self.run_folder, book=True), snapshot(again, book=True)), [])

    def test_a_dry_run_says_what_is_done_and_what_is_to_be_made(self):
        def said(out, *more):
            return genview(GENVIEW, "run", RECIPE, "--out", out, "--dry-run", *more).stderr.splitlines()

        before = times(self.run_folder)
        lines = said(self.run_folder)
        self.assertEqual(lines[0], "[1/10] pretrain baseline: done")
        self.assertEqual(lines[-1], "stages: 10 of 10 are done")
        lines = said(self.run_folder, "--set", "eval.knn.k=3", "--set", "foreground.share=0.3")
        self.assertIn("[3/10] eval knn baseline: to be made again: settings.k 5 -> 3", lines)
        self.assertIn("[4/10] foreground fit: to be made again: settings.share 0.4 -> 0.3", lines)
        self.assertIn("[10/10] gallery: to be made again if what it is made from changes", lines)
        self.assertEqual(lines[-1], "stages: 2 of 10 are done")
        self.assertEqual(times(self.run_folder), before)
        lines = said(os.path.join(self.folder, "nowhere"), "--only", "gallery")
        self.assertEqual((lines[0], lines[-1]), ("[1/4] foreground fit: to be made", "stages: 0 of 4 are done"))
        self.assertFalse(os.path.exists(os.path.join(self.folder, "nowhere")))

    def test_a_changed_setting_makes_only_what_depends_on_it(self):
        other = os.path.join(self.folder, "other")
        shutil.copytree(self.run_folder, other)
        done = genview(GENVIEW, "run", RECIPE, "--out", other, "--set", "eval.knn.k=3")
        before, after = snapshot(self.run_folder), snapshot(other)
        changed = {line.split(": ")[1] for line in differences(before, after)}
        self.assertEqual(changed, {"recipe.toml", "results.json", "baseline/eval/knn.json", "genview/eval/knn.json"})
        self.assertIn("is made again: settings.k 5 -> 3\n", done.stderr)

    def copy(self, name):
        other = os.path.join(self.folder, name)
        shutil.copytree(self.run_folder, other)
        return other

    def test_the_report_shows_no_scores_of_earlier_encoders(self):
        other = self.copy("retrained")
        genview(GENVIEW, "run", RECIPE, "--out", other, "--only", "pretrain", "--set", "pretrain.epochs=1")
        with open(os.path.join(other, "results.json"), encoding="utf-8") as file:
            self.assertEqual(json.load(file)["results"], [])
        with open(os.path.join(other, "report.html"), encoding="utf-8") as file:
            self.assertIn("No score yet", file.read())

    def test_what_the_recipe_no_longer_asks_for_is_not_shown(self):
        other = self.copy("fewer")
        genview(GENVIEW, "run", RECIPE, "--out", other, "--set", "eval.linear.epochs=2", "--only", "pretrain")  # stopped before its scores
        for arm in ("baseline", "genview"):
            self.assertFalse(os.path.exists(os.path.join(other, arm, "eval", "linear.json")))
            self.assertTrue(os.path.exists(os.path.join(other, arm, "eval", "knn.json")))
        genview(GENVIEW, "run", RECIPE, "--out", other, "--set", "eval.knn.enabled=false")
        for arm in ("baseline", "genview"):
            self.assertFalse(os.path.exists(os.path.join(other, arm, "eval", "knn.json")))
            self.assertTrue(os.path.exists(os.path.join(other, arm, "eval", "linear.json")))
        plain = os.path.join(self.folder, "plain.toml")
        with open(RECIPE, encoding="utf-8") as file, open(plain, "w", encoding="utf-8") as out:
            out.write(file.read().split("[[arms]]")[0].replace("../golden", os.path.join(os.path.dirname(RECIPE), "..", "golden")))
            out.write('[[arms]]\nname = "baseline"\n')
        genview(GENVIEW, "run", plain, "--out", other, "--set", "data.train=shapes:count=32,size=32,seed=5")
        for name in ("gallery", "foreground/ratios.tsv", "state/gallery.json"):
            self.assertFalse(os.path.exists(os.path.join(other, name)), name)
        self.assertTrue(os.path.exists(os.path.join(other, "foreground", "masks")))

    def test_every_stage_can_be_made_alone(self):
        recipe = os.path.join(self.folder, "alone.toml")
        training = "training = { steps = 3, stop_after = 2, shards = 1, batch = 8, warmup = 1, save_every = 2, log_every = 1 }"
        with open(recipe, "w", encoding="utf-8") as file:
            file.write(f"""extends = "{RECIPE}"
[views]
generator = "train"
[generator]
encoder = "{os.path.join(os.path.dirname(RECIPE), '../golden/diffusion/pipeline_ddim/image_encoder')}"
size = 16
cache = 16
[generator.autoencoder]
channels = [8, 8]
groups = 4
{training}
[generator.denoiser]
channels = [8, 16]
groups = 4
head_width = 4
{training}
""")
        run = os.path.join(self.folder, "alone")
        made = {"generator": "generator/model_index.json", "foreground": "foreground/ratios.tsv", "views": "views/manifest.jsonl",
                "pretrain": "genview/pretrain/encoder.safetensors", "eval": "genview/eval/knn.json", "gallery": "gallery/gallery.json",
                "report": "report.html"}
        for stage, name in made.items():
            if stage == "report":
                os.remove(os.path.join(run, name))
            self.assertFalse(os.path.exists(os.path.join(run, name)), name)
            genview(GENVIEW, "run", recipe, "--out", run, "--only", stage)
            self.assertTrue(os.path.exists(os.path.join(run, name)), name)
        alone = os.path.join(self.folder, "generator")  # of the same recipe, to the byte
        genview(GENVIEW, "generator", "train", recipe, "--set", "generator={ cache = 16 }", "--out", alone)
        for name in ("model_index.json", "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"):
            self.assertEqual(contents(os.path.join(alone, name)), contents(os.path.join(run, "generator", name)), name)
        done = genview(GENVIEW, "generator", "train", recipe, check=False)
        self.assertEqual((done.returncode, done.stderr.splitlines()[1]), (2, "where: command line, --out"))

        def both(*words):
            return genview(GENVIEW, "run", recipe, "--out", run, "--only", "generator,views", *words).stderr

        def unchanged(said):
            self.assertTrue("generator: unchanged" in said and "views: unchanged" in said, said)

        unchanged(both("--set", "generator.denoiser.training.save_every=1", "--set", "generator.autoencoder.training.log_every=5"))
        before, more = times(run), ("--set", "generator.denoiser.training.stop_after=3")
        self.assertIn("generator is gone through again: settings.denoiser.training.stop_after 2 -> 3", both(*more))
        training = os.path.join(run, "generator", "training")
        autoencoder = [name for name in before if name.startswith("generator/training/autoencoder/checkpoints/")]
        self.assertEqual({name: times(run).get(name) for name in autoencoder}, {name: before[name] for name in autoencoder})
        with open(os.path.join(training, "denoiser", "log.jsonl"), encoding="utf-8") as file:
            self.assertEqual([json.loads(line)["step"] for line in file], [1, 2, 3])
        self.assertFalse(os.path.exists(os.path.join(training, "denoiser-before")))
        both("--set", "generator.denoiser.training.lr=0.002")
        self.assertTrue(os.path.exists(os.path.join(training, "denoiser-before", "log.jsonl")))
        shutil.rmtree(training)  # the finished folder can do without
        unchanged(both("--set", "generator.denoiser.training.lr=0.002"))

    def test_views_that_are_asked_for_stay(self):
        run = os.path.join(self.folder, "more")
        words = ("run", RECIPE, "--out", run, "--only", "foreground,views", "--set", "views.per_shard=0")

        def views(*more):
            said, files = genview(GENVIEW, *words, *more).stderr, {}
            for folder, _, names in os.walk(os.path.join(run, "views")):
                for info, name in ((os.stat(os.path.join(folder, name)), name) for name in names if name.endswith(".png")):
                    files[os.path.relpath(os.path.join(folder, name), run)] = (info.st_ino, info.st_mtime_ns)
            return files, said

        first, _ = views()
        self.assertEqual(len(first), 48)
        same, said = views("--set", "views.keep=one")
        self.assertEqual(same, first)
        self.assertIn("views: unchanged", said)
        both, said = views("--set", "views.per_image=2")
        self.assertIn("views is gone through again: settings.per_image 1 -> 2", said)
        self.assertEqual((len(both), {name: both.get(name) for name in first}), (96, first))
        self.assertEqual(views()[0], first)

    def test_what_pretrain_has_made_is_taken_over(self):
        place = os.path.join(self.folder, "pretrained")
        os.makedirs(place)
        genview(GENVIEW, "pretrain", RECIPE, "--arm", "baseline", cwd=place)
        folder = os.path.join(place, "runs/tiny/baseline/pretrain")
        encoder = os.path.join(folder, "encoder.safetensors")
        before, info = contents(encoder), os.stat(encoder)
        words = ("run", RECIPE, "--only", "foreground,views,pretrain")
        genview(GENVIEW, *words, cwd=place)
        self.assertEqual((os.stat(encoder).st_ino, os.stat(encoder).st_mtime_ns), (info.st_ino, info.st_mtime_ns))
        self.assertIn("pretrain baseline: unchanged", genview(GENVIEW, *words, cwd=place).stderr)
        genview(GENVIEW, *words, "--set", "pretrain.epochs=1", cwd=place)
        aside = [name for name in os.listdir(folder) if name.startswith("checkpoints-")]
        self.assertEqual(len(aside), 1)
        self.assertEqual(contents(os.path.join(folder, aside[0], "encoder.safetensors")), before)
        foreign = os.path.join(self.folder, "foreign")
        os.makedirs(os.path.join(foreign, "baseline", "pretrain"))
        with open(os.path.join(foreign, "baseline", "pretrain", "encoder.safetensors"), "wb") as file:
            file.write(b"mine")
        done = genview(GENVIEW, "run", RECIPE, "--out", foreign, check=False)
        self.assertEqual((done.returncode, done.stderr.splitlines()[-3]), (2, "error: the run would remove what it has not made"), done.stderr)
        self.assertEqual(contents(os.path.join(foreign, "baseline", "pretrain", "encoder.safetensors")), b"mine")

    def test_arms_can_be_made_one_by_one(self):
        run = os.path.join(self.folder, "arms")
        words = ("run", RECIPE, "--out", run)
        for arms, text in (("basline", "did you mean `baseline`?"), ("", "no arm is named")):
            done = genview(GENVIEW, *words, "--arms", arms, check=False)
            self.assertEqual(done.returncode, 2)
            self.assertIn(text, done.stderr)
        said = genview(GENVIEW, *words, "--arms", "genview", "--dry-run").stderr
        self.assertNotIn("baseline", said)
        self.assertIn("pretrain genview: to be made", said)
        self.assertFalse(os.path.exists(run))
        genview(GENVIEW, *words, "--arms", "genview")
        self.assertFalse(os.path.exists(os.path.join(run, "baseline")))
        with open(os.path.join(run, "results.json"), encoding="utf-8") as file:
            self.assertEqual({row["arm"] for row in json.load(file)["results"]}, {"genview"})
        with open(os.path.join(run, "report.html"), encoding="utf-8") as file:
            self.assertEqual(file.read().count("not trained"), 1)
        genview(GENVIEW, *words)
        self.assertEqual(differences(snapshot(self.run_folder), snapshot(run)), [])
        before = times(run)
        for setting, text in (("eval.knn.k=3", "`eval knn baseline` was made with other settings (k 5 -> 3), and --arms leaves it out"),
                              ("data.test=shapes:count=40,size=32,seed=7", "(other pictures of data.test), and --arms leaves it out")):
            done = genview(GENVIEW, *words, "--arms", "genview", "--set", setting, check=False)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(text, done.stderr)
        self.assertEqual({name for name, when in times(run).items() if before.get(name) != when} - {os.path.join("state", ".inputs.json")}, set())
        genview(GENVIEW, *words, "--arms", "genview")
        self.assertTrue(os.path.exists(os.path.join(run, "baseline", "eval", "knn.json")))
        bare = os.path.join(self.folder, "bare")
        genview(GENVIEW, "run", RECIPE, "--out", bare, "--arms", "baseline", "--set", "foreground.encoder=gone", "--set", "views.generator=gone")
        self.assertTrue(os.path.exists(os.path.join(bare, "baseline", "eval", "knn.json")))
        self.assertFalse(os.path.exists(os.path.join(bare, "foreground")))

    def test_no_seed_is_trained_again_for_others(self):
        run = os.path.join(self.folder, "seeds")
        shutil.copytree(self.run_folder, run)
        encoder = contents(os.path.join(run, "genview/pretrain/encoder.safetensors"))
        when = times(run)["genview/pretrain/encoder.safetensors"]
        done = genview(GENVIEW, "run", RECIPE, "--out", run, "--set", "seeds=[0, 1]")
        self.assertNotIn("--seed", done.stderr)
        self.assertEqual(times(run)["genview/seed-0/pretrain/encoder.safetensors"], when)
        self.assertTrue(os.path.exists(os.path.join(run, "genview/seed-1/pretrain/encoder.safetensors")))
        self.assertIn("pretrain genview seed 0: unchanged", done.stderr)
        genview(GENVIEW, "run", RECIPE, "--out", run)
        self.assertEqual(times(run)["genview/pretrain/encoder.safetensors"], when)
        self.assertEqual(contents(os.path.join(run, "genview/pretrain/encoder.safetensors")), encoder)

    def test_a_seed_beside_seeds_is_not_passed_over_in_silence(self):
        words = ["run", RECIPE, "--out", os.path.join(self.folder, "both"), "--dry-run", "--seed", "7"]
        self.assertIn("--seed 7 does not reach the arms, which are trained with the recipe's `seeds` (0, 1)",
                      genview(GENVIEW, *words, "--set", "seeds=[0, 1]").stderr)
        self.assertNotIn("--seed", genview(GENVIEW, *words).stderr)

    def test_the_report_is_not_that_of_another_recipe(self):
        refused = genview(GENVIEW, "run", RECIPE, "--out", self.run_folder, "--only", "report", "--set", "pretrain.epochs=9", check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("epochs 2 -> 9", refused.stderr)

    def test_a_report_of_nothing_is_refused(self):
        nothing = os.path.join(self.folder, "nothing")
        refused = genview(GENVIEW, "run", RECIPE, "--out", nothing, "--only", "report", check=False)
        self.assertEqual((refused.returncode, refused.stderr.splitlines()[0]), (2, "error: there is no run to report on"), refused.stderr)
        self.assertFalse(os.path.exists(nothing))

    def test_what_is_not_there_is_found_before_anything_is_made(self):
        fresh, flat = os.path.join(self.folder, "unmade"), os.path.join(self.folder, "flat")
        os.makedirs(flat)
        shutil.copy(os.path.join(os.path.dirname(RECIPE), "../../fuzz/corpus/image/gray.jpg"), flat)
        for setting, code, text in (("views.generator=gone", 2, "key `views.generator`"), ("foreground.encoder=gone", 2, "key `foreground.encoder`"),
                                    ("data.train=gone", 1, "gone"), (f"data.test={flat}", 1, "none of the pictures has a class")):
            done = genview(GENVIEW, "run", RECIPE, "--out", fresh, "--set", setting, check=False)
            self.assertEqual((done.returncode, done.stdout), (code, ""), (setting, done.stderr))
            self.assertIn(text, done.stderr)
            done = genview(GENVIEW, "run", RECIPE, "--out", fresh, "--set", setting, "--dry-run")
            self.assertIn("[pretrain]", done.stdout)
            self.assertIn("warning: ", done.stderr)
        done = genview(GENVIEW, "run", RECIPE, "--out", fresh, "--only", "pretrain", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("--only leaves it out", done.stderr)
        self.assertFalse(os.path.exists(os.path.join(fresh, "baseline")))
        done = genview(GENVIEW, "run", RECIPE, "--out", fresh, "--only", "", check=False)
        self.assertEqual((done.returncode, done.stderr.splitlines()[0]), (2, "error: --only names no stage"))

    def test_what_is_not_of_the_run_stays(self):
        own = os.path.join(self.folder, "own")
        images = os.path.join(own, "images")
        os.makedirs(images)
        shutil.copy(os.path.join(os.path.dirname(RECIPE), "../../fuzz/corpus/image/gray.jpg"), images)
        recipe = os.path.join(own, "recipe.toml")
        with open(recipe, "w", encoding="utf-8") as file:
            file.write(f'# mine\nextends = "{RECIPE}"\n')
        before = contents(recipe)
        for out, words, where in ((own, (), recipe), (images, ("--set", f"data.train={images}"), images),
                                  (os.path.join(images, "run"), ("--set", f"data.test={images}"), os.path.join(images, "run"))):
            done = genview(GENVIEW, "run", recipe, "--out", out, *words, check=False)
            self.assertEqual((done.returncode, done.stderr.splitlines()[1]), (2, f"where: {where}"), done.stderr)
        self.assertEqual((contents(recipe), os.listdir(images), sorted(os.listdir(own))), (before, ["gray.jpg"], ["images", "recipe.toml"]))
        os.rename(recipe, os.path.join(own, "mine.toml"))
        os.rename(images, os.path.join(own, "views"))
        done = genview(GENVIEW, "run", os.path.join(own, "mine.toml"), "--out", own, "--only", "foreground,views", check=False)
        self.assertEqual((done.returncode, done.stderr.splitlines()[-2]), (2, f"where: {os.path.join(own, 'views')}"), done.stderr)
        self.assertEqual(os.listdir(os.path.join(own, "views")), ["gray.jpg"])

    def test_files_of_others_stay(self):
        own = os.path.join(self.folder, "page")
        os.makedirs(own)
        for name in ("recipe.toml", "report.html"):
            path = os.path.join(own, name)
            with open(path, "w", encoding="utf-8") as file:
                file.write("# mine\n")
            done = genview(GENVIEW, "run", RECIPE, "--out", own, "--only", "foreground", check=False)
            self.assertEqual((done.returncode, done.stderr.splitlines()[1]), (2, f"where: {path}"), done.stderr)
            self.assertEqual((os.listdir(own), contents(path)), ([name], b"# mine\n"))
            os.remove(path)

    def test_where_it_is_started_from_makes_nothing_again(self):
        other, place = self.copy("elsewhere"), os.path.join(os.path.realpath(self.folder), "some", "place")
        os.makedirs(place)
        before, words = times(other), ("run", os.path.relpath(RECIPE, place), "--out", other)
        said = genview(GENVIEW, *words, "--dry-run", cwd=place).stderr.splitlines()
        self.assertEqual(said[-1], "stages: 10 of 10 are done")
        done = genview(GENVIEW, *words, cwd=place)
        self.assertNotIn("made again", done.stderr)
        genview(GENVIEW, *words, "--only", "report", cwd=place)
        after = times(other)
        rewritten = {"recipe.toml", "environment.json", "results.json", "report.html", os.path.join("state", ".inputs.json")}
        self.assertEqual({name for name in after if before.get(name) != after[name]} - rewritten, set())

    def test_without_test_images_it_says_so(self):
        done = genview(GENVIEW, "run", RECIPE, "--out", self.copy("untested"), "--set", "data.test=")
        self.assertIn("`data.test`", done.stderr)
        self.assertEqual(done.stdout.splitlines()[0], "Trained; no scores, since the recipe names no test images.")

    def test_pretrain_alone_is_that_of_the_run(self):
        place = os.path.join(self.folder, "place")
        os.makedirs(place)
        tower = os.path.join(os.path.dirname(RECIPE), "../golden/diffusion/pipeline_ddim/image_encoder")
        words = ["--set", "seeds=[3, 4]", "--set", f"pretrain.quality.encoder={tower}", "--set", "pretrain.crop.draw=box"]
        genview(GENVIEW, "run", RECIPE, *words, "--only", "foreground,views,pretrain", cwd=place)
        genview(GENVIEW, "pretrain", RECIPE, *words, "--arm", "genview", "--out", "again", cwd=place)
        for name in ("encoder.safetensors", "summary.json"):
            self.assertEqual(contents(os.path.join(place, "again", name)), contents(os.path.join(place, "runs/tiny/genview/seed-3/pretrain", name)), name)

    def test_a_bad_picture_stays_on_the_list(self):
        genview(GENVIEW, "dataset", "make", "shapes", "--count", "48", "--size", "32", "--out", os.path.join(self.folder, "data"))
        images = os.path.join(self.folder, "data", "images")
        bad = sorted(os.path.relpath(os.path.join(folder, name), images) for folder, _, names in os.walk(images) for name in names)[20]  # which the fits do not draw
        with open(os.path.join(images, bad), "r+b") as file:
            file.truncate(40)
        run = os.path.join(self.folder, "bad")
        tower = os.path.join(os.path.dirname(RECIPE), "../golden/diffusion/pipeline_ddim/image_encoder")
        words = ["run", RECIPE, "--out", run, "--set", f"data.train={images}", "--set", f"pretrain.quality.encoder={tower}",
                 "--set", "foreground.sample=8"]
        genview(GENVIEW, *words, "--only", "foreground,views,pretrain")
        with open(os.path.join(run, "foreground", "skipped.tsv"), encoding="utf-8") as file:
            self.assertIn(bad, file.read())
        genview(GENVIEW, *words)
        for arm in ("baseline", "genview"):
            with open(os.path.join(run, arm, "eval", "skipped.tsv"), encoding="utf-8") as file:
                self.assertIn(bad, file.read())
            with open(os.path.join(run, arm, "eval", "knn.json"), encoding="utf-8") as file:
                self.assertEqual(json.load(file)["settings"]["skipped"], 1)
        genview(GENVIEW, *words)
        done = genview(GENVIEW, *words, "--strict", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("is there without 1 of its 48 images", done.stderr)

    def test_an_edited_list_of_labels_is_read_again(self):
        other, names = os.path.join(self.folder, "edited"), os.path.join(self.folder, "labels.txt")
        shutil.copytree(self.run_folder, other)
        ids = [line.split("\t")[0] for line in self.read("foreground", "ratios.tsv").splitlines()[1:]]
        for count in (12, 9):
            with open(names, "w", encoding="utf-8") as file:
                file.write("\n".join(ids[:count]) + "\n")
            settings = ("enabled=true", "epochs=1", f"list={names}")
            genview(GENVIEW, "run", RECIPE, "--out", other, *(word for each in settings for word in ("--set", f"eval.finetune.{each}")))
            with open(os.path.join(other, "baseline", "eval", "finetune.json"), encoding="utf-8") as file:
                self.assertEqual(json.load(file)["settings"]["train_images"], count)

    def test_only_and_wrong_recipes(self):
        fresh = os.path.join(self.folder, "fresh")
        genview(GENVIEW, "run", RECIPE, "--out", fresh, "--only", "foreground")
        self.assertTrue(os.path.exists(os.path.join(fresh, "foreground", "ratios.tsv")))
        self.assertFalse(os.path.exists(os.path.join(fresh, "views")))
        done = genview(GENVIEW, "run", RECIPE, "--out", fresh, "--only", "eval", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("--only leaves it out", done.stderr)
        for words, text in ((["--only", "view"], "did you mean `views`?"), (["--set", "pretrain.epoch=1"], "did you mean `pretrain.epochs`?")):
            done = genview(GENVIEW, "run", RECIPE, "--out", fresh, *words, check=False)
            self.assertEqual(done.returncode, 2)
            self.assertIn(text, done.stderr)
        bad = os.path.join(self.folder, "bad.toml")
        with open(bad, "w", encoding="utf-8") as file:
            file.write('extends = "%s"\n\n[[arms]]\nname = "a"\nset = { pretrain.epcohs = 3 }\n' % RECIPE)
        done = genview(GENVIEW, "run", bad, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stderr.splitlines()[1:], [f"where: {bad}, line 5, key `arms[0].set.pretrain.epcohs`", "try: did you mean `epochs`?"])


if __name__ == "__main__":
    GENVIEW = os.path.abspath(sys.argv.pop(1))
    os.chdir(tempfile.gettempdir())
    unittest.main()
