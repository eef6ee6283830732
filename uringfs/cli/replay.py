"""`uringfs replay`: the faults of a recording once more, and where the program goes another way.
docs/determinism.md"""

import argparse
import sys

from uringfs.cli import record, traced
from uringfs.cli.program import CANNOT_EXECUTE, FAILED, NOT_FOUND, RunError
from uringfs.cli.recording import RecordingError, difference, load

OTHER_WAY = 124
EXITS = {
    OTHER_WAY: "the program went another way than it is recorded: the line says where",
    FAILED: "its own failure",
    CANNOT_EXECUTE: "the program cannot be executed",
    NOT_FOUND: "the program is not found; every other number is the program's own",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="of `uringfs record` or `uringfs explore`")
    parser.add_argument(
        "command",
        nargs=argparse.REMAINDER,
        metavar="[-- PROGRAM [ARGUMENT...]]",
        help="by default the recorded one",
    )
    parser.set_defaults(run=start)


def start(args: argparse.Namespace) -> int:
    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    try:
        recording = load(args.file)
        recording.command = words or recording.command
        done = record.perform(recording, recording.decided())
    except RunError as error:
        print(f"uringfs replay: {error}", file=sys.stderr)
        return error.status
    except RecordingError as error:
        print(f"uringfs replay: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"uringfs replay: {error.filename or args.file}: {error.strerror}", file=sys.stderr)
        return FAILED
    another = difference(recording.trace, done.trace or []) if recording.trace is not None else ""
    if another:
        print(f"uringfs replay: another way: {another}", file=sys.stderr)
        return OTHER_WAY
    return traced.end_as(done.status)
