"""`uringfs ls`: the rings there are."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from uringfs.cli import mountpoint as points
from uringfs.cli import status
from uringfs.watch.rings import Lists, Ring, add_rates
from uringfs.watch.values import plain

FAILED, NOT_MOUNTED = 1, 3
INTERVAL = 0.5
"""Seconds between two looks, for rates."""
SHORTLY = 2.0
"""Seconds for a mount to answer."""
COLUMNS: dict[str, Callable[[Ring], str]] = {
    "RING": lambda ring: str(ring["ring"]),
    "USER": lambda ring: user(ring["uid"]),
    "PID": lambda ring: str(ring["pid"]),
    "COMMAND": lambda ring: ring["comm"],
    "OPS/S": lambda ring: f"{ring['ops_per_second']:.0f}",
    "IN FLIGHT": lambda ring: str(ring["in_flight"]),
    "SQ": lambda ring: f"{ring['sq_ready']}/{ring['sq_entries']}",
    "CQ": lambda ring: f"{ring['cq_ready']}/{ring['cq_entries']}",
    "FLAGS": lambda ring: ring["flags"],
    "FILE": lambda ring: os.path.join(ring["mount"], ring["name"]) if ring["name"] else f"({ring['mount']})",
}
EXITS = {0: "listed", FAILED: "a mount does not answer, or has no list", NOT_MOUNTED: "nothing is mounted"}


def user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "mountpoints", nargs="*", metavar="DIR", type=points.named, help="by default all mounts that are seen here"
    )
    parser.add_argument("--json", action="store_true", help="a list of objects")
    parser.set_defaults(run=run)


def table(rows: Sequence[Sequence[str]]) -> str:
    """What any user has given a name is plain (watch.values)."""
    rows = [[plain(word) for word in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ([word.ljust(width) for word, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join("  ".join(row).rstrip() for row in padded)


def mounts(said: Sequence[str]) -> list[str]:
    """The mounts that the user has named, or all that answer to this user."""
    if said:
        return [points.place(place) for place in said]
    return [place for place in points.all_mounts() if status.within(SHORTLY, partial(_answers, place)) == {}]


def _answers(place: str) -> dict[str, Any]:
    try:
        os.stat(os.path.join(place, ".rings"))
    except OSError as error:
        return {"error": error.errno}
    return {}


def run(args: argparse.Namespace) -> int:
    """0; 1: a mount does not answer or knows no list; 3: nothing is mounted."""
    places = mounts(args.mountpoints)
    if not places:
        print("uringfs ls: nothing is mounted", file=sys.stderr)
        return NOT_MOUNTED
    try:
        with Lists(places) as lists:
            rings = with_rates(lists)
    except OSError as error:
        print(f"uringfs ls: {error.filename}: {error.strerror}", file=sys.stderr)
        return FAILED
    if args.json:
        print(json.dumps(rings, indent=2))
    else:
        print(table([list(COLUMNS), *([show(ring) for show in COLUMNS.values()] for ring in rings)]))
    return 0


def with_rates(lists: Lists) -> list[Ring]:
    before, began = lists.read(), time.monotonic()
    time.sleep(INTERVAL)
    after = lists.read()
    add_rates(before, after, time.monotonic() - began)
    return after
