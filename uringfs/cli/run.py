"""`uringfs run`: becomes the program, with the trap launcher preloaded or under the daemon's supervision.
docs/run.md"""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Set
from enum import Enum
from pathlib import Path
from typing import NoReturn

import uringfs
from uringfs.cli import faults, instance, notify, program, traced
from uringfs.cli import mountpoint as points
from uringfs.cli.program import CANNOT_EXECUTE, FAILED, NOT_FOUND, RunError

# contrib/launcher/trap.h
ENV_MOUNT = b"URINGFS_TRAP_MOUNT"


class Switch(Enum):
    """What the launcher does otherwise than it would: the variable that says so."""

    TRACE = b"URINGFS_TRAP_TRACE"
    NO_LANE = b"URINGFS_TRAP_NO_LANE"
    NO_PATCH = b"URINGFS_TRAP_NO_PATCH"
    NO_WORKERS = b"URINGFS_TRAP_NO_WORKERS"


ENV_PRELOAD = b"LD_PRELOAD"
LIBRARY = "native/_trap.*so"
EXITS = {
    FAILED: "its own failure",
    CANNOT_EXECUTE: "the program cannot be executed",
    NOT_FOUND: "the program is not found; every other number is the program's own",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "uringfs run [--mount DIR] [--trace[=FILTER] [-o FILE] [-c] ...] [--no-lane] [--no-patch] [--no-workers] "
        "[--inject RULE]... [--seed N] [--virtual-time] [--as-kernel VERSION] [--mode MODE] "
        "-- PROGRAM [ARGUMENT...]"
    )
    parser.add_argument(
        "--mount", metavar="DIR", type=points.named, help="a mounted uringfs; by default one of the program's own"
    )
    traced.add_arguments(parser)
    parser.add_argument(
        "--trace-calls", action="store_true", help="print each io_uring call to the standard error output"
    )
    parser.add_argument(
        "--no-lane", action="store_true", help="trap: the daemon performs each request, none the program itself"
    )
    parser.add_argument(
        "--no-patch",
        action="store_true",
        help="trap: each io_uring_enter(2) is trapped; no jump to the library is put into the program's code",
    )
    parser.add_argument(
        "--no-workers", action="store_true", help="trap: no threads in the program for requests that block"
    )
    parser.add_argument(
        "--mode",
        choices=("auto", "trap", "notify"),
        default="auto",
        help="trap: a preloaded library, for dynamic programs; notify: the daemon answers, for static ones, too",
    )
    faults.add_arguments(parser)
    faults.add_virtual_time(parser)
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="PROGRAM [ARGUMENT...]")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns only if the program could not be run: 125, 126 or 127, as env(1); or has been traced: its own."""
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        print("uringfs run: no PROGRAM: uringfs run -- PROGRAM [ARGUMENT...]", file=sys.stderr)
        return 2
    if args.mount is not None and args.virtual_time:
        print("uringfs run: --virtual-time is of a mount of the program's own: not with --mount", file=sys.stderr)
        return 2
    try:
        path = program.find(command[0])
        mode = program.mode(path, args.mode)
        preload = library() if mode == "trap" else ""
        mount = _mounted(args)
        if mode == "trap" and args.mount is None:
            preload = instance.reachable(mount, preload)

        def become() -> NoReturn:
            become_on(mount, mode, path, command, preload, _switches(args))

        if traced.wanted(args):
            return traced.run(args, mount, become)
        become()
    except RunError as error:
        print(f"uringfs run: {error}", file=sys.stderr)
        return error.status


def _switches(args: argparse.Namespace) -> set[Switch]:
    wanted = {
        Switch.TRACE: args.trace_calls,
        Switch.NO_LANE: args.no_lane or args.virtual_time,
        Switch.NO_PATCH: args.no_patch,
        Switch.NO_WORKERS: args.no_workers or args.virtual_time,
    }
    return {switch for switch, on in wanted.items() if on}


def become_on(
    mount: str, mode: str, path: str, command: list[str], preload: str, switches: Set[Switch] = frozenset()
) -> NoReturn:
    """This process becomes the program, with that mount's rings. preload: the library, for trap. Without it
    Switch.TRACE alone counts. RunError."""
    if mode == "trap":
        env = environment(mount, preload, switches)
    else:
        notify.supervise(mount, trace=Switch.TRACE in switches)
        env = dict(_initial_environment())
    _become(path, command, env)


def _mounted(args: argparse.Namespace) -> str:
    """Where; with the faults in force. Those of a mount of others' are for this process and its children alone."""
    faults.say_seed(args)
    if args.mount is not None:
        mount = instance.mounted(args.mount)
        _inject(mount, args)
        return mount
    rules = (f"--inject={rule}" for rule in args.inject)
    virtual = (f"--virtual-time={os.getpid()}",) if args.virtual_time else ()
    return instance.start(*rules, *virtual, f"--seed={faults.seed(args)}", f"--as-kernel={args.as_kernel}")


def _inject(mount: str, args: argparse.Namespace) -> None:
    from uringfs.client.faults import Faults  # the extension module is not needed to say that something is missing

    try:
        if args.as_kernel.version is not None:
            Faults(mount).as_kernel(str(args.as_kernel), os.getpid())
        for number, rule in enumerate(args.inject):
            own = f":pid={os.getpid()}" if ":pid=" not in rule else ""
            seed = f":seed={int(args.seed) + number}" if args.seed is not None and ":seed=" not in rule else ""
            Faults(mount).inject(f"{rule}{own}{seed}")
    except OSError as error:
        raise RunError(FAILED, f"{mount}: {error.strerror}") from error


def library() -> str:
    """liburingfs-trap, built beside the extension module."""
    found = sorted(Path(uringfs.__file__).parent.glob(LIBRARY))
    if not found:
        raise RunError(FAILED, "the launcher's library is not built: make base, or pip install uringfs again")
    return str(found[0].resolve())


def _initial_environment() -> Iterator[tuple[bytes, bytes]]:
    """What this process was started with: Python itself may have changed LC_CTYPE since."""
    for entry in Path("/proc/self/environ").read_bytes().split(b"\0"):
        name, equals, value = entry.partition(b"=")
        if equals:
            yield name, value


def environment(mount: str, preload: str, switches: Set[Switch] = frozenset()) -> dict[bytes, bytes]:
    """The environment of a program on that mount. The library must be the first that LD_PRELOAD names: by that it
    knows its own path. RunError: LD_PRELOAD cannot name it."""
    if not instance.can_be_preloaded(preload):
        raise RunError(FAILED, f"{preload}: LD_PRELOAD takes no path with blanks or colons: --mode notify")
    env = dict(_initial_environment())
    before = env.get(ENV_PRELOAD)
    env[ENV_PRELOAD] = os.fsencode(preload) + (b":" + before if before else b"")
    env[ENV_MOUNT] = os.fsencode(mount)
    for switch in Switch:
        env.pop(switch.value, None)
        if switch in switches:
            env[switch.value] = b"1"
    return env


def _become(path: str, command: list[str], env: dict[bytes, bytes]) -> NoReturn:
    """This process becomes the program: pid, terminal, signals, descriptors and exit status are the program's
    own."""
    sys.stdout.flush()
    sys.stderr.flush()
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(path, command, env)
    except OSError as error:
        raise RunError(CANNOT_EXECUTE, f"{path}: {error.strerror}") from error
