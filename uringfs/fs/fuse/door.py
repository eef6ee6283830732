"""The door: a UringError leaves as its errno, anything else is logged and leaves as EIO; pyfuse3's main loop
would end on any exception but FUSEError."""

import errno
import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from uringfs import native  # noqa: F401  before pyfuse3: see uringfs.native
from uringfs.errors import UringError

# isort: split
import pyfuse3

log = logging.getLogger(__name__)

Self = TypeVar("Self")
P = ParamSpec("P")
R = TypeVar("R")
Handler = Callable[Concatenate[Self, P], Coroutine[Any, Any, R]]


def outcome(name: str, error: Exception) -> int:
    """The errno with which an error leaves."""
    if isinstance(error, UringError):
        return error.errno
    log.error("%s failed; the client gets EIO", name, exc_info=error)
    return errno.EIO


def door(handler: Handler[Self, P, R]) -> Handler[Self, P, R]:
    """Errors out of a handler become FUSEError."""

    @functools.wraps(handler)
    async def guarded(operations: Self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await handler(operations, *args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except Exception as error:
            raise pyfuse3.FUSEError(outcome(handler.__name__, error)) from None

    return guarded
