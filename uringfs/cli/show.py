"""`uringfs show`: a ring, and its requests under way."""

import argparse
import json
import os
import sys
from typing import Any

from uringfs.cli import ls
from uringfs.cli import mountpoint as points
from uringfs.watch.rings import Lists, Ring
from uringfs.watch.values import plain

EXITS = {0: "shown", ls.FAILED: "there is no such ring that may be seen"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ring", metavar="RING", help="its file, /proc/PID/fd/N, or its number in `uringfs ls`")
    points.add_mounts(parser)
    parser.add_argument("--json", action="store_true", help="an object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0; 1: there is no such ring that may be seen."""
    try:
        number, places = _which(args.ring, ls.mounts(args.mount or []))
        with Lists(places, f"ring={number} stats") as lists:
            found = ls.with_rates(lists)
    except OSError as error:
        print(f"uringfs show: {error.filename or args.ring}: {error.strerror}", file=sys.stderr)
        return ls.FAILED
    if not found:
        print(f"uringfs show: {args.ring}: no ring that is set up and yours to see", file=sys.stderr)
        return ls.FAILED
    print(json.dumps(found[0], indent=2) if args.json else about(found[0], f"in {ls.INTERVAL:g} s"))
    return 0


def _which(word: str, places: list[str]) -> tuple[int, list[str]]:
    if word.isdecimal():
        return int(word), places
    found = os.stat(word)
    return found.st_ino, [place for place in places if os.stat(place).st_dev == found.st_dev]


def about(ring: Ring, when: str) -> str:
    """when: its latencies were counted."""
    facts = {name: value for name, value in ring.items() if not isinstance(value, list | dict)}
    lines = [f"{name.replace('_', ' ')}: {plain(str(value))}" for name, value in facts.items()]
    if ring["ops"]:
        lines += ["", f"{when}:", ls.table(_ops(ring["ops"]))]
    if ring["requests"]:
        lines += ["", "requests under way:", ls.table(_requests(ring["requests"]))]
    return "\n".join(lines)


def _ops(ops: dict[str, Any]) -> list[list[str]]:
    titles = ["OP", "COUNT", "ERRORS", "P50 US", "P95 US", "P99 US"]
    rows = [titles]
    for name, op in sorted(ops.items(), key=lambda item: -item[1]["count"]):
        percents = [f"{op[f'p{percent}_ns'] / 1000:.1f}" for percent in (50, 95, 99)]
        rows.append([name, str(op["count"]), str(sum(op["errors"].values())), *percents])
    return rows


def _requests(requests: list[dict[str, Any]]) -> list[list[str]]:
    titles = ["OP", "FD", "FILE", "OFF", "LEN", "USER_DATA", "FLAGS", "THREAD", "AGE MS"]
    names = ("op", "fd", "file", "off", "len", "user_data", "flags", "tid")
    rows = [titles]
    for one in requests:
        values = (one[name] for name in names)
        rows.append([*("" if value is None else str(value) for value in values), age(one["age_ns"])])
    return rows


def age(ns: int | None) -> str:
    return f"{ns / 1e6:.1f}" if ns is not None else ""
