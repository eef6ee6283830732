"""`uringfs status`: which mounts there are, and whether each serves. The exit status is for probes."""

import argparse
import json
import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from uringfs.cli import mountpoint as points

SERVING, GONE, NOT_MOUNTED, UNKNOWN = 0, 1, 3, 4
"""Exit statuses, as of an init script's `status` (LSB)."""
STATES = {SERVING: "serving", GONE: "the daemon is gone", UNKNOWN: "no answer"}
SHORTLY = 5.0  # seconds
FACTS = ("version", "pid", "backend", "rings", "max_rings", "uptime")
PREFIX = "user.uring."
EXITS = {
    SERVING: "a request went through a ring of each",
    GONE: "a daemon is gone",
    NOT_MOUNTED: "nothing is mounted",
    UNKNOWN: "no answer in time, or not for this user; of several mounts the highest number",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "mountpoints", nargs="*", metavar="DIR", type=points.named, help="by default all mounts that are seen here"
    )
    parser.add_argument("--json", action="store_true", help="a list of objects")
    parser.add_argument("-q", "--quiet", action="store_true", help="the exit status alone, for probes")
    parser.add_argument(
        "--timeout", type=_seconds, default=SHORTLY, metavar="S", help="for each; default %(default)s"
    )
    parser.set_defaults(run=run)


def _seconds(word: str) -> float:
    seconds = float(word)
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError("must be above 0")
    return seconds


def run(args: argparse.Namespace) -> int:
    """The worst: 0 a request went through a ring of each, 1 a daemon is gone, 3 nothing is mounted, 4 no answer in
    time, or not for this user."""
    places = [points.place(place) for place in args.mountpoints] or points.all_mounts()
    told = [of(place, args.timeout) for place in places]
    if not args.mountpoints:  # unmounted meanwhile
        told = [one for one in told if one["status"] != NOT_MOUNTED]
    if args.json:
        print(json.dumps(told, indent=2))
    elif not args.quiet:
        for one in told:
            print(_line(one))
        if not told:
            print("uringfs status: nothing is mounted", file=sys.stderr)
    return max((int(one["status"]) for one in told), default=NOT_MOUNTED)


def _line(told: dict[str, Any]) -> str:
    facts = ", ".join(f"{name} {told[name]}" for name in FACTS if name in told)
    why = f" ({told['error']})" if told.get("error") else ""
    return f"{told['mountpoint']}: {told['state']}{why}" + (f"; {facts}" if facts else "")


def of(mountpoint: str, timeout: float) -> dict[str, Any]:
    """mountpoint, status, state, perhaps error, and of one that serves the facts."""
    if not points.mounted_here(mountpoint):
        return {"mountpoint": mountpoint, "status": NOT_MOUNTED, "state": "not mounted"}
    told: dict[str, Any] = {"mountpoint": mountpoint}
    answer = within(timeout, lambda: _ask(mountpoint))
    told |= answer if answer is not None else {"status": UNKNOWN, "error": f"within {timeout:g} s"}
    return {**told, "state": STATES[told["status"]]}


def _ask(mountpoint: str) -> dict[str, Any]:
    from uringfs.client import Ring, nop

    try:
        facts: dict[str, Any] = {}
        for name in FACTS:
            value = os.getxattr(mountpoint, PREFIX + name).decode()
            facts[name] = int(value) if value.isdecimal() else value
        with Ring(os.path.join(mountpoint, "new"), 1) as ring:
            ring.queue(nop())
            ring.submit(wait=1)
        return {"status": SERVING, **facts}
    except OSError as error:
        status = GONE if error.errno in points.GONE else UNKNOWN
        return {"status": status, "error": error.strerror}


def within(timeout: float, ask: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """What `ask` says, in a process of its own: who waits for a daemon that does not answer cannot be ended, not
    by SIGKILL either, before that does. None: no answer in time."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answers = _alone_with(send)
            os.write(answers, json.dumps(ask()).encode())
        finally:
            os._exit(0)
    os.close(send)
    with open(receive, "rb") as pipe:
        ready = select.select([pipe], [], [], timeout)[0]
        said = pipe.read() if ready else b""
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    if ready:
        os.waitpid(child, 0)
    result: dict[str, Any] | None = json.loads(said) if said else None
    return result


def _alone_with(pipe: int) -> int:
    """Close all descriptors but that one, which becomes 0: whoever reads our output to its end need not wait for
    a process that cannot be ended."""
    os.dup2(pipe, 0)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (1, 2):
        os.dup2(null, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    return 0
