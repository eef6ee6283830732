"""The opcode table, written out literally: what an opcode is stands in its row, and nowhere else.

docs/opcodes.md, IORING_REGISTER_PROBE and IORING_REGISTER_QUERY are made from it, and so are the checks of
io_init_req() (engine/submit.py). The number and its name are abi/constants.py's.

Dispatch is total: an opcode that is not here is handled by UNKNOWN, which answers what a kernel
without it answers.
"""

import errno
from functools import lru_cache

from uringfs.abi import constants as abi
from uringfs.abi.kernels import Kernel
from uringfs.engine.request import Op, Pending, Request
from uringfs.errors import UringError
from uringfs.ops import nop
from uringfs.ops.events import cancel, epoll, futex, msg_ring, poll, timeout, waitid
from uringfs.ops.files import advise, openclose, pipe, splice, sync
from uringfs.ops.files.filetable import issue_files_update, prep_files_update
from uringfs.ops.net import accept, net, recv, send, socketcmd
from uringfs.ops.paths import fs, statx, xattr
from uringfs.ops.rw import rw
from uringfs.ops.rw.provide import issue_provide, issue_remove, prep_provide, prep_remove
from uringfs.ops.rw.read_select import issue_multishot


def _unknown_prep(request: Request) -> None:
    """io_init_req() of a kernel whose IORING_OP_LAST is below the opcode"""
    raise UringError(errno.EINVAL, f"opcode {request.sqe.opcode} is not supported")


def _recv_zc_prep(request: Request) -> None:
    """io_recvzc_prep()"""
    raise UringError(errno.EINVAL, "no zcrx queue is registered")


def _unknown_issue(request: Request) -> int | Pending:
    raise UringError(errno.EINVAL)


UNKNOWN = Op(-1, _unknown_prep, _unknown_issue, "none")

RANGE = "a range is widened to the file"
MULTISHOT = "multishot ends after one of an epoll or FUSE file"
PEERCRED = "SO_PEERCRED: the pid is the caller's if it fetches"
NO_ZCRX = "there are no queues for it: zcrx"
SCM = "SCM_RIGHTS for clients that fetch, not multishot (docs/descriptors.md)"
SOCKETS = "of sockets: SIOCINQ SIOCOUTQ GETSOCKOPT SETSOCKOPT"
FETCHES = "direct; plain for clients that fetch (docs/descriptors.md)"

WAITS = "for clients that fetch (docs/descriptors.md)"
ADVISES = f"{WAITS}, else see docs/differences.md"
CANCELS = "EALREADY for what a client performs itself (docs/lane.md), and no other"
SEEN = "other clients than those of `uringfs run`: futex(2) is seen by the word's change; no NUMA futexes"
WOKEN = f"threads in futex(2) itself {WAITS}, else in shared memory; no NUMA futexes"

