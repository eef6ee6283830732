"""Since which Linux there is what of io_uring, written out literally: opcodes, setup flags, features, register
codes, enter flags and SQE flags. Source: liburing's man pages, and releases of include/uapi/linux/io_uring.h."""

from functools import lru_cache
from typing import NamedTuple

from uringfs.abi.constants import (
    ENTER_FLAGS,
    FEATURES,
    OPCODES,
    REGISTER_OPCODES,
    SETUP_FLAGS,
    SQE_FLAGS,
)

Version = tuple[int, int]
LATEST: Version = (6, 18)
RELEASES: tuple[Version, ...] = (*((5, minor) for minor in range(1, 20)), *((6, minor) for minor in range(19)))
"""The releases that can be asked for. 5.1 is the first with io_uring."""
_LATER: Version = (99, 0)  # than any that can be asked for

OPCODES_SINCE: dict[Version, str] = {
    (5, 1): "NOP READV WRITEV FSYNC READ_FIXED WRITE_FIXED POLL_ADD POLL_REMOVE",
    (5, 2): "SYNC_FILE_RANGE",
    (5, 3): "SENDMSG RECVMSG",
    (5, 4): "TIMEOUT",
    (5, 5): "TIMEOUT_REMOVE ACCEPT ASYNC_CANCEL LINK_TIMEOUT CONNECT",
    (5, 6): "FALLOCATE OPENAT CLOSE FILES_UPDATE STATX READ WRITE FADVISE MADVISE SEND RECV OPENAT2 EPOLL_CTL",
    (5, 7): "SPLICE PROVIDE_BUFFERS REMOVE_BUFFERS",
    (5, 8): "TEE",
    (5, 11): "SHUTDOWN RENAMEAT UNLINKAT",
    (5, 15): "MKDIRAT SYMLINKAT LINKAT",
    (5, 18): "MSG_RING",
    (5, 19): "FSETXATTR SETXATTR FGETXATTR GETXATTR SOCKET URING_CMD",
    (6, 0): "SEND_ZC",
    (6, 1): "SENDMSG_ZC",
    (6, 7): "READ_MULTISHOT WAITID FUTEX_WAIT FUTEX_WAKE FUTEX_WAITV",
    (6, 8): "FIXED_FD_INSTALL",
    (6, 9): "FTRUNCATE",
    (6, 11): "BIND LISTEN",
    (6, 15): "RECV_ZC EPOLL_WAIT READV_FIXED WRITEV_FIXED",
    (6, 16): "PIPE",
    _LATER: "NOP128 URING_CMD128",
}
SETUP_FLAGS_SINCE: dict[Version, str] = {
    (5, 1): "IOPOLL SQPOLL SQ_AFF",
    (5, 5): "CQSIZE",
    (5, 6): "CLAMP ATTACH_WQ",
    (5, 10): "R_DISABLED",
    (5, 18): "SUBMIT_ALL",
    (5, 19): "COOP_TASKRUN TASKRUN_FLAG SQE128 CQE32",
    (6, 0): "SINGLE_ISSUER",
    (6, 1): "DEFER_TASKRUN",
    (6, 5): "NO_MMAP REGISTERED_FD_ONLY",
    (6, 6): "NO_SQARRAY",
    (6, 13): "HYBRID_IOPOLL",
    (6, 18): "CQE_MIXED",
    _LATER: "SQE_MIXED SQ_REWIND",
}
FEATURES_SINCE: dict[Version, str] = {
    (5, 4): "SINGLE_MMAP",
    (5, 5): "NODROP SUBMIT_STABLE",
    (5, 6): "RW_CUR_POS CUR_PERSONALITY",
    (5, 7): "FAST_POLL",
    (5, 9): "POLL_32BITS",
    (5, 11): "SQPOLL_NONFIXED EXT_ARG",
    (5, 12): "NATIVE_WORKERS",
    (5, 13): "RSRC_TAGS",
    (5, 17): "CQE_SKIP LINKED_FILE",
    (6, 3): "REG_REG_RING",
    (6, 10): "RECVSEND_BUNDLE",
    (6, 12): "MIN_TIMEOUT",
    (6, 14): "RW_ATTR",
    (6, 15): "NO_IOWAIT",
}
REGISTER_SINCE: dict[Version, str] = {
    (5, 1): "REGISTER_BUFFERS UNREGISTER_BUFFERS REGISTER_FILES UNREGISTER_FILES",
    (5, 2): "REGISTER_EVENTFD UNREGISTER_EVENTFD",
    (5, 5): "REGISTER_FILES_UPDATE",
    (5, 6): "REGISTER_EVENTFD_ASYNC REGISTER_PROBE REGISTER_PERSONALITY UNREGISTER_PERSONALITY",
    (5, 10): "REGISTER_RESTRICTIONS REGISTER_ENABLE_RINGS",
    (5, 13): "REGISTER_FILES2 REGISTER_FILES_UPDATE2 REGISTER_BUFFERS2 REGISTER_BUFFERS_UPDATE",
    (5, 14): "REGISTER_IOWQ_AFF UNREGISTER_IOWQ_AFF",
    (5, 15): "REGISTER_IOWQ_MAX_WORKERS",
    (5, 18): "REGISTER_RING_FDS UNREGISTER_RING_FDS",
    (5, 19): "REGISTER_PBUF_RING UNREGISTER_PBUF_RING",
    (6, 0): "REGISTER_SYNC_CANCEL REGISTER_FILE_ALLOC_RANGE",
    (6, 8): "REGISTER_PBUF_STATUS",
    (6, 9): "REGISTER_NAPI UNREGISTER_NAPI",
    (6, 12): "REGISTER_CLOCK REGISTER_CLONE_BUFFERS",
    (6, 13): "REGISTER_SEND_MSG_RING REGISTER_RESIZE_RINGS REGISTER_MEM_REGION",
    (6, 15): "REGISTER_ZCRX_IFQ",
    (6, 18): "REGISTER_QUERY",
    _LATER: "REGISTER_ZCRX_CTRL REGISTER_BPF_FILTER",
}
ENTER_FLAGS_SINCE: dict[Version, str] = {
    (5, 1): "GETEVENTS SQ_WAKEUP",
    (5, 10): "SQ_WAIT",
    (5, 11): "EXT_ARG",
    (5, 18): "REGISTERED_RING",
    (6, 12): "ABS_TIMER",
    (6, 13): "EXT_ARG_REG",
    (6, 15): "NO_IOWAIT",
}
SQE_FLAGS_SINCE: dict[Version, str] = {
    (5, 1): "FIXED_FILE",
    (5, 2): "IO_DRAIN",
    (5, 3): "IO_LINK",
    (5, 5): "IO_HARDLINK",
    (5, 6): "ASYNC",
    (5, 7): "BUFFER_SELECT",
    (5, 17): "CQE_SKIP_SUCCESS",
}
CQ_FLAGS_SINCE: Version = (5, 8)
"""io_cqring_offsets.flags"""
REGISTERED_RING_SINCE: Version = (6, 3)
"""IORING_REGISTER_USE_REGISTERED_RING"""


