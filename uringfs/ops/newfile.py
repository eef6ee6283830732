"""New descriptors, and the closing of old ones. docs/descriptors.md says which way applies when.

Direct descriptors (sqe->file_index) go into the ring's own table. A descriptor of the caller's table can be
made or closed by nobody but the caller: an enter with URINGFS_ENTER_FETCHES says that it will, and the CQE
is posted once it has. Without that the request ends with EOPNOTSUPP, before it does anything.
"""

import errno
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import trio

from uringfs.abi.control import (
    DESCRIPTOR,
    URINGFS_DESCRIPTOR_CLOEXEC,
    URINGFS_DESCRIPTOR_CLOSE,
    URINGFS_DESCRIPTOR_NEW,
)
from uringfs.errors import UringError
from uringfs.host.base import Caller, File
from uringfs.ops.context import RingContext
from uringfs.ops.request import Request
from uringfs.ops.resources import Node

IORING_FILE_INDEX_ALLOC = 0xFFFFFFFF
PATIENCE = 0.05  # seconds a fetch waits for what its enter has submitted; a helper may have to start first
MAX_BATCH = 64
COMPLETION_STEPS = 3  # of the scheduler, in which a request ends once its event is set


class Wanted(NamedTuple):
    """What the caller is to do: struct uringfs_descriptor."""

    what: int
    number: int
    """Ours, to be sent, or the caller's, to be closed."""


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
        self.results: list[int] = []
        self.done = trio.Event()

    def __enter__(self) -> "Delivery":
        return self

    def __exit__(self, *_: object) -> None:
        self._deliveries.forget(self)

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
        self.wanted = wanted
        self.results.clear()
        self.done = trio.Event()
        self._deliveries.announce(self)
        await self.done.wait()
        return self.results[0]


class Deliveries:
    """Of one ring, by process."""

    def __init__(self, context: RingContext) -> None:
        self._context = context
        self._numbers = itertools.count(1)
        self._all: dict[int, Delivery] = {}
        self._ready: dict[int, deque[Delivery]] = {}
        self._fetching: dict[int, trio.Event] = {}
        self._waiting: dict[int, list[Callable[[], None]]] = {}

    def begin(self, caller: Caller) -> Delivery:
        """EOPNOTSUPP if the caller does not fetch."""
        if not caller.fetches:
            raise UringError(errno.EOPNOTSUPP, "a new descriptor needs the caller: URINGFS_ENTER_FETCHES")
        delivery = Delivery(self, caller.group, next(self._numbers))
        self._all[delivery.number] = delivery
        return delivery

    def forget(self, delivery: Delivery) -> None:
        self._all.pop(delivery.number, None)
        queue = self._ready.get(delivery.group)
        if queue and delivery in queue:
            queue.remove(delivery)
        self._wake(delivery.group)

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

    async def fetch(self, caller: Caller, sock: int, room: int) -> bytes:
        """What the caller is to do: struct uringfs_descriptor, as many as are ready and `room` lets."""
        group = caller.group
        with trio.move_on_after(PATIENCE):
            while not self.ready(group) and self._expected(group):
                await self._fetching.setdefault(group, trio.Event()).wait()
        if not self.ready(group):
            for delivery in self._all.values():
                delivery.fresh = delivery.fresh and delivery.group != group
            return b""
        queue = self._ready[group]
        taken = [queue.popleft() for _ in range(min(room, len(queue), MAX_BATCH))]
        return b"".join(self._hand_over(caller, sock, taken))

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
            assert delivery.wanted is not None
            delivery.fresh = False
            if failed and delivery in new:
                self._end(delivery, -failed)
                continue
            closes = delivery.wanted.what & URINGFS_DESCRIPTOR_CLOSE
            entries.append(
                DESCRIPTOR.pack(delivery.number, delivery.wanted.number if closes else -1, delivery.wanted.what)
            )
        return entries

    async def report(self, caller: Caller, entries: bytes) -> None:
        """What came of it; the requests have completed when this returns. EINVAL for what this process was
        not asked."""
        reported = []
        for number, result, _ in DESCRIPTOR.iter_unpack(entries):
            delivery = self._all.get(number)
            if delivery is None:  # cancelled meanwhile
                continue
            queue = self._ready.get(delivery.group, ())
            if delivery.group != caller.group or delivery.wanted is None or delivery in queue:
                raise UringError(errno.EINVAL, f"nothing was asked of this process as {number}")
            self._end(delivery, result)
            reported.append(number)
        for _ in range(COMPLETION_STEPS):
            if not any(number in self._all for number in reported):
                return
            await trio.lowlevel.cancel_shielded_checkpoint()

    def _end(self, delivery: Delivery, result: int) -> None:
        delivery.wanted = None
        delivery.results.append(result)
        delivery.done.set()


async def deliver(request: Request, fd: int, cloexec: bool = False, delivery: Delivery | None = None) -> int:
    """The CQE's res of a request that has made fd, which is ours and is taken over: its slot's number or 0
    (direct), its number in the caller's table, or -errno. cloexec is for the latter.

    delivery: begun before the request did anything, for a client that does not fetch to find nothing done;
    and for its enter to know that there will be something to fetch.
    """
    if request.sqe.file_index:
        return install_fixed(request.context, fd, request.sqe.file_index)
    if delivery is None:
        try:
            delivery = request.context.deliveries.begin(request.caller)
        except UringError:
            os.close(fd)
            raise
    with delivery:
        return await delivery.new(fd, cloexec)


def install_fixed(context: RingContext, fd: int, file_slot: int) -> int:
    """__io_fixed_fd_install() of our descriptor, which is taken over: 0, or the slot if one was to be found.
    ENFILE, ENXIO, EINVAL, EBADF."""
    file = context.host.adopt(fd)
    try:
        return install_file(context, file, file_slot)
    except UringError:
        file.close()
        raise


def install_file(context: RingContext, file: File, file_slot: int) -> int:
    """The same of a File, which stays the caller's if it fails (io_install_fixed_file())."""
    alloc = file_slot == IORING_FILE_INDEX_ALLOC
    index = _free_slot(context) if alloc else file_slot - 1
    table = context.resources.files
    if file.inode:
        raise UringError(errno.EBADF, "a ring cannot be registered in a ring")
    if not table.nodes:
        raise UringError(errno.ENXIO, "no files are registered")
    if index >= len(table.nodes):
        raise UringError(errno.EINVAL, f"slot {index} of {len(table.nodes)}")
    table.put(index, Node(file, _close))
    context.resources.file_alloc_hint = index + 1
    return index if alloc else 0


def _close(file: File) -> None:
    file.close()


def _free_slot(context: RingContext) -> int:
    """io_file_bitmap_get(). ENFILE."""
    resources = context.resources
    nodes = resources.files.nodes or []
    first, end = resources.file_alloc_range
    end = min(end, len(nodes))
    hint = resources.file_alloc_hint
    for index in itertools.chain(range(max(hint, first), end), range(first, min(hint, end))):
        if nodes[index] is None:
            return index
    raise UringError(errno.ENFILE, "no slot is free")


def remove_fixed(context: RingContext, index: int) -> int:
    """io_fixed_fd_remove(). ENXIO, EINVAL, EBADF."""
    table = context.resources.files
    if not table.nodes:
        raise UringError(errno.ENXIO, "no files are registered")
    if index >= len(table.nodes):
        raise UringError(errno.EINVAL, f"slot {index} of {len(table.nodes)}")
    if table.nodes[index] is None:
        raise UringError(errno.EBADF, f"no file is registered at {index}")
    table.put(index, None)
    context.resources.file_alloc_hint = index
    return 0
