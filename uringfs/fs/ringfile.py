"""One ring file: its memory, its ring once set up, and what control writes and text commands do to it."""

import errno
import math
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import trio

from uringfs.abi import control as abi
from uringfs.abi.constants import (
    FEATURES,
    IORING_ENTER_GETEVENTS,
    IORING_OFF_SQ_RING,
    IORING_OFF_SQES,
    IORING_OP_NOP,
    IORING_OP_READV,
    IORING_REGISTER_QUERY,
    IORING_SETUP_CQSIZE,
    IORING_SETUP_REGISTERED_FD_ONLY,
    IORING_SETUP_SINGLE_ISSUER,
    IORING_SETUP_SQPOLL,
    OPCODES,
    SETUP_FLAGS,
    flag_names,
)
from uringfs.abi.structs import CQ_OFF, OFFSETS, PARAMS, PARAMS_SIZE, SQ_OFF, SQE, Params, Sqe
from uringfs.clientwork.deliveries import MAX_BATCH, entry_size
from uringfs.engine import sqpoll
from uringfs.engine.context import Context
from uringfs.engine.entering import Entered, Entering
from uringfs.engine.request import Attachment, RegisteredRing
from uringfs.engine.tctx import TaskContexts
from uringfs.engine.wait import CqWait
from uringfs.errors import UringError
from uringfs.fs.codec import text
from uringfs.fs.codec.sqetext import SqeCommand
from uringfs.fs.quota import Account
from uringfs.fs.ringlane import attach, poll
from uringfs.fs.textmemory import TextNop, TextRequests
from uringfs.host.protocols import Caller
from uringfs.memory.base import Backend, RingMemory
from uringfs.ops.rw.rw import TextRead
from uringfs.ops.table import SQE128_OPCODES, ops_of
from uringfs.register.region import check_user_rings
from uringfs.register.ringfds import free_slot
from uringfs.register.table import query_blind, register
from uringfs.ring.geometry import Geometry
from uringfs.ring.ring import Ring

Registering = Callable[[], Awaitable[int]]
"""Goes on with io_uring_register(2), to its end."""
TEXT_WAIT = 1.0
"""Seconds, where the kernel lets one control write to a file in at a time (RingMemory.parallel)."""
SQ_OFFSETS = "head tail ring_mask ring_entries flags dropped array".split()
CQ_OFFSETS = "head tail ring_mask ring_entries overflow cqes flags".split()
"""struct io_sqring_offsets, struct io_cqring_offsets"""
KEPT_RESULTS = 16
"""Texts of finished `readv path=` requests that `cat` shows."""


def read_params(caller: Caller, address: int) -> Params:
    """EFAULT"""
    return Params._make(PARAMS.unpack_from(caller.memory.read(address, PARAMS_SIZE)))


def describe_params(data: bytes) -> str:
    """struct io_uring_params in one line; offsets in bytes from where the ring is mapped."""
    params = Params._make(PARAMS.unpack_from(data))
    fields = [f"{name}={getattr(params, name)}" for name in ("sq_entries", "cq_entries")]
    fields.append(f"flags={flag_names(SETUP_FLAGS, params.flags)}")
    fields.append(f"features={flag_names(FEATURES, params.features)}")
    for name, start, of in (("sq_off", SQ_OFF, SQ_OFFSETS), ("cq_off", CQ_OFF, CQ_OFFSETS)):
        offsets = zip(of, OFFSETS.unpack_from(data, start), strict=False)
        fields += [f"{name}.{field}={offset}" for field, offset in offsets]
    return f"params: {' '.join(fields)} rings={IORING_OFF_SQ_RING:#x} sqes={IORING_OFF_SQES:#x}"


