"""pidfds of callers' threads, the last ones kept: opening and closing one costs more than using it.

A pidfd of a thread (Linux >= 6.9) never becomes another thread's, so a kept one is either right or says
ESRCH. One of a process, before 6.9, says nothing of the thread: it is not kept.
"""

import errno
import os
import signal
from collections import OrderedDict

from uringfs import native

PIDFD_THREAD = os.O_EXCL
MOST = 64


def thread_group(tid: int) -> int:
    """The process of a thread (proc(5), Tgid). OSError or StopIteration once it is gone."""
    with open(f"/proc/{tid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("Tgid:"))


class Pidfd:
    """Closed when nothing refers to it any more."""

    def __init__(self, tid: int) -> None:
        self.fd, self.of_thread = -1, True
        self._tid, self._group = tid, 0
        try:
            self.fd = native.pidfd_open(tid, PIDFD_THREAD)
            return
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        self.fd, self.of_thread = native.pidfd_open(thread_group(tid), 0), False

    def alive(self) -> bool:
        try:
            signal.pidfd_send_signal(self.fd, 0)
        except ProcessLookupError:
            return False
        return True

    @property
    def group(self) -> int:
        """The thread's process: asked while it lives, it is known for good. OSError or StopIteration."""
        if not self._group:
            self._group = thread_group(self._tid)
        return self._group

    def getfd(self, fd: int) -> int:
        """pidfd_getfd(2): a duplicate of the thread's descriptor. EBADF, ESRCH."""
        return native.pidfd_getfd(self.fd, fd)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class Pidfds:
    """By thread id, least recently used first. Raises OSError: ESRCH, EMFILE."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, Pidfd] = OrderedDict()

    def of(self, tid: int) -> Pidfd:
        """Of a thread that lives: it is in a control write now."""
        kept = self._kept.get(tid)
        return kept if kept is not None and kept.alive() else self._open(tid)

    def getfd(self, tid: int, fd: int) -> int:
        """The same, and its getfd() at once: a dead one is noticed without being asked."""
        kept = self._kept.get(tid)
        if kept is not None:
            try:
                return kept.getfd(fd)
            except ProcessLookupError:
                pass
        return self._open(tid).getfd(fd)

    def _open(self, tid: int) -> Pidfd:
        opened = Pidfd(tid)
        if opened.of_thread:
            self._kept[tid] = opened
            self._kept.move_to_end(tid)
            if len(self._kept) > MOST:
                self._kept.popitem(last=False)
        return opened
