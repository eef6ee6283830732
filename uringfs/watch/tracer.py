"""Makes one event of each request, and of each setup and register, for all who watch. The one place that does.

What is told at a hook point is noted, and packed once, when the request is complete (record.py). Which readers
may and want to see a request is decided when it is taken, while its caller is in the call.
"""

import time
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from uringfs.abi.constants import (
    IORING_CQE_F_MORE,
    IORING_OP_CLOSE,
    IORING_OP_EPOLL_CTL,
    IORING_OP_READ_MULTISHOT,
)
from uringfs.abi.numbers import U32
from uringfs.abi.structs import PARAMS_SIZE, Sqe
from uringfs.engine.hooks import Recorder, Subscriber
from uringfs.engine.request import Request, RingContext
from uringfs.engine.tctx import TaskContexts
from uringfs.engine.timeouts import Timeout
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, File, Program
from uringfs.native import EventBatch, EventNote, EventQueue
from uringfs.ring.ring import Ring
from uringfs.watch import peek, registering
from uringfs.watch.describe import describe, describe_own
from uringfs.watch.processes import comm
from uringfs.watch.record import (
    INJECTED,
    LATE,
    NO_CQE,
    TRUNCATED,
    How,
    Record,
    RecordKind,
    blank,
    pack,
)
from uringfs.watch.subscription import EventCaller, Subscription, mask

WORKER, ARMED = int(How.WORKER), int(How.ARMED)
REQUEST, CQE = int(RecordKind.REQUEST), int(RecordKind.CQE)
NO_SQE = Sqe()
OWN_DESCRIPTOR = peek.DIRECTORIES | {IORING_OP_CLOSE, IORING_OP_EPOLL_CTL}
"""Opcodes whose sqe->fd is a descriptor, and is not what the request is about for the kernel (req->file)."""
LOOK = bytes(
    (1 if opcode in peek.NAMES or opcode in peek.FIRST else 0)
    | (2 if opcode in peek.OUTGOING else 0)
    | (4 if opcode in peek.INCOMING or opcode == IORING_OP_READ_MULTISHOT else 0)
    | (8 if opcode in OWN_DESCRIPTOR else 0)
    for opcode in range(256)
)
"""By opcode, what of its memory is shown: looked at when it is taken (1), issued (2), complete (4); of its
descriptor, when it is issued (8)."""
MOST_KNOWN = 4096
"""Threads whose names are remembered."""
_now = time.monotonic_ns


class Plan(NamedTuple):
    """What some readers want together."""

    queues: tuple[EventQueue, ...]
    opcodes: frozenset[int] | None
    """None: all."""
    mask: bytes
    data: int
    """Bytes."""

    @classmethod
    def of(cls, readers: tuple[Subscription, ...]) -> "Plan":
        wanted = [reader.filter.opcodes for reader in readers]
        opcodes = None if None in wanted else frozenset().union(*(some for some in wanted if some))
        data = max((reader.filter.data for reader in readers), default=0)
        return cls(tuple(reader.queue for reader in readers), opcodes, mask(opcodes), data)


class Batch(EventBatch):
    """What holds for all requests of one call on a ring."""

    __slots__ = ("files", "lasts_for", "of", "opcodes")

    of: tuple[EventCaller, tuple[Subscription, ...]]
    """Whose calls, and who sees them."""
    lasts_for: Program | None
    """All calls of this program are seen by the same readers: none of them need be asked."""

    files: dict[int, tuple[File, bytes]]
    """By number: what the requests' descriptors are."""
    opcodes: frozenset[int] | None
    """Opcodes that anybody wants. None: all."""

    @classmethod
    def made(cls, ring: Ring, who: EventCaller, readers: tuple[Subscription, ...], plan: Plan) -> "Batch":
        batch = cls(ring.number, ring.owner[1], who.pid, who.tid, who.comm, plan.queues, plan.mask, plan.data)
        batch.files, batch.opcodes, batch.of, batch.lasts_for = {}, plan.opcodes, (who, readers), None
        return batch

    def begin(self) -> None:
        """Begin the next call of the same thread, seen by the same readers."""
        if self.files:
            self.files.clear()
        self.again()

    def file(self, number: int, target: File) -> bytes:
        known = self.files.get(number)
        if known is None or known[0] is not target:
            known = self.files[number] = target, describe(target)
        return known[1]

    def described(self, fd: int) -> bytes:
        """What a descriptor of the daemon's is."""
        return describe_own(fd)


def _position(ring: Ring) -> int:
    """Where the CQ's next CQE will stand, in entries since setup."""
    return (ring.cq.tail + len(ring.cq.backlog)) & U32


