"""What of a submission needs no Python: the core by which clients of a lane perform their requests, in the daemon
(native.Taker). It takes a prefix of the queue, as far as it is sure; the engine goes on after that, and is what
the core is compared with.

What a request could meet in the engine (who breaks or counts requests, drains, restrictions, whatever is held
back) keeps the core away, as it keeps clients away from the lane (Sharing.attention()). Who traces them does not:
the core makes the events itself.
"""

from collections.abc import Callable

from uringfs.abi.constants import (
    IORING_OFF_CQ_RING,
    IORING_OFF_SQES,
    IORING_SETUP_IOPOLL,
    IORING_SETUP_SQ_REWIND,
)
from uringfs.abi.kernels import CURRENT
from uringfs.abi.numbers import U32
from uringfs.engine.hooks import Recorder
from uringfs.engine.life import Life
from uringfs.engine.request import RingContext
from uringfs.host.protocols import Caller
from uringfs.native import EventBatch, Taker
from uringfs.ring.geometry import Geometry

NOT_INLINE = IORING_SETUP_IOPOLL | IORING_SETUP_SQ_REWIND
IN_VAIN, SELDOM = 16, 64
"""Batches in a row of which nothing was taken. From then on one of SELDOM is tried: to ask costs as much as a
request."""


class Inline:
    """Takes requests of one ring in native code."""

    def __init__(self, context: RingContext, life: Life, skips: Callable[[], None]) -> None:
        """skips: called when a request had IOSQE_CQE_SKIP_SUCCESS."""
        self._context = context
        self._ring = context.ring
        self._life = life
        self._geometry: Geometry | None = None
        self._taker: Taker | None = None
        self._possible = not context.setup_flags & NOT_INLINE and context.ring.geometry.kernel == CURRENT
        self._skips = skips
        self._vain = 0
        """Batches since the last of which something was taken."""

    def is_worth_it(self) -> bool:
        """Say whether anything of a batch is likely to be taken. Ask once a batch."""
        self._vain += 1
        return self._possible and (self._vain <= IN_VAIN or not self._vain % SELDOM)

    def take(self, caller: Caller, end: int, *, whole: bool) -> bool:
        """Take, perform and complete requests from the SQ's head on, up to the position `end`. whole: the
        submission ends there, and chains may be performed to their end. CQEs are published with the batch.
        False: nothing was taken."""
        if self._busy():
            return False
        ring = self._ring
        if self._geometry is not ring.geometry:
            self._attach(ring.geometry)
        if self._taker is None:
            return False
        sq, cq = ring.sq, ring.cq
        entries, (head, copies) = (end - sq.head) & U32, cq.looked_at()
        watchers = self._watchers()
        taken = self._taker.take(
            caller.tid, caller.in_call(), entries, whole, sq.head, cq.tail, cq.room, head, *copies, *watchers
        )
        if taken is None:
            return False
        self._vain = 0
        sq.head, tail, room, head, of_sq, of_cq, skips = taken
        posted = (tail - cq.tail) & U32
        cq.took(tail, room, head, (of_sq, of_cq))
        ring.counters.completed += posted
        if skips:
            self._skips()
        return True

    def _busy(self) -> bool:
        context, drain, held = self._context, self._life.drain, self._life.held
        return bool(
            (context.hooks and context.hooks.recorder is None)
            or self._ring.cq.backlog
            or drain.deferred
            or drain.draining
            or held.holders
            or held.waiting
            or context.resources.restrictions is not None
        )

    def _watchers(self) -> tuple[()] | tuple[Recorder, EventBatch]:
        """Who makes events of what is taken, and in which batch's name."""
        recorder = self._context.hooks.recorder if self._context.hooks else None
        batch = recorder.batch(self._context) if recorder is not None else None
        return (recorder, batch) if recorder is not None and batch is not None else ()

    def _attach(self, geometry: Geometry) -> None:
        """Look at the ring's queues anew: a resize has made others."""
        if self._taker is not None:
            self._taker.release()
        self._geometry = geometry
        sizes = geometry.sq_entries, geometry.cq_entries, geometry.sq_array, geometry.sqe_size, geometry.cqe_size
        self._taker = self._ring.memory.taker(geometry.flags, IORING_OFF_CQ_RING, IORING_OFF_SQES, *sizes)
