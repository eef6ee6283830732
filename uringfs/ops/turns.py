"""Turns: who uses a file's current position, one after the other, in the order they asked."""

from collections.abc import Hashable
from types import TracebackType
from weakref import WeakValueDictionary

import trio


class Turn:
    """`async with` it: entered when all before it have left. One that is dropped unused has left, too: so
    it is referred to by its owner alone."""

    def __init__(self, before: trio.Event | None) -> None:
        self._before = before
        self.left = trio.Event()

    async def __aenter__(self) -> None:
        if self._before is None:
            return
        try:
            await self._before.wait()
        except trio.Cancelled:
            self.left.set()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.left.set()

    def __del__(self) -> None:
        self.left.set()


class Turns:
    def __init__(self) -> None:
        self._last: WeakValueDictionary[Hashable, Turn] = WeakValueDictionary()

    def take(self, key: Hashable) -> Turn:
        last = self._last.get(key)
        turn = self._last[key] = Turn(last.left if last is not None else None)
        return turn

    def __len__(self) -> int:
        """Keys somebody has a turn at."""
        return len(self._last)
