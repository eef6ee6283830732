"""One request's wait for what only the caller's own process can do for it (deliveries.py)."""

from collections.abc import Callable, Hashable
from typing import NamedTuple, Protocol

import trio

from uringfs.abi.control import (
    ADVICE,
    ENTRY,
    URINGFS_DESCRIPTOR_ADVISE,
    URINGFS_DESCRIPTOR_AWAKE,
    URINGFS_DESCRIPTOR_CLOEXEC,
    URINGFS_DESCRIPTOR_CLOSE,
    URINGFS_DESCRIPTOR_CONNECT,
    URINGFS_DESCRIPTOR_LISTEN,
    URINGFS_DESCRIPTOR_NEW,
    URINGFS_DESCRIPTOR_READ,
    URINGFS_DESCRIPTOR_SLEEP,
    URINGFS_DESCRIPTOR_WAKE,
    URINGFS_ENTER_FETCHES,
)
from uringfs.host.files.closing import close_fd
from uringfs.host.protocols import Caller

PATIENCE = 0.1
"""Seconds a request waits for those before it: in the kernel they would be io_uring_enter(2)'s."""


ADDRESSED = (
    URINGFS_DESCRIPTOR_ADVISE
    | URINGFS_DESCRIPTOR_READ
    | URINGFS_DESCRIPTOR_WAKE
    | URINGFS_DESCRIPTOR_CONNECT
    | URINGFS_DESCRIPTOR_LISTEN
    | URINGFS_DESCRIPTOR_SLEEP
    | URINGFS_DESCRIPTOR_AWAKE
)
"""What has an address and a length."""


class Wanted(NamedTuple):
    """What the caller is to do."""

    what: int
    number: int
    """NEW: our descriptor, to be sent; CLOSE: the caller's; WAIT: the id of waitid(2); ADVISE: the advice;
    READ, CONNECT: the descriptor; WAKE: how many; SLEEP: how many words, 0 for the one
    below. LISTEN: the descriptor, the backlog is `address`."""
    which: int = 0
    options: int = 0
    """WAIT: idtype and options of waitid(2)."""
    address: int = 0
    length: int = 0
    """ADVISE, READ, CONNECT: of the memory; bytes. WAKE: the futex; its mask, and PRIVATE above.
    SLEEP: of the words; or the word and its value, and the flags above. AWAKE: the number of a SLEEP to end."""


class Report(NamedTuple):
    """What came of it."""

    res: int
    code: int = 0
    pid: int = 0
    uid: int = 0
    status: int = 0
    """WAIT: siginfo_t, all 0 if there was nothing to wait for."""


class FileLock(Protocol):
    """A request's lock on the caller's table of descriptors (files->file_lock; engine/locks.py)."""

    async def acquire(self, patience: float) -> None:
        """Wait until all who asked before have released theirs, for so many seconds."""

    def release(self) -> None:
        """Whoever asked later need not wait for this one any more."""


class RingDeliveries(Protocol):
    """The deliveries of a ring, as its requests and each delivery see them (deliveries.py)."""

    def any(self) -> bool:
        """Something is under way, for whichever process."""

    def begin(self, caller: Caller, needs: int = URINGFS_ENTER_FETCHES) -> "Delivery":
        """EOPNOTSUPP if the caller does no such thing."""

    def forget(self, delivery: "Delivery") -> None:
        """The delivery is over, or cancelled."""

    def expect_no_enter(self, delivery: "Delivery") -> None:
        """Call once no enter is expected to fetch this delivery any more."""

    def queued(self, delivery: "Delivery") -> bool:
        """True if the delivery waits to be fetched."""

    def announce(self, delivery: "Delivery") -> None:
        """Have the delivery fetched, or done by the agent."""

    def sleeps(self, delivery: "Delivery") -> None:
        """A thread of the client's sleeps for it: the agent answers once more."""

    def awake(self, process: Hashable, number: int) -> None:
        """End such a sleep."""

    def look(self, process: Hashable) -> None:
        """Take what the process's agent has answered by now."""


