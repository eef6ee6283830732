"""System calls that Python's os module lacks, and their failures."""

import ctypes
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

AT_FDCWD = -100
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
_libc = ctypes.CDLL(None, use_errno=True)


def renameat2(old: Path, new: Path, flags: int) -> None:
    if _libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def fails(code: int, call: Callable[..., object], *args: object, **kwargs: object) -> None:
    """The call raises an OSError with exactly that errno."""
    with pytest.raises(OSError, match=re.escape(os.strerror(code))) as raised:
        call(*args, **kwargs)
    assert raised.value.errno == code


def answer(call: Callable[[], object]) -> int:
    """The errno of a call, 0 if it went well."""
    try:
        call()
    except OSError as error:
        return error.errno or -1
    return 0
