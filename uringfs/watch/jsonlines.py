"""Events as JSON, one object a line, by the schema that stands here (docs/watch.md has it; a test compares)."""

import json
from collections import deque
from typing import Any

from uringfs.abi.constants import REGISTER_OPCODES, SETUP_FLAGS, SQE_FLAGS
from uringfs.abi.numbers import U32
from uringfs.abi.structs import PARAMS, Params, Sqe
from uringfs.watch import arguments
from uringfs.watch.record import INJECTED, LATE, NO_CQE, TRUNCATED, How, Record, RecordKind
from uringfs.watch.strace import call
from uringfs.watch.values import CQE_FLAGS, errno_name

WHO = {
    "ring": "integer: inode number of the ring's file",
    "uid": "integer: user id of the ring's owner",
    "pid": "integer: the process that submitted",
    "tid": "integer: its thread",
    "comm": "string: its name",
}
RESULT = {
    "res": "integer: the CQE's",
    "errno": "string or null: ENOENT and so on, of a result that is an error",
    "cqe_flags": "list of strings: IORING_CQE_F_*",
    "bid": "integer or null: the provided buffer it was put in",
}
WHAT = {
    "id": "integer: of the request, unique in the mount, where user_data repeats; of a CQE without one 0",
    "user_data": "integer",
    "op": "string: the opcode's name",
    "call": "string: as in a line of strace",
    "fields": "object: every field of the SQE, with this opcode's names of the unions",
    "flags": "list of strings: IOSQE_*",
    "chain": "integer: id of the first request of its chain, 0 for none",
    "file": "string or null: path, or addresses of a socket, behind the descriptor",
    "name": "string or null: the path, or attribute, in its memory",
    "name2": "string or null: the second one",
    "data": "string or null: the first bytes moved, one character (U+0000 to U+00FF) each",
    "truncated": "boolean: there was more data",
}
TIMES = {
    "queued_ns": "integer or null: CLOCK_MONOTONIC when the call began that took it; null if nobody watched then",
    "taken_ns": "integer or null: off the SQ",
    "issued_ns": "integer or null: its operation began; null if it never did",
    "completed_ns": "integer: its CQE was posted",
}
CALL = {**WHO, "res": RESULT["res"], "errno": RESULT["errno"], "completed_ns": "integer: CLOCK_MONOTONIC"}
SCHEMA: dict[str, dict[str, str]] = {
    "request": {
        **WHO,
        **WHAT,
        "how": "string: inline, poll, worker, armed (a timer, say), or unissued",
        "cqe": "boolean: a CQE was posted (not so with IOSQE_CQE_SKIP_SUCCESS)",
        "injected": "boolean: a fault was injected",
        **RESULT,
        **TIMES,
    },
    "cqe": {**WHO, **WHAT, **RESULT, **TIMES},
    "setup": {**CALL, "entries": "integer", "params": "object: struct io_uring_params; flags by name"},
    "register": {**CALL, "op": "string: REGISTER_FILES ...", "arg": "integer: address", "nr_args": "integer"},
    "reaped": {
        "ring": WHO["ring"],
        "ids": "list of integers: requests whose CQEs the client has taken; 0 for CQEs without one",
        "head": "integer: cq.head",
        "seen_ns": "integer: when that was seen, at the client's next call",
    },
    "lost": {"count": "integer: events that did not fit into the reader's queue"},
    "closed": {"ring": WHO["ring"], "completed_ns": "integer: CLOCK_MONOTONIC"},
    "injected": {"ring": WHO["ring"], "user_data": "integer", "rule": "integer", "text": "string: the rule"},
}
"""Event -> field -> its type and meaning. Each line has `event` besides."""
_NAMES = {
    RecordKind.REQUEST: "request",
    RecordKind.CQE: "cqe",
    RecordKind.SETUP: "setup",
    RecordKind.REGISTER: "register",
}
_BASES = Sqe._fields
_ALIASES = {
    alias: base for base in _BASES for alias, where in vars(Sqe).items() if where is getattr(Sqe, base, None)
}
_ALIASES |= {"cmd_op": "off", "level": "addr", "optname": "addr", "splice_fd_in": "file_index"}
_NOT_HERE = ("opcode", "flags", "user_data")


def fields(sqe: Sqe) -> dict[str, int]:
    """All of an SQE's fields, those of unions with their names for this opcode."""
    found = {name: getattr(sqe, name) for name in _BASES if name not in _NOT_HERE}
    for name, _ in arguments.of(sqe.opcode):
        if name in _ALIASES:
            found.pop(_ALIASES[name], None)
            found[name] = getattr(sqe, name)
    return found


def _flags(names: list[str], value: int) -> list[str]:
    return [name for bit, name in enumerate(names) if value >> bit & 1]


def _string(text: bytes) -> str | None:
    return text.decode("utf-8", "surrogateescape") if text else None


