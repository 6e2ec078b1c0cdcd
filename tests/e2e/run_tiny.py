#!/usr/bin/env python3
"""`genview run` on a recipe of seconds: the folder it leaves, and what it does when it is called again.

    run_tiny.py GENVIEW"""
import json
import os
import shutil
import sys
import tempfile
import unittest

from run_folder import differences, genview, snapshot, times

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
        self.assertTrue(0 <= truth["mean_overlap_with_truth"] <= 1 and -1 <= truth["spearman_with_truth"] <= 1)
        page = self.read("report.html")
        self.assertIn("What views keep", page)
        self.assertIn("Held against the true masks", page)

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

    def test_stdout_holds_the_table_and_the_report_alone(self):
        lines = self.first.stdout.splitlines()
        self.assertEqual(lines[0].split()[0], "arm")
        self.assertEqual([line.split()[0] for line in lines[1:3]], ["baseline", "genview"])
        self.assertEqual(lines[-1], self.path("report.html"))
        self.assertEqual(len(lines), 5)

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
        printed = genview(GENVIEW, "run", RECIPE, "--dry-run").stdout
        self.assertFalse(os.path.exists("runs"))
        recipe = os.path.join(self.folder, "resolved.toml")
        with open(recipe, "w", encoding="utf-8") as file:
            file.write(printed)
        self.assertEqual(genview(GENVIEW, "run", recipe, "--dry-run").stdout, printed)
        self.assertEqual(self.read("recipe.toml"), printed)
        again = os.path.join(self.folder, "again")
        genview(GENVIEW, "run", recipe, "--out", again)
        self.assertEqual(differences(snapshot(self.run_folder), snapshot(again)), [])

    def test_a_changed_setting_makes_only_what_depends_on_it(self):
        other = os.path.join(self.folder, "other")
        shutil.copytree(self.run_folder, other)
        done = genview(GENVIEW, "run", RECIPE, "--out", other, "--set", "eval.knn.k=3")
        before, after = snapshot(self.run_folder), snapshot(other)
        changed = {line.split(": ")[1] for line in differences(before, after)}
        self.assertEqual(changed, {"recipe.toml", "results.json", "baseline/eval/knn.json", "genview/eval/knn.json"})
        self.assertIn("config.k 5 -> 3", done.stderr.replace("settings.", "config."))

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
