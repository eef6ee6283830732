"""Turns: who uses a file's current position, or changes a table, one after the other, in the order they asked.
LastFirst: who goes on first when several wait for one file."""

import itertools
import math
from collections import deque
from collections.abc import Hashable
from contextlib import suppress
from operator import itemgetter
from types import TracebackType
from typing import Self

import trio

Queues = dict[Hashable, "deque[Place]"]


class Place:
    __slots__ = ("left", "reached")

    def __init__(self) -> None:
        self.left = False
        self.reached: trio.Event | None = None
        """Set once all places before this one have left; made by who waits for that."""


class Turn:
    """`async with` it: entered when all before it have left. One that is dropped unused has left, too: so
    it is referred to by its owner alone."""

    def __init__(self, queues: Queues, key: Hashable) -> None:
        self._queues = queues
        self._key = key
        self._place = Place()
        self._token = trio.lowlevel.current_trio_token()
        queues.setdefault(key, deque()).append(self._place)

    async def reached(self, patience: float = math.inf) -> None:
        """Wait until all before it have left, for so many seconds."""
        queue = self._queues.get(self._key)
        if self._place.left or queue is None or queue[0] is self._place:
            return
        self._place.reached = trio.Event()
        try:
            with trio.move_on_after(patience):
                await self._place.reached.wait()
        except trio.Cancelled:
            self.leave()
            raise

    def leave(self) -> None:
        """Whoever comes behind need not wait for this one any more."""
        _leave(self._queues, self._key, self._place)

    async def __aenter__(self) -> None:
        await self.reached()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def __del__(self) -> None:
        if not self._place.left:  # and in whatever thread
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(_leave, self._queues, self._key, self._place)


def _leave(queues: Queues, key: Hashable, place: Place) -> None:
    if place.left:
        return
    place.left = True
    queue = queues[key]
    while queue and queue[0].left:
        queue.popleft()
    if not queue:
        del queues[key]
    elif queue[0].reached is not None:
        queue[0].reached.set()


class Turns:
    def __init__(self) -> None:
        self._queues: Queues = {}

    def take(self, key: Hashable) -> Turn:
        return Turn(self._queues, key)

    def __len__(self) -> int:
        """Keys somebody has a turn at."""
        return len(self._queues)


class LastFirst:
    """Where several requests wait for one file, the last armed goes on first (add_wait_queue()). The kernel arms
    them as they are submitted, we do in their tasks, a moment later: an event in between must not show."""

    def __init__(self) -> None:
        self._armed: dict[Hashable, int] = {}
        self._numbers = itertools.count()
        self._ready: list[tuple[Hashable, int, trio.lowlevel.Task]] = []

    def arm(self, key: Hashable) -> "Armed":
        return Armed(self, key, next(self._numbers))

    def waits(self, key: Hashable) -> None:
        """One more does."""
        self._armed[key] = self._armed.get(key, 0) + 1

    def waits_no_more(self, key: Hashable) -> None:
        """One fewer does."""
        self._armed[key] -= 1
        if not self._armed[key]:
            del self._armed[key]

    async def go_on(self, key: Hashable, number: int) -> None:
        """To be called after the wait: returns when those have gone on that were armed later, and are ready,
        too."""
        if self._armed[key] == 1:
            return
        if not self._ready:  # all who are ready by now come here within two rounds
            soon = trio.lowlevel.current_trio_token().run_sync_soon
            soon(soon, self._all_go_on)
        entry = key, number, trio.lowlevel.current_task()
        self._ready.append(entry)

        def abort(raise_cancel: object) -> trio.lowlevel.Abort:
            self._ready.remove(entry)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _all_go_on(self) -> None:
        """Files in the order of their events."""
        by_file: dict[Hashable, list[tuple[int, trio.lowlevel.Task]]] = {}
        for key, number, task in self._ready:
            by_file.setdefault(key, []).append((number, task))
        self._ready.clear()
        for same in by_file.values():
            for _, task in sorted(same, key=itemgetter(0), reverse=True):
                trio.lowlevel.reschedule(task)


class Armed:
    """One request's wait for a file, as long as it is entered."""

    def __init__(self, order: LastFirst, key: Hashable, number: int) -> None:
        self._order = order
        self._key = key
        self._number = number

    def __enter__(self) -> Self:
        self._order.waits(self._key)
        return self

    def __exit__(self, *_: object) -> None:
        self._order.waits_no_more(self._key)

    async def go_on(self) -> None:
        await self._order.go_on(self._key, self._number)
