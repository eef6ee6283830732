"""IORING_SETUP_SQPOLL (io_uring/sqpoll.c): a task that submits what the client queues, without a call.

While there is work it looks at the tail at every turn of the loop, then every millisecond, then every ten;
after sq_thread_idle it sets IORING_SQ_NEED_WAKEUP and sleeps until an enter wakes it: an idle ring costs nothing.
What it submits is done in the name of the thread that set the ring up.

A thread of that one's process may poll instead (docs/lane.md, "Polled rings"): then this task sleeps until that
thread has ended, and submits what it leaves.
"""

import errno
import logging
import math
import os
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from uringfs.abi.constants import (
    IORING_SETUP_ATTACH_WQ,
    IORING_SETUP_SQ_AFF,
    IORING_SETUP_SQPOLL,
    IORING_SQ_NEED_WAKEUP,
)
from uringfs.abi.numbers import s32
from uringfs.abi.structs import Params
from uringfs.engine.request import RingContext
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, Host, Program
from uringfs.ring.ring import Ring

log = logging.getLogger(__name__)

DEFAULT_IDLE_MS = 1000
BATCH = 256
"""SQEs taken at once: no more than are submitted without a pause, in which the ring might be closed."""
SPINS = 50  # turns of the loop after work in which the tail is looked at without sleeping
PAUSE, LONG_PAUSE, RECENT = 0.001, 0.01, 0.1  # seconds between looks: while work is recent, and then


class PolledRing(Protocol):
    """What a poller needs of a ring."""

    ring: Ring
    host: Host
    disabled: bool

    def submit(self, caller: Caller, to_submit: int) -> int | Callable[[], Awaitable[int]]: ...