class RingFile:
    """Memory comes with the first open, the ring with setup; both go with the inode."""

    def __init__(
        self, number: int, backend: Backend, nursery: trio.Nursery, tctx: TaskContexts, account: Account
    ) -> None:
        self._number = number
        self._backend = backend
        self._nursery = nursery
        self._tctx = tctx
        self._account = account
        self._memory: RingMemory | None = None
        self.context: Context | None = None
        self.opaque = False
        """URINGFS_SETUP_OPAQUE"""
        self.answered = False
        """The ring is a supervised program's: the daemon, who has opened it, answers the program's system
        calls."""
        self.message = "none"
        """What the last text command, or failed control write, said."""
        self.kept: deque[tuple[int, bytes]] = deque(maxlen=KEPT_RESULTS)
        """(user_data, data) of text reads."""
        self._text_requests = TextRequests(lambda user_data, data: self.kept.append((user_data, data)))

    @property
    def backend(self) -> str:
        return self._backend.name

    def memory(self) -> RingMemory:
        """Allocated on first use. ENOMEM, EMFILE."""
        if self._memory is None:
            self._memory = self._backend.allocate(self._number)
        return self._memory

    async def attach(self, *, opening: bool = False) -> None:
        """Share the memory with clients, if it is not; opening: if there is a ring. EACCES, EMFILE, ENFILE."""
        if not self.memory().attached and (self.context is not None or not opening):
            await self.memory().attach()

    def close(self) -> None:
        """The inode is gone: nothing pends, nothing is held any more."""
        if self.context is not None:
            self.context.close()
            self.context = None
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        self._account.close()

    def last_close(self) -> None:
        """No descriptor is open any more (io_uring_release(), but for the name that keeps the ring)."""
        if self.context is not None:
            self.context.cancel_all()
        if self._memory is not None:
            self._memory.detach()

    # -- the three system calls

    def setup(self, caller: Caller, entries: int, params: int) -> int:
        """io_uring_setup(2); params is an address: 0, or the index of a registered ring. EFAULT, EINVAL, ENOMEM;
        EBUSY if it has been set up."""
        hooks = self._tctx.hooks
        if not hooks:
            return self._setup(caller, entries, params)
        res = -errno.EIO
        try:
            res = self._setup(caller, entries, params)
        except UringError as error:
            res = -error.errno
            raise
        finally:
            hooks.call("io_uring_create", self._number, caller, entries, params, res)
        return res

    def _setup(self, caller: Caller, entries: int, params: int) -> int:
        asked = read_params(caller, params)
        if self.context is not None:
            raise UringError(errno.EBUSY, "this ring has been set up; open another")
        if self._tctx.hooks and self._tctx.hooks.breaker is not None:
            self._tctx.hooks.breaker.call("setup", caller, self._number, caller.uid)
        geometry = Geometry.of(entries, asked, self._tctx.kernel_of(caller))
        check_user_rings(caller, geometry, asked)
        sqpoll.check(asked, caller, self._tctx.find_ring)
        # Before the ring exists: an address that cannot be written must not leave a ring behind.
        caller.memory.write(params, geometry.params(asked))
        if not geometry.flags & IORING_SETUP_REGISTERED_FD_ONLY:
            self._create(caller, geometry, asked)
            return 0
        slots = self._tctx.registered_rings(caller.program)
        slot = free_slot(slots)
        slots[slot] = RegisteredRing(self._create(caller, geometry, asked))
        return slot

    def _create(self, caller: Caller, geometry: Geometry, asked: Params) -> Context:
        self._account.charge(geometry.memory_size)
        try:
            ring = Ring(self.memory(), geometry, (caller.tid, caller.uid), self._account.charge)
        except UringError:
            self._account.charge(-geometry.memory_size)
            raise
        ring.number = self._number
        self._tctx.begin(caller.program)
        issuer = caller.program if geometry.flags & IORING_SETUP_SINGLE_ISSUER else None
        self.context = Context(ring, self._nursery, self._tctx, ops_of(geometry.kernel), issuer)
        if geometry.flags & IORING_SETUP_SQPOLL:
            self.context.offload(caller, asked.sq_thread_idle)
        return self.context

    def enter(self, caller: Caller, message: abi.Enter) -> Entered | Entering:
        """io_uring_enter(2). EBADFD before setup, and what Context.enter raises."""
        wait = (message.min_complete, message.flags, message.arg, *message.argsz_and_tail())
        return self._ready().enter(caller, message.to_submit, *wait)

    def register(self, caller: Caller, message: abi.Register) -> int | Registering:
        """io_uring_register(2). EINVAL for an opcode that is not there, and what its handler raises."""
        if message.opcode == IORING_REGISTER_QUERY and self.context is None:
            return query_blind(caller, message.arg, message.nr_args, self._tctx.kernel_of(caller))
        context, args = self._ready(), (message.opcode, message.arg, message.nr_args)
        return context.sharing.between(partial(register, context, caller, *args))

    async def lane(self, caller: Caller, message: abi.LaneAttach | abi.LanePoll) -> int:
        """URINGFS_CMD_LANE, _LANE_POLL. EBADFD, EOPNOTSUPP, and what attach() and poll() raise."""
        context = self._ready()
        if isinstance(message, abi.LanePoll):
            return await poll(context, caller, message)
        if not self._tctx.lanes:
            raise UringError(errno.EOPNOTSUPP, "in virtual time the daemon sees each request")
        return await attach(context, caller, message)

    def look(self) -> None:
        """A client has something to say: perhaps it was in the lane."""
        if self.context is not None and self.context.sharing.lane is not None:
            self.context.sharing.look()

    async def fetch(self, caller: Caller, message: abi.Fetch) -> int:
        """URINGFS_CMD_FETCH: take what came of the last entries, hand out the next: how many, and a bit if
        there are more."""
        deliveries = self._ready().deliveries
        caller.can = message.can
        size = entry_size(caller)
        if message.done > MAX_BATCH:
            raise UringError(errno.EINVAL)
        if message.done:
            await deliveries.report(caller, caller.memory.read(message.entries, message.done * size))
        room = min(message.room, MAX_BATCH)
        if room:  # before anything is taken that could not be handed out
            caller.memory.write(message.entries, bytes(room * size))
        entries = await deliveries.fetch(caller, message.sock, room) if room else b""
        if entries:
            caller.memory.write(message.entries, entries)
        return len(entries) // size | self.fetch_bits(caller)

    def take(self, caller: Caller, message: abi.Agent | abi.LaneWake) -> None:
        """URINGFS_CMD_AGENT, _LANE_WAKE: a descriptor for the ring. EBADF, EINVAL, EPERM, ENOTCONN."""
        if isinstance(message, abi.LaneWake):
            return self._ready().sharing.wake_by(caller, message.eventfd)
        return self._ready().serve_agent(caller.process, caller.channel(message.sock))

    def fetch_bits(self, caller: Caller) -> int:
        """URINGFS_RESULT_* bits for the result of an enter, or of a fetch, of the caller."""
        deliveries = self._ready().deliveries
        if not caller.can or not deliveries.any():
            return 0
        due = abi.URINGFS_RESULT_FETCH if deliveries.needs_fetch(caller.process) else 0
        return due | (abi.URINGFS_RESULT_LATER if deliveries.unattended(caller.process) else 0)

    def fetch_bits_after_wait(self, caller: Caller) -> int:
        """Like fetch_bits(), for an enter whose wait has ended: its remaining deliveries are first handed to the
        agent."""
        deliveries = self._ready().deliveries
        if caller.can and deliveries.any():
            deliveries.enters_ended(caller.process)
        return self.fetch_bits(caller)

    def interrupted_by_fetch(self, caller: Caller, wait: CqWait) -> AbstractContextManager[None]:
        """A wait that ends when there is something to fetch."""
        if not caller.can:
            return nullcontext()
        return self._ready().deliveries.interrupts(caller.process, wait.interrupt_to_fetch)

    def _ready(self) -> Context:
        if self.context is None:
            raise UringError(errno.EBADFD, "this ring has not been set up: write `setup ENTRIES` or URINGFS_SETUP")
        return self.context

    def params(self) -> bytes:
        """struct io_uring_params as the setup returned it, but for what only its caller has use for (sq_thread_*,
        wq_fd). EBADFD"""
        geometry = self._ready().ring.geometry
        return geometry.params(Params(flags=geometry.flags))

    # -- text

    async def command(self, caller: Caller, command: text.Command) -> None:
        """Do one text command; self.message says what came of it."""
        match command:
            case text.SetupCommand():
                self._text_setup(caller, command)
            case text.NopCommand():
                sqe = Sqe(IORING_OP_NOP, command.flags, fd=-1, user_data=command.user_data)
                await self._text_in_lane(partial(self._queue, sqe, TextNop()))
            case text.ReadvCommand():
                await self._text_in_lane(partial(self._text_readv, caller, command))
            case SqeCommand():
                await self._text_in_lane(partial(self._text_sqe, caller, command))
            case text.EnterCommand():
                await self._text_enter(caller, command)
            case text.ReapCommand():
                await self._text_in_lane(partial(self._text_reap, command))
            case text.LaneCommand():
                await self._text_lane(command)
            case text.ParamsCommand():
                self.message = describe_params(self.params())
            case text.HelpCommand():
                self.message = command.message

    def _text_setup(self, caller: Caller, command: text.SetupCommand) -> None:
        if self.context is not None:
            raise UringError(errno.EBUSY, "this ring has been set up; open another")
        flags = command.flags | (IORING_SETUP_CQSIZE if command.cq is not None else 0)
        asked = Params(cq_entries=command.cq or 0, flags=flags)
        kernel = command.kernel or self._tctx.kernel_of(caller)
        geometry = Geometry.of(command.entries, asked, kernel)
        if geometry.in_user_memory:
            raise UringError(errno.EINVAL, "IORING_SETUP_NO_MMAP needs a client with memory to map over")
        sqpoll.check(asked, caller, self._tctx.find_ring)
        self._create(caller, geometry, asked)
        self.message = f"setup: {geometry.sq_entries} SQ entries, {geometry.cq_entries} CQ entries"

    def _text_readv(self, caller: Caller, command: text.ReadvCommand) -> None:
        self._ready()
        sqe = Sqe(
            IORING_OP_READV,
            command.flags,
            fd=-1,
            off=command.off,
            len=command.len,
            user_data=command.user_data,
        )
        opener = caller.open_path(command.path)
        read = TextRead(opener, caller.detached(), lambda user_data, data: self.kept.append((user_data, data)))
        self._queue(sqe, read)

    def _text_sqe(self, caller: Caller, command: SqeCommand) -> None:
        opcode, ring = command.sqe.opcode, self._ready().ring
        if opcode in SQE128_OPCODES and ring.geometry.sqe_size == SQE.size:
            raise UringError(errno.EINVAL, f"{OPCODES[opcode]} needs a ring with IORING_SETUP_SQE128")
        if ring.sq.pending() == ring.sq.entries:
            raise UringError(errno.EAGAIN, f"the SQ is full ({ring.sq.entries} entries): `enter` first")
        self._queue(*self._text_requests.make(caller, command))

    def _queue(self, sqe: Sqe, attachment: Attachment) -> None:
        context = self._ready()
        data = SQE.pack(*sqe).ljust(context.ring.geometry.sqe_size, b"\0")
        sq = context.ring.sq
        if sq.rewinds:
            raise UringError(errno.EINVAL, "text has no place in a ring with IORING_SETUP_SQ_REWIND")
        position = sq.words()[1]
        if not sq.push(data):
            raise UringError(errno.EAGAIN, f"the SQ is full ({sq.entries} entries): `enter` first")
        context.attachments[position] = (data, attachment)
        self.message = f"queued user_data {sqe.user_data}; {sq.pending()} in the SQ"

    async def _text_enter(self, caller: Caller, command: text.EnterCommand) -> None:
        context = self._ready()
        to_submit = context.ring.sq.pending() if command.to_submit is None else command.to_submit
        flags = IORING_ENTER_GETEVENTS if command.wait else 0
        entered = context.enter(caller, to_submit, command.wait, flags, 0, 0)
        if not isinstance(entered, Entered):
            entered = await entered()
        if entered.wait is not None:
            await self._text_wait(entered)
        self.message = f"enter: {entered.result} submitted, {context.ring.cq.ready()} CQEs ready"

    async def _text_wait(self, entered: Entered) -> None:
        """EAGAIN after TEXT_WAIT where others' control writes wait for this one."""
        assert entered.wait is not None
        with trio.move_on_after(math.inf if self.memory().parallel else TEXT_WAIT) as patience:
            result = await entered.wait.run()
            if result < 0:
                raise UringError(-result)
        if patience.cancelled_caught:
            limit = f"a text request waits for {TEXT_WAIT:g} s on the {self.backend} backend: ask again"
            raise UringError(errno.EAGAIN, f"{entered.result} submitted; {limit}")

    async def _text_in_lane(self, call: Callable[[], None]) -> None:
        """What touches the queues."""
        behind = self._ready().sharing.between(call)
        if behind is not None:
            await behind()

    async def _text_lane(self, command: text.LaneCommand) -> None:
        context = self._ready()
        await context.sharing.switch(command.on)
        self.message = f"lane: {'on' if command.on else 'off'}"

    def _text_reap(self, command: text.ReapCommand) -> None:
        cq = self._ready().ring.cq
        taken = cq.reap(cq.entries if command.most is None else command.most)
        self._ready().ring.flush()
        listed = "; ".join(f"user_data:{cqe.user_data}, res:{cqe.res}, flags:{cqe.flags:x}" for cqe in taken)
        self.message = f"reaped {len(taken)}{': ' if taken else ''}{listed}"
