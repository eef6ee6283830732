"""The state of one ring: its queues, who waits for completions, and its counters."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from uringfs.abi.constants import (
    IORING_FEAT_NODROP,
    IORING_SETUP_SQPOLL,
    IORING_SETUP_TASKRUN_FLAG,
    IORING_SQ_CQ_OVERFLOW,
    IORING_SQ_TASKRUN,
)
from uringfs.errors import UringError
from uringfs.memory.base import Region, RingMemory
from uringfs.ring.geometry import Geometry
from uringfs.ring.queues import CompletionQueue, SubmissionQueue
from uringfs.ring.shared import Lane, SharedCompletionQueue, SharedSubmissionQueue


class Waiter(Protocol):
    """Someone to be told when CQEs have been published."""

    waits: ClassVar[bool]
    """True for an enter that waits; a poll of the ring else."""

    def completions(self) -> None: ...

    def closed(self) -> None: ...


class EventFdSignal(Protocol):
    """A registered eventfd (register/eventfd.py)."""

    asynchronous: bool
    """Only completions of requests that went to a worker count."""

    def completions(self, from_worker: bool) -> None: ...

    def task_work(self) -> None: ...

    def signals(self, file: Any) -> int:
        """How often it has been signalled, if it is that file; else 0."""

    def close(self) -> None: ...


@dataclass(slots=True)
class Counters:
    """Since setup; what `cat` and the xattrs show."""

    enters: int = 0
    submitted: int = 0
    completed: int = 0
    overflowed: int = 0
    cancelled: int = 0
    injected: int = 0

    def add(self, other: "Counters") -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Waiters:
    """The waiters of a ring. Clients of a lane are told when there are some."""

    def __init__(self) -> None:
        self._all: dict[Waiter, None] = {}
        self.enters = 0
        """Number of waiters that are enters."""
        self.lane: Lane | None = None

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, waiter: Waiter) -> bool:
        return waiter in self._all

    def __iter__(self) -> Iterator[Waiter]:
        """Goes over a copy: the last to come is the first, as in a wait queue (add_wait_queue())."""
        return iter(tuple(reversed(self._all)))

    def append(self, waiter: Waiter) -> None:
        self._all[waiter] = None
        self.enters += waiter.waits
        self._changed()

    def remove(self, waiter: Waiter) -> None:
        """Each waiter takes itself out."""
        del self._all[waiter]
        self.enters -= waiter.waits
        self._changed()

    def _changed(self) -> None:
        if self.lane is not None:
            self.lane.attend()


class ChargedRegion:
    """A region of a ring's, on somebody's account until it is closed."""

    def __init__(self, region: Region, size: int, charge: Callable[[int], None]) -> None:
        self._region = region
        self._size = size
        self._charge = charge
        self.read = region.read
        self.write = region.write

    def close(self) -> None:
        self._region.close()
        self._charge(-self._size)


class Ring:
    """A ring that has been set up. owner: (thread id, uid) of who did. charge: takes bytes, less than 0 to give
    them back, on the account of the ring's maker; ENOMEM."""

    def __init__(
        self,
        memory: RingMemory,
        geometry: Geometry,
        owner: tuple[int, int],
        charge: Callable[[int], None] = lambda size: None,
    ) -> None:
        memory.grow(geometry.file_size)
        memory.hold(geometry.areas)
        self.charge = charge
        self.memory = memory
        self.geometry = geometry
        self.owner = owner
        self.sq = SubmissionQueue(memory, geometry)
        self.cq = CompletionQueue(memory, geometry, self.sq)
        if not geometry.kernel.features & IORING_FEAT_NODROP:
            self.cq.max_backlog = 0
        self.counters = Counters()
        self.waiters = Waiters()
        self.eventfd: EventFdSignal | None = None
        self.cq_timeouts = 0
        """Completions by timeouts running out (ctx->cq_timeouts)."""
        self.from_worker = False
        """True if a CQE that is posted and not yet published is of a request that io-wq would have done."""
        self.wait_region: tuple[Region, int] | None = None
        """Registered arguments of waits (IORING_ENTER_EXT_ARG_REG), and their size."""
        self._enter_wanted = False
        self.number = 0
        """The inode's of its file, if it has one."""
        self.injected: list[str] = []
        """Lines about the last faults that were injected."""
        self.has_work = False
        """Work waits for an enter with GETEVENTS (IORING_SETUP_DEFER_TASKRUN)."""
        self.clock = time.CLOCK_MONOTONIC
        """The clock of waits (IORING_REGISTER_CLOCK)."""
        self.lane: Lane | None = None
        """Clients take requests, too: the queues are had by turns."""

    def share(self, lane: Lane) -> None:
        """From now on there is a lane, and the daemon has it."""
        sq, cq, memory, geometry = self.sq, self.cq, self.memory, self.geometry
        self.lane = lane
        self.sq = SharedSubmissionQueue(sq, memory, geometry, lane)
        self.cq = SharedCompletionQueue(cq, memory, geometry, self.sq, lane)
        self.waiters.lane = lane

    def region(self, offset: int, size: int) -> Region:
        """Memory for the client to map at that offset: RingMemory.region(). ENOMEM."""
        self.charge(size)
        try:
            return ChargedRegion(self.memory.region(offset, size), size, self.charge)
        except UringError:
            self.charge(-size)
            raise

    def publish(self) -> None:
        """Show the client what was posted, and tell who waits for it. Once a batch, not once a CQE."""
        if not self.cq.publish():
            return
        if self.eventfd is not None:
            self.eventfd.completions(self.from_worker)
        self.from_worker = False
        for waiter in self.waiters:
            waiter.completions()

    def want_enter(self, wanted: bool) -> None:
        """Have clients enter, as for task work: something waits for a call of theirs. A polled ring has no task
        work, and programs with one (libuv) look for completions that have overflowed alone."""
        self._enter_wanted = wanted
        if not self.geometry.flags & IORING_SETUP_SQPOLL:
            self.show_work()
        elif wanted:
            self.sq.set_flags(IORING_SQ_CQ_OVERFLOW)
        elif not self.cq.backlog:
            self.sq.clear_flags(IORING_SQ_CQ_OVERFLOW)

    def show_work(self) -> None:
        """IORING_SQ_TASKRUN, at which programs enter: after every change of has_work."""
        if self._enter_wanted or (self.has_work and self.geometry.flags & IORING_SETUP_TASKRUN_FLAG):
            self.sq.set_flags(IORING_SQ_TASKRUN)
        else:
            self.sq.clear_flags(IORING_SQ_TASKRUN)

    def readable(self) -> bool:
        """What POLLIN says (io_uring_poll()): completions, or io_has_work()."""
        return bool(self.cq.ready() or self.cq.backlog or self._enter_wanted or self.has_work)

    def flush(self) -> None:
        """Move what fits out of the backlog; tells the waiters only if something did."""
        if self.cq.backlog:
            self.cq.flush()
            self.publish()
