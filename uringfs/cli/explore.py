"""`uringfs explore`: a program under many seeds; faults that make it fail are shrunk to the fewest that still do.
docs/determinism.md"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from uringfs.cli import faults, record
from uringfs.cli.program import CANNOT_EXECUTE, FAILED, NOT_FOUND
from uringfs.cli.recording import Hit, Recording, load, save

NONE, FOUND = 0, 1
EXITS = {
    NONE: "no seed made the program fail",
    FOUND: "one did: the last line is the command that repeats it",
    FAILED: "its own failure",
    CANNOT_EXECUTE: "the program cannot be executed",
    NOT_FOUND: "the program is not found",
}
OWN = (FAILED, CANNOT_EXECUTE, NOT_FOUND)
HUNG = 128 + 14
"""The status of a run that has taken too long."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=100, metavar="N", help="seeds; default %(default)s")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), metavar="J", help="at a time; default %(default)s"
    )
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="a run that takes longer fails; 60"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", default="uringfs-failure.json", help="the failure; default %(default)s"
    )
    faults.add_arguments(parser)
    faults.add_virtual_time(parser)
    record.add_command(parser)
    parser.set_defaults(run=start)


class OwnFailure(Exception):
    """A run was none: its status, and what it said."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


def start(args: argparse.Namespace) -> int:
    seed, command = int(faults.seed(args)), record.command(args)
    if args.seed is None:
        print(f"uringfs explore: --seed {seed}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="uringfs-explore-") as directory:
        try:
            return _explore(args, Path(directory), seed, command)
        except OwnFailure as error:
            print(f"uringfs explore: {error}", file=sys.stderr)
            return error.status


def _explore(args: argparse.Namespace, directory: Path, seed: int, command: list[str]) -> int:
    found = _first_failure(args, directory, seed, command)
    if found is None:
        print(f"{args.runs} runs, none failed")
        return NONE
    print(f"seed {found.seed}: status {found.status}, {len(found.faults())} faults")

    def fails(some: Sequence[Hit]) -> bool:
        path = directory / "try.json"
        save(str(path), found.with_faults(some))
        return _status([*_uringfs(), "replay", str(path)], args.timeout)[0] == found.status

    fewest = found.with_faults(ddmin(found.faults(), fails))
    save(args.output, fewest)
    print(f"shrunk to {len(fewest.faults())}:")
    for place, number in fewest.faults():
        print(f"  {fewest.rules[place]}, request {number} that matches")
    print(f"uringfs replay {shlex.join([args.output, '--', *command])}")
    return FOUND


def _first_failure(args: argparse.Namespace, directory: Path, seed: int, command: list[str]) -> Recording | None:
    """The first that comes, of those that run at a time."""
    given = [f"--inject={rule}" for rule in args.inject] + [f"--as-kernel={args.as_kernel}"]
    given += ["--virtual-time"] if args.virtual_time else []

    def one(number: int) -> Recording | None:
        path = directory / f"{number}.json"
        words = [*_uringfs(), "record", "-o", str(path), "--seed", str(number), *given, "--", *command]
        status, said = _status(words, args.timeout)
        if status == HUNG and not path.exists():
            raise OwnFailure(FAILED, f"seed {number}: no end within {args.timeout} s: uringfs record shows more")
        if not path.exists():
            raise OwnFailure(status if status in OWN else FAILED, said.strip() or f"status {status}")
        recording = load(path)
        path.unlink()
        return recording if recording.status else None

    with ThreadPoolExecutor(max(1, args.jobs)) as pool:
        runs = [pool.submit(one, (seed + number) % faults.LARGEST_SEED) for number in range(args.runs)]
        try:
            for run in as_completed(runs):
                if run.result() is not None:
                    return run.result()
        finally:
            pool.shutdown(cancel_futures=True)
    return None


def _uringfs() -> list[str]:
    return [sys.executable, "-m", "uringfs"]


def _status(words: list[str], timeout: float) -> tuple[int, str]:
    """Run a program. Returns its exit status, and the last of what it said to the standard error output."""
    try:
        ran = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        return HUNG, ""
    return ran.returncode, ran.stderr.decode(errors="replace")[-2000:]


def ddmin(faults: Sequence[Hit], fails: Callable[[Sequence[Hit]], bool]) -> list[Hit]:
    """As few of them with which it still fails as removing any one shows (Zeller and Hildebrandt's ddmin)."""
    now, pieces = list(faults), 2
    if now and fails([]):
        return []
    while len(now) > 1:
        size = -(-len(now) // pieces)
        for begin in range(0, len(now), size):
            rest = now[:begin] + now[begin + size :]
            if fails(rest):
                now, pieces = rest, max(pieces - 1, 2)
                break
        else:
            if pieces >= len(now):
                break
            pieces = min(2 * pieces, len(now))
    return now
