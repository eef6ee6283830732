"""What `cat` shows of a ring: first the lines of Linux's /proc/PID/fdinfo of an io_uring fd
(io_uring/fdinfo.c: __io_uring_show_fdinfo(), 6.18), which people and tools know, then our own; and the
same numbers as xattrs, for scripts."""

from uringfs.abi.constants import OPCODES, SETUP_FLAGS, SQE_FLAGS, flag_names
from uringfs.engine.context import Context
from uringfs.engine.resources import Node, RegisteredBuffer
from uringfs.fs import lanestatus
from uringfs.fs.ringfile import RingFile
from uringfs.ops.table import SQE128_OPCODES
from uringfs.ring.ring import Ring

XATTR_PREFIX = "user.uring."
PARAMS_XATTR = b"user.uring.params"
"""struct io_uring_params, for who maps a ring that another has set up. Not listed: it is no text."""


def show(file: RingFile) -> bytes:
    """The text of a ring file."""
    lines = []
    if file.context is None:
        lines.append("State:\tnot set up (write `setup ENTRIES`)")
    else:
        lines += _fdinfo(file.context) + _ours(file, file.context)
    lines.append(f"LastMessage:\t{file.message}")
    for user_data, data in file.kept:
        lines.append(f"Data:\tuser_data:{user_data}, len:{len(data)}, {_quoted(data)}")
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


def _fdinfo(context: Context) -> list[str]:
    ring = context.ring
    sq, cq = ring.sq, ring.cq
    (sq_head, sq_tail), (cq_head, cq_tail) = sq.words(), cq.words()
    sqes, cqes = sq.peek(SQE128_OPCODES), cq.peek()
    files, buffers = context.resources.files.nodes or [], context.resources.buffers.nodes or []
    return [
        f"SqMask:\t{sq.entries - 1:#x}",
        f"SqHead:\t{sq_head}",
        f"SqTail:\t{sq_tail}",
        f"CachedSqHead:\t{sq.head}",
        f"CqMask:\t{cq.entries - 1:#x}",
        f"CqHead:\t{cq_head}",
        f"CqTail:\t{cq_tail}",
        f"CachedCqTail:\t{cq.tail}",
        f"SQEs:\t{len(sqes)}",
        *(
            f"{index:5}: opcode:{_opcode(sqe.opcode)}, fd:{sqe.fd}, flags:{sqe.flags:x}, off:{sqe.off}, "
            f"addr:{sqe.addr:#x}, rw_flags:{sqe.rw_flags:#x}, buf_index:{sqe.buf_index} user_data:{sqe.user_data}"
            for index, sqe in sqes
        ),
        f"CQEs:\t{len(cqes)}",
        *(f"{index:5}: user_data:{cqe.user_data}, res:{cqe.res}, flag:{cqe.flags:x}" for index, cqe in cqes),
        f"SqThread:\t{context.poller.thread() if context.poller is not None else -1}",
        "SqThreadCpu:\t-1",
        "SqTotalTime:\t0",
        "SqWorkTime:\t0",
        f"UserFiles:\t{len(files)}",
        *(f"{index:5}: {node.what.name()}" for index, node in enumerate(files) if node is not None),
        f"UserBufs:\t{len(buffers)}",
        *(_buffer(index, node) for index, node in enumerate(buffers)),
        "PollList:",
        *(f"  op={request.sqe.opcode}, task_works=0" for request in context.pending if request.polls()),
        "CqOverflowList:",
        *(f"  user_data={cqe.user_data}, res={cqe.res}, flags={cqe.flags:x}" for cqe, _ in cq.backlog),
        "NAPI:\tdisabled",
    ]


def _buffer(index: int, node: Node[RegisteredBuffer] | None) -> str:
    return f"{index:5}: " + (f"{node.what.address:#x}/{node.what.length}" if node is not None else "<none>")


def _ours(file: RingFile, context: Context) -> list[str]:
    ring = context.ring
    tid, uid = ring.owner
    pending = [request.sqe for request in context.pending]
    return [
        f"Owner:\tpid:{tid}, uid:{uid}",
        f"Backend:\t{file.backend}",
        f"SetupFlags:\t{flag_names(SETUP_FLAGS, ring.geometry.flags)}",
        *(f"{name}:\t{value}" for name, value in _counters(context).items()),
        *lanestatus.lines(context),
        f"Waiting:\t{_waiting(ring)}",
        f"Pending:\t{len(pending)}",
        *(
            f"  opcode:{_opcode(sqe.opcode)}, fd:{sqe.fd}, flags:{flag_names(SQE_FLAGS, sqe.flags)}, "
            f"len:{sqe.len}, user_data:{sqe.user_data}"
            for sqe in pending
        ),
        f"Injected:\t{ring.counters.injected}",
        *(f"  {line}" for line in ring.injected),
    ]


def _waiting(ring: Ring) -> int:
    """Enters that wait. A poll waits for the ring, too, but that is the kernel's business."""
    return ring.waiters.enters


def _counters(context: Context) -> dict[str, int]:
    ring = context.ring
    counters, lane = ring.counters, lanestatus.counters(context)
    return {
        "Enters": counters.enters + lane.enters,
        "Submitted": counters.submitted + lane.submitted,
        "Completed": counters.completed + lane.completed,
        "Cancelled": counters.cancelled,
        "Overflowed": counters.overflowed,
        "SqDropped": ring.sq.dropped,
        "CqOverflow": ring.cq.overflow,
    }


def xattrs(file: RingFile) -> dict[str, bytes]:
    """user.uring.NAME: the counters and sizes, as decimal text. Only the state before setup."""
    if file.context is None:
        return {f"{XATTR_PREFIX}state": b"new"}
    ring, lane = file.context.ring, lanestatus.counters(file.context)
    numbers = {
        "sq_entries": ring.sq.entries,
        "cq_entries": ring.cq.entries,
        "sq_ready": ring.sq.pending(),
        "cq_ready": ring.cq.ready(),
        "backlog": len(ring.cq.backlog),
        "pending": len(file.context.pending),
        "waiting": _waiting(ring),
        "enters": ring.counters.enters + lane.enters,
        "submitted": ring.counters.submitted + lane.submitted,
        "completed": ring.counters.completed + lane.completed,
        "lane": int(lanestatus.is_on(file.context)),
        "lane_submitted": lane.submitted,
        "lane_completed": lane.completed,
        "cancelled": ring.counters.cancelled,
        "overflowed": ring.counters.overflowed,
        "injected": ring.counters.injected,
        "sq_dropped": ring.sq.dropped,
        "cq_overflow": ring.cq.overflow,
    }
    texts = {"state": "ready", **numbers}
    return {f"{XATTR_PREFIX}{name}": str(value).encode() for name, value in texts.items()}


def params(file: RingFile) -> bytes | None:
    """The value of PARAMS_XATTR; None before the setup."""
    return None if file.context is None else file.params()


def mount_xattrs(facts: dict[str, int | str]) -> dict[str, bytes]:
    """user.uring.NAME of the directory: what the mount as a whole is."""
    return {f"{XATTR_PREFIX}{name}": str(value).encode() for name, value in facts.items()}


def _opcode(number: int) -> str:
    return OPCODES[number] if number < len(OPCODES) else "INVALID"


def _quoted(data: bytes) -> str:
    """As a C string, so that any data stays one line."""
    escapes = {0x5C: "\\\\", 0x22: '\\"', 0x0A: "\\n", 0x09: "\\t", 0x0D: "\\r"}
    return '"' + "".join(escapes.get(c) or (chr(c) if 0x20 <= c < 0x7F else f"\\{c:03o}") for c in data) + '"'
