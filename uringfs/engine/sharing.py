"""Whether clients of a ring take requests themselves, and what they have to know of it (docs/lane.md). Until one
asks for that there is no lane, and nothing here costs anything."""

import errno
from collections.abc import Awaitable, Callable, Mapping, Set
from functools import partial
from typing import Protocol, TypeVar

import trio

from uringfs.abi import lane as abi
from uringfs.engine.lane import RingLane
from uringfs.engine.life import Life
from uringfs.engine.request import Request, RingContext
from uringfs.engine.submit import Submission
from uringfs.errors import UringError
from uringfs.host.protocols import Caller
from uringfs.ring.shared import Lane

T = TypeVar("T")


class Submits(RingContext, Protocol):
    """A ring's context, as far as it is needed here."""

    pending: Mapping[Request, None]
    polls: Set[Request]

    async def between_submissions(self, call: Callable[[], None]) -> None:
        """call(), when nobody submits."""


class Sharing:
    """What a ring's clients and the daemon share to take requests."""

    def __init__(self, context: Submits, life: Life, submission: Submission, nursery: trio.Nursery) -> None:
        self._context = context
        self._life = life
        self._submission = submission
        self._nursery = nursery
        self.lane: RingLane | None = None
        """Since the first client has attached."""
        self.off = False
        """Switched off by somebody."""

    async def attach(self, caller: Caller, ops: int) -> RingLane:
        """For this process, too, requests of these opcodes (bit N: opcode N) may be performed in it. EOPNOTSUPP,
        EEXIST, EUSERS, ENOMEM, ESRCH."""
        self._context.check_submitter(caller)
        if self.lane is None:
            await self._context.between_submissions(partial(self._begin, ops))
        assert self.lane is not None
        self.lane.attach(caller)
        return self.lane

    def wake_by(self, caller: Caller, fd: int) -> None:
        """An eventfd of the caller's, to be signalled where sleeping clients of its process are woken. ENOTCONN,
        EBADF, EINVAL."""
        if self.lane is None:
            raise UringError(errno.ENOTCONN, "this ring has no lane yet")
        self.lane.wake_by(caller, fd)

    def _begin(self, ops: int) -> None:
        if self.lane is None:
            self.lane = RingLane(self._context, self, self._nursery, ops)
            self._life.drain.elsewhere = self.lane.any_under_way
            self._context.hooks.changed.append(self.lane.attend)

    def look(self) -> None:
        """A client has called, and may have been in the lane before."""
        if self.lane is not None:
            self.lane.look()

    def between(self, call: Callable[[], T]) -> T | Callable[[], Awaitable[T]]:
        """call(), while no client takes requests or posts: now, or by what is returned."""
        lane = self.lane
        if lane is None:
            return call()
        if lane.begin():
            return _performed(lane, call)
        return partial(_behind_client, lane, call)

    async def switch(self, on: bool) -> None:
        """Off: behind this no client takes requests, nor does one that attaches later, until it is on again. What
        is under way goes on."""
        self.off = not on
        if self.lane is not None:
            self.lane.attend()
            if not on:
                await self.lane.wait()
                self.lane.end()

    def close(self) -> None:
        """The ring is gone."""
        if self.lane is not None:
            self._context.hooks.changed.remove(self.lane.attend)
            self.lane.close()

    # -- what a lane asks

    def skips_cqes(self) -> None:
        """A client has performed a request with IOSQE_CQE_SKIP_SUCCESS: there are no drains any more."""
        self._submission.disable_drain()

    def go_on(self) -> None:
        """Publish what was posted, tell who waits for it, and start what may start now."""
        self._life.after_pass()

    def attention(self) -> int:
        """URINGFS_LANE_*: who has to hear of what clients do, and why they may take no request."""
        context, bits = self._context, self._kicks() | self._closed()
        if context.ring.has_work or context.pending:  # their files may be ready, which an enter has to find
            bits |= abi.URINGFS_LANE_WORK
        if context.deliveries.any():
            bits |= abi.URINGFS_LANE_FETCH
        return bits

    def _kicks(self) -> int:
        ring, bits = self._context.ring, 0
        if ring.waiters.enters:
            bits |= abi.URINGFS_LANE_WAITER
        if len(ring.waiters) > ring.waiters.enters:
            bits |= abi.URINGFS_LANE_POLL
        if ring.eventfd is not None and not ring.eventfd.asynchronous:
            bits |= abi.URINGFS_LANE_EVENTFD
        if self._context.timeouts.counted:
            bits |= abi.URINGFS_LANE_COUNTED
        return bits

    def _closed(self) -> int:
        context, drain, bits = self._context, self._life.drain, 0
        if context.ring.cq.backlog:
            bits |= abi.URINGFS_LANE_BACKLOG
        if drain.deferred or drain.draining:
            bits |= abi.URINGFS_LANE_DRAIN
        if self._life.unsettled or context.polls:  # what has happened comes before what is submitted now
            bits |= abi.URINGFS_LANE_UNSETTLED
        if self._submission.attachments:
            bits |= abi.URINGFS_LANE_TEXT
        if context.hooks and context.hooks.watched(context.ring):
            bits |= abi.URINGFS_LANE_WATCHED
        return bits | (abi.URINGFS_LANE_OFF if self._is_off() else 0)

    def _is_off(self) -> bool:
        context, held = self._context, self._life.held
        limited = context.resources.restrictions is not None or bool(context.resources.personalities)
        return self.off or context.disabled or limited or bool(held.holders or held.waiting)


def _performed(lane: Lane, call: Callable[[], T]) -> T:
    try:
        return call()
    finally:
        lane.end()


async def _behind_client(lane: Lane, call: Callable[[], T]) -> T:
    await lane.wait()
    return _performed(lane, call)