def _who(record: Record) -> dict[str, Any]:
    comm = record.comm.decode("utf-8", "surrogateescape")
    return {"ring": record.ring, "uid": record.uid, "pid": record.pid, "tid": record.tid, "comm": comm}


def _result(record: Record) -> dict[str, Any]:
    return {
        "res": record.res,
        "errno": errno_name(record.res) or None,
        "cqe_flags": [name for bit, name in CQE_FLAGS.items() if record.cflags & bit],
        "bid": record.cflags >> 16 if record.cflags & 1 else None,
    }


def _what(record: Record) -> dict[str, Any]:
    sqe = record.sqe
    return {
        "id": record.id,
        "user_data": sqe.user_data,
        "op": arguments.opcode_name(sqe.opcode),
        "call": call(record),
        "fields": fields(sqe),
        "flags": _flags(SQE_FLAGS, sqe.flags),
        "chain": record.chain,
        "file": _string(record.file),
        "name": _string(record.name),
        "name2": _string(record.name2),
        "data": record.data.decode("latin-1") if record.data else None,
        "truncated": bool(record.flags & TRUNCATED),
    }


def _times(record: Record) -> dict[str, Any]:
    late = record.flags & LATE
    return {
        "queued_ns": None if late else record.queued or None,
        "taken_ns": None if late else record.taken or None,
        "issued_ns": record.issued or None,
        "completed_ns": record.completed,
    }


def _called(record: Record) -> dict[str, Any]:
    errno = errno_name(record.res) or None
    return {**_who(record), "res": record.res, "errno": errno, "completed_ns": record.completed}


def _params(record: Record) -> dict[str, Any]:
    if len(record.data) != PARAMS.size:
        return {}
    params = Params._make(PARAMS.unpack(record.data))
    names = "sq_entries", "cq_entries", "sq_thread_cpu", "sq_thread_idle", "features", "wq_fd"
    return {"flags": _flags(SETUP_FLAGS, params.flags), **{name: getattr(params, name) for name in names}}


def _register_name(code: int) -> str:
    code &= 0x7FFFFFFF
    return REGISTER_OPCODES[code] if code < len(REGISTER_OPCODES) else str(code)


class Objects:
    """The objects of a stream of events. Remembers which CQEs have not been reaped."""

    def __init__(self) -> None:
        self._posted: dict[int, deque[tuple[int, int]]] = {}
        """Ring -> (position, id)."""

    def object(self, record: Record) -> dict[str, Any]:
        match record.kind:
            case RecordKind.REQUEST:
                told = {**_who(record), **_what(record), "how": How(record.how).name.lower()}
                told["cqe"] = not record.flags & NO_CQE
                told["injected"] = bool(record.flags & INJECTED)
                self._post(record)
                return {"event": "request", **told, **_result(record), **_times(record)}
            case RecordKind.CQE:
                self._post(record)
                return {"event": "cqe", **_who(record), **_what(record), **_result(record), **_times(record)}
            case RecordKind.SETUP:
                return {
                    "event": "setup",
                    **_called(record),
                    "entries": record.sqe.len,
                    "params": _params(record),
                }
            case RecordKind.REGISTER:
                op, arg, nr_args = _register_name(record.sqe.rw_flags), record.sqe.addr, record.sqe.len
                return {"event": "register", **_called(record), "op": op, "arg": arg, "nr_args": nr_args}
        return self._other(record)

    def _other(self, record: Record) -> dict[str, Any]:
        match record.kind:
            case RecordKind.REAPED:
                head, seen, ids = record.position, record.completed, self._reaped(record.ring, record.position)
                return {"event": "reaped", "ring": record.ring, "ids": ids, "head": head, "seen_ns": seen}
            case RecordKind.LOST:
                return {"event": "lost", "count": record.id}
            case RecordKind.CLOSED:
                self._posted.pop(record.ring, None)
                return {"event": "closed", "ring": record.ring, "completed_ns": record.completed}
        text = record.name.decode("utf-8", "replace")
        return {
            "event": "injected",
            "ring": record.ring,
            "user_data": record.sqe.user_data,
            "rule": record.id,
            "text": text,
        }

    def _post(self, record: Record) -> None:
        if not record.flags & NO_CQE:
            self._posted.setdefault(record.ring, deque()).append((record.position, record.id))

    def _reaped(self, ring: int, head: int) -> list[int]:
        posted, ids = self._posted.get(ring, deque()), []
        while posted and 0 < (head - posted[0][0]) & U32 < 1 << 31:
            ids.append(posted.popleft()[1])
        return ids

    def line(self, record: Record) -> str:
        return json.dumps(self.object(record), separators=(",", ":")) + "\n"


def schema_table() -> str:
    """The schema as Markdown, for docs/watch.md."""
    lines = []
    for event, named in SCHEMA.items():
        lines += [f"### {event}", "", "| field | |", "|---|---|"]
        lines += [f"| `{name}` | {meaning} |" for name, meaning in named.items()]
        lines.append("")
    return "\n".join(lines).rstrip()
