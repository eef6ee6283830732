"""Programs of the fuzzer on the kernel and on a mount: python -m tests.fuzz.run --minutes 60"""

import argparse
import difflib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.mounting import Mount

HERE = Path(__file__).parent
STEPS = 16
FUZZ = HERE / "out" / "fuzz"
ALL = (1 << STEPS + 1) - 2


def build() -> None:
    subprocess.run(["make", "-s", "-C", str(HERE)], check=True)


def run(args: list[str], mount: Path | None, timeout: float) -> str:
    """mount None: the kernel."""
    env = {key: value for key, value in os.environ.items() if key != "URINGFS_DIR"}
    if mount is not None:
        env["URINGFS_DIR"] = str(mount)
    with tempfile.TemporaryDirectory(prefix="uringfs-fuzz-") as directory:
        done = subprocess.run(
            [FUZZ, *args],
            env=env | {"TMPDIR": directory},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=timeout,
        )
    return done.stdout


def traces(first: int, last: int, mount: Path | None, timeout: float = 500) -> dict[int, str]:
    """seed -> trace"""
    text = run(["--range", str(first), str(last)], mount, timeout)
    parts = [part for part in ("\n" + text).split("\nprogram ") if part.strip()]
    return {int(part.split(maxsplit=1)[0]): part for part in parts}


def one(seed: int, keep: int, mount: Path | None) -> str:
    return run(["--keep", f"{keep:x}", str(seed)], mount, 60)


def differs(seed: int, keep: int, mount: Path) -> bool:
    """Twice on the kernel: what it does not do twice is no difference."""
    kernel = one(seed, keep, None)
    return kernel == one(seed, keep, None) != one(seed, keep, mount)


def shrink(seed: int, mount: Path) -> int:
    """The steps without which the difference goes."""
    keep = ALL
    for step in range(STEPS, 0, -1):
        less = keep & ~(1 << step)
        if differs(seed, less, mount):
            keep = less
    return keep


def report(seed: int, mount: Path) -> str | None:
    """None: seen alone there is no difference."""
    if not differs(seed, ALL, mount):
        return None
    keep = shrink(seed, mount)
    lines = difflib.unified_diff(
        one(seed, keep, None).splitlines(), one(seed, keep, mount).splitlines(), "kernel", "uringfs", "", "", 0
    )
    return f"fuzz --verbose --keep {keep:x} {seed}\n" + "\n".join(lines)


def differences(first: int, last: int, mount: Path) -> list[str]:
    kernel, ours = traces(first, last, None), traces(first, last, mount)
    suspects = [seed for seed in range(first, last) if kernel.get(seed) != ours.get(seed)]
    return [text for seed in suspects if (text := report(seed, mount)) is not None]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--first", type=int, default=1_000_000)
    args = parser.parse_args()
    build()
    end, seed, bad = time.monotonic() + 60 * args.minutes, args.first, 0
    with tempfile.TemporaryDirectory() as directory, Mount(Path(directory) / "mnt") as mount:
        while time.monotonic() < end:
            for text in differences(seed, seed + 50, mount.path):
                bad += 1
                print(text, flush=True)
            seed += 50
    print(f"{seed - args.first} programs, {bad} differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
