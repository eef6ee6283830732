"""Makes one event of each request, and of each setup and register, for all who watch. The one place that does.

What is told at a hook point is noted, and packed once, when the request is complete (record.py). Which readers
may and want to see a request is decided when it is taken, while its caller is in the call.
"""

import itertools
import time
from functools import partial

from uringfs.abi.constants import (
    IORING_CQE_F_MORE,
    IOSQE_FIXED_FILE,
    IOSQE_IO_HARDLINK,
    IOSQE_IO_LINK,
)
from uringfs.abi.structs import PARAMS_SIZE, Sqe
from uringfs.engine.hooks import Subscriber
from uringfs.engine.request import Request, RingContext
from uringfs.engine.tctx import TaskContexts
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, File
from uringfs.ring.ring import Ring
from uringfs.watch import peek, registering
from uringfs.watch.describe import describe
from uringfs.watch.processes import comm
from uringfs.watch.record import (
    FIXED,
    HEAD,
    INJECTED,
    LATE,
    NO_CQE,
    TRUNCATED,
    VERSION,
    How,
    Kind,
    Record,
    blank,
    pack,
)
from uringfs.watch.subscription import Subscription, Who

LINKS = IOSQE_IO_LINK | IOSQE_IO_HARDLINK
UNISSUED, INLINE, POLL, WORKER, ARMED = (int(how) for how in How)
REQUEST, CQE = int(Kind.REQUEST), int(Kind.CQE)
NO_SQE = Sqe()
NO_NAMES = b"", b""
MOST_KNOWN = 4096
"""Threads whose names are remembered."""
_now = time.monotonic_ns


class Batch:
    """What holds for all requests of one call on a ring."""

    __slots__ = ("chain", "data", "files", "opcodes", "queued", "readers", "ring", "who")

    def __init__(self, ring: Ring, who: Who, readers: tuple[Subscription, ...]) -> None:
        self.ring = ring
        self.who = who
        self.readers = readers
        self.queued = _now()
        self.chain = 0
        """The id of the first of the chain that is being taken."""
        wanted = [reader.filter.opcodes for reader in readers]
        self.opcodes = None if None in wanted else frozenset().union(*(some for some in wanted if some))
        """Opcodes that anybody wants. None: all."""
        self.data = max((reader.filter.data for reader in readers), default=0)
        self.files: dict[int, tuple[File, bytes]] = {}
        """By number: what the requests' descriptors are."""

    def file(self, number: int, target: File) -> bytes:
        known = self.files.get(number)
        if known is None or known[0] is not target:
            known = self.files[number] = target, describe(target)
        return known[1]


class Live:
    """A request under way."""

    __slots__ = ("batch", "chain", "data", "flags", "how", "id", "issued", "names", "taken")

    def __init__(self, batch: Batch, number: int, chain: int, taken: int) -> None:
        self.batch = batch
        self.id = number
        self.chain = chain
        self.taken = taken
        self.issued = 0
        self.how = UNISSUED
        self.flags = 0
        self.data = b""
        self.names: tuple[bytes, bytes] = NO_NAMES


