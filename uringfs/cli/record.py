"""`uringfs record`: which faults a program met, and what it did, written down. docs/determinism.md"""

import argparse
import os
import sys
from dataclasses import replace
from typing import NoReturn

from uringfs.cli import faults, instance, program, run, traced
from uringfs.cli.program import CANNOT_EXECUTE, FAILED, NOT_FOUND, RunError
from uringfs.cli.recording import Recording, Trace, check_room, save
from uringfs.watch.follow import Follower

EXITS = {
    FAILED: "its own failure",
    CANNOT_EXECUTE: "the program cannot be executed",
    NOT_FOUND: "the program is not found; every other number is the program's own",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="what was decided, and what it did")
    faults.add_arguments(parser)
    faults.add_virtual_time(parser)
    add_command(parser)
    parser.set_defaults(run=start)


def add_command(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- PROGRAM [ARGUMENT...]")


def command(args: argparse.Namespace) -> list[str]:
    found: list[str] = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not found:
        args.error("no PROGRAM")
    return found


def start(args: argparse.Namespace) -> int:
    seed = int(faults.seed(args))
    if args.seed is None:
        print(f"uringfs record: --seed {seed}", file=sys.stderr)
    asked = Recording(args.inject, seed, command(args), str(args.as_kernel), virtual_time=args.virtual_time)
    try:
        check_room(args.output)
        done = perform(asked, args.inject)
        save(args.output, done)
    except RunError as error:
        print(f"uringfs record: {error}", file=sys.stderr)
        return error.status
    except OSError as error:
        print(f"uringfs record: {error.filename or args.output}: {error.strerror}", file=sys.stderr)
        return FAILED
    return traced.end_as(done.status)


def perform(asked: Recording, rules: list[str]) -> Recording:
    """Run the program under these rules: what came of it. RunError, OSError."""
    from uringfs.client.faults import Faults

    path = program.find(asked.command[0])
    mode = program.mode(path, "auto")
    preload = run.library() if mode == "trap" else ""
    given = (f"--inject={rule}" for rule in rules)
    virtual = (f"--virtual-time={os.getpid()}",) if asked.virtual_time else ()
    mount = instance.start(*given, *virtual, f"--seed={asked.seed}", f"--as-kernel={asked.kernel}")
    if mode == "trap":
        preload = instance.reachable(mount, preload)

    switches = {run.Switch.NO_WORKERS} if asked.virtual_time else set[run.Switch]()

    def become() -> NoReturn:
        run.become_on(mount, mode, path, asked.command, preload, switches)

    trace = Trace()
    with Follower([mount], "data=0") as follower:
        status = traced.watched(follower, trace, become)
    if trace.lost:
        raise RunError(FAILED, f"{trace.lost} events came too fast and were lost: there is no recording")
    hits = [rule["hits"] for rule in Faults(mount).rules()]
    if any(len(rule["hits"]) < rule["injected"] for rule in Faults(mount).rules()):
        raise RunError(FAILED, "more faults than a recording holds: when= or probability= make them fewer")
    return replace(asked, status=os.waitstatus_to_exitcode(status), hits=hits, trace=trace.entries)
