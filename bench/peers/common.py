"""What the peer scripts share: two threads unless told otherwise, one JSON line at the end."""
import json
import os
import resource
import time

THREADS = int(os.environ.get("BENCH_THREADS", "2"))


def report(images, seconds, **more):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"images_per_second": images / seconds, "peak_memory_bytes": peak, **more}))


def timed_loop(step, seconds, images_per_step, warmup=2):
    """Runs `step` for about `seconds` after a warm-up and reports."""
    for _ in range(warmup):
        step()
    begin = time.perf_counter()
    done = 0
    while time.perf_counter() - begin < seconds:
        step()
        done += images_per_step
    report(done, time.perf_counter() - begin)