class SqPoller:
    """The poller of one ring. Runs until it is cancelled or its thread is gone."""

    def __init__(self, context: PolledRing, caller: Caller, idle_ms: int) -> None:
        """caller is kept until run() ends: what it holds goes with that task, not with the ring's last
        reference."""
        self._ring_context = context
        self._idle = (idle_ms or DEFAULT_IDLE_MS) / 1000
        self._wake = trio.Event()
        self._room = trio.Event()
        self._scope = trio.CancelScope()
        self._caller: Caller | None = caller
        self._client: Program | None = None  # the thread that polls instead
        self._left = trio.Event()  # it may
        self.dead = False
        """The poller's thread is gone: EOWNERDEAD."""

    async def run(self, exited: Callable[[], Awaitable[None]]) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._until_exit, exited)
                    await self._poll()
        except Exception:
            log.exception("the poller of a ring failed")
        self._caller = self._client = None
        self.dead = True
        self._room.set()
        self._left.set()

    async def _poll(self) -> None:
        sq = self._ring_context.ring.sq
        await trio.lowlevel.checkpoint()  # the ring may be closed by now
        while True:
            if self._client is not None:
                await self._leave_it_to(self._client)
            await self._active()
            self._wake = trio.Event()
            sq.set_flags(IORING_SQ_NEED_WAKEUP)
            # looked at once more: a client that saw no flag when it stored its tail does not wake us
            if not self._pending() and self._client is None:
                await self._wake.wait()
            sq.clear_flags(IORING_SQ_NEED_WAKEUP)

    async def _until_exit(self, exited: Callable[[], Awaitable[None]]) -> None:
        await exited()
        if self._scope.cancel_called:
            return
        self._ring_context.ring.sq.set_flags(IORING_SQ_NEED_WAKEUP)
        self.stop()

    # -- a thread of the client's that polls

    async def serve(self, caller: Caller, to_submit: int) -> int:
        """The calling thread polls, as long as it lives, and leaves so many SQEs to be submitted here: how many
        were. ENOTCONN without a lane, EPERM for another process than that of who has set the ring up, EBUSY for a
        second thread, EOWNERDEAD."""
        if self._ring_context.ring.lane is None:
            raise UringError(errno.ENOTCONN, "this ring has no lane yet")
        if caller.process != self._creator().process:
            raise UringError(errno.EPERM, "a poller is of the process that has set the ring up")
        if self._client is None:
            self._client = caller.program
            self._left = trio.Event()
            self._wake.set()
        if self._client is not caller.program:
            raise UringError(errno.EBUSY, f"thread {self._client.tid} polls this ring")
        await self._left.wait()
        count = min(self._pending(), to_submit)
        return await self._submit(count) if count else 0

    async def _leave_it_to(self, client: Program) -> None:
        """Until that thread has ended. What has been queued since it looked last is found then."""
        sq, lane = self._ring_context.ring.sq, self._ring_context.ring.lane
        assert lane is not None
        lane.page.poller(client.tid)
        self._left.set()
        await client.ended()
        await trio.lowlevel.checkpoint_if_cancelled()  # the ring may be closed by now
        self._client = None
        lane.page.poller(0)
        sq.clear_flags(IORING_SQ_NEED_WAKEUP)
        lane.look()  # it may have had no way to say what it has posted

    def thread(self) -> int:
        """The client's thread that polls, or -1."""
        return -1 if self._client is None else self._client.tid

    # -- submission

    def _creator(self) -> Caller:
        if self._caller is None:
            raise UringError(errno.EOWNERDEAD, "the thread that set the ring up is gone")
        return self._caller

    def _pending(self) -> int:
        return 0 if self._ring_context.disabled else self._ring_context.ring.sq.pending()

    async def _submit(self, count: int) -> int:
        await self._ring_context.host.settled()
        await trio.lowlevel.checkpoint_if_cancelled()
        submitted = self._ring_context.submit(self._creator(), count)
        if not isinstance(submitted, int):
            submitted = await submitted()
        self._room.set()
        return submitted

    async def _active(self) -> None:
        """Submit, until nothing has come for the idle time, or a client's thread polls."""
        last, spins = trio.current_time(), 0
        while self._client is None:
            count = self._pending()
            if count:
                await self._submit(min(count, BATCH))
                last, spins = trio.current_time(), 0
                await trio.lowlevel.checkpoint()
            elif trio.current_time() - last > self._idle:
                return
            elif spins < SPINS:
                spins += 1
                await trio.lowlevel.checkpoint()
            else:
                await trio.sleep(PAUSE if trio.current_time() - last < RECENT else LONG_PAUSE)

    def wake(self) -> None:
        """IORING_ENTER_SQ_WAKEUP"""
        self._wake_client()
        self._wake.set()

    def _wake_client(self, *, ends: bool = False) -> None:
        lane = self._ring_context.ring.lane
        if self._client is None or lane is None:
            return
        if ends:
            lane.page.poller(0)
        lane.page.wake_poller()

    def full(self) -> bool:
        """The SQ has no room, and will have."""
        sq = self._ring_context.ring.sq
        return sq.pending() == sq.entries and not self.dead

    async def wait_sq(self, to_submit: int) -> int:
        """IORING_ENTER_SQ_WAIT (io_sqpoll_wait_sq()): until the SQ is not full. What has been asked for counts as
        submitted, also where a signal ends it."""
        while self.full():
            self._room = trio.Event()
            try:
                with trio.move_on_after(math.inf if self._client is None else PAUSE):
                    await self._room.wait()
            except trio.Cancelled:
                break
        return to_submit

    def stop(self) -> None:
        self._wake_client(ends=True)
        self._scope.cancel()


def check(params: Params, caller: Caller, is_ring: Callable[[int], RingContext | None]) -> None:
    """io_sq_offload_create(): what the flags refer to must be there. is_ring: of a file of our mount by
    inode. EINVAL, ENXIO. Every polled ring has a poller of its own here, attached or not."""
    if params.flags & IORING_SETUP_ATTACH_WQ:
        _check_attach(params, caller, is_ring)
    if params.flags & IORING_SETUP_SQ_AFF:
        try:
            allowed = os.sched_getaffinity(caller.tid)
        except OSError as error:
            raise UringError.of(error) from error
        if params.sq_thread_cpu not in allowed:
            raise UringError(errno.EINVAL, f"cpu {params.sq_thread_cpu}")


def _check_attach(params: Params, caller: Caller, is_ring: Callable[[int], RingContext | None]) -> None:
    """io_attach_sq_data()"""
    fd = s32(params.wq_fd)
    try:
        file = caller.file(fd)
    except UringError as error:
        raise UringError(errno.ENXIO if error.errno == errno.EBADF else error.errno) from error
    try:
        other = is_ring(file.inode) if file.inode else None
    finally:
        file.close()
    if other is None:
        raise UringError(errno.EINVAL, "wq_fd is no ring of this mount")
    if params.flags & IORING_SETUP_SQPOLL and not other.ring.geometry.flags & IORING_SETUP_SQPOLL:
        raise UringError(errno.EINVAL, "the ring to attach to has no poller")
