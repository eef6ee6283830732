"""Descriptors 0, 1 and 2: whoever starts us may have closed them, or have them end in a full disk."""

import io
import os
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stdout

FAILED = 1


def ensure_open() -> None:
    """What is opened later must not become one of them. A closed one becomes /dev/null, for 0 and 1 the way
    round that answers EBADF as before, and an exec closes it again."""
    for fd, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDWR)):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, flags)  # close-on-exec; the lowest free number is fd
    # Python has None for those that were closed when it began
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def run(command: Callable[[], int]) -> int:
    """The exit status of a command, argparse's SystemExit included; 1 if its output could not be written, and 141
    for a reader that is gone, as of a command that SIGPIPE ends."""
    ensure_open()
    output = io.StringIO()
    try:
        with redirect_stdout(output):
            status = command()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    try:
        sys.stdout.write(output.getvalue())
        sys.stdout.flush()
    except OSError as error:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)  # for the flush at the interpreter's end
        if isinstance(error, BrokenPipeError):
            return 128 + signal.SIGPIPE
        print(f"uringfs: standard output: {error.strerror}", file=sys.stderr)
        return status or FAILED
    return status
