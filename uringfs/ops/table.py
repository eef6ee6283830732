"""The opcode table, written out literally. docs/opcodes.md and IORING_REGISTER_PROBE are made from it.

Dispatch is total: an opcode that is not here is handled by UNKNOWN, which answers what a kernel
without it answers.
"""

import errno

from uringfs.errors import UringError
from uringfs.ops import nop, rw
from uringfs.ops.buffers import issue_provide, issue_remove, prep_provide, prep_remove
from uringfs.ops.request import Op, Pending, Request


def _unknown_prep(request: Request) -> None:
    """io_init_req() of a kernel whose IORING_OP_LAST is below the opcode"""
    raise UringError(errno.EINVAL, f"opcode {request.sqe.opcode} is not supported")


def _unknown_issue(request: Request) -> int | Pending:
    raise UringError(errno.EINVAL)


def _none(number: int, name: str) -> Op:
    """An opcode that is not there yet."""
    return Op(number, name, _unknown_prep, _unknown_issue, "none")


UNKNOWN = _none(-1, "UNKNOWN")

# fmt: off
TABLE = (
    Op(0, "NOP", nop.prep, nop.issue, "partial", "of the NOP flags INJECT_RESULT and TW"),
    Op(1, "READV", rw.prep_readv, rw.issue_readv, "full", ioprio=True, buffer_select=True),
    _none(2, "WRITEV"),
    _none(3, "FSYNC"),
    _none(4, "READ_FIXED"),
    _none(5, "WRITE_FIXED"),
    _none(6, "POLL_ADD"),
    _none(7, "POLL_REMOVE"),
    _none(8, "SYNC_FILE_RANGE"),
    _none(9, "SENDMSG"),
    _none(10, "RECVMSG"),
    _none(11, "TIMEOUT"),
    _none(12, "TIMEOUT_REMOVE"),
    _none(13, "ACCEPT"),
    _none(14, "ASYNC_CANCEL"),
    _none(15, "LINK_TIMEOUT"),
    _none(16, "CONNECT"),
    _none(17, "FALLOCATE"),
    _none(18, "OPENAT"),
    _none(19, "CLOSE"),
    _none(20, "FILES_UPDATE"),
    _none(21, "STATX"),
    _none(22, "READ"),
    _none(23, "WRITE"),
    _none(24, "FADVISE"),
    _none(25, "MADVISE"),
    _none(26, "SEND"),
    _none(27, "RECV"),
    _none(28, "OPENAT2"),
    _none(29, "EPOLL_CTL"),
    _none(30, "SPLICE"),
    Op(31, "PROVIDE_BUFFERS", prep_provide, issue_provide, "full"),
    Op(32, "REMOVE_BUFFERS", prep_remove, issue_remove, "full"),
    _none(33, "TEE"),
    _none(34, "SHUTDOWN"),
    _none(35, "RENAMEAT"),
    _none(36, "UNLINKAT"),
    _none(37, "MKDIRAT"),
    _none(38, "SYMLINKAT"),
    _none(39, "LINKAT"),
    _none(40, "MSG_RING"),
    _none(41, "FSETXATTR"),
    _none(42, "SETXATTR"),
    _none(43, "FGETXATTR"),
    _none(44, "GETXATTR"),
    _none(45, "SOCKET"),
    _none(46, "URING_CMD"),
    _none(47, "SEND_ZC"),
    _none(48, "SENDMSG_ZC"),
    _none(49, "READ_MULTISHOT"),
    _none(50, "WAITID"),
    _none(51, "FUTEX_WAIT"),
    _none(52, "FUTEX_WAKE"),
    _none(53, "FUTEX_WAITV"),
    _none(54, "FIXED_FD_INSTALL"),
    _none(55, "FTRUNCATE"),
    _none(56, "BIND"),
    _none(57, "LISTEN"),
    _none(58, "RECV_ZC"),
    _none(59, "EPOLL_WAIT"),
    _none(60, "READV_FIXED"),
    _none(61, "WRITEV_FIXED"),
    _none(62, "PIPE"),
    _none(63, "NOP128"),
    _none(64, "URING_CMD128"),
)
# fmt: on


def lookup(opcode: int) -> Op:
    """The row of an opcode, or UNKNOWN."""
    return TABLE[opcode] if opcode < len(TABLE) else UNKNOWN
