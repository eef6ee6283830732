"""`uringfs inject`: rules for the rings of a mount. docs/faults.md"""

import argparse
import sys

from uringfs.cli import faults
from uringfs.cli import mountpoint as points

FAILED = 1
EXITS = {0: "done", FAILED: "no such mount, or the daemon refused: the line says what"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rules", nargs="*", metavar="RULE", type=faults.rule, help="as docs/faults.md says")
    parser.add_argument("--mount", metavar="DIR", type=points.named, help="by default the only one there is")
    parser.add_argument("--list", action="store_true", help="the rules, and what they have matched")
    parser.add_argument("--json", action="store_true", help="the same as a list of objects")
    parser.add_argument("--release", action="append", default=[], type=int, metavar="ID")
    parser.add_argument("--remove", action="append", default=[], type=_id_or_all, metavar="ID|all")
    parser.set_defaults(run=run)


def _id_or_all(word: str) -> int | None:
    return None if word == "all" else int(word)


def run(args: argparse.Namespace) -> int:
    """0, or 1 with what the daemon says is wrong."""
    if not (args.rules or args.list or args.json or args.release or args.remove):
        args.error("a RULE, or one of --list, --json, --release, --remove")
    mount = args.mount or _only()
    if mount is None:
        print("uringfs inject: --mount DIR: there is not exactly one mount here", file=sys.stderr)
        return FAILED
    try:
        _do(mount, args)
    except OSError as error:
        print(f"uringfs inject: {mount}: {error.strerror}", file=sys.stderr)
        return FAILED
    return 0


def _only() -> str | None:
    mounts = points.all_mounts()
    return mounts[0] if len(mounts) == 1 else None


def _do(mount: str, args: argparse.Namespace) -> None:
    from uringfs.client.faults import Faults

    control = Faults(mount)
    for rule in args.rules:
        print(control.inject(rule).id)
    for number in args.release:
        print(control.release(number))
    for number in args.remove:
        if number is None:
            control.clear()
        else:
            control.remove(number)
    if args.json:
        import json

        print(json.dumps(control.rules(), indent=2))
    elif args.list:
        print(control.listing())
