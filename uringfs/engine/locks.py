"""Locks that go to whoever has asked first, by key: a file's current position (file->f_pos_lock), a process's
table of descriptors, a ring's table of files. In the kernel nobody can tell that it is first come, first
served: there who asks first runs first."""

import math
from collections import deque
from collections.abc import Hashable
from contextlib import suppress
from types import TracebackType

import trio

Queues = dict[Hashable, "deque[_Ticket]"]


class _Ticket:
    __slots__ = ("first", "released")

    def __init__(self) -> None:
        self.released = False
        self.first: trio.Event | None = None
        """Set once all tickets before this one are released; made by who waits for that."""


class TicketLock:
    """`async with` it: entered when all who asked before have released theirs. One that is dropped unused is
    released, too: so it is referred to by its owner alone."""

    def __init__(self, queues: Queues, key: Hashable) -> None:
        self._queues = queues
        self._key = key
        self._ticket = _Ticket()
        self._token = trio.lowlevel.current_trio_token()
        queues.setdefault(key, deque()).append(self._ticket)

    async def acquire(self, patience: float = math.inf) -> None:
        """Wait until all who asked before have released theirs, for so many seconds."""
        queue = self._queues.get(self._key)
        if self._ticket.released or queue is None or queue[0] is self._ticket:
            return
        self._ticket.first = trio.Event()
        try:
            with trio.move_on_after(patience):
                await self._ticket.first.wait()
        except trio.Cancelled:
            self.release()
            raise

    def release(self) -> None:
        """Whoever asked later need not wait for this one any more; it may not have been acquired."""
        _release(self._queues, self._key, self._ticket)

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        if not self._ticket.released:  # and in whatever thread
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(_release, self._queues, self._key, self._ticket)


def _release(queues: Queues, key: Hashable, ticket: _Ticket) -> None:
    if ticket.released:
        return
    ticket.released = True
    queue = queues[key]
    while queue and queue[0].released:
        queue.popleft()
    if not queue:
        del queues[key]
    elif queue[0].first is not None:
        queue[0].first.set()


class TicketLocks:
    """The locks of a mount that somebody has or waits for."""

    def __init__(self) -> None:
        self._queues: Queues = {}

    def ask(self, key: Hashable) -> TicketLock:
        """Take a ticket now; acquire() waits until it is the first."""
        return TicketLock(self._queues, key)

    def __len__(self) -> int:
        """Keys for which there is a ticket."""
        return len(self._queues)
