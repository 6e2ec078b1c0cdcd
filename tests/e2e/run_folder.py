"""Run folders as a test compares them: every file, without what a clock writes into it."""
import json
import os
import re
import struct
import subprocess

# Measured, so that two runs differ in them: rates, times, memory.
CLOCK_MEMBERS = {"images_per_s", "data_wait", "seconds", "peak_memory_bytes"}
# Where the run lies, in foreground/ratios.json.
PLACE_MEMBERS = {"masks"}


def genview(program, *words, check=True, **options):
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"genview {' '.join(map(str, words))}: exit code {done.returncode}\n{done.stderr}")
    return done


def without_clock(value):
    if isinstance(value, dict):
        return {key: without_clock(inner) for key, inner in value.items() if key not in CLOCK_MEMBERS | PLACE_MEMBERS}
    if isinstance(value, list):
        return [without_clock(inner) for inner in value]
    return value


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def fields(data):
    """(number, value) of each field of a protobuf message; values of length-prefixed ones are bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            length, at = varint(data, at)
            value, at = data[at:at + length], at + length
        else:
            length = 8 if key & 7 == 1 else 4
            value, at = data[at:at + length], at + length
        yield key >> 3, value


def events(data):
    """The records of a TensorBoard file without wall times and without scalars that a clock gives."""
    rows, at = [], 0
    while at < len(data):
        length, = struct.unpack_from("<Q", data, at)
        record = [field for field in fields(data[at + 12:at + 12 + length]) if field[0] != 1]
        values = [list(fields(value)) for number, summary in record if number == 5 for _, value in fields(summary)]
        rows.append([field for field in record if field[0] != 5] + [value for value in values if value[0][1].decode() not in CLOCK_MEMBERS])
        at += 12 + length + 4
    assert at == len(data), "a torn record"
    return rows


def contents(path):
    with open(path, "rb") as file:
        data = file.read()
    name = os.path.basename(path)
    if name.endswith(".json"):
        return without_clock(json.loads(data))
    if name.endswith("log.jsonl"):
        return [without_clock(json.loads(line)) for line in data.splitlines()]
    if name.startswith("events.out.tfevents"):
        return events(data)
    return data


# What a page shows of a clock and of memory: the sum, a stage's cells, and the bars beside them.
MEASURED = [(re.compile(r'(<p class="note">)[^<]* in all\. '), r"\1"),
            (re.compile(r'(data-label="(?:time|peak memory)">)[^<]*'), r"\1"),
            (re.compile(r'(<td class="wide">\s*<span class="meter" aria-hidden="true">\s*<i style=")width:[^"]*'), r"\1")]


def page(path, run):
    """report.html without what is measured and without the run's place."""
    with open(path, encoding="utf-8") as file:
        text = file.read().replace(run, "RUN")
    for pattern, left in MEASURED:
        text, found = pattern.subn(left, text)
        assert found, f"{path} has nothing like {pattern.pattern}"
    return text


def snapshot(run, book=False):
    """name -> contents of every file that the same recipe must give again. `book`: also report.html and state/, which hold the order of the
    stages and what is measured; never state/.inputs.json, which holds times of change."""
    files = {}
    for folder, _, names in os.walk(run):
        for name in names:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, run)
            of_book = relative == "report.html" or relative.startswith("state" + os.sep)
            if relative == os.path.join("state", ".inputs.json") or of_book and not book:
                continue
            files[relative] = page(path, run) if relative == "report.html" else contents(path)
    return files


def differences(first, second):
    lines = [f"only in the first: {name}" for name in sorted(set(first) - set(second))]
    lines += [f"only in the second: {name}" for name in sorted(set(second) - set(first))]
    lines += [f"differs: {name}" for name in sorted(set(first) & set(second)) if first[name] != second[name]]
    return lines


def times(run):
    """name -> (time of change, size) of every file."""
    result = {}
    for folder, _, names in os.walk(run):
        for name in names:
            info = os.stat(os.path.join(folder, name))
            result[os.path.relpath(os.path.join(folder, name), run)] = (info.st_mtime_ns, info.st_size)
    return result
