"""A ring: its file, its queues, and the buffers of the requests that are under way."""

import ctypes
import errno
import os
import select
from collections import Counter
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from uringfs.abi.constants import (
    IORING_ENTER_GETEVENTS,
    IORING_ENTER_SQ_WAKEUP,
    IORING_SETUP_CQSIZE,
    IORING_SETUP_NO_MMAP,
    IORING_SQ_NEED_WAKEUP,
)
from uringfs.abi.control import URINGFS_POLL_FETCH
from uringfs.abi.structs import PARAMS, PARAMS_SIZE, Cqe, Params, Sqe
from uringfs.client import calls, prep
from uringfs.client.enums import SetupFlag, SqeFlag
from uringfs.client.fetching import CAN, fetch
from uringfs.client.mapping import Queues
from uringfs.client.request import CURRENT_POSITION, Buffer, Request, more

PARAMS_XATTR = "user.uring.params"
"""struct io_uring_params of a ring that has been set up."""
_abandoned: list[list[object]] = []
"""Buffers of requests that pended when their ring was closed. Nobody says when a cancelled read has ended, and
until then it may store there."""


class Ring:
    """An open ring file, set up and mapped.

    A descriptor that a request makes is there, close-on-exec as it was asked for, when its CQE is reaped.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        entries: int | None = 8,
        *,
        flags: int = 0,
        cq_entries: int | None = None,
        params: bytes | None = None,
        separate_cq: bool = False,
        fetches: bool = True,
        sq_thread_cpu: int = 0,
        sq_thread_idle: int = 0,
        wq_fd: int = 0,
    ) -> None:
        """entries None: another has set the file up; params is what that setup returned, by default what the file
        says. flags: SetupFlag. cq_entries: sets SetupFlag.CQSIZE. separate_cq: map the CQ at its own offset, as
        clients do that ignore Feature.SINGLE_MMAP. fetches: take and close descriptors for requests; without it
        they get EOPNOTSUPP. sq_thread_idle: ms. OSError: EOPNOTSUPP: no ring; EBUSY: has been set up; EBADFD:
        has not."""
        self.path = os.fspath(path)
        self.fd = -1
        self._can = CAN if fetches else 0
        self._held: dict[int, list[object]] = {}
        self._unreaped: Counter[int] = Counter()
        self._queues: Queues | None = None
        self._epoll: select.epoll | None = None
        if flags & IORING_SETUP_NO_MMAP:
            raise ValueError("SetupFlag.NO_MMAP is for clients that map the ring over memory of their own")
        self.fd = calls.open_ring(path)
        try:
            if entries is not None:
                flags |= IORING_SETUP_CQSIZE if cq_entries is not None else 0
                asked = Params(0, cq_entries or 0, flags, sq_thread_cpu, sq_thread_idle, 0, wq_fd)
                params = self._setup(entries, params or PARAMS.pack(*asked))
            self.raw_params = attached(self.fd) if params is None else params
            self._queues = Queues(self.fd, self.raw_params, separate_cq=separate_cq)
        except BaseException:
            self.close()
            raise
        self.params = self._queues.params
        self.sq, self.cq = self._queues.sq, self._queues.cq
        self.sqes, self.rings, self.cq_rings = self._queues.sqes, self._queues.rings, self._queues.cq_rings

    def _setup(self, entries: int, params: bytes) -> bytes:
        buffer = ctypes.create_string_buffer(params, PARAMS_SIZE)
        calls.setup(self.fd, entries, buffer, can=self._can)
        return buffer.raw

    @property
    def _open(self) -> Queues:
        """ValueError: the ring is closed."""
        if self._queues is None:
            raise ValueError(f"operation on a closed ring: {self.path}")
        return self._queues

    @property
    def flags(self) -> SetupFlag:
        return SetupFlag(self.params.flags)

    def fileno(self) -> int:
        """The ring file: readable while there are CQEs, writable while the SQ has room. Where requests make or
        close descriptors wait for pollable() instead. ValueError: closed."""
        _ = self._open
        return self.fd

    def __repr__(self) -> str:
        if self._queues is None:
            return f"<Ring {self.path!r} closed>"
        queues, params = self._queues, self.params
        sq, cq = f"sq={queues.queued()}/{params.sq_entries}", f"cq={queues.ready()}/{params.cq_entries}"
        flags = "|".join(flag.name or "" for flag in self.flags) or "0"
        return f"<Ring {self.path!r} fd={self.fd} {sq} {cq} flags={flags}>"

    # -- submission

    def queue(self, request: Request | Sqe) -> None:
        """Put a request behind the tail; its buffers are held until it is complete and its last CQE is reaped.
        Which buffers those are is known by user_data: they go once all requests of that user_data are complete.
        (With SqeFlag.CQE_SKIP_SUCCESS there is no such CQE, and they stay until close().) BlockingIOError: the
        SQ is full."""
        if isinstance(request, Sqe):
            request = Request(request)
        self._open.push(request.sqe, request.command)
        user_data = request.sqe.user_data
        if request.keep:
            self._held.setdefault(user_data, []).append(request.keep)
        self._unreaped[user_data] += 1

    def queue_linked(self, requests: Iterable[Request]) -> None:
        """Queue requests as a chain: each but the last gets SqeFlag.IO_LINK."""
        *first, last = requests
        for request in first:
            self.queue(request.with_flags(SqeFlag.IO_LINK))
        self.queue(last)

    def readv(
        self,
        fd: int,
        buffers: Sequence[Buffer],
        offset: int = CURRENT_POSITION,
        user_data: int = 0,
        flags: int = 0,
    ) -> None:
        """Queue a READV."""
        self.queue(prep.readv(fd, buffers, offset, user_data=user_data, flags=flags))

    def queued(self) -> int:
        """Entries of the SQ the daemon has not taken."""
        return self._open.queued()

    def room(self) -> int:
        """Entries of the SQ that are free."""
        return self._open.room()

    def submit(self, wait: int = 0) -> int:
        """Enter with all that is queued; wait for so many completions. Returns the number taken. The poller of an
        SQPOLL ring is woken if it sleeps."""
        asleep = self._open.sq_flags_now() & IORING_SQ_NEED_WAKEUP
        return self.enter(self.queued(), wait, IORING_ENTER_SQ_WAKEUP if asleep else 0)

    def enter(self, to_submit: int, min_complete: int = 0, flags: int = 0, arg: int = 0) -> int:
        """io_uring_enter(2). InterruptedError if a signal ended the wait."""
        queues = self._open
        if min_complete:
            flags |= IORING_ENTER_GETEVENTS
        taken = calls.enter(self.fd, to_submit, min_complete, flags, arg, can=self._can)
        queues.taken(taken)
        return taken

    def register(self, opcode: int, arg: int = 0, nr_args: int = 0) -> int:
        """io_uring_register(2)"""
        _ = self._open
        return calls.register(self.fd, opcode, arg, nr_args)

    # -- completion

    def ready(self) -> int:
        """Entries of the CQ that can be reaped."""
        return self._open.ready()

    def reap(self, most: int | None = None) -> list[Cqe]:
        """Take up to `most` CQEs, by default all there are; never waits. BigCqe where they have 32 bytes."""
        found = self._open.reap(most)
        for cqe in found:
            if not more(cqe):
                self._let_go(cqe.user_data)
        return found

    def _let_go(self, user_data: int) -> None:
        """Buffers go when all requests with their user_data are complete: which was which nobody knows."""
        if user_data in self._unreaped:
            self._unreaped[user_data] -= 1
            if not self._unreaped[user_data]:
                del self._unreaped[user_data]
                self._held.pop(user_data, None)

    def wait(self) -> Cqe:
        """The next CQE, waiting for it. InterruptedError if a signal ended the wait."""
        while True:
            found = self.reap(1)
            if found:
                return found[0]
            self.enter(0, 1)

    def fetch(self) -> None:
        """Take the descriptors and close those that requests are about: enters do that, and pollable() needs
        it."""
        _ = self._open
        fetch(self.fd)

    def pollable(self) -> int:
        """A descriptor that is readable when there are CQEs or descriptors to fetch: for event loops, which know
        nothing of POLLPRI. Then call attend(). It is closed with the ring."""
        _ = self._open
        if self._epoll is None:
            self._epoll = select.epoll()
            self._epoll.register(self.fd, select.EPOLLIN | (URINGFS_POLL_FETCH if self._can else 0))
        return self._epoll.fileno()

    def attend(self) -> list[Cqe]:
        """What is due when pollable() is readable: fetch descriptors, and reap all CQEs. Never waits. OSError
        ENOTCONN: the daemon is gone, and no CQE is left."""
        self.pollable()
        assert self._epoll is not None
        events = dict(self._epoll.poll(0)).get(self.fd, 0)
        if events & URINGFS_POLL_FETCH and self._can:
            fetch(self.fd)
        found = self.reap()
        if events & select.EPOLLERR and not found:
            raise OSError(errno.ENOTCONN, "the daemon of the ring is gone")
        return found

    # -- the end

    def close(self) -> None:
        """Unmap and close; what pends is cancelled if nobody else has the file open. May be called again."""
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
        if self._queues is not None:
            self._queues.close()
            self._queues = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        _abandoned.extend(self._held.values())
        self._held = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def attached(fd: int) -> bytes:
    """struct io_uring_params of an open ring file that another has set up. OSError EBADFD: nobody has."""
    try:
        return os.getxattr(fd, PARAMS_XATTR)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        raise OSError(errno.EBADFD, "this ring has not been set up") from None
