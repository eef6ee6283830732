"""The opcode table, written out literally. docs/opcodes.md and IORING_REGISTER_PROBE are made from it.

Dispatch is total: an opcode that is not here is handled by UNKNOWN, which answers what a kernel
without it answers.
"""

import errno

from uringfs.errors import UringError
from uringfs.ops import (
    accept,
    advise,
    cancel,
    epoll,
    fs,
    futex,
    msg_ring,
    net,
    nop,
    openclose,
    pipe,
    poll,
    recv,
    rw,
    send,
    socketcmd,
    splice,
    statx,
    sync,
    timeout,
    waitid,
    xattr,
)
from uringfs.ops.buffers import issue_provide, issue_remove, prep_provide, prep_remove
from uringfs.ops.filetable import issue_files_update, prep_files_update
from uringfs.ops.request import Op, Pending, Request
from uringfs.ops.rw_select import issue_multishot


def _unknown_prep(request: Request) -> None:
    """io_init_req() of a kernel whose IORING_OP_LAST is below the opcode"""
    raise UringError(errno.EINVAL, f"opcode {request.sqe.opcode} is not supported")


def _recv_zc_prep(request: Request) -> None:
    """io_recvzc_prep()"""
    raise UringError(errno.EINVAL, "no zcrx queue is registered")


def _unknown_issue(request: Request) -> int | Pending:
    raise UringError(errno.EINVAL)


def _none(number: int, name: str) -> Op:
    """An opcode that is not there yet."""
    return Op(number, name, _unknown_prep, _unknown_issue, "none")


UNKNOWN = _none(-1, "UNKNOWN")

SCM = "SCM_RIGHTS for clients that fetch, not multishot (docs/descriptors.md)"
SOCKETS = "of sockets: SIOCINQ SIOCOUTQ GETSOCKOPT SETSOCKOPT"
FETCHES = "direct; plain for clients that fetch (docs/descriptors.md)"

WAITS = "for clients that fetch (docs/descriptors.md)"
ADVISES = f"{WAITS}, else see docs/differences.md"
SEEN = "a wake-up by futex(2) is seen by the word's change; no NUMA futexes"
WOKEN = "threads in futex(2) itself only where the futex is in shared memory and not FUTEX2_PRIVATE"

