"""The order in which requests go on that wait for one file: the last armed first, as in the kernel's wait
queues."""

import itertools
from collections.abc import Hashable
from operator import itemgetter
from typing import Self

import trio


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
        """Count one more request that waits for this file."""
        self._armed[key] = self._armed.get(key, 0) + 1

    def waits_no_more(self, key: Hashable) -> None:
        """Count one request fewer that waits for this file."""
        self._armed[key] -= 1
        if not self._armed[key]:
            del self._armed[key]

    async def go_on(self, key: Hashable, number: int) -> None:
        """To be called after the wait: returns when those have gone on that were armed later, and are ready,
        too."""
        if self._armed[key] == 1 and not self._ready:  # nobody was ready before it
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
        """Let all go on that are ready: files in the order of their events, of one file the last armed first."""
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