class Kernel(NamedTuple):
    """What a ring's kernel has. What is not there is refused as that kernel refused it."""

    version: Version | None
    """None: all that we have."""
    opcodes: frozenset[int]
    register: frozenset[int]
    """Codes of io_uring_register(2)."""
    setup_flags: int
    features: int
    enter_flags: int
    sqe_flags: int

    def since(self, version: Version) -> bool:
        """True if the kernel is of that version or a later one."""
        return self.version is None or self.version >= version

    def __str__(self) -> str:
        return "{}.{}".format(*self.version) if self.version is not None else "current"


def _numbers(since: dict[Version, str], version: Version, names: list[str]) -> frozenset[int]:
    return frozenset(names.index(name) for first in since if first <= version for name in since[first].split())


def _mask(since: dict[Version, str], version: Version, names: list[str]) -> int:
    return sum(1 << bit for bit in _numbers(since, version, names))


@lru_cache(maxsize=len(RELEASES) + 1)
def _of(version: Version | None) -> Kernel:
    upto = version or _LATER
    return Kernel(
        version,
        _numbers(OPCODES_SINCE, upto, OPCODES),
        _numbers(REGISTER_SINCE, upto, REGISTER_OPCODES),
        _mask(SETUP_FLAGS_SINCE, upto, SETUP_FLAGS),
        _mask(FEATURES_SINCE, upto, FEATURES),
        _mask(ENTER_FLAGS_SINCE, upto, ENTER_FLAGS),
        _mask(SQE_FLAGS_SINCE, upto, SQE_FLAGS),
    )


CURRENT = _of(None)


def kernel(text: str) -> Kernel:
    """The one of that version, as 5.10 or 5.10.0-8-amd64; "current" is what there is. ValueError says which there
    are."""
    if text == "current":
        return CURRENT
    words = text.split("-")[0].split(".")
    if len(words) >= 2 and all(word.isascii() and word.isdecimal() for word in words[:2]):
        version = (int(words[0]), int(words[1]))
        if version in RELEASES:
            return _of(version)
    raise ValueError(f"{text!r} is no kernel from 5.1 to {LATEST[0]}.{LATEST[1]} (5.1 to 5.19, 6.0 to 6.18)")