class Tracer(Subscriber):
    """All readers of a mount. Subscribed as long as there is one."""

    def __init__(self, tctx: TaskContexts) -> None:
        self._tctx = tctx
        self._hooks = tctx.hooks
        self._readers: list[Subscription] = []
        self._ids = itertools.count(1)
        self._batches: dict[RingContext, Batch] = {}
        self._live: dict[Request, Live] = {}
        self._names: dict[int, tuple[object, Who]] = {}  # by thread, with its program
        self._heads: dict[Ring, int] = {}
        self._lost = 0  # by readers that are gone
        self._more: Request | None = None  # posts the next CQE
        self._earlier: set[Request] = set()  # taken before anybody watched

    def add(self, reader: Subscription) -> None:
        self._readers.append(reader)
        self._earlier.update(request for request in self._tctx.pending() if request not in self._live)
        if len(self._readers) == 1:
            self._hooks.subscribe(self)
        else:
            self._hooks.change()

    def remove(self, reader: Subscription) -> None:
        self._readers.remove(reader)
        self._lost += reader.total_lost
        if self._readers:
            self._hooks.change()
            return
        self._hooks.unsubscribe(self)
        for known in (self._batches, self._live, self._names, self._heads, self._earlier):
            known.clear()

    def readers(self) -> int:
        return len(self._readers)

    def lost(self) -> int:
        """Events, of all readers."""
        return self._lost + sum(reader.total_lost for reader in self._readers)

    def changed(self) -> None:
        """A reader wants something else."""
        self._batches.clear()
        self._hooks.change()

    def watches(self, ring: Ring) -> bool:
        return any(reader.watches(ring) for reader in self._readers)

    # -- who

    def _who(self, caller: Caller) -> Who:
        """ESRCH"""
        program = caller.program
        known = self._names.get(caller.tid)
        if known is not None and known[0] is program:
            return known[1]
        if len(self._names) >= MOST_KNOWN:
            self._names.clear()
        pid = caller.group
        who = Who(pid, caller.tid, comm(caller.tid), partial(self._tctx.host.lineage, caller.tid))
        self._names[caller.tid] = program, who
        return who

    def _batch(self, ring: Ring, caller: Caller) -> Batch | None:
        """None if nobody watches this caller."""
        try:
            who = self._who(caller)
        except UringError:  # gone
            return None
        readers = tuple(reader for reader in self._readers if reader.wants(ring, caller, who))
        return Batch(ring, who, readers) if readers else None

    # -- a request's way

    def io_submit_sqes(self, context: RingContext, caller: Caller) -> None:
        self._look_at_head(context.ring)
        batch = self._batch(context.ring, caller)
        if batch is not None:
            self._batches[context] = batch
        else:
            self._batches.pop(context, None)

    def io_uring_submit_req(self, request: Request) -> None:
        batch = self._batches.get(request.context)
        if batch is None:
            return
        sqe, number, chain = request.sqe, next(self._ids), batch.chain
        if sqe.flags & LINKS:
            if not chain:
                chain = batch.chain = number
        elif chain:
            batch.chain = 0
        opcode = sqe.opcode
        if batch.opcodes is not None and opcode not in batch.opcodes:
            return
        live = self._live[request] = Live(batch, number, chain, _now())
        if opcode in peek.NAMES:
            live.names = peek.names(request.caller.memory, sqe)
        elif opcode in peek.FIRST:
            live.data = peek.first(request.caller.memory, sqe)

    def io_uring_req_failed(self, request: Request, error: int) -> None:
        self.io_uring_submit_req(request)

    def io_issue_sqe(self, request: Request) -> None:
        live = self._live.get(request)
        if live is None:
            return
        live.issued, live.how = _now(), INLINE
        if request.sqe.opcode in peek.OUTGOING and live.batch.data:
            live.data, more = peek.outgoing(request.caller.memory, request.sqe, live.batch.data)
            live.flags |= TRUNCATED if more else 0

    def io_issue_skip_complete(self, request: Request) -> None:
        live = self._live.get(request)
        if live is not None and live.how == INLINE:
            live.how = ARMED

    def io_uring_queue_async_work(self, request: Request) -> None:
        live = self._live.get(request)
        if live is not None and live.how != POLL:
            live.how = WORKER

    def io_uring_poll_arm(self, request: Request, events: int) -> None:
        live = self._live.get(request)
        if live is not None:
            live.how = POLL

    def io_req_post_cqe(self, request: Request, res: int, cflags: int) -> None:
        self._more = request

    def io_uring_complete(
        self, ring: Ring, request: Request | None, user_data: int, res: int, cflags: int
    ) -> None:
        if request is not None:
            live = self._begun(request, True)
            if live is not None:
                self._emit(REQUEST, live, request, res, cflags, ring.cq.tail + len(ring.cq.backlog))
            return
        more, self._more = self._more, None
        if more is not None and more.sqe.user_data == user_data and cflags & IORING_CQE_F_MORE:
            live = self._begun(more, False)
            if live is not None:
                self._emit(CQE, live, more, res, cflags, ring.cq.tail + len(ring.cq.backlog))
        else:
            self._beside(ring, user_data, res, cflags)

    def io_req_cqe_skip(self, request: Request, res: int) -> None:
        live = self._begun(request, True)
        if live is not None:
            live.flags |= NO_CQE
            self._emit(REQUEST, live, request, res, 0, 0)

    def _begun(self, request: Request, end: bool) -> Live | None:
        """What was noted of a request that posts a CQE: None if nobody watches it. end: its last one."""
        live = self._live.pop(request, None) if end else self._live.get(request)
        if live is None and request in self._earlier:
            if end:
                self._earlier.discard(request)
            return self._late(request)
        return live

    def _late(self, request: Request) -> Live | None:
        batch = self._batch(request.context.ring, request.caller)
        if batch is None or (batch.opcodes is not None and request.sqe.opcode not in batch.opcodes):
            return None
        live = Live(batch, next(self._ids), 0, 0)
        live.flags, live.how = LATE, WORKER if request.scope is not None else ARMED
        return live

    # -- what becomes of it

    def _emit(self, kind: int, live: Live, request: Request, res: int, cflags: int, position: int) -> None:
        batch, sqe, flags, data = live.batch, request.sqe, live.flags, live.data
        opcode = sqe.opcode
        readers = [reader for reader in batch.readers if reader.wants_result(opcode, res)]
        if all(reader.full() for reader in readers):  # nothing is made for nobody
            for reader in readers:
                reader.lose()
            return
        if res > 0 and batch.data and opcode in peek.INCOMING:
            data, more = peek.incoming(request.caller.memory, sqe, res, batch.data)
            flags |= TRUNCATED if more else 0
        file = b""
        if request.target is not None:
            file = batch.file(sqe.fd, request.target)
            flags |= FIXED if request.flags & IOSQE_FIXED_FILE else 0
        name, name2 = live.names
        event = HEAD.pack(
            *(HEAD.size + len(file) + len(name) + len(name2) + len(data), VERSION, kind, live.how, flags),
            *(batch.ring.number, live.id, live.chain, res, cflags, position & 0xFFFFFFFF),
            *(batch.ring.owner[1], batch.who.pid, batch.who.tid),
            *(batch.queued, live.taken, live.issued, _now()),
            *(len(file), len(name), len(name2), len(data), batch.who.comm),
            *sqe,
        )
        if file or name or data:
            event = b"".join((event, file, name, name2, data))
        for reader in readers:
            reader.push(event)

    def _tell(self, record: Record, ring: Ring | None) -> None:
        """An event of no request. ring: that it is about."""
        event = b""
        for reader in self._readers:
            if ring is None or reader.watches(ring):
                event = event or pack(record)
                reader.push(event)

    def _beside(self, ring: Ring, user_data: int, res: int, cflags: int) -> None:
        """A CQE of no request: who has set the ring up sees it."""
        event = blank(
            Kind.CQE,
            ring=ring.number,
            res=res,
            cflags=cflags,
            position=(ring.cq.tail + len(ring.cq.backlog)) & 0xFFFFFFFF,
            uid=ring.owner[1],
            completed=_now(),
            sqe=NO_SQE._replace(user_data=user_data),
        )
        self._tell(event, ring)

    def _look_at_head(self, ring: Ring) -> None:
        head = ring.cq.words()[0]
        if self._heads.get(ring) != head:
            self._heads[ring] = head
            self._tell(blank(Kind.REAPED, ring=ring.number, position=head, completed=_now()), ring)

    def io_uring_cqring_wait(self, ring: Ring, min_events: int) -> None:
        self._look_at_head(ring)

    def io_ring_ctx_free(self, context: RingContext) -> None:
        ring = context.ring
        self._look_at_head(ring)
        self._tell(blank(Kind.CLOSED, ring=ring.number, completed=_now()), ring)
        self._batches.pop(context, None)
        self._heads.pop(ring, None)
        for request in [request for request in self._live if request.context is context]:
            del self._live[request]

    def uringfs_inject(self, ring: Ring, user_data: int, rule: int, what: str) -> None:
        for request, live in reversed(self._live.items()):
            if request.sqe.user_data == user_data and request.context.ring is ring:
                live.flags |= INJECTED
                break
        name, sqe = what.encode("ascii", "backslashreplace")[:4096], NO_SQE._replace(user_data=user_data)
        self._tell(blank(Kind.INJECTED, ring=ring.number, id=rule, name=name, sqe=sqe, completed=_now()), ring)

    # -- calls

    def io_uring_create(self, number: int, caller: Caller, entries: int, params: int, res: int) -> None:
        data = peek.some(caller.memory, params, PARAMS_SIZE)
        sqe = NO_SQE._replace(len=entries & 0xFFFFFFFF, addr=params)
        self._call(Kind.SETUP, number, caller.uid, caller, sqe, res, data)

    def io_uring_register(self, ring: Ring, caller: Caller, opcode: int, arg: int, nr_args: int, res: int) -> None:
        data = peek.some(caller.memory, arg, registering.size(opcode, nr_args)) if arg else b""
        sqe = NO_SQE._replace(rw_flags=opcode & 0xFFFFFFFF, addr=arg, len=nr_args & 0xFFFFFFFF)
        self._call(Kind.REGISTER, ring.number, ring.owner[1], caller, sqe, res, data)

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
