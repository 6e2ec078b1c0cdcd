#!/usr/bin/env python3
"""Wrong use and bad input, as a user meets them: exit codes, three lines, the nearest name, results on stdout alone.

    command_line.py GENVIEW"""
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

GENVIEW = ""


def genview(*words, **options):
    return subprocess.run([GENVIEW, *words], capture_output=True, text=True, timeout=120, **options)


class CommandLine(unittest.TestCase):
    def refused(self, code, *words, **options):
        """Runs, expects `code` and three lines, and returns them without their names."""
        done = genview(*words, **options)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stdout, "")
        lines = done.stderr.splitlines()
        self.assertEqual([line.split(":")[0] for line in lines], ["error", "where", "try"], done.stderr)
        for line in lines:
            self.assertGreater(len(line.split(": ", 1)[1]), 3, line)
        return [line.split(": ", 1)[1] for line in lines]

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
            self.assertIn("--log-level", done.stdout)

    def test_help_before_and_after_the_libraries_start_is_the_same(self):
        for command in self.commands():
            self.assertEqual(genview("help", *command.split()).stdout, genview(*command.split(), "--help").stdout)

    def test_commands(self):
        self.assertEqual(self.refused(2, "inspekt"), ["no command `inspekt`", "command line", "did you mean `inspect`?"])
        self.assertEqual(self.refused(2)[0], "no command")
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
            self.assertEqual(subprocess.run([GENVIEW, "--help"], stdout=full).returncode, 1)

    def test_doctor(self):
        done = genview("doctor")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        for part in ("version ", "processor ", "memory ", "cpu fp32: good", "everything is as it should be"):
            self.assertIn(part, done.stdout)


if __name__ == "__main__":
    GENVIEW = sys.argv.pop(1)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    unittest.main()
