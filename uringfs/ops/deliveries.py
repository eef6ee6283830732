"""What only the caller's own process can do for a request: take a new descriptor, close one, reap a child.

An enter whose `can` says so lets requests begin that need it. The process fetches what there is to do, does
it and reports what came of it (URINGFS_CMD_FETCH); the CQE comes then. docs/descriptors.md
"""

import errno
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import trio

from uringfs.abi.control import (
    DESCRIPTOR,
    ENTRY,
    URINGFS_DESCRIPTOR_CLOEXEC,
    URINGFS_DESCRIPTOR_CLOSE,
    URINGFS_DESCRIPTOR_NEW,
    URINGFS_DESCRIPTOR_WAIT,
    URINGFS_ENTER_FETCHES,
    URINGFS_ENTER_WAITS,
)
from uringfs.errors import UringError
from uringfs.host.base import Caller
from uringfs.ops.context import RingContext

PATIENCE = 0.05  # seconds a fetch waits for what its enter has submitted; a helper may have to start first
MAX_BATCH = 64
COMPLETION_STEPS = 3  # of the scheduler, in which a request ends once its event is set


class Wanted(NamedTuple):
    """What the caller is to do."""

    what: int
    number: int
    """NEW: our descriptor, to be sent; CLOSE: the caller's; WAIT: the id of waitid(2)."""
    which: int = 0
    options: int = 0
    """WAIT: idtype and options of waitid(2)."""


class Report(NamedTuple):
    """What came of it."""

    res: int
    code: int = 0
    pid: int = 0
    uid: int = 0
    status: int = 0
    """WAIT: siginfo_t, all 0 if there was nothing to wait for."""


class Delivery:
    """One request's wait for the caller. Use as a context manager around the whole of it, so that an enter
    knows that something is to come."""

    def __init__(self, deliveries: "Deliveries", group: int, number: int) -> None:
        self._deliveries = deliveries
        self.group = group
        self.number = number
        self.wanted: Wanted | None = None
        self.fresh = True
        """Its enter has not fetched in vain yet."""
        self._then: Callable[[Report], None] = _nothing

    def __enter__(self) -> "Delivery":
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()

    async def new(self, fd: int, cloexec: bool) -> int:
        """Put our descriptor into the caller's table: its number there, -errno. Ours is closed."""
        try:
            flags = URINGFS_DESCRIPTOR_CLOEXEC if cloexec else 0
            return await self._ask(Wanted(URINGFS_DESCRIPTOR_NEW | flags, fd))
        finally:
            os.close(fd)

    async def close(self, fd: int) -> int:
        """Let the caller close its descriptor."""
        return await self._ask(Wanted(URINGFS_DESCRIPTOR_CLOSE, fd))

    async def _ask(self, wanted: Wanted) -> int:
        done, results = trio.Event(), list[int]()

        def then(report: Report) -> None:
            results.append(report.res)
            done.set()

        self.ask(wanted, then)
        await done.wait()
        return results[0]

    def ask(self, wanted: Wanted, then: Callable[[Report], None]) -> None:
        """Let the caller do it. then() gets what came of it, unless the delivery was forgotten before."""
        self.wanted, self._then = wanted, then
        self._deliveries.announce(self)

    def taken(self) -> bool:
        """The caller is at it: what it does can be undone no more."""
        return self.wanted is not None and not self._deliveries.queued(self)

    def end(self, report: Report) -> None:
        self.fresh, self.wanted = False, None
        self._then(report)

    def forget(self) -> None:
        self._deliveries.forget(self)


def _nothing(_: Report) -> None:
    pass


