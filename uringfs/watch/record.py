"""One event as bytes: what MOUNT/.trace gives with format=raw, and what the daemon keeps for every reader.

The layout is this release's own: who wants a stable one asks for format=json. Knows structs and numbers only.
"""

import sys
from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import Any, NamedTuple

from uringfs.abi.structs import Sqe

VERSION = 1


class RecordKind(IntEnum):
    REQUEST = 1
    """A request is complete: its last CQE, or, with IOSQE_CQE_SKIP_SUCCESS, none."""
    CQE = 2
    """A CQE beside a request's last one (IORING_CQE_F_MORE), or of no request at all (MSG_RING, tags)."""
    SETUP = 3
    REGISTER = 4
    REAPED = 5
    """The client has moved cq.head: seen at its next call, so `completed` is the latest it can have been."""
    LOST = 6
    """`id` events did not fit into the reader's queue."""
    CLOSED = 7
    """The ring is gone."""
    INJECTED = 8
    """A fault was injected into the request with this user_data (0: into a call): `id` and `name` are the rule."""


class How(IntEnum):
    """How a request was performed."""

    UNISSUED = 0
    """Not at all: refused when it was taken, or cancelled before it began."""
    INLINE = 1
    POLL = 2
    """The request waited for a file to become ready."""
    WORKER = 3
    """In a task or thread."""
    ARMED = 4
    """The request waited without a task of its own: a timer, say."""


TRUNCATED = 1
"""Flag: there is more data than `data`."""
LATE = 2
"""Flag: it was under way when watching began, so times before that are 0."""
NO_CQE = 4
"""Flag: nothing was posted."""
FIXED = 8
"""Flag: `file` is that of a slot."""
INJECTED = 16
"""Flag: a fault was injected."""

HEAD = Struct("<IBBBBQQQiIIIII4Q4H16sBBHiQQIIQHHIQQ")


class Record(NamedTuple):
    kind: int
    how: int
    flags: int
    ring: int
    """Inode number of its file."""
    id: int
    """The request's number, unique in the mount; 0 for none."""
    chain: int
    """The id of the first of its chain; 0 for none."""
    res: int
    cflags: int
    """cqe->flags"""
    position: int
    """The position of the CQE in the CQ; in REAPED: cq.head."""
    uid: int
    """The user id of the ring's owner."""
    pid: int
    tid: int
    queued: int
    """CLOCK_MONOTONIC, ns, as all times: the call began that took it, or a poller looked."""
    taken: int
    issued: int
    completed: int
    comm: bytes
    sqe: Sqe
    """SETUP: len is the entries asked for. REGISTER: rw_flags is the opcode, addr arg, len nr_args."""
    file: bytes
    """What the descriptor is: a path, or a socket's addresses."""
    name: bytes
    name2: bytes
    """Paths and names that the request has in memory."""
    data: bytes


_NOTHING = Record(*(0,) * 16, b"", Sqe(), b"", b"", b"", b"")


def blank(kind: int, **fields: Any) -> Record:
    """One with nothing but these fields."""
    return _NOTHING._replace(kind=kind, **fields)


def unpack(data: bytes, at: int = 0) -> tuple[Record, int]:
    """The record that begins there, and where the next one does. ValueError: it is not one of this release."""
    if len(data) - at < HEAD.size:
        raise ValueError("not an event")
    head = HEAD.unpack_from(data, at)
    size, version = head[:2]
    if version != VERSION or size < HEAD.size:
        raise ValueError(f"an event of version {version}, not {VERSION}: trace with the daemon's own release")
    start, texts = at + HEAD.size, []
    for length in head[18:22]:
        texts.append(bytes(data[start : start + length]))
        start += length
    fields = (*head[2:18], head[22].rstrip(b"\0"), tuple.__new__(Sqe, head[23:]), *texts)
    return Record._make(fields), at + size


def whole(data: bytes) -> int:
    """How many of these bytes are whole records, from the first on: a read(2) may end in the middle of one."""
    at = 0
    while at + 4 <= len(data):
        size = max(int.from_bytes(data[at : at + 4], sys.byteorder), HEAD.size)  # unpack() refuses a smaller one
        if at + size > len(data):
            break
        at += size
    return at


def pack(record: Record) -> bytes:
    texts = record[-4:]
    lengths = tuple(map(len, texts))
    size = HEAD.size + sum(lengths)
    return HEAD.pack(size, VERSION, *record[:16], *lengths, record.comm, *record.sqe) + b"".join(texts)


def each(data: bytes) -> Iterator[Record]:
    """All records of what was read."""
    at = 0
    while at < len(data):
        record, at = unpack(data, at)
        yield record
