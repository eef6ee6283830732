"""The lane of a ring, the daemon's side (docs/lane.md): which processes take part, whose turn it is, and what
clients have left to the daemon.

The daemon never waits for a client. What needs the lane while a client has it is put off until that one's next
control write, its end, or a look now and then.
"""

import errno
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from itertools import islice
from typing import Protocol

import trio
from trio.lowlevel import ParkingLot

from uringfs.abi import lane as abi
from uringfs.abi.constants import (
    IORING_SETUP_IOPOLL,
    IORING_SETUP_SINGLE_ISSUER,
    IORING_SETUP_SQ_REWIND,
    IOSQE_CQE_SKIP_SUCCESS,
)
from uringfs.abi.lane import LaneCounters, State, Taken
from uringfs.abi.numbers import U32
from uringfs.abi.structs import SQE, Sqe
from uringfs.engine.request import RingContext
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, EventFd, Memory, Program
from uringfs.ring.lane import Ending, LanePage, abandoned, finished, interrupted
from uringfs.ring.ring import Ring
from uringfs.ring.shared import SharedCompletionQueue, SharedSubmissionQueue

MOST = 256
"""Processes that take part in one lane: each costs the daemon descriptors."""
PAUSE, LONGEST_PAUSE = 0.001, 0.1  # seconds between looks whether a client has let go
PATIENCE = 0.5  # with a client that is to submit what it has claimed
LOOK = 1.0  # and, at most, whether a process is gone whose thread is
NO_LANE = IORING_SETUP_IOPOLL | IORING_SETUP_SQ_REWIND


class Served(Protocol):
    """What goes on at a ring beside its lane (engine/sharing.py)."""

    def attention(self) -> int:
        """URINGFS_LANE_*: who has to hear of what clients do, and why they may take no request."""

    def skips_cqes(self) -> None:
        """A client has performed a request with IOSQE_CQE_SKIP_SUCCESS: there are no drains any more."""

    def go_on(self) -> None:
        """Publish what was posted, tell who waits for it, and start what may start now."""


class Holder:
    """A process that takes part: its number, and its address space, which the number stands for."""

    __slots__ = ("eventfd", "number", "process", "program", "space")

    def __init__(self, number: int, caller: Caller) -> None:
        self.number = number
        self.process: Hashable = caller.process
        self.program: Program = caller.program
        """The program of the thread that has attached."""
        self.space: Memory = caller.space
        self.eventfd: EventFd | None = None
        """What clients of this process poll while they sleep."""

    def wake_by(self, eventfd: EventFd | None) -> None:
        if self.eventfd is not None:
            self.eventfd.close()
        self.eventfd = eventfd


