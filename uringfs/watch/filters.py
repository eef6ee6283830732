"""What a reader of MOUNT/.trace wants to see: words of the form NAME=VALUE, written to the file it has open.

Pure: knows words and numbers, no request.
"""

import errno
import shlex
from collections.abc import Callable
from typing import NamedTuple

from uringfs.abi.numbers import decimal
from uringfs.errors import UringError
from uringfs.faults import sets
from uringfs.faults.values import Misfit

FORMATS = ("strace", "json", "raw")
MOST_DATA = 4096
"""Bytes."""
STRACE_DATA = 32
"""As strace -s."""
MOST_IDS = 1024


class Filter(NamedTuple):
    """None: all."""

    rings: frozenset[int] | None = None
    """Inode numbers."""
    pids: frozenset[int] | None = None
    """Processes."""
    trees: frozenset[int] | None = None
    """Processes, with all they have started."""
    opcodes: frozenset[int] | None = None
    calls: bool = True
    """setup and register, too."""
    failed: bool = False
    """Only what has failed."""
    data: int = STRACE_DATA
    """Bytes of data, at most."""
    format: str = "strace"


def _ids(text: str) -> frozenset[int]:
    words = text.split(",")
    if len(words) > MOST_IDS:
        raise UringError(errno.EINVAL, f"at most {MOST_IDS} numbers")
    try:
        return frozenset(int(word, 0) for word in words)
    except ValueError:
        raise UringError(errno.EINVAL, f"{text!r}: numbers with commas between") from None


def _trace(text: str, so_far: Filter) -> Filter:
    """Opcodes and classes as in rules (faults/sets.py), and the calls setup and register."""
    words = text.split(",")
    calls = [word for word in words if word.lower() in ("setup", "register")]
    rest = ",".join(word for word in words if word.lower() not in ("setup", "register"))
    try:
        opcodes = sets.parse(rest)[1] if rest else frozenset()
    except Misfit as misfit:
        fits = [word for word in misfit.fits if word not in sets.CALLS]
        raise UringError(errno.EINVAL, f"{misfit}; what fits: {' '.join(fits)} setup register") from None
    return so_far._replace(opcodes=opcodes, calls=bool(calls))


def _status(text: str, so_far: Filter) -> Filter:
    if text not in ("all", "failed"):
        raise UringError(errno.EINVAL, f"status={text}: failed or all")
    return so_far._replace(failed=text == "failed")


def _data(text: str, so_far: Filter) -> Filter:
    data = decimal(text)
    if data is None or data > MOST_DATA:
        raise UringError(errno.EINVAL, f"data={text}: bytes, at most {MOST_DATA}")
    return so_far._replace(data=data)


def _format(text: str, so_far: Filter) -> Filter:
    if text not in FORMATS:
        raise UringError(errno.EINVAL, f"format={text}: {', '.join(FORMATS)}")
    return so_far._replace(format=text)


WORDS: dict[str, Callable[[str, Filter], Filter]] = {
    "ring": lambda text, so_far: so_far._replace(rings=_ids(text)),
    "pid": lambda text, so_far: so_far._replace(pids=_ids(text)),
    "tree": lambda text, so_far: so_far._replace(trees=_ids(text)),
    "trace": _trace,
    "status": _status,
    "data": _data,
    "format": _format,
}


def parse(text: str, so_far: Filter) -> Filter:
    """With what these words change. EINVAL, which says what would fit."""
    try:
        words = shlex.split(text, comments=True)
    except ValueError as error:
        raise UringError(errno.EINVAL, str(error)) from None
    for word in words:
        name, equals, value = word.partition("=")
        if name not in WORDS or not equals:
            fits = " ".join(f"{known}=" for known in WORDS)
            raise UringError(errno.EINVAL, f"{word!r}; what fits: {fits}")
        so_far = WORDS[name](value, so_far)
    return so_far