class Tracer(Recorder, Subscriber):
    """All readers of a mount. Subscribed as long as there is one. The points that each request passes are
    EventRecorder's, which calls the methods here that begin with an underscore (native/watch/recorder.c)."""

    def __init__(self, tctx: TaskContexts) -> None:
        self._tctx = tctx
        self._hooks = tctx.hooks
        self._readers: list[Subscription] = []
        self._batches: dict[RingContext, Batch] = {}
        self._live: dict[Request, EventNote] = {}
        self._names: dict[int, tuple[object, EventCaller]] = {}  # by thread, with its program
        self._heads: dict[Ring, int] = {}
        self._watchers: dict[Ring, tuple[EventQueue, ...]] = {}
        self._plans: dict[tuple[Subscription, ...], Plan] = {}
        self._lost = 0  # by readers that are gone
        self._more: Request | None = None  # posts the next CQE
        self._earlier: set[Request] = set()  # taken before anybody watched
        super().__init__(self._batches, self._live, self._earlier, LOOK)

    def add(self, reader: Subscription) -> None:
        self._readers.append(reader)
        self._earlier.update(request for request in self._tctx.pending() if request not in self._live)
        if len(self._readers) == 1:
            self._hooks.subscribe(self)
        else:
            self._reconsider()

    def remove(self, reader: Subscription) -> None:
        self._readers.remove(reader)
        self._lost += reader.total_lost
        self._reconsider()
        if self._readers:
            return
        self._hooks.unsubscribe(self)
        for known in (self._batches, self._live, self._names, self._heads, self._earlier, self._watchers):
            known.clear()

    def batch(self, context: RingContext) -> Batch | None:
        """The batch of the ring's last call. None if nobody watches it."""
        return self._batches.get(context)

    def readers(self) -> int:
        return len(self._readers)

    def lost(self) -> int:
        """Events, of all readers."""
        return self._lost + sum(reader.total_lost for reader in self._readers)

    def changed(self) -> None:
        """A reader wants something else."""
        self._batches.clear()
        self._reconsider()

    def _reconsider(self) -> None:
        for batch in self._batches.values():
            batch.lasts_for = None
        self._watchers.clear()
        self._plans.clear()
        self._hooks.change()

    def watches(self, ring: Ring) -> bool:
        return any(reader.watches(ring) for reader in self._readers)

    # -- who

    def _who(self, caller: Caller) -> EventCaller:
        """ESRCH"""
        program = caller.program
        known = self._names.get(caller.tid)
        if known is not None and known[0] is program:
            return known[1]
        if len(self._names) >= MOST_KNOWN:
            self._names.clear()
        pid = caller.group
        who = EventCaller(pid, caller.tid, comm(caller.tid), partial(self._tctx.host.lineage, caller.tid))
        self._names[caller.tid] = program, who
        return who

    def _batch(self, ring: Ring, caller: Caller, last: Batch | None = None) -> Batch | None:
        """None if nobody watches this caller. last: of the ring's last call, which may do again."""
        try:
            if last is not None and last.lasts_for is caller.program:
                last.begin()
                return last
            who = self._who(caller)
        except UringError:  # gone
            return None
        readers = tuple([reader for reader in self._readers if reader.wants(ring, caller, who)])
        if not readers:
            return None
        if last is not None and last.of == (who, readers):
            last.begin()
        else:
            last = Batch.made(ring, who, readers, self._plan(readers))
        lasts = all(reader in readers and reader.is_constant for reader in self._readers)
        last.lasts_for = caller.program if lasts else None
        return last

    def _plan(self, readers: tuple[Subscription, ...]) -> Plan:
        plan = self._plans.get(readers)
        if plan is None:
            plan = self._plans[readers] = Plan.of(readers)
        return plan

    # -- a request's way

    def io_submit_sqes(self, context: RingContext, caller: Caller) -> None:
        self._look_at_head(context.ring)
        last = self._batches.get(context)
        batch = self._batch(context.ring, caller, last)
        if batch is not None:
            self._batches[context] = batch
        else:
            self._batches.pop(context, None)

    def _look_at_names(self, note: EventNote, request: Request, most: int) -> None:
        """Note the paths that a request names, as it is taken."""
        if isinstance(request.data, Timeout):
            note.data = request.data.spec
        elif request.sqe.opcode in peek.NAMES:
            note.name, note.name2 = peek.names(request.caller.memory, request.sqe)
        else:
            note.data = peek.first(request.caller.memory, request.sqe)

    def _look_at_file(self, note: EventNote, request: Request, most: int) -> None:
        """Note what a descriptor is that is not the request's target."""
        sqe = request.sqe
        if sqe.fd < 0 or (sqe.opcode == IORING_OP_CLOSE and sqe.file_index):
            return
        with suppress(UringError):
            file = request.caller.file(sqe.fd)
            note.file = describe(file)
            file.close()

    def _look_at_data(self, note: EventNote, request: Request, most: int) -> None:
        """Note what a request is about to write or send, at most so many bytes of it."""
        note.data, more = peek.outgoing(request.caller.memory, request.sqe, most)
        note.flags |= TRUNCATED if more else 0

    def _incoming(self, request: Request, res: int, most: int) -> tuple[bytes, bool]:
        """What a request has read or received, at most so many bytes, and whether there was more."""
        if request.moved is not None:
            found = bytes(request.moved[: min(res, most)])
            return found, res > len(found) > 0
        return peek.incoming(request.caller.memory, request.sqe, res, most)

    def io_req_post_cqe(self, request: Request, res: int, cflags: int) -> None:
        self._more = request

    def _beside(self, ring: Ring, user_data: int, res: int, cflags: int) -> None:
        """A CQE that ends no request."""
        more, self._more = self._more, None
        if more is None or more.sqe.user_data != user_data or not cflags & IORING_CQE_F_MORE:
            self._of_none(ring, user_data, res, cflags)
            return
        note = self._live.get(more)
        if note is None and more in self._earlier:
            note = self._late(more, False)
        if note is not None:
            self.emit(CQE, note, more, res, cflags, _position(ring))

    def io_req_cqe_skip(self, request: Request, res: int) -> None:
        note = self._live.pop(request, None)
        if note is None and request in self._earlier:
            note = self._late(request, True)
        if note is not None:
            note.flags |= NO_CQE
            self.emit(REQUEST, note, request, res, 0, 0)

    def _late(self, request: Request, end: bool) -> EventNote | None:
        """A note of a request that was under way when watching began, and posts a CQE: None if nobody watches it,
        or if it was not. end: its last one."""
        if request not in self._earlier:
            return None
        if end:
            self._earlier.discard(request)
        batch = self._batch(request.context.ring, request.caller)
        if batch is None or (batch.opcodes is not None and request.sqe.opcode not in batch.opcodes):
            return None
        note = self.late_note(batch)
        note.flags, note.how = LATE, WORKER if request.scope is not None else ARMED
        return note

    # -- what becomes of it

    def _tell(self, record: Record, ring: Ring | None) -> None:
        """An event of no request. ring: that it is about."""
        event = b""
        for reader in self._readers:
            if ring is None or reader.watches(ring):
                event = event or pack(record)
                reader.push(event)

    def _of_none(self, ring: Ring, user_data: int, res: int, cflags: int) -> None:
        """A CQE of no request: who has set the ring up sees it."""
        event = blank(
            RecordKind.CQE,
            ring=ring.number,
            res=res,
            cflags=cflags,
            position=_position(ring),
            uid=ring.owner[1],
            completed=_now(),
            sqe=NO_SQE._replace(user_data=user_data),
        )
        self._tell(event, ring)

    def _look_at_head(self, ring: Ring) -> None:
        head = ring.cq.head()
        if self._heads.get(ring) != head:
            self._heads[ring] = head
            self.reaped(ring.number, head, self._watching(ring))

    def _watching(self, ring: Ring) -> tuple[EventQueue, ...]:
        """The queues of readers who may want events of this ring."""
        found = self._watchers.get(ring)
        if found is None:
            found = tuple(reader.queue for reader in self._readers if reader.watches(ring))
            self._watchers[ring] = found
        return found

    def io_uring_cqring_wait(self, ring: Ring, min_events: int) -> None:
        self._look_at_head(ring)

    def io_ring_ctx_free(self, context: RingContext) -> None:
        ring = context.ring
        self._look_at_head(ring)
        self._tell(blank(RecordKind.CLOSED, ring=ring.number, completed=_now()), ring)
        self._batches.pop(context, None)
        self._heads.pop(ring, None)
        self._watchers.pop(ring, None)
        for request in [request for request in self._live if request.context is context]:
            del self._live[request]

    def uringfs_inject(self, ring: Ring, request: Request | None, rule: int, what: str) -> None:
        note = self._live.get(request) if request is not None else None
        if note is not None:
            note.flags |= INJECTED
        user_data = request.sqe.user_data if request is not None else 0
        name, sqe = what.encode("ascii", "backslashreplace")[:4096], NO_SQE._replace(user_data=user_data)
        self._tell(
            blank(RecordKind.INJECTED, ring=ring.number, id=rule, name=name, sqe=sqe, completed=_now()), ring
        )

    # -- calls

    def io_uring_create(self, number: int, caller: Caller, entries: int, params: int, res: int) -> None:
        data = peek.some(caller.memory, params, PARAMS_SIZE)
        sqe = NO_SQE._replace(len=entries & U32, addr=params)
        self._call(RecordKind.SETUP, number, caller.uid, caller, sqe, res, data)

    def io_uring_register(self, ring: Ring, caller: Caller, opcode: int, arg: int, nr_args: int, res: int) -> None:
        data = peek.some(caller.memory, arg, registering.size(opcode, nr_args)) if arg else b""
        sqe = NO_SQE._replace(rw_flags=opcode & U32, addr=arg, len=nr_args & U32)
        self._call(RecordKind.REGISTER, ring.number, ring.owner[1], caller, sqe, res, data)

    def _call(self, kind: int, number: int, owner: int, caller: Caller, sqe: Sqe, res: int, data: bytes) -> None:
        try:
            who = self._who(caller)
        except UringError:
            return
        told = {"ring": number, "res": res, "uid": owner, "pid": who.pid, "tid": who.tid, "comm": who.comm}
        event = pack(blank(kind, **told, completed=_now(), sqe=sqe, data=data))
        for reader in self._readers:
            if reader.wants_call(number, owner, caller, who, res):
                reader.push(event)