class Deliveries:
    """Of one ring, by process."""

    def __init__(self, context: RingContext) -> None:
        self._context = context
        self._numbers = itertools.count(1)
        self._all: dict[int, Delivery] = {}
        self._ready: dict[int, deque[Delivery]] = {}
        self._fetching: dict[int, trio.Event] = {}
        self._waiting: dict[int, list[Callable[[], None]]] = {}

    def begin(self, caller: Caller, needs: int = URINGFS_ENTER_FETCHES) -> Delivery:
        """EOPNOTSUPP if the caller does no such thing."""
        if not caller.can & needs:
            raise UringError(errno.EOPNOTSUPP, f"it needs a caller that does its part: `can` without {needs:#x}")
        delivery = Delivery(self, caller.group, next(self._numbers))
        self._all[delivery.number] = delivery
        return delivery

    def forget(self, delivery: Delivery) -> None:
        self._all.pop(delivery.number, None)
        if self.queued(delivery):
            self._ready[delivery.group].remove(delivery)
        self._wake(delivery.group)

    def queued(self, delivery: Delivery) -> bool:
        """It is to be fetched."""
        return delivery in self._ready.get(delivery.group, ())

    def announce(self, delivery: Delivery) -> None:
        """It has to be fetched: wake who fetches, who waits in an enter, and who polls."""
        self._ready.setdefault(delivery.group, deque()).append(delivery)
        self._wake(delivery.group)
        for leave in tuple(self._waiting.get(delivery.group, ())):
            leave()
        for waiter in tuple(self._context.ring.waiters):  # who polls looks again
            waiter.completions()

    def _wake(self, group: int) -> None:
        event = self._fetching.pop(group, None)
        if event is not None:
            event.set()

    @contextmanager
    def interrupts(self, group: int, leave: Callable[[], None]) -> Iterator[None]:
        """Call leave() as soon as there is something to fetch, or now."""
        waiting = self._waiting.setdefault(group, [])
        waiting.append(leave)
        try:
            if self.ready(group):
                leave()
            yield
        finally:
            waiting.remove(leave)
            if not waiting:
                self._waiting.pop(group, None)

    def ready(self, group: int) -> bool:
        return bool(self._ready.get(group))

    def any(self) -> bool:
        """Something is under way, for whichever process."""
        return bool(self._all) or self.any_ready()

    def any_ready(self) -> bool:
        return any(self._ready.values())

    def due(self, group: int) -> bool:
        """An enter should be followed by a fetch."""
        return self.ready(group) or self._expected(group)

    def _expected(self, group: int) -> bool:
        return any(delivery.fresh and delivery.group == group for delivery in self._all.values())

    async def take(self, group: int, room: int) -> list[Delivery]:
        """Those that are ready, at most `room`, to be ended by whoever takes them."""
        with trio.move_on_after(PATIENCE):
            while not self.ready(group) and self._expected(group):
                await self._fetching.setdefault(group, trio.Event()).wait()
        if not self.ready(group):
            for delivery in self._all.values():
                delivery.fresh = delivery.fresh and delivery.group != group
            return []
        queue = self._ready[group]
        return [queue.popleft() for _ in range(min(room, len(queue), MAX_BATCH))]

    def put_back(self, taken: Iterable[Delivery]) -> None:
        """What was taken and not ended, for the next who takes."""
        for delivery in taken:
            if delivery.number in self._all:
                self.announce(delivery)

    async def fetch(self, caller: Caller, sock: int, room: int) -> bytes:
        """What the caller is to do, in the format it knows: as many as are ready and `room` lets."""
        taken = await self.take(caller.group, room)
        return b"".join(self._hand_over(caller, sock, taken)) if taken else b""

    def _hand_over(self, caller: Caller, sock: int, taken: Sequence[Delivery]) -> list[bytes]:
        new = [delivery for delivery in taken if delivery.wanted and delivery.wanted.what & URINGFS_DESCRIPTOR_NEW]
        failed = 0
        if new:
            try:
                caller.send_descriptors(sock, [delivery.wanted.number for delivery in new if delivery.wanted])
            except UringError as error:
                # Without a socket: its table is full (the client passes -1)
                failed = errno.EMFILE if sock < 0 else error.errno
        entries = []
        for delivery in taken:
            wanted = delivery.wanted
            assert wanted is not None
            delivery.fresh = False
            if failed and delivery in new:
                delivery.end(Report(-failed))
            elif wanted.what & URINGFS_DESCRIPTOR_WAIT and not caller.can & URINGFS_ENTER_WAITS:
                delivery.end(Report(-errno.EOPNOTSUPP))
            else:
                number = -1 if delivery in new else wanted.number
                entry = (delivery.number, number, wanted.what, wanted.which, wanted.options, 0, 0, 0, 0)
                entries.append(ENTRY.pack(*entry)[: entry_size(caller)])
        return entries

    async def report(self, caller: Caller, entries: bytes) -> None:
        """What came of those the caller has fetched. Ends once their requests have. EINVAL for one that it
        was not asked."""
        reported = []
        size = entry_size(caller)
        for at in range(0, len(entries), size):
            number, res, _, _, _, *info = ENTRY.unpack(entries[at : at + size].ljust(ENTRY.size, b"\0"))
            delivery = self._all.get(number)
            if delivery is None:  # cancelled meanwhile
                continue
            if delivery.group != caller.group or not delivery.taken():
                raise UringError(errno.EINVAL, f"nothing was asked of this process as {number}")
            delivery.end(Report(res, *info))
            reported.append(delivery)
        await self.completed(reported)

    async def completed(self, ended: Sequence[Delivery]) -> None:
        """Let the requests whose deliveries have ended complete."""
        for _ in range(COMPLETION_STEPS):
            if not any(delivery.number in self._all for delivery in ended):
                return
            await trio.lowlevel.cancel_shielded_checkpoint()


def entry_size(caller: Caller) -> int:
    """Bytes of one struct uringfs_descriptor: clients that do not wait know the first half of it."""
    return ENTRY.size if caller.can & URINGFS_ENTER_WAITS else DESCRIPTOR.size
