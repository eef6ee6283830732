"""Calls that wait and that a signal to their client ends."""

import functools
import types
from collections.abc import Coroutine, Generator
from typing import Any

import trio


class Interrupts:
    """The cancel scope of each call that may wait, by its number."""

    def __init__(self) -> None:
        self._scopes: dict[int, trio.CancelScope] = {}

    def interrupt(self, key: int) -> None:
        """End that call, if it is still going on."""
        scope = self._scopes.get(key)
        if scope is not None:
            scope.cancel()

    async def during(self, key: int, call: Coroutine[Any, Any, None]) -> bool:
        """Await call; False if it was interrupted."""
        with trio.CancelScope() as scope:
            self._scopes[key] = scope
            try:
                await call
            finally:
                del self._scopes[key]
        return not scope.cancelled_caught

    async def quick(self, key: int, call: Coroutine[Any, Any, None]) -> bool:
        """The same for a call that rarely waits, and is in no cancel scope of its own when it first does:
        it gets a scope only then. A scope costs as much as the rest of a control write."""
        try:
            trap = call.send(None)
        except StopIteration:
            return True
        return await self.during(key, resume(call, trap))


async def resume(call: Coroutine[Any, Any, None], trap: Any) -> None:
    """`await call`, for one that has run as far as its first trap to trio."""
    await _steps(call, trap)


@types.coroutine
def _steps(call: Coroutine[Any, Any, None], trap: Any) -> Generator[Any, Any, None]:
    while True:
        try:
            value = yield trap
        except BaseException as error:
            step = functools.partial(call.throw, error)
        else:
            step = functools.partial(call.send, value)
        try:
            trap = step()
        except StopIteration:
            return
