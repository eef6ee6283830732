"""Programs of the fuzzer on the kernel and on a mount of its own.

    python -m tests.fuzz.run --minutes 60           as many as fit; 50 at a time
    python -m tests.fuzz.run --programs 500         so many
    python -m tests.fuzz.run --seed 17 --keep 1a    one, what it submits and what differs
    python -m tests.fuzz.run --ways trap,notify     by these: header, header-lane, trap, no-patch, no-lane, notify

Says what was compared. 0: no difference; 1: each is shown with the command that repeats it."""

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.compare import ALL, WAYS, Comparison, build
from tests.support.mounting import Mount
from tests.support.oracle import kernel_has_io_uring

BATCH = 50


def many(comparison: Comparison, first: int, programs: int | None, minutes: float) -> int:
    """How many differ."""
    end, bad = time.monotonic() + 60 * minutes, 0
    for start in itertools.count(first, BATCH):
        last = start + BATCH if programs is None else min(start + BATCH, first + programs)
        if last <= start or (programs is None and time.monotonic() >= end):
            break
        for difference in comparison.programs(start, last):
            bad += 1
            print(difference, flush=True)
    print(comparison.statistics)
    print(f"{len(comparison.unsettled)} are not the same twice on the kernel, or do not end there")
    if comparison.once:
        print(f"differed once, not again: {sorted(comparison.once)}")
    print(f"{bad} of {comparison.statistics.programs} programs differ")
    return bad


def single(comparison: Comparison, seed: int, keep: int) -> int:
    print(comparison.kernel.one(seed, keep, verbose=True))
    differences = [comparison.look_at(seed, keep, way) for way in comparison.ours]
    for way, difference in zip(comparison.ours, differences, strict=True):
        print(difference or f"no difference by {way}")
    return int(any(differences))


def ways(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - WAYS.keys():
        raise argparse.ArgumentTypeError(f"no way {', '.join(unknown)}; there are {', '.join(WAYS)}")
    return names


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--programs", type=int)
    parser.add_argument("--first", type=int, default=1_000_000, help="the first seed")
    parser.add_argument("--ways", type=ways, default=list(WAYS), help=f"of {', '.join(WAYS)}; by default all")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--keep", type=lambda mask: int(mask, 16), default=ALL, help="steps: a mask")
    args = parser.parse_args()
    if not kernel_has_io_uring():
        parser.error("the kernel's io_uring is switched off here: there is nothing to compare with")
    build()
    with tempfile.TemporaryDirectory(prefix="uringfs-fuzz-") as directory, Mount(Path(directory) / "mnt") as mount:
        comparison = Comparison(mount.path, args.ways)
        if args.seed is not None:
            return single(comparison, args.seed, args.keep)
        return int(many(comparison, args.first, args.programs, args.minutes) > 0)


if __name__ == "__main__":
    sys.exit(main())
