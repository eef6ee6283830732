"""A program under many seeds, each recorded twice: the same faults, the same completions in the same order, the
same end. `python -m tests.programs.seeds --seeds 1000 -- PROGRAM` tries any; {} in its words is a directory of the
run."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

RULES = (
    "%write:error=EIO:probability=10%",
    "%write:short=3:probability=20%",
    "%read:short=5:probability=20%",
    "FSYNC:error=ENOSPC:probability=10%",
    "all:reorder=4",
)
TIMEOUT = 240
COMPARED = ("status", "hits", "trace")


def recorded(seed: int, command: Sequence[str], rules: Iterable[str] = RULES) -> dict[str, Any]:
    """What `uringfs record` says of one run."""
    with tempfile.TemporaryDirectory(prefix="uringfs-seeds-") as directory:
        path = Path(directory) / "recording"
        words = [word.replace("{}", directory) for word in command]
        given = [f"--inject={rule}" for rule in rules]
        record = [sys.executable, "-m", "uringfs", "record", "--virtual-time", "-o", path, "--seed", str(seed)]
        ran = subprocess.run([*record, *given, "--", *words], capture_output=True, text=True, timeout=TIMEOUT)
        assert path.exists(), ran.stderr
        found: dict[str, Any] = json.loads(path.read_text())
        return {name: found[name] for name in COMPARED}


def differing(seeds: Iterable[int], command: Sequence[str], jobs: int) -> Iterator[tuple[int, Any, Any]]:
    """(seed, one run, the other) of those that were not the same twice."""

    def twice(seed: int) -> tuple[int, Any, Any]:
        return seed, recorded(seed, command), recorded(seed, command)

    with ThreadPoolExecutor(jobs) as pool:
        for seed, one, other in pool.map(twice, seeds):
            if one != other:
                yield seed, one, other


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    count = 0
    for seed, one, other in differing(range(args.first, args.first + args.seeds), args.command, args.jobs):
        print(f"seed {seed}:\n {one}\n {other}")
        count += 1
    print(f"{args.seeds} seeds, each twice: {count} differ")
    return bool(count)


if __name__ == "__main__":
    sys.exit(main())
