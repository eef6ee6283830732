"""WAITID (io_uring/waitid.c): waitid(2), called by the client, for nobody but its own process reaps a child.

The client tries once at the beginning, and again whenever the host has seen that there may be news of its
children; what it finds is stored and completes the request. It never waits itself.
"""

import errno
import os
from functools import partial
from struct import Struct

from uringfs.abi.control import URINGFS_DESCRIPTOR_WAIT, URINGFS_ENTER_WAITS
from uringfs.clientwork.delivery import Delivery, Report, Wanted
from uringfs.engine.request import IOU_ISSUE_SKIP_COMPLETE, Outcome, Request
from uringfs.errors import UringError
from uringfs.host.protocols import Memory, Watch

EVENTS = os.WEXITED | os.WSTOPPED | os.WCONTINUED
__WNOTHREAD, __WALL, __WCLONE = 0x20000000, 0x40000000, 0x80000000
OPTIONS = os.WNOHANG | os.WNOWAIT | EVENTS | __WNOTHREAD | __WALL | __WCLONE
SIGCHLD = 17
SIGINFO = Struct("<iii")  # siginfo_t: si_signo, si_errno, si_code
SIGINFO_CHILD = Struct("<iIi")  # and, behind padding: si_pid, si_uid, si_status
SIGINFO_CHILD_AT = 16
NOTHING = Report(0)


class Wait:
    """struct io_waitid"""

    __slots__ = ("cancelled", "delivery", "infop", "news", "number", "options", "watch", "which")

    def __init__(self, which: int, number: int, options: int, infop: int) -> None:
        self.which = which
        self.number = number
        """upid, in the caller's pid namespace."""
        self.options = options
        self.infop = infop
        self.delivery: Delivery | None = None
        self.watch: Watch | None = None
        self.news = False
        """Something has happened since the client was asked."""
        self.cancelled = False
        """While the client was at it (IO_WAITID_CANCEL_FLAG)."""

    def close(self) -> None:
        """Ask no more, watch no more."""
        watch, self.watch = self.watch, None
        if watch is not None:
            watch.cancel()
        if self.delivery is not None:
            self.delivery.forget()


def prep(request: Request) -> None:
    """io_waitid_prep()"""
    sqe = request.sqe
    if sqe.addr or sqe.buf_index or sqe.addr3 or sqe.waitid_flags:
        raise UringError(errno.EINVAL)
    request.data = Wait(sqe.len, sqe.fd, sqe.file_index, sqe.addr2)


def issue(request: Request) -> Outcome:
    """io_waitid()"""
    wait: Wait = request.data
    _prepare(request, wait)
    wait.delivery = request.context.deliveries.begin(request.caller, URINGFS_ENTER_WAITS)
    request.held.append(wait)
    if wait.which == os.P_PIDFD and not _resolve(request, wait):
        return _store(request, -errno.ECHILD)
    request.caller = request.caller.detached()
    wait.watch = request.context.host.children.watch(
        request.caller, wait.which, wait.number, wait.options, partial(_news, request)
    )
    request.disarm = partial(_disarm, request)
    _ask(request)
    return IOU_ISSUE_SKIP_COMPLETE


def _prepare(request: Request, wait: Wait) -> None:
    """kernel_waitid_prepare()"""
    if wait.options & ~OPTIONS or not wait.options & EVENTS:
        raise UringError(errno.EINVAL, f"waitid(2) options {wait.options:#x}")
    least = {os.P_ALL: None, os.P_PID: 1, os.P_PGID: 0, os.P_PIDFD: 0}
    if wait.which not in least:
        raise UringError(errno.EINVAL, f"waitid(2) idtype {wait.which}")
    lowest = least[wait.which]
    if lowest is not None and wait.number < lowest:
        raise UringError(errno.EINVAL, f"waitid(2) id {wait.number}")


def _resolve(request: Request, wait: Wait) -> bool:
    """pidfd_get_pid(): the descriptor may be closed while the request waits. EBADF. False: no child's."""
    number, nonblock = request.caller.pidfd(wait.number)
    if nonblock:
        wait.options |= os.WNOHANG
    wait.which, wait.number = os.P_PID, number
    return number != 0


def _ask(request: Request) -> None:
    wait: Wait = request.data
    assert wait.delivery is not None
    wait.news = False
    options = wait.options | os.WNOHANG
    wanted = Wanted(URINGFS_DESCRIPTOR_WAIT, wait.number, wait.which, options)
    wait.delivery.ask(wanted, partial(_reported, request))


def _news(request: Request) -> None:
    """io_waitid_wait()"""
    wait: Wait = request.data
    assert wait.delivery is not None
    if wait.delivery.wanted is None:
        _ask(request)
    else:
        wait.news = True


def _reported(request: Request, report: Report) -> None:
    """io_waitid_cb(), __do_wait()"""
    wait: Wait = request.data
    found = report.res == 0 and report.pid != 0
    if found or report.res < 0 or wait.options & os.WNOHANG:
        _complete(request, min(report.res, 0), report)
    elif wait.cancelled:
        _complete(request, -errno.ECANCELED)
    elif wait.news:
        _ask(request)


def _complete(request: Request, res: int, report: Report = NOTHING) -> None:
    """io_waitid_complete()"""
    request.data.close()
    request.context.complete(request, _store(request, res, report))


def _store(request: Request, res: int, report: Report = NOTHING) -> int:
    """io_waitid_finish(), io_waitid_copy_si(): the CQE's res."""
    infop, memory = request.data.infop, request.caller.memory
    signo = SIGCHLD if report.pid else 0
    try:
        if infop and not request.context.closed:
            _store_siginfo(memory, infop, signo, report)
    except UringError as error:
        return -error.errno
    return res


def _store_siginfo(memory: Memory, infop: int, signo: int, report: Report) -> None:
    memory.write(infop, SIGINFO.pack(signo, 0, report.code))
    memory.write(infop + SIGINFO_CHILD_AT, SIGINFO_CHILD.pack(report.pid, report.uid, report.status))


def _disarm(request: Request) -> bool:
    """__io_waitid_cancel(): not while the client is at it, for then it may have reaped a child."""
    wait: Wait = request.data
    if wait.watch is None:
        return False
    assert wait.delivery is not None
    if wait.delivery.taken() and not request.caller.memory.gone():
        wait.cancelled = True
        return False
    wait.close()
    _store(request, -errno.ECANCELED)
    return True
