"""Calls that wait and that a signal to their client ends."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

T = TypeVar("T")


class Interrupts:
    """The cancel scope of each call that may wait, by its number."""

    def __init__(self) -> None:
        self._scopes: dict[int, trio.CancelScope] = {}

    def interrupt(self, key: int) -> None:
        """End that call, if it is still going on."""
        scope = self._scopes.get(key)
        if scope is not None:
            scope.cancel()

    async def during(self, key: int, call: Callable[[], Awaitable[T]]) -> T | None:
        """What call() comes to; None if it was interrupted."""
        result = None
        with trio.CancelScope() as scope:
            self._scopes[key] = scope
            try:
                result = await call()
            finally:
                del self._scopes[key]
        return result