# fmt: off
TABLE = (
    Op(abi.IORING_OP_NOP, nop.prep, nop.issue, "full", iopoll=True, lane=True),
    Op(abi.IORING_OP_READV, rw.prep_vec, rw.issue_read, "full", ioprio=True, iopoll=True, buffer_select=True,
       lane=True),
    Op(abi.IORING_OP_WRITEV, rw.prep_vec, rw.issue_write, "full", ioprio=True, iopoll=True, lane=True),
    Op(abi.IORING_OP_FSYNC, sync.prep_fsync, sync.issue_fsync, "full", RANGE, force_async=True, lane=True),
    Op(abi.IORING_OP_READ_FIXED, rw.prep_fixed, rw.issue_read_fixed, "full", ioprio=True, iopoll=True, lane=True),
    Op(abi.IORING_OP_WRITE_FIXED, rw.prep_fixed, rw.issue_write_fixed, "full", ioprio=True, iopoll=True,
       lane=True),
    Op(abi.IORING_OP_POLL_ADD, poll.prep_add, poll.issue_add, "full", MULTISHOT, lane=True),
    Op(abi.IORING_OP_POLL_REMOVE, poll.prep_remove, poll.issue_remove, "full"),
    Op(abi.IORING_OP_SYNC_FILE_RANGE, sync.prep_sync_file_range, sync.issue_sync_file_range, "full",
       force_async=True, lane=True),
    Op(abi.IORING_OP_SENDMSG, send.prep_sendmsg, send.issue, "full", ioprio=True, lane=True),
    Op(abi.IORING_OP_RECVMSG, recv.prep_recvmsg, recv.issue, "partial", SCM, ioprio=True, buffer_select=True,
       lane=True),
    Op(abi.IORING_OP_TIMEOUT, timeout.prep, timeout.issue, "full"),
    Op(abi.IORING_OP_TIMEOUT_REMOVE, timeout.prep_remove, timeout.issue_remove, "full"),
    Op(abi.IORING_OP_ACCEPT, accept.prep, accept.issue, "full", FETCHES, ioprio=True),
    Op(abi.IORING_OP_ASYNC_CANCEL, cancel.prep, cancel.issue, "full", CANCELS),
    Op(abi.IORING_OP_LINK_TIMEOUT, timeout.prep_link, timeout.issue_link, "full"),
    Op(abi.IORING_OP_CONNECT, net.prep_connect, net.issue_connect, "full", PEERCRED),
    Op(abi.IORING_OP_FALLOCATE, sync.prep_fallocate, sync.issue_fallocate, "full", force_async=True, lane=True),
    Op(abi.IORING_OP_OPENAT, openclose.prep_openat, openclose.issue_open, "full", FETCHES,
       inline=True, fills_slot=True, lane=True),
    Op(abi.IORING_OP_CLOSE, openclose.prep_close, openclose.issue_close, "full", FETCHES, inline=True, lane=True),
    Op(abi.IORING_OP_FILES_UPDATE, prep_files_update, issue_files_update, "full", iopoll=True),
    Op(abi.IORING_OP_STATX, statx.prep, statx.issue, "full", force_async=True, lane=True),
    Op(abi.IORING_OP_READ, rw.prep, rw.issue_read, "full", ioprio=True, iopoll=True, buffer_select=True,
       lane=True),
    Op(abi.IORING_OP_WRITE, rw.prep, rw.issue_write, "full", ioprio=True, iopoll=True, lane=True),
    Op(abi.IORING_OP_FADVISE, advise.prep_fadvise, advise.issue_fadvise, "full", inline=True),
    Op(abi.IORING_OP_MADVISE, advise.prep_madvise, advise.issue_madvise, "full", ADVISES, force_async=True),
    Op(abi.IORING_OP_SEND, send.prep_send, send.issue, "full", ioprio=True, buffer_select=True, lane=True),
    Op(abi.IORING_OP_RECV, recv.prep_recv, recv.issue, "full", ioprio=True, buffer_select=True, lane=True),
    Op(abi.IORING_OP_OPENAT2, openclose.prep_openat2, openclose.issue_open, "full", FETCHES,
       inline=True, fills_slot=True, lane=True),
    Op(abi.IORING_OP_EPOLL_CTL, epoll.prep_ctl, epoll.issue_ctl, "full"),
    Op(abi.IORING_OP_SPLICE, splice.prep_splice, splice.issue_splice, "full", force_async=True),
    Op(abi.IORING_OP_PROVIDE_BUFFERS, prep_provide, issue_provide, "full", iopoll=True),
    Op(abi.IORING_OP_REMOVE_BUFFERS, prep_remove, issue_remove, "full", iopoll=True),
    Op(abi.IORING_OP_TEE, splice.prep_tee, splice.issue_tee, "full", force_async=True),
    Op(abi.IORING_OP_SHUTDOWN, net.prep_shutdown, net.issue_shutdown, "full", force_async=True),
    Op(abi.IORING_OP_RENAMEAT, fs.prep_renameat, fs.issue_renameat, "full", force_async=True, lane=True),
    Op(abi.IORING_OP_UNLINKAT, fs.prep_unlinkat, fs.issue_unlinkat, "full", force_async=True, lane=True),
    Op(abi.IORING_OP_MKDIRAT, fs.prep_mkdirat, fs.issue_mkdirat, "full", force_async=True, lane=True),
    Op(abi.IORING_OP_SYMLINKAT, fs.prep_symlinkat, fs.issue_symlinkat, "full", force_async=True, lane=True),
    Op(abi.IORING_OP_LINKAT, fs.prep_linkat, fs.issue_linkat, "full", force_async=True, lane=True),
    Op(abi.IORING_OP_MSG_RING, msg_ring.prep, msg_ring.issue, "full", iopoll=True),
    Op(abi.IORING_OP_FSETXATTR, xattr.prep_fsetxattr, xattr.issue_fsetxattr, "full", force_async=True),
    Op(abi.IORING_OP_SETXATTR, xattr.prep_setxattr, xattr.issue_setxattr, "full", force_async=True),
    Op(abi.IORING_OP_FGETXATTR, xattr.prep_fgetxattr, xattr.issue_fgetxattr, "full", force_async=True),
    Op(abi.IORING_OP_GETXATTR, xattr.prep_getxattr, xattr.issue_getxattr, "full", force_async=True),
    Op(abi.IORING_OP_SOCKET, net.prep_socket, net.issue_socket, "full", FETCHES, fills_slot=True, lane=True),
    Op(abi.IORING_OP_URING_CMD, socketcmd.prep, socketcmd.issue, "partial", SOCKETS,
       iopoll=True, buffer_select=True),
    Op(abi.IORING_OP_SEND_ZC, send.prep_send_zc, send.issue_zc, "full", "copies", ioprio=True),
    Op(abi.IORING_OP_SENDMSG_ZC, send.prep_sendmsg_zc, send.issue_zc, "full", "copies", ioprio=True),
    Op(abi.IORING_OP_READ_MULTISHOT, rw.prep_multishot, issue_multishot, "full", ioprio=True, buffer_select=True),
    Op(abi.IORING_OP_WAITID, waitid.prep, waitid.issue, "full", WAITS),
    Op(abi.IORING_OP_FUTEX_WAIT, futex.prep, futex.issue_wait, "partial", SEEN),
    Op(abi.IORING_OP_FUTEX_WAKE, futex.prep, futex.issue_wake, "partial", WOKEN),
    Op(abi.IORING_OP_FUTEX_WAITV, futex.prep_waitv, futex.issue_waitv, "partial", SEEN),
    Op(abi.IORING_OP_FIXED_FD_INSTALL, openclose.prep_fixed_fd_install, openclose.issue_fixed_fd_install,
       "full", FETCHES),
    Op(abi.IORING_OP_FTRUNCATE, sync.prep_ftruncate, sync.issue_ftruncate, "full", force_async=True, lane=True),
    Op(abi.IORING_OP_BIND, net.prep_bind, net.issue_bind, "full"),
    Op(abi.IORING_OP_LISTEN, net.prep_listen, net.issue_listen, "full", PEERCRED),
    Op(abi.IORING_OP_RECV_ZC, _recv_zc_prep, _unknown_issue, "refused", NO_ZCRX, ioprio=True),
    Op(abi.IORING_OP_EPOLL_WAIT, epoll.prep_wait, epoll.issue_wait, "full"),
    Op(abi.IORING_OP_READV_FIXED, rw.prep_vec_fixed, rw.issue_readv_fixed, "full", ioprio=True, iopoll=True,
       lane=True),
    Op(abi.IORING_OP_WRITEV_FIXED, rw.prep_vec_fixed, rw.issue_writev_fixed, "full", ioprio=True, iopoll=True,
       lane=True),
    Op(abi.IORING_OP_PIPE, pipe.prep, pipe.issue, "full"),
    Op(abi.IORING_OP_NOP128, nop.prep, nop.issue, "full", iopoll=True, is_128=True, lane=True),
    Op(abi.IORING_OP_URING_CMD128, socketcmd.prep, socketcmd.issue, "partial", SOCKETS,
       iopoll=True, is_128=True, buffer_select=True),
)
# fmt: on
LANE_OPS = sum(1 << op.number for op in TABLE if op.lane)
"""Bit N: a client may perform opcode N itself."""
SQE128_OPCODES = frozenset(op.number for op in TABLE if op.is_128)


OPS = TABLE + (UNKNOWN,) * (256 - len(TABLE))
"""By sqe->opcode, whatever it says."""


@lru_cache(maxsize=64)
def ops_of(kernel: Kernel) -> tuple[Op, ...]:
    """The ops of an older kernel: what that had not is unknown."""
    return tuple(op if op.number in kernel.opcodes else UNKNOWN for op in OPS)
