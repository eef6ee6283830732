"""The order in which requests go on that wait for one file: the last armed first, as in the kernel's wait
queues."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from itertools import count, islice
from operator import attrgetter
from typing import Self

import trio

Settle = Callable[[], Awaitable[None]]
"""Request.settle()"""
AT_ONCE = 16
"""How many are woken when it is the first one's turn: most go on without a further wait, in one step of trio's."""


class WaitQueue:
    """Requests that wait for one file, and the places of those that have been let go on, in whose order they take
    data."""

    def __init__(self, key: Hashable) -> None:
        self.key = key
        """The file's."""
        self.armed = 0
        """How many there are."""
        self._places: OrderedDict[Armed, trio.Event | None] = OrderedDict()
        """With what wakes one that waits for its turn."""

    def let_go(self, armed: "Armed") -> None:
        """Give it a place behind all others. It has that until it has gone_on()."""
        self._places[armed] = None

    def first(self, armed: "Armed") -> None:
        """Give it the first place: it has gone on, and has to wait a little more."""
        self._places[armed] = None
        self._places.move_to_end(armed, last=False)

    def is_behind(self, armed: "Armed") -> bool:
        return next(iter(self._places)) is not armed

    async def turn(self, armed: "Armed") -> None:
        """Wait until all have gone on whose places are before."""
        while self.is_behind(armed):
            self._places[armed] = turn = trio.Event()
            await turn.wait()
            self._places[armed] = None

    def gone_on(self, armed: "Armed") -> None:
        """Take its place away, if it has one."""
        if armed not in self._places:
            return
        del self._places[armed]
        if next(iter(self._places.values()), None) is not None:
            for turn in islice(self._places.values(), AT_ONCE):
                if turn is not None:
                    turn.set()


class LastFirst:
    """Where several requests wait for one file, the last armed goes on first (add_wait_queue()). The kernel arms
    them as they are submitted, we do in their tasks, a moment later: an event in between must not show."""

    def __init__(self) -> None:
        self._queues: dict[Hashable, WaitQueue] = {}
        self._numbers = count()
        self._happened: OrderedDict[Armed, None] = OrderedDict()
        """Whose event has happened, in that order, and whose task has not come here."""
        self._ready: dict[Armed, trio.lowlevel.Task] = {}
        self._resumed = 0
        """How many have been let go on, and have not come to it."""

    def arm(self, key: Hashable, *, by_itself: bool = False) -> "Armed":
        """by_itself: it settles when its client says, and nobody waits for that."""
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = WaitQueue(key)
        queue.armed += 1
        return Armed(self, queue, next(self._numbers), by_itself)

    def happened(self, armed: "Armed") -> None:
        """Note that this one's event is there, for its task, which may not even have begun."""
        self._happened[armed] = None

    def waits_no_more(self, armed: "Armed") -> None:
        """Count one request fewer that waits for its file."""
        queue = armed.queue
        queue.armed -= 1
        if not queue.armed:
            del self._queues[queue.key]
        self._happened.pop(armed, None)

    async def go_on(self, armed: "Armed") -> None:
        """To be called after the wait: returns when those have been let go on whose events came before, or that
        were armed later for the same file, and are ready, too."""
        first = next(iter(self._happened), armed) is armed
        self._happened.setdefault(armed)
        if first and armed.queue.armed == 1 and not (self._ready or self._resumed):
            del self._happened[armed]
            armed.queue.let_go(armed)
            return
        if not self._ready:  # all who are ready by now come here within two rounds
            soon = trio.lowlevel.current_trio_token().run_sync_soon
            soon(soon, self._all_go_on)
        self._ready[armed] = trio.lowlevel.current_task()

        def abort(raise_cancel: object) -> trio.lowlevel.Abort:
            del self._ready[armed]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        self._resumed -= 1

    def _all_go_on(self) -> None:
        """Let all go on that are ready: files in the order of their events, of one file the last armed first."""
        by_file: dict[WaitQueue, list[Armed]] = {}
        for armed in self._happened:
            if armed in self._ready:
                by_file.setdefault(armed.queue, []).append(armed)
        for queue, same in by_file.items():
            for armed in sorted(same, key=attrgetter("number"), reverse=True):
                del self._happened[armed]
                queue.let_go(armed)
                self._resumed += 1
                trio.lowlevel.reschedule(self._ready.pop(armed))


class Armed:
    """One request's wait for a file, until it is closed."""

    def __init__(self, order: LastFirst, queue: WaitQueue, number: int, by_itself: bool) -> None:
        """number: how many were armed before."""
        self._order = order
        self.queue = queue
        self.number = number
        self._by_itself = by_itself
        self._closed = False

    def close(self) -> None:
        """Wait no more. Closing it twice does no harm."""
        if not self._closed:
            self._closed = True
            self.queue.gone_on(self)
            self._order.waits_no_more(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def happened(self) -> None:
        """The event is there that it waits for."""
        self._order.happened(self)

    async def go_on(self, settle: Settle) -> None:
        """To be called after the wait. Returns when all have settled that come before this one, and it has, too:
        it is the next to take data."""
        await self._order.go_on(self)
        await self._settle(settle)

    async def once_more(self, settle: Settle) -> None:
        """To be called by one that has gone on and found that it has to settle again. It keeps its place: others
        still come behind it."""
        self.queue.first(self)
        await self._settle(settle)

    async def _settle(self, settle: Settle) -> None:
        if self._by_itself:
            self.queue.gone_on(self)
            await settle()
            return
        try:
            await settle()
            while self.queue.is_behind(self):
                await self.queue.turn(self)
                await settle()  # it may have been long
        finally:
            self.queue.gone_on(self)