class Delivery:
    """One request's wait for the caller. Use as a context manager around the whole of it, so that an enter
    knows that something is to come."""

    def __init__(self, deliveries: RingDeliveries, process: Hashable, number: int, awaits_enter: bool) -> None:
        self._deliveries = deliveries
        self.process = process
        """Caller.process of whom it waits for."""
        self.number = number
        self.wanted: Wanted | None = None
        self.awaits_enter = awaits_enter
        """True while the enter that submitted the request is still expected to fetch it."""
        self._then: Callable[[Report], None] = _nothing

    def __enter__(self) -> "Delivery":
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()

    async def new(self, fd: int, cloexec: bool, lock: FileLock | None = None) -> int:
        """Put our descriptor into the caller's table, when it is its lock: its number there, -errno. Ours is
        closed."""
        try:
            flags = URINGFS_DESCRIPTOR_CLOEXEC if cloexec else 0
            return await self._ask(Wanted(URINGFS_DESCRIPTOR_NEW | flags, fd), lock)
        finally:
            close_fd(fd)

    async def close(self, fd: int, lock: FileLock | None = None) -> int:
        """Let the caller close its descriptor, when it has the lock."""
        return await self._ask(Wanted(URINGFS_DESCRIPTOR_CLOSE, fd), lock)

    async def advise(self, address: int, length: int, advice: int) -> int:
        """Let the caller call madvise(2): 0 or -errno."""
        return await self._ask(Wanted(URINGFS_DESCRIPTOR_ADVISE, advice, address=address, length=length))

    async def wake(self, address: int, most: int, mask: int, private: bool) -> int:
        """Let the caller call futex(2) FUTEX_WAKE_BITSET: how many it woke, or -errno."""
        length = mask | private << 32
        return await self._ask(Wanted(URINGFS_DESCRIPTOR_WAKE, most, address=address, length=length))

    async def connect(self, fd: int, address: int, length: int) -> int:
        """Let the caller call connect(2): 0 or -errno; -EAGAIN where it would wait."""
        return await self._ask(Wanted(URINGFS_DESCRIPTOR_CONNECT, fd, address=address, length=length))

    async def listen(self, fd: int, backlog: int) -> int:
        """Let the caller call listen(2): 0 or -errno."""
        return await self._ask(Wanted(URINGFS_DESCRIPTOR_LISTEN, fd, address=backlog))

    async def _ask(self, wanted: Wanted, lock: FileLock | None = None) -> int:
        done, results = trio.Event(), list[int]()

        def then(report: Report) -> None:
            results.append(report.res)
            done.set()

        if lock is not None:
            await lock.acquire(PATIENCE)
        self.ask(wanted, then)
        if lock is not None:
            lock.release()  # the caller does what it is asked in that order
        await done.wait()
        return results[0]

    def ask(self, wanted: Wanted, then: Callable[[Report], None]) -> None:
        """Let the caller do it. then() gets what came of it, unless the delivery was forgotten before."""
        self.wanted, self._then = wanted, then
        self._deliveries.announce(self)

    def ask_of(self, ask: Callable[["Delivery"], None], wanted: Wanted) -> None:
        """Let one agent do it, and nobody wait for what comes of it but an enter that submits."""
        self.wanted, self._then = wanted, lambda _: self.forget()
        ask(self)

    def asleep(self, wanted: Wanted, then: Callable[[Report], None]) -> None:
        """Like ask(), of what a thread of the client's sleeps for by now."""
        self.wanted, self._then = wanted, then
        self._deliveries.sleeps(self)

    def awake(self) -> None:
        """End it, and the sleep that the client may be in for it."""
        taken = self.taken()
        self.forget()
        if taken:
            self._deliveries.awake(self.process, self.number)

    def taken(self) -> bool:
        """True once the caller has fetched it: what it does cannot be undone any more."""
        return self.wanted is not None and not self._deliveries.queued(self)

    def entry(self, wanted: Wanted) -> bytes:
        """struct uringfs_descriptor"""
        if wanted.what & ADDRESSED:
            return ADVICE.pack(self.number, wanted.number, wanted.what, wanted.address, wanted.length, 0)
        number = -1 if wanted.what & URINGFS_DESCRIPTOR_NEW else wanted.number
        return ENTRY.pack(self.number, number, wanted.what, wanted.which, wanted.options, 0, 0, 0, 0)

    def end(self, report: Report) -> None:
        self.expect_no_enter()
        self.wanted = None
        self._then(report)

    def expect_no_enter(self) -> None:
        """The delivery may take long: no enter is expected to fetch it any more."""
        self._deliveries.expect_no_enter(self)

    def forget(self) -> None:
        self._deliveries.forget(self)


def _nothing(_: Report) -> None:
    pass
