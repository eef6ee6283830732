"""`uringfs trace`: every request of the rings that run, as strace shows system calls. docs/watch.md"""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from uringfs.cli import ls
from uringfs.cli import mountpoint as points
from uringfs.errors import UringError
from uringfs.watch import filters
from uringfs.watch.follow import Follower
from uringfs.watch.jsonlines import Objects
from uringfs.watch.output import Sink
from uringfs.watch.perfetto import Slices
from uringfs.watch.record import Record, RecordKind
from uringfs.watch.strace import Lines
from uringfs.watch.summary import Summary

FORMATS = ("strace", "json", "perfetto")
FAILED, USAGE = 1, 2
PIDS = 1 << 31  # pid_t
EXITS = {0: "interrupted, the process has ended, or the last mount is gone", FAILED: "it cannot be followed"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", nargs="?", metavar="RING|PID", help="a ring's file (/proc/PID/fd/N, too), a process"
    )
    parser.add_argument("--all", action="store_true", help="all rings that you may see")
    parser.add_argument("-f", "--follow-forks", action="store_true", help="what the process has started, too")
    points.add_mounts(parser)
    parser.add_argument("-e", "--trace", metavar="FILTER", default="", help=FILTER_HELP)
    add_output_arguments(parser)
    parser.set_defaults(run=run)


FILTER_HELP = "opcodes and classes with commas between, as READ,%%net,setup; !FILTER all but these; 'failed'"


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `uringfs trace` and `uringfs run --trace` share."""
    parser.add_argument("-o", "--output", metavar="FILE", help="instead of the standard error output")
    parser.add_argument("--format", choices=FORMATS, default="strace", help="default %(default)s")
    parser.add_argument(
        "-c", "--summary", action="store_true", help="count, errors, latencies by opcode, at the end"
    )
    parser.add_argument("-s", "--string-size", type=int, default=32, metavar="N", help="bytes of data; default 32")
    parser.add_argument("-t", "--times", action="store_true", help="begin lines with the time of day")
    parser.add_argument("-u", "--user-data", action="store_true", help="end lines with user_data")


def words(trace: str, size: int) -> str:
    """The filter of `.trace` for what was said behind -e and -s. UringError."""
    rest = [word for word in trace.split(",") if word != "failed"]
    said = [f"data={size}", *(["status=failed"] if "failed" in trace.split(",") else [])]
    if any(rest):
        said.append(f"trace={','.join(rest)}")
    text = " ".join(said)
    filters.parse(text, filters.Filter())
    return text


class EventWriter:
    """What becomes of events: lines to a descriptor, or a table at the end."""

    def __init__(self, args: argparse.Namespace) -> None:
        """OSError: the output cannot be opened."""
        self._fd = 2
        if args.output is not None:
            mode = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._fd = os.open(args.output, mode, 0o666)
        self._sink = Sink(self._fd)
        self._summary = Summary() if args.summary else None
        self._json = args.format == "json"
        self._lost = 0
        self._end = ""
        self._show = self._shower(args)

    def _shower(self, args: argparse.Namespace) -> Callable[[Record], Iterable[str]]:
        if args.format == "perfetto" and self._summary is None:
            slices = Slices()
            self._sink.write([slices.begin])
            self._end = slices.end
            return slices.lines
        if args.format == "json":
            objects = Objects()
            return lambda record: (objects.line(record),)
        lines = Lines(times=args.times, user_data=args.user_data)
        return lambda record: (lines.line(record),)

    def write(self, records: list[Record]) -> None:
        if self._summary is not None:
            self._summary.note(records)
            return
        self._lost += sum(record.id for record in records if record.kind == RecordKind.LOST)
        self._sink.write([line for record in records for line in self._show(record)])

    def close(self) -> None:
        """Says what was lost."""
        if self._summary is not None:
            self._sink.write([f"{_json(self._summary)}\n"] if self._json else self._summary.lines())
        elif self._end:
            self._sink.write([self._end])
        if self._sink.lost:
            print(f"uringfs trace: no room: {self._sink.lost} lines were lost", file=sys.stderr)
        if self._lost:
            print(f"uringfs trace: {self._lost} events came too fast and were lost", file=sys.stderr)
        if self._fd != 2:
            os.close(self._fd)


def _json(summary: Summary) -> str:
    import json

    return json.dumps(summary.object())


def run(args: argparse.Namespace) -> int:
    """Until it is interrupted, the process has ended, or the last mount is gone: 0. 1: it cannot be followed."""
    if args.all == (args.what is not None):
        print("uringfs trace: RING, PID, or --all", file=sys.stderr)
        return USAGE
    try:
        wanted = words(args.trace, args.string_size)
        mounts, which, process = _which(args)
        ended = [os.pidfd_open(process)] if process else []
        with _stop() as stop, Follower(mounts, f"{wanted} {which}") as follower:
            follow(follower, EventWriter(args), stop, *ended)
    except UringError as error:
        print(f"uringfs trace: {error.message}", file=sys.stderr)
        return USAGE
    except OSError as error:
        print(f"uringfs trace: {error.filename or args.what or 'the trace'}: {error.strerror}", file=sys.stderr)
        return FAILED
    return 0


def _which(args: argparse.Namespace) -> tuple[list[str], str, int]:
    """The mounts, the words of the filter, and the process to wait for. UringError, OSError."""
    mounts = ls.mounts(args.mount or [])
    if not mounts:
        raise UringError(1, "nothing is mounted")
    if args.all:
        return mounts, "", 0
    if args.what.isdecimal():
        process = int(args.what)
        if not 0 < process < PIDS:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), args.what)
        return mounts, f"{'tree' if args.follow_forks else 'pid'}={process}", process
    found = os.stat(args.what)
    on = [mount for mount in mounts if os.stat(mount).st_dev == found.st_dev]
    if not on:
        raise UringError(1, f"{args.what}: not a ring of a mount that is seen here")
    return on, f"ring={found.st_ino}", 0


@contextmanager
def _stop() -> Iterator[int]:
    """A descriptor that becomes readable with SIGINT or SIGTERM: they end a trace in order."""
    stop, stopped = os.pipe()
    before = {
        number: signal.signal(number, lambda *_: os.write(stopped, b"."))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(stop)
        os.close(stopped)


def follow(follower: Follower, writer: EventWriter, *ends: int) -> None:
    try:
        for records in follower.until(*ends):
            writer.write(records)
    finally:
        with suppress(BrokenPipeError):
            writer.close()
