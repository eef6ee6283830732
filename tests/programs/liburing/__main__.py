"""By hand: python -m tests.programs.liburing [--trace] [PROGRAM...]; what fails shows its output."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.programs.liburing.trial import programs, trial
from tests.programs.liburing.verdicts import Verdict, table
from tests.support.mounting import Mount


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.programs.liburing", description=__doc__)
    parser.add_argument("--trace", action="store_true", help="as of uringfs run")
    parser.add_argument("names", nargs="*", metavar="PROGRAM", help="without .t; default: all")
    args = parser.parse_args()
    some = programs(args.names)
    with (
        tempfile.TemporaryDirectory(prefix="uringfs-") as directory,
        Mount(Path(directory) / "mnt", "-o", "allow_other") as mount,
    ):
        lines = trial(some, mount, trace=args.trace)
    failed = [f"--- {name}\n{line.ours.output}" for name, line in lines.items() if line.verdict is Verdict.FAIL]
    print("\n".join([*failed, table(lines)]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
