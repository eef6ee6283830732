"""`uringfs run --trace`: the program as a child, and this process as who shows its requests, as strace does it."""

import argparse
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, Protocol

from uringfs.cli import trace
from uringfs.cli.program import FAILED, RunError
from uringfs.errors import UringError
from uringfs.watch.follow import Follower
from uringfs.watch.record import Record

OPTION = "--trace"
PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
TERMINALS = (signal.SIGINT, signal.SIGQUIT)
"""Signals that a terminal sends to the program and to us: what becomes of the program decides."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        OPTION, nargs="?", const="", metavar="FILTER", help=f"show its requests; {trace.FILTER_HELP}"
    )
    trace.add_output_arguments(parser)


def bare(argv: list[str], parser: argparse.ArgumentParser) -> list[str]:
    """argv with each `--trace` of our own as `--trace=`, for the word behind it is not its FILTER."""
    valued = {
        name
        for action in parser._actions  # noqa: SLF001  argparse has no other list
        for name in action.option_strings
        if action.nargs is None and name != OPTION
    }
    found, place = [], 0
    while place < len(argv) and argv[place].startswith("-") and argv[place] != "--":
        word = argv[place]
        found.append(f"{OPTION}=" if word == OPTION else word)
        place += 1
        if word in valued and place < len(argv):
            found.append(argv[place])
            place += 1
    return found + argv[place:]


def wanted(args: argparse.Namespace) -> bool:
    return args.trace is not None or args.summary or args.output is not None


def run(args: argparse.Namespace, mount: str, become: Callable[[], NoReturn]) -> int:
    """The program's exit status, or its end by the same signal. become: in the child. RunError."""
    try:
        words = trace.words(args.trace or "", args.string_size)
        which = "" if args.mount is None else f"tree={os.getpid()}"
        with Follower([mount], f"{words} {which}") as follower:
            return end_as(os.waitstatus_to_exitcode(watched(follower, trace.EventWriter(args), become)))
    except UringError as error:
        raise RunError(2, error.message) from error
    except OSError as error:
        raise RunError(FAILED, f"{error.filename or 'the trace'}: {error.strerror}") from error


class Shower(Protocol):
    def write(self, records: list[Record]) -> None: ...

    def close(self) -> None:
        """The program has ended."""


def watched(follower: Follower, writer: Shower, become: Callable[[], NoReturn]) -> int:
    """The program as a child that this becomes, until it has ended: as waitpid(2) says how."""
    child = os.fork()
    if child == 0:
        follower.close()
        try:
            become()
        except RunError as error:
            print(f"uringfs run: {error}", file=sys.stderr)
            os._exit(error.status)
        finally:
            os._exit(FAILED)
    ended = os.pidfd_open(child)
    try:
        with _signals(child):
            for records in follower.until(ended):
                writer.write(records)
            writer.close()
    finally:
        os.close(ended)
    return os.waitpid(child, 0)[1]


@contextmanager
def _signals(child: int) -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in TERMINALS}
    for number in PASSED_ON:
        before[number] = signal.signal(number, lambda number, _: os.kill(child, number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_as(status: int) -> int:
    """The program's exit status; with -N this process ends by signal N, too."""
    if status < 0:
        number = -status
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
        os.kill(os.getpid(), number)
    return status
