#!/usr/bin/env python3
"""What bench/bench.py does with rows that fail, that are skipped, and with a run that is stopped. Nothing is measured.

    bench.py SOURCE_DIR"""
import importlib.util
import json
import os
import pathlib
import sys
import tempfile
import types
import unittest

sys.dont_write_bytecode = True


def load(source):
    sys.modules["pictures"] = types.SimpleNamespace(make_pictures=None)  # which needs packages of its own
    spec = importlib.util.spec_from_file_location("bench_of_peers", os.path.join(source, "bench/bench.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def takes(seconds):
    return lambda: {"seconds": seconds}


def breaks():
    raise RuntimeError("peer.py\nModuleNotFoundError: No module named 'peer'")


class Bench(unittest.TestCase):
    def run_bench(self, works, bf16=True):
        """The report, and what the program ends with."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        bench = load(SOURCE)
        bench.benchmarks, bench.REPEATS, bench.ONLY, bench.BF16 = lambda: works, 2, [], bf16
        bench.REPORT = pathlib.Path(folder.name) / "bench.json"
        end = None
        try:
            bench.main()
        except (SystemExit, KeyboardInterrupt) as error:
            end = error
        self.assertEqual(os.listdir(folder.name), ["bench.json"])
        return json.loads(bench.REPORT.read_text()), end

    def test_a_peer_that_fails_is_named_and_the_others_go_on(self):
        report, end = self.run_bench([(takes(1), breaks, {"broken": "seconds"}), (takes(1), takes(3), {"good": "seconds"})])
        self.assertEqual(set(report["results"]), {"good"})
        self.assertEqual(report["results"]["good"]["ratio"], 3)
        self.assertIn("No module named 'peer'", report["failed"]["broken"])
        self.assertIsInstance(end, SystemExit)
        self.assertIn("broken", str(end.code))  # a text: exit code 1

    def test_what_is_measured_stays_when_the_run_is_stopped(self):
        def stopped():
            raise KeyboardInterrupt
        report, end = self.run_bench([(takes(1), takes(3), {"good": "seconds"}), (stopped, takes(1), {"late": "seconds"})])
        self.assertEqual(set(report["results"]), {"good"})
        self.assertIsInstance(end, KeyboardInterrupt)

    def test_peers_in_bf16_need_a_processor_for_it(self):
        works = [(takes(1), takes(3), {"good": "seconds"}), (breaks, breaks, {"step-auto-against-bf16": "seconds"})]
        report, end = self.run_bench(works, bf16=False)
        self.assertEqual((set(report["results"]), end), ({"good"}, None))
        self.assertNotIn("failed", report)
        self.assertIn("step-auto-against-bf16", self.run_bench(works)[0]["failed"])


if __name__ == "__main__":
    SOURCE = sys.argv.pop(1)
    unittest.main()
