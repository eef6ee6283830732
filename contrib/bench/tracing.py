#!/usr/bin/env python3
"""What watching costs: a mount's requests, 32 in an enter, by control writes without a lane, while nobody watches
and while `uringfs trace` does, in turns.

    .venv/bin/python contrib/bench/tracing.py [ROUNDS]

Columns: the daemon's processor time for one request, ns, and what it is more when watched; the same of the time
that the client sees. Medians; what it is more, of the rounds' ratios, whose halves the same neighbours have
disturbed. The first is the one to go by on a busy machine: what the reader does is not in it.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from daemons import client, daemon, stop
from run import BENCH, MOUNT, READ_FILE_SIZE, build

ROUNDS = 9
ROWS = ("NOP x32", "READ 4K x32", "POLL_ADD ready x32", "POLL_ADD armed x32", "SEND, RECV, ready", "TIMEOUT x32")
SECONDS, REPETITIONS = 0.1, 3
Sample = tuple[float, float]
"""ns of one request: the daemon's processor time, the client's time."""


def only_child() -> int:
    """Process id: the daemon's, as nothing else has been started."""
    (child,) = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return int(child)


def processor_time(pid: int) -> int:
    """ns, of all threads"""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat"))


@contextmanager
def watching(mount: Path) -> Iterator[None]:
    """`uringfs trace` of all rings, from its first read on."""
    command = [sys.executable, "-m", "uringfs", "trace", "--all", "--mount", str(mount), "-o", os.devnull]
    reader = subprocess.Popen(command, stderr=subprocess.DEVNULL, text=True, cwd=MOUNT.parent)
    try:
        while not any("/.trace" in str(link) for link in links(reader.pid)):
            time.sleep(0.02)
        yield
    finally:
        stop(reader)


def links(pid: int) -> Iterator[str]:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            yield os.readlink(entry)
        except OSError:
            continue


def sample(row: str, mount: Path, data: str, pid: int) -> Sample:
    timing = ["-t", str(SECONDS), "-n", str(REPETITIONS), "-r", row]
    before = processor_time(pid)
    out, trouble = client([str(BENCH), "uringfs", "-p", str(mount / "new"), "-f", data, *timing], CPUS, 60)
    spent = processor_time(pid) - before
    found = json.loads(out) if out else {"error": trouble}
    if found["error"]:
        sys.exit(f"{row}: {found['error']}")
    ops = sum(rep["ops"] for rep in found["reps"])
    return spent / ops, 1e9 * sum(rep["seconds"] for rep in found["reps"]) / ops


def compared(off: Sequence[float], on: Sequence[float]) -> tuple[float, float]:
    """(median while nobody watches, how much more it is of that when somebody does)"""
    return statistics.median(off), statistics.median(b / a for a, b in zip(off, on, strict=True)) - 1


def measure(row: str, mount: Path, data: str, pid: int, rounds: int) -> str:
    off, on = [], []
    for _ in range(rounds):
        off.append(sample(row, mount, data, pid))
        with watching(mount):
            on.append(sample(row, mount, data, pid))
    columns = zip(zip(*off, strict=True), zip(*on, strict=True), strict=True)
    (quiet, more), (free, later) = (compared(*column) for column in columns)
    return f"{row:20} {quiet:8.0f} {more:+8.0%} {free:10.0f} {later:+8.0%}"


CPUS = sorted(os.sched_getaffinity(0))


def main(rounds: int) -> None:
    build(BENCH)
    with tempfile.NamedTemporaryFile(prefix="uringfs-bench-") as data:
        data.write(bytes(READ_FILE_SIZE))
        data.flush()
        with daemon([sys.executable, str(MOUNT)], CPUS) as mount:
            pid = only_child()
            print(f"{'':20} {'daemon':>8} {'watched':>8} {'client':>10} {'watched':>8}")
            for row in ROWS:
                print(measure(row, mount, data.name, pid, rounds), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
