#!/usr/bin/env python3
"""What a person at a terminal sees: a bar that is taken away again, and a run that stops when asked to.

    terminal.py GENVIEW"""
import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
import unittest

GENVIEW = ""
RECIPE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiny.toml")


def on_terminal(*words):
    """stderr on a terminal of its own, stdout in a pipe: (exit code, stdout, stderr)."""
    try:
        leader, follower = pty.openpty()
    except OSError as error:  # a container without /dev/pts
        raise unittest.SkipTest(f"no terminal to be had: {error}")
    process = subprocess.Popen([GENVIEW, *words], stdout=subprocess.PIPE, stderr=follower,
                               env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8"})
    os.close(follower)
    seen = b""
    while True:
        try:
            piece = os.read(leader, 1 << 16)
        except OSError:  # the terminal is gone with its last writer
            break
        if not piece:
            break
        seen += piece
    os.close(leader)
    out, _ = process.communicate(timeout=120)
    return process.returncode, out.decode(), seen.decode()


def status(process, key):
    with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
        return next(line.split()[1] for line in file if line.startswith(key + ":"))


def stand_still(process):
    process.send_signal(signal.SIGSTOP)
    while status(process, "State") not in "TZ":
        time.sleep(0.001)


def send_and_hold(process, number):
    """Sends a signal; once the program has taken it, and so before it has gone on with its work, it stands still."""
    stand_still(process)
    process.send_signal(number)
    while status(process, "State") == "T" and int(status(process, "ShdPnd"), 16) >> (number - 1) & 1:
        process.send_signal(signal.SIGCONT)
        stand_still(process)


class Terminal(unittest.TestCase):
    def test_a_bar_is_drawn_and_taken_away(self):
        with tempfile.TemporaryDirectory() as folder:
            code, out, seen = on_terminal("dataset", "make", "shapes", "--out", folder, "--count", "4000", "--size", "64", "--threads", "1")
            self.assertEqual(code, 0)
            self.assertNotIn("\x1b", out)
            self.assertRegex(seen, "[━╸]")
            self.assertIn("eta ", seen)
            self.assertIn("\r\x1b[K", seen)
            # Behind the last time that the line was cleared there is no bar left.
            self.assertNotRegex(seen.split("\x1b[K")[-1], "[━╸─]")

    def test_no_bar_elsewhere(self):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([GENVIEW, "dataset", "make", "shapes", "--out", folder, "--count", "50"], capture_output=True, text=True)
            self.assertNotIn("\x1b", done.stderr)
            self.assertNotIn("\r", done.stderr)

    def test_log_level_error_says_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([GENVIEW, "dataset", "make", "shapes", "--out", folder, "--count", "50", "--log-level", "error"],
                                  capture_output=True, text=True)
            self.assertEqual(done.stderr, "")

    def stopped(self, *signals):
        """A run that is sent signals once it trains: exit code and stderr."""
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "run")
            process = subprocess.Popen([GENVIEW, "run", RECIPE, "--out", out, "--set", "pretrain.epochs=1000"], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.PIPE, text=True)
            log = os.path.join(out, "baseline", "pretrain", "log.jsonl")
            until = time.monotonic() + 120
            while not (os.path.exists(log) and os.path.getsize(log) > 0) and time.monotonic() < until:
                time.sleep(0.02)
            for number in signals[:-1]:  # held, since two of one kind that wait together are one
                send_and_hold(process, number)
            process.send_signal(signals[-1])
            process.send_signal(signal.SIGCONT)
            _, text = process.communicate(timeout=120)
            return process.returncode, text

    def test_interrupt_and_terminate_exit_with_130_and_say_how_to_go_on(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            code, text = self.stopped(number)
            self.assertEqual(code, 130, text)
            self.assertIn("the same command goes on from there", text)
            self.assertNotIn("error:", text)

    def test_a_second_interrupt_ends_at_once(self):
        code, text = self.stopped(signal.SIGINT, signal.SIGINT)
        self.assertEqual(code, 130, text)
        self.assertNotIn("the same command goes on from there", text)


if __name__ == "__main__":
    GENVIEW = os.path.abspath(sys.argv.pop(1))
    unittest.main()
