"""What a rule is about: opcodes by name or class, or one of io_uring's system calls."""

from uringfs.abi import constants as abi
from uringfs.abi.constants import OPCODES
from uringfs.faults.values import Misfit, close

CALLS = ("setup", "enter", "register")
READS = frozenset(
    {
        abi.IORING_OP_READ,
        abi.IORING_OP_READV,
        abi.IORING_OP_READ_FIXED,
        abi.IORING_OP_READV_FIXED,
        abi.IORING_OP_READ_MULTISHOT,
    }
)
WRITES = frozenset(
    {abi.IORING_OP_WRITE, abi.IORING_OP_WRITEV, abi.IORING_OP_WRITE_FIXED, abi.IORING_OP_WRITEV_FIXED}
)
RECEIVES = frozenset({abi.IORING_OP_RECV, abi.IORING_OP_RECVMSG})
SENDS = frozenset({abi.IORING_OP_SEND, abi.IORING_OP_SENDMSG, abi.IORING_OP_SEND_ZC, abi.IORING_OP_SENDMSG_ZC})
NET = RECEIVES | SENDS | {abi.IORING_OP_ACCEPT, abi.IORING_OP_CONNECT, abi.IORING_OP_SHUTDOWN}
NET |= {abi.IORING_OP_SOCKET, abi.IORING_OP_BIND, abi.IORING_OP_LISTEN}
PATHS = {
    abi.IORING_OP_OPENAT: "addr",
    abi.IORING_OP_OPENAT2: "addr",
    abi.IORING_OP_STATX: "addr",
    abi.IORING_OP_RENAMEAT: "addr",
    abi.IORING_OP_UNLINKAT: "addr",
    abi.IORING_OP_MKDIRAT: "addr",
    abi.IORING_OP_SYMLINKAT: "addr",
    abi.IORING_OP_LINKAT: "addr",
    abi.IORING_OP_GETXATTR: "addr3",
    abi.IORING_OP_SETXATTR: "addr3",
}
"""Requests that name a path, and the field that has its address."""
SYNCS = frozenset({abi.IORING_OP_FSYNC, abi.IORING_OP_SYNC_FILE_RANGE})
FILES = READS | WRITES | SYNCS | PATHS.keys() | {abi.IORING_OP_FALLOCATE, abi.IORING_OP_FTRUNCATE}
POLLS = frozenset({abi.IORING_OP_POLL_ADD, abi.IORING_OP_POLL_REMOVE, abi.IORING_OP_EPOLL_WAIT})
TRANSFERS = READS | WRITES | RECEIVES | SENDS
MULTISHOTS = frozenset(
    {
        abi.IORING_OP_READ_MULTISHOT,
        abi.IORING_OP_RECV,
        abi.IORING_OP_RECVMSG,
        abi.IORING_OP_ACCEPT,
        abi.IORING_OP_POLL_ADD,
        abi.IORING_OP_TIMEOUT,
        abi.IORING_OP_SEND,
    }
)
"""Opcodes whose requests may have CQEs with IORING_CQE_F_MORE."""
SELECTS = READS | RECEIVES | {abi.IORING_OP_SEND}
CANCELS = frozenset({abi.IORING_OP_ASYNC_CANCEL, abi.IORING_OP_POLL_REMOVE, abi.IORING_OP_TIMEOUT_REMOVE})
ALL = frozenset(range(len(OPCODES)))
CLASSES = {
    "all": ALL,
    "%read": READS,
    "%write": WRITES,
    "%recv": RECEIVES,
    "%send": SENDS,
    "%net": NET,
    "%file": FILES,
    "%sync": SYNCS,
    "%path": frozenset(PATHS),
    "%poll": POLLS,
    "%cancel": CANCELS,
}


def parse(text: str) -> tuple[str, frozenset[int]]:
    """(call, opcodes): one of CALLS, or '' and some opcodes. Misfit."""
    if text.lower() in CALLS:
        return text.lower(), frozenset()
    body = text.removeprefix("!")
    found: frozenset[int] = frozenset().union(*(_one(word) for word in body.split(",")))
    found = ALL - found if body != text else found
    if not found:
        raise Misfit(f"{text!r} leaves no opcode", *CLASSES)
    return "", found


def _one(word: str) -> frozenset[int]:
    if word.lower() in CLASSES:
        return CLASSES[word.lower()]
    name = word.upper().removeprefix("IORING_OP_")
    if name in OPCODES:
        return frozenset({OPCODES.index(name)})
    known = [*OPCODES, *(call for call in CALLS), *CLASSES]
    raise Misfit(f"{word!r} is no opcode, class or call", *close(name, known), *CLASSES, *CALLS)
