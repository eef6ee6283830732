"""The files by which one watches: `.trace`, `.rings`, `.metrics` (docs/watch.md)."""

import errno
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import trio

from uringfs.abi.constants import SETUP_FLAGS, SQE_FLAGS, flag_names
from uringfs.abi.numbers import decimal
from uringfs.engine.context import Context
from uringfs.engine.request import Request
from uringfs.engine.tctx import TaskContexts
from uringfs.errors import UringError
from uringfs.fs.specials import Session, Special
from uringfs.host.protocols import Caller, Opener
from uringfs.watch.arguments import opcode_name
from uringfs.watch.percentiles import of_buckets
from uringfs.watch.processes import comm
from uringfs.watch.stats import BOUNDS, Stats, Tally
from uringfs.watch.stream import TraceStream
from uringfs.watch.tracer import Tracer
from uringfs.watch.viewer import OpenerViewer

PERCENTS = 50, 95, 99
UNREAD = 600.0
"""Seconds after the last read of `.metrics` at which counting by opcode ends."""
MOST_PENDING = 1000
MOST_READERS = 32
"""Open `.trace` of a user's: each is asked at every call, whoever makes it, and may have a full queue."""
Named = tuple[str, Context]
"""A ring, and the name of its file: '' of one that has none."""


def _viewer(session: Session) -> OpenerViewer:
    return OpenerViewer(session.uid, session.opener)


def _words(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


class TraceFile(Special):
    """`.trace`: events, as they come, to each who has it open (watch/stream.py)."""

    mode = 0o666

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._readers: Counter[int] = Counter()
        """By user."""

    def opened(self, session: Session, flags: int) -> None:
        if flags & os.O_ACCMODE == os.O_WRONLY:
            return
        if session.uid and self._readers[session.uid] >= MOST_READERS:
            raise UringError(errno.EMFILE, f"user {session.uid} has {MOST_READERS} traces open")
        self._readers[session.uid] += 1
        session.stream = TraceStream(self._tracer, _viewer(session), bool(flags & os.O_NONBLOCK))

    def closed(self, session: Session) -> None:
        if session.stream is not None:
            session.stream.close()
            self._readers -= Counter([session.uid])

    def say(self, session: Session, data: bytes, caller: Caller, opener: Opener) -> str | None:
        if session.stream is None:
            raise UringError(errno.EINVAL, "a filter is of who reads: open it for both")
        session.stream.say(_words(data))
        return None


@dataclass(eq=False)
class _Asked:
    """What an open `.rings` shows."""

    ring: int = 0
    stats: bool = False


class Rings(Special):
    """`.rings`: one JSON object a line, of each ring that the reader may see."""

    mode = 0o666

    def __init__(
        self, rings: Callable[[], Iterable[Named]], tctx: TaskContexts, stats: Stats, backend: str
    ) -> None:
        self._rings = rings
        self._tctx = tctx
        self._stats = stats
        self._backend = backend
        self._asked: dict[Session, _Asked] = {}

    def closed(self, session: Session) -> None:
        asked = self._asked.pop(session, None)
        if asked is not None and asked.stats:
            self._stats.end()

    def say(self, session: Session, data: bytes, caller: Caller, opener: Opener) -> str | None:
        """`stats`: latencies, from now on and as long as it is open. `ring=NUMBER`: that one, and its requests."""
        asked = self._asked.setdefault(session, _Asked())
        for word in _words(data).split():
            name, _, value = word.partition("=")
            if name == "stats" and not value:
                if not asked.stats:
                    asked.stats = True
                    self._stats.begin()
            elif name == "ring" and (number := decimal(value)) is not None:
                asked.ring = number
            else:
                raise UringError(errno.EINVAL, f"{word!r}; what fits: stats ring=NUMBER")
        return None

    def text(self, session: Session) -> str:
        viewer, asked = _viewer(session), self._asked.get(session, _Asked())
        shown = [
            self._object(name, context, asked, viewer)
            for name, context in self._rings()
            if viewer.owns(context.ring.owner[1]) and asked.ring in (0, context.ring.number)
        ]
        return "\n".join(json.dumps(one, separators=(",", ":")) for one in shown)

    def _object(self, name: str, context: Context, asked: _Asked, viewer: OpenerViewer) -> dict[str, Any]:
        ring = context.ring
        tid, uid = ring.owner
        lineage = self._tctx.host.lineage(tid)
        told = {
            "ring": ring.number,
            "name": name,
            "uid": uid,
            "pid": lineage[0] if lineage else tid,
            "tid": tid,
            "comm": comm(tid).decode("utf-8", "surrogateescape"),
            "flags": flag_names(SETUP_FLAGS, ring.geometry.flags),
            "backend": self._backend,
            "sq_entries": ring.sq.entries,
            "cq_entries": ring.cq.entries,
            "sq_ready": ring.sq.pending(),
            "cq_ready": ring.cq.ready(),
            "backlog": len(ring.cq.backlog),
            "waiting": ring.waiters.enters,
            "in_flight": len(context.pending),
            **{counter: getattr(ring.counters, counter) for counter in ring.counters.__slots__},
        }
        if asked.stats:
            tallies = self._stats.of(ring).items()
            told["ops"] = {opcode_name(opcode): _tally(tally) for opcode, tally in tallies}
        if asked.ring:
            told["requests"] = [self._request(request, viewer) for request in list(context.pending)[:MOST_PENDING]]
        return told

    def _request(self, request: Request, viewer: OpenerViewer) -> dict[str, Any]:
        sqe = request.sqe
        return {
            "op": opcode_name(sqe.opcode),
            "fd": sqe.fd,
            "file": _file_name(request, viewer),
            "off": sqe.off,
            "len": sqe.len,
            "user_data": sqe.user_data,
            "flags": flag_names(SQE_FLAGS, sqe.flags),
            "tid": request.caller.tid,
            "age_ns": self._stats.age(request),
        }


def _file_name(request: Request, viewer: OpenerViewer) -> str | None:
    """None, too, of a caller of whom the viewer may see nothing, or who is gone."""
    if request.target is None:
        return None
    with suppress(UringError):
        if request.caller.program.same() and viewer.sees(request.context.ring.owner[1], request.caller):
            return request.target.name()
    return None


def _tally(tally: Tally) -> dict[str, Any]:
    """ns"""
    percents = {f"p{percent}_ns": round(of_buckets(BOUNDS, tally.buckets, percent)) for percent in PERCENTS}
    errors = {errno.errorcode.get(number, str(number)): count for number, count in tally.errors.items()}
    return {"count": tally.count, "total_ns": tally.total_ns, **percents, "errors": errors}


class Metrics(Special):
    """`.metrics`: Prometheus's text format. Its mode says who may read it: at first the mount's owner."""

    mode = 0o400

    def __init__(self, write: Callable[[], str], stats: Stats, nursery: trio.Nursery) -> None:
        self._write = write
        self._stats = stats
        self._nursery = nursery
        self._last = 0.0
        self._counting = False

    def text(self, session: Session) -> str:
        self._last = trio.current_time()
        if not self._counting:
            self._counting = True
            self._stats.begin()
            self._nursery.start_soon(self._until_unread)
        return self._write().rstrip("\n")

    async def _until_unread(self) -> None:
        while (left := self._last + UNREAD - trio.current_time()) > 0:  # noqa: ASYNC110  it is time that is waited for
            await trio.sleep(left)
        self._counting = False
        self._stats.end()