class RingLane:
    """The lane of one ring, from the first attach on."""

    def __init__(self, context: RingContext, served: Served, nursery: trio.Nursery, ops: int) -> None:
        """ops: bit N, opcode N may be taken. EOPNOTSUPP: not on such a ring. ENOMEM."""
        if context.setup_flags & NO_LANE:
            raise UringError(errno.EOPNOTSUPP, "no lane on a ring with IORING_SETUP_IOPOLL or SQ_REWIND")
        self._context = context
        self._ring = context.ring
        self._served = served
        self._nursery = nursery
        self._scopes: set[trio.CancelScope] = set()  # of its tasks
        self.ops = ops
        self.page = self._begin_page(self._ring)
        self.had = True
        self.holders: dict[int, Holder] = {}
        self.generation = 1
        self._geometry, self._disabled = context.ring.geometry, context.disabled
        self._seen = 0  # IOSQE_* of requests that clients have taken
        self._closed = False
        self._depth = 0
        self._overdue = 0
        self._canceled: list[Ending] = []
        self._wanted = False  # the daemon waits for it
        self._turns = ParkingLot()  # those who do
        self._comes_back = False
        self._ring.share(self)
        self.let_go()

    def _begin_page(self, ring: Ring) -> LanePage:
        ring.charge(abi.URINGFS_LANE_SIZE)
        try:
            ring.memory.hold([(abi.URINGFS_OFF_LANE, abi.URINGFS_LANE_SIZE)])
        except UringError:
            ring.charge(-abi.URINGFS_LANE_SIZE)
            raise
        page = LanePage(ring.memory)
        page.begin(State())
        page.set(abi.LANE_OPS, self.ops & U32)
        page.set(abi.LANE_OPS_ABOVE, self.ops >> 32)
        page.set(abi.LANE_FLAGS, abi.LANE_SQE_FLAGS)
        return page

    @property
    def _sq(self) -> SharedSubmissionQueue:
        assert isinstance(self._ring.sq, SharedSubmissionQueue)
        return self._ring.sq

    @property
    def _cq(self) -> SharedCompletionQueue:
        assert isinstance(self._ring.cq, SharedCompletionQueue)
        return self._ring.cq

    # -- who takes part

    def attach(self, caller: Caller) -> int:
        """The number of the caller's process. EUSERS, ESRCH."""
        process = caller.process
        for holder in self.holders.values():
            if holder.process == process and not holder.space.gone():
                return holder.number
        if len(self.holders) == MOST:
            raise UringError(errno.EUSERS, f"{MOST} processes take part in this lane")
        number = next(n for n in range(1, MOST + 1) if n not in self.holders)
        holder = self.holders[number] = Holder(number, caller)
        self._nursery.start_soon(self._task, self._until_gone, holder)
        return number

    def wake_by(self, caller: Caller, fd: int) -> None:
        """The eventfd to signal where sleepers of the caller's process are woken. ENOTCONN, EBADF, EINVAL."""
        for holder in self.holders.values():
            if holder.process == caller.process and not holder.space.gone():
                holder.wake_by(caller.eventfd(fd))
                return
        raise UringError(errno.ENOTCONN, "this process has not attached to the lane")

    async def _task(self, call: Callable[..., Awaitable[None]], *args: Holder) -> None:
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                await call(*args)
            finally:
                self._scopes.discard(scope)

    async def _until_gone(self, holder: Holder) -> None:
        await holder.program.ended()
        pause = PAUSE
        while not holder.space.gone():  # others of its threads go on
            await trio.sleep(pause)
            pause = min(2 * pause, LOOK)
        if self._closed:  # meanwhile, and its memory with it
            return
        await self.wait()
        try:
            self._bury(holder.number, None)
            self._bury_claim(holder.number)
            holder.wake_by(None)
            del self.holders[holder.number]
        finally:
            self.end()
        self._served.go_on()  # it may have posted, and told nobody

    def _lives(self, number: int) -> bool:
        holder = self.holders.get(number)
        return holder is not None and not holder.space.gone()

    # -- whose turn it is

    def take(self) -> bool:
        if self.had:
            return True
        if not self._wanted:
            self.page.want()
        number = self.page.holder()
        if number and self._lives(number):
            self._wanted = True
            if not self._comes_back:
                self._comes_back = True
                self._nursery.start_soon(self._task, self._come_back)
            return False
        self._adopt(number)
        return True

    def _adopt(self, dead: int) -> None:
        """The daemon has it now. dead: who has left it as it was; 0: nobody."""
        state = self.page.load()
        self.had, self._wanted, self._seen = True, False, state.seen
        if state.seen & IOSQE_CQE_SKIP_SUCCESS:
            self._served.skips_cqes()
        self._sq.adopt(state)
        self._cq.adopt(state, clean=not dead)
        if dead:
            self._sq.commit()
            self._bury(dead, state)
            self.page.unlock()
        if self._cq.outstanding:
            self._cq.post_outstanding()

    def _bury(self, number: int, state: State | None) -> None:
        """Complete the requests that a dead process had taken, with -ECANCELED. state: of the page, if it had the
        lock."""
        if state is not None:
            self._end(interrupted(state, -errno.ECANCELED))
        for place, request in self.page.requests():
            if request.holder == number:
                self._end(abandoned(request, state, -errno.ECANCELED))
                self.page.free(place)

    def _bury_claim(self, number: int) -> None:
        """What a call of a dead process waited for is taken, as that had asked, and cancelled
        (io_uring_cancel_generic())."""
        data = self._sq.get() if self.page.unclaim(number) and self._sq.pending() else None
        self._sq.commit()
        if data is not None:
            sqe = Sqe._make(SQE.unpack(data[: SQE.size]))
            self._end(Ending(sqe.user_data, -errno.ECANCELED))

    def _end(self, ending: Ending | None) -> None:
        if ending is not None:
            self._context.post_cqe(*ending)

    def let_go(self) -> None:
        if not self.had or self._depth or self._closed:
            return
        self._post_canceled()
        self._cq.show()
        self.attend()
        state = self._cq.state(self._sq.head, self._seen)
        self.page.store(state)
        roused = self.page.rouse(state.tail)
        self.had = False
        if self._turns:
            self._wanted = True
            self._turns.unpark()
        else:
            self.page.admit()
        if roused:
            self._wake(roused)

    def _wake(self, sleepers: int) -> None:
        self.page.wake()
        if not sleepers & abi.URINGFS_LANE_POLLS:
            return
        for holder in self.holders.values():
            if holder.eventfd is not None:
                holder.eventfd.signal()

    def recalls(self) -> bool:
        """With the lane, in front of a submission: a client's call has claimed the first request, and is told to
        submit it now. Not if it is about to."""
        claimed = 0 if self._closed else self.page.claimed()
        if not self._lives(claimed >> 16) or claimed & abi.URINGFS_LANE_RECALLED:
            return False
        self.page.recall()
        return True

    async def handed_in(self) -> None:
        """Wait until the client that recalls() has told has submitted its request, at most PATIENCE seconds: then
        that is overdue()."""
        claimed, pause = self.page.claimed(), PAUSE
        with trio.move_on_after(PATIENCE):
            while not self._closed and self.page.claimed() == claimed:
                await trio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        await self.wait()
        try:
            if not self._closed and self.page.claimed() == claimed:
                self.page.end_claim()
                self._overdue = 1
        finally:
            self.end()

    def overdue(self) -> int:
        """Requests that a submission takes for a client that has not in time: 0 or 1, once."""
        overdue, self._overdue = self._overdue, 0
        return overdue

    def begin(self) -> bool:
        """Have it until end(), whatever is published meanwhile. False: wait()."""
        if not self.take():
            return False
        self._depth += 1
        return True

    async def wait(self) -> None:
        """begin(), when a client has let go. Cancellable."""
        while not self.begin():
            await self._turns.park()

    def end(self) -> None:
        self._depth -= 1
        self.let_go()

    async def _come_back(self) -> None:
        """For the sake of a client that was stopped, or killed, before it could say that it has let go."""
        pause = PAUSE
        while self._wanted:
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            if self._wanted and not self._closed:
                self.look()
        self._comes_back = False

    # -- what clients have done

    def look(self) -> None:
        """A client has kicked, or called: it may have let go, posted, or left something to be posted."""
        left = any(self._left(request) for _, request in self.page.requests())
        if (left or self._wanted or self.page.polled()) and self.take() and left:
            self._collect()
        if not self._depth:
            self._served.go_on()

    def _left(self, request: Taken) -> bool:
        return request.state == abi.URINGFS_LANE_FINISHED and request.holder in self.holders

    def _collect(self) -> None:
        """Read once more: what stands beside the state was written before it."""
        for place, request in self.page.requests():
            if self._left(request):
                self._end(finished(request))
                self.page.free(place)

    def under_way(self) -> list[Taken]:
        """Requests that clients have taken, and perform."""
        return [request for _, request in self.page.under_way(self.holders)]

    def cancel(self, match: Callable[[Taken], bool], most: int | None) -> list[Taken]:
        """io_wq_cancel_pending_work(): those that no worker has begun get -ECANCELED, when the lane is let go; at
        most `most`, the oldest first."""
        if not self.had or self._closed:
            return []
        queued = self.page.queued(self.holders, match, self._sq.head)
        canceled = list(islice((request for place, request in queued if self.page.cancel(place)), most))
        self._canceled += [Ending(request.user_data, -errno.ECANCELED) for request in canceled]
        return canceled

    def _post_canceled(self) -> None:
        while self._canceled:
            self._end(self._canceled.pop(0))

    def any_under_way(self) -> bool:
        return bool(self.under_way())

    def counters(self) -> LaneCounters:
        return self.page.counters()

    def taken(self) -> dict[int, int]:
        """Requests completed by clients, by opcode."""
        return {opcode: count for opcode, count in enumerate(self.page.taken()) if count}

    # -- what clients have to know

    def attend(self) -> None:
        if self._closed:  # what the end of the ring found waiting may come to its own after that
            return
        page = self.page
        files, buffers = self._context.resources.changes()
        page.set(abi.LANE_FILES, files)
        page.set(abi.LANE_BUFFERS, buffers)
        if self._renewed():
            self.generation += 1
        page.set(abi.LANE_GENERATION, self.generation)
        if page.set(abi.LANE_ATTENTION, self._served.attention()):
            self._ring.memory.fence()

    def _renewed(self) -> bool:
        """True if what the processes were told when they attached holds no more."""
        context = self._context
        before = self._geometry, self._disabled
        self._geometry, self._disabled = context.ring.geometry, context.disabled
        single = context.setup_flags & IORING_SETUP_SINGLE_ISSUER
        return self._geometry is not before[0] or bool(single and self._disabled != before[1])

    def close(self) -> None:
        """The ring is gone, and its memory soon: from now on the daemon has it for good, and looks at no page."""
        self._closed = self.had = True
        for scope in self._scopes:
            scope.cancel()
        for holder in self.holders.values():
            holder.wake_by(None)
        self.holders.clear()
        with suppress(UringError):  # its memory is gone, too
            self.page.set(abi.LANE_ATTENTION, abi.URINGFS_LANE_OFF)
            self.page.set(abi.LANE_VERSION, 0)
