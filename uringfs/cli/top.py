"""`uringfs top`: the rings there are, live. Needs the extra `top`."""

import argparse
import json
import sys
import time

from uringfs.cli import ls
from uringfs.cli import mountpoint as points
from uringfs.watch.rings import Lists, add_rates

SECONDS = 1.0
LONGEST = 1e6
EXITS = {
    0: "left, or with --json shown",
    ls.FAILED: "a mount cannot be read, or textual is missing",
    ls.NOT_MOUNTED: "nothing is mounted",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "mountpoints", nargs="*", metavar="DIR", type=points.named, help="by default all mounts that are seen here"
    )
    parser.add_argument("-d", "--delay", type=float, default=SECONDS, metavar="S", help="seconds; default 1")
    parser.add_argument("--json", action="store_true", help="no terminal: one list of objects, after one delay")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0; 1: a mount cannot be read, or textual is missing; 3: nothing is mounted."""
    places = ls.mounts(args.mountpoints)
    if not places:
        print("uringfs top: nothing is mounted", file=sys.stderr)
        return ls.NOT_MOUNTED
    if not 0 < args.delay < LONGEST:
        args.error(f"--delay must be above 0, and below {LONGEST:g}")
    try:
        with Lists(places, "stats") as lists:
            return _once(lists, args.delay) if args.json else _live(lists, args.delay)
    except OSError as error:
        print(f"uringfs top: {error.filename}: {error.strerror}", file=sys.stderr)
        return ls.FAILED


def _once(lists: Lists, delay: float) -> int:
    before, began = lists.read(), time.monotonic()
    time.sleep(delay)
    after = lists.read()
    add_rates(before, after, time.monotonic() - began)
    print(json.dumps(after, indent=2))
    return 0


def _live(lists: Lists, delay: float) -> int:
    try:
        from uringfs.cli.topscreen import Top
    except ImportError:
        print("uringfs top: pip install uringfs[top]", file=sys.stderr)
        return ls.FAILED
    Top(lists, delay).run()
    return 0