# fmt: off
TABLE = (
    Op(0, "NOP", nop.prep, nop.issue, "full"),
    Op(1, "READV", rw.prep_vec, rw.issue_read, "full", ioprio=True, buffer_select=True),
    Op(2, "WRITEV", rw.prep_vec, rw.issue_write, "full", ioprio=True),
    Op(3, "FSYNC", sync.prep_fsync, sync.issue_fsync, "full", "a range is widened to the file"),
    Op(4, "READ_FIXED", rw.prep_fixed, rw.issue_read_fixed, "full", ioprio=True),
    Op(5, "WRITE_FIXED", rw.prep_fixed, rw.issue_write_fixed, "full", ioprio=True),
    Op(6, "POLL_ADD", poll.prep_add, poll.issue_add, "full", "multishot ends after one of an epoll or FUSE file"),
    Op(7, "POLL_REMOVE", poll.prep_remove, poll.issue_remove, "full"),
    Op(8, "SYNC_FILE_RANGE", sync.prep_sync_file_range, sync.issue_sync_file_range, "full"),
    Op(9, "SENDMSG", send.prep_sendmsg, send.issue, "full", ioprio=True),
    Op(10, "RECVMSG", recv.prep_recvmsg, recv.issue, "partial", SCM, ioprio=True, buffer_select=True),
    Op(11, "TIMEOUT", timeout.prep, timeout.issue, "full"),
    Op(12, "TIMEOUT_REMOVE", timeout.prep_remove, timeout.issue_remove, "full"),
    Op(13, "ACCEPT", accept.prep, accept.issue, "full", FETCHES, ioprio=True),
    Op(14, "ASYNC_CANCEL", cancel.prep, cancel.issue, "full", "never EALREADY"),
    Op(15, "LINK_TIMEOUT", timeout.prep_link, timeout.issue_link, "full"),
    Op(16, "CONNECT", net.prep_connect, net.issue_connect, "full", "SO_PEERCRED: the pid is not the caller's"),
    Op(17, "FALLOCATE", sync.prep_fallocate, sync.issue_fallocate, "full"),
    Op(18, "OPENAT", openclose.prep_openat, openclose.issue_open, "full", FETCHES),
    Op(19, "CLOSE", openclose.prep_close, openclose.issue_close, "full", FETCHES),
    Op(20, "FILES_UPDATE", prep_files_update, issue_files_update, "full"),
    Op(21, "STATX", statx.prep, statx.issue, "full"),
    Op(22, "READ", rw.prep, rw.issue_read, "full", ioprio=True, buffer_select=True),
    Op(23, "WRITE", rw.prep, rw.issue_write, "full", ioprio=True),
    Op(24, "FADVISE", advise.prep_fadvise, advise.issue_fadvise, "full"),
    Op(25, "MADVISE", advise.prep_madvise, advise.issue_madvise, "full", ADVISES),
    Op(26, "SEND", send.prep_send, send.issue, "full", ioprio=True, buffer_select=True),
    Op(27, "RECV", recv.prep_recv, recv.issue, "full", ioprio=True, buffer_select=True),
    Op(28, "OPENAT2", openclose.prep_openat2, openclose.issue_open, "full", FETCHES),
    Op(29, "EPOLL_CTL", epoll.prep_ctl, epoll.issue_ctl, "full"),
    Op(30, "SPLICE", splice.prep_splice, splice.issue_splice, "full"),
    Op(31, "PROVIDE_BUFFERS", prep_provide, issue_provide, "full"),
    Op(32, "REMOVE_BUFFERS", prep_remove, issue_remove, "full"),
    Op(33, "TEE", splice.prep_tee, splice.issue_tee, "full"),
    Op(34, "SHUTDOWN", net.prep_shutdown, net.issue_shutdown, "full"),
    Op(35, "RENAMEAT", fs.prep_renameat, fs.issue_renameat, "full"),
    Op(36, "UNLINKAT", fs.prep_unlinkat, fs.issue_unlinkat, "full"),
    Op(37, "MKDIRAT", fs.prep_mkdirat, fs.issue_mkdirat, "full"),
    Op(38, "SYMLINKAT", fs.prep_symlinkat, fs.issue_symlinkat, "full"),
    Op(39, "LINKAT", fs.prep_linkat, fs.issue_linkat, "full"),
    Op(40, "MSG_RING", msg_ring.prep, msg_ring.issue, "full"),
    Op(41, "FSETXATTR", xattr.prep_fsetxattr, xattr.issue_fsetxattr, "full"),
    Op(42, "SETXATTR", xattr.prep_setxattr, xattr.issue_setxattr, "full"),
    Op(43, "FGETXATTR", xattr.prep_fgetxattr, xattr.issue_fgetxattr, "full"),
    Op(44, "GETXATTR", xattr.prep_getxattr, xattr.issue_getxattr, "full"),
    Op(45, "SOCKET", net.prep_socket, net.issue_socket, "full", FETCHES),
    Op(46, "URING_CMD", socketcmd.prep, socketcmd.issue, "partial", SOCKETS, buffer_select=True),
    Op(47, "SEND_ZC", send.prep_send_zc, send.issue_zc, "full", "copies", ioprio=True),
    Op(48, "SENDMSG_ZC", send.prep_sendmsg_zc, send.issue_zc, "full", "copies", ioprio=True),
    Op(49, "READ_MULTISHOT", rw.prep_multishot, issue_multishot, "full", ioprio=True, buffer_select=True),
    Op(50, "WAITID", waitid.prep, waitid.issue, "full", WAITS),
    Op(51, "FUTEX_WAIT", futex.prep, futex.issue_wait, "partial", SEEN),
    Op(52, "FUTEX_WAKE", futex.prep, futex.issue_wake, "partial", WOKEN),
    Op(53, "FUTEX_WAITV", futex.prep_waitv, futex.issue_waitv, "partial", SEEN),
    Op(54, "FIXED_FD_INSTALL", openclose.prep_fixed_fd_install, openclose.issue_fixed_fd_install, "full", FETCHES),
    Op(55, "FTRUNCATE", sync.prep_ftruncate, sync.issue_ftruncate, "full"),
    Op(56, "BIND", net.prep_bind, net.issue_bind, "full"),
    Op(57, "LISTEN", net.prep_listen, net.issue_listen, "full", "SO_PEERCRED: the pid is not the caller's"),
    Op(58, "RECV_ZC", _recv_zc_prep, _unknown_issue, "refused", "there are no queues for it: zcrx", ioprio=True),
    Op(59, "EPOLL_WAIT", epoll.prep_wait, epoll.issue_wait, "full"),
    Op(60, "READV_FIXED", rw.prep_vec_fixed, rw.issue_readv_fixed, "full", ioprio=True),
    Op(61, "WRITEV_FIXED", rw.prep_vec_fixed, rw.issue_writev_fixed, "full", ioprio=True),
    Op(62, "PIPE", pipe.prep, pipe.issue, "full"),
    Op(63, "NOP128", nop.prep, nop.issue, "full", is_128=True),
    Op(64, "URING_CMD128", socketcmd.prep, socketcmd.issue, "partial", SOCKETS, is_128=True, buffer_select=True),
)
# fmt: on


def lookup(opcode: int) -> Op:
    """The row of an opcode, or UNKNOWN."""
    return TABLE[opcode] if opcode < len(TABLE) else UNKNOWN
