#!/usr/bin/env python3
"""What one request costs the daemon, in numbers that no busy machine changes.

    .venv/bin/python contrib/bench/counts.py [CHECKOUT]    whose daemon it is: built already; by default this one

| column | of one request |
|---|---|
| calls | Python functions called |
| own | those of uringfs among them |
| modules | of uringfs, in which these are: those called at each request, or batch |
| allocations | by malloc(3) and its kin, with PYTHONMALLOC=malloc; what Python keeps for reuse does not count |
| client | system calls of the client (strace) |

Calls are counted by sys.setprofile() in one daemon, allocations in another (allocations.c, preloaded). The
client is counts.c, by control writes, without a lane.
"""

import mmap
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import Struct
from types import FrameType
from typing import NamedTuple

from daemons import daemon

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OUT = HERE / "out"
ROWS = {"NOP": 64, "READ": 1, "OPENAT": 1, "TIMEOUT": 1}
"""Row of counts.c -> its requests."""
WARM, TIMES = 20, 50
SIZE = 1 << 14
WORDS = Struct("<QQQ")  # allocations, calls, calls of uringfs
WORD = Struct("<Q")
MODULES = range(64, SIZE, WORD.size)
"""Offsets of the calls of each module."""


class Counts(NamedTuple):
    """What a daemon has counted, or what a request has cost."""

    allocations: float
    calls: float
    own: float
    modules: int


# -- in the daemon


def counting(memory: mmap.mmap, package: str) -> Callable[[FrameType, str, object], None]:
    """A profile function that counts into that memory."""
    numbers: dict[str, int] = {}

    def called(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            allocations, calls, own = WORDS.unpack_from(memory)
            name = frame.f_code.co_filename
            if name.startswith(package):
                own += 1
                at = MODULES[numbers.setdefault(name, len(numbers))]
                WORD.pack_into(memory, at, WORD.unpack_from(memory, at)[0] + 1)
            WORDS.pack_into(memory, 0, allocations, calls + 1, own)

    return called


def serve(checkout: Path, counts: Path, mountpoint: str) -> int:
    """mount.py of a checkout, whose calls are counted."""
    sys.path.insert(0, str(checkout))
    from uringfs.cli import main

    with open(counts, "r+b") as file:
        function = counting(mmap.mmap(file.fileno(), SIZE), f"{checkout}/uringfs/")
    threading.setprofile(function)
    sys.setprofile(function)
    return main(["mount", mountpoint])


# -- measuring


class Row:
    """The client of a row."""

    def __init__(self, mount: Path, name: str) -> None:
        command = [OUT / "counts", mount / "new", name, str(WARM), str(TIMES)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def done(self) -> None:
        """Until it has made its requests. RuntimeError."""
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"done\n":
            raise RuntimeError(f"the client ended with {self._process.wait()}")

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.communicate()


def cost(mount: Path, name: str, memory: mmap.mmap) -> Counts:
    """For one request, once what is made but once is there."""
    row = Row(mount, name)
    try:
        row.done()
        before = WORDS.unpack_from(memory)
        memory[MODULES.start :] = bytes(SIZE - MODULES.start)
        row.go()
        row.done()
        spent = [now - was for now, was in zip(WORDS.unpack_from(memory), before, strict=True)]
    finally:
        row.close()
    modules = sum(WORD.unpack_from(memory, at)[0] >= TIMES for at in MODULES)
    return Counts(*(number / TIMES / ROWS[name] for number in spent), modules)


@contextmanager
def counted(command: list[str], preload: Path | None = None) -> Iterator[tuple[Path, mmap.mmap]]:
    """A mount of a daemon that counts, and its counts. preload: allocations.so, for a daemon that does not
    profile."""
    with tempfile.NamedTemporaryFile(prefix="uringfs-counts-") as file:
        file.truncate(SIZE)
        allocating = {"LD_PRELOAD": str(preload), "PYTHONMALLOC": "malloc", "URINGFS_COUNTS": file.name}
        arguments = ["env", *(f"{name}={value}" for name, value in allocating.items() if preload)]
        words = [file.name if word == "COUNTS" else word for word in command]
        with daemon([*arguments, *words], sorted(os.sched_getaffinity(0))) as mount:
            yield mount, mmap.mmap(file.fileno(), SIZE)


def system_calls(mount: Path, name: str) -> float:
    """The client's, for one request."""
    with tempfile.NamedTemporaryFile(prefix="uringfs-counts-") as log:
        totals = []
        for times in (TIMES, 2 * TIMES):
            command = ["strace", "-qq", "-o", log.name, OUT / "counts", mount / "new", name, "1", str(times)]
            subprocess.run(command, input=b"\n", stdout=subprocess.DEVNULL, check=True)
            totals.append(len(Path(log.name).read_bytes().splitlines()))
    return (totals[1] - totals[0]) / TIMES / ROWS[name]


def main(checkout: Path) -> int:
    subprocess.run(["make", "-s", "-C", HERE, "out/counts", "out/allocations.so"], check=True)
    with counted([sys.executable, __file__, str(checkout), "COUNTS"]) as (mount, memory):
        calls = {name: cost(mount, name, memory) for name in ROWS}
    mount_py = [sys.executable, str(checkout / "mount.py")]
    with counted(mount_py, OUT / "allocations.so") as (mount, memory):
        allocations = {name: cost(mount, name, memory).allocations for name in ROWS}
        client = {name: system_calls(mount, name) for name in ROWS}
    print(f"{'':8} {'calls':>8} {'own':>8} {'modules':>8} {'allocations':>12} {'client':>8}")
    for name in ROWS:
        of = calls[name]
        print(f"{name:8} {of.calls:8.1f} {of.own:8.1f} {of.modules:8}", end="")
        print(f" {allocations[name]:12.1f} {client[name]:8.2f}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) == 4:
        sys.exit(serve(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
    sys.exit(main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT))
