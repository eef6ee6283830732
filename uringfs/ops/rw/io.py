"""The transfer of a read or write (io_uring/rw.c: io_read(), io_write()): inline as far as nothing blocks,
the rest in a task. What both directions share is in Transfer; Reading and Writing are the directions."""

import errno
import signal
from functools import partial

import trio

from uringfs.abi.constants import (
    IORING_SETUP_IOPOLL,
    IOSQE_ASYNC,
    RWF_APPEND,
    RWF_ATOMIC,
    RWF_HIPRI,
    RWF_NOAPPEND,
    RWF_NOSIGNAL,
    RWF_NOWAIT,
    RWF_SUPPORTED,
)
from uringfs.engine.request import Pending, Request
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, Data, DataToEnd, File, Iovec, Memory
from uringfs.ops.events.readiness import DataWaits
from uringfs.ops.rw.iovec import advanced, total, truncated

CHUNK = 1 << 20
"""Bytes moved at once: what one request may hold of the daemon's memory."""
CURRENT_POSITION = (1 << 64) - 1


class Transfer:
    """One transfer between a file and iovecs of the caller. The way it goes is a subclass's."""

    def __init__(
        self,
        request: Request,
        file: File,
        iovecs: list[Iovec],
        memory: Memory | None = None,
        attributes: bool = False,
    ) -> None:
        """memory: whose the iovecs are, if not the caller's. attributes: there are PI attributes."""
        sqe = request.sqe
        self._request = request
        self._file = file
        self._iovecs = iovecs
        self._fixed = memory
        self._total = total(iovecs)
        self._done = 0
        self._back = 0
        """Bytes by which the current position has to go back."""
        self._flags = sqe.rw_flags & ~RWF_NOWAIT
        # io-wq drops it, but from what it polls (io_wq_submit_work(), io_read(), io_write())
        worker = request.flags & IOSQE_ASYNC and file.regular
        self._nowait = bool(sqe.rw_flags & RWF_NOWAIT) and not (worker and file.knows_nowait())
        self._offset = -1 if sqe.off == CURRENT_POSITION else sqe.off
        self._check(attributes)

    def issue(self, *, arms: bool = True) -> int | Pending:
        """arms: it waits for the file from then on, if that is one to be waited for."""
        if self._offset < 0 and not self._file.streaming:
            return self._at_current_position()
        done = None if self._has_to_wait() else self._inline()
        if done is not None:
            return done
        if arms:
            self._arm()
        return self._rest

    def _arm(self) -> None:
        """Wait for the file from now on, if it is one to be waited for."""

    def _at_current_position(self) -> Pending:
        """Whoever reads or writes the same open file in another thread holds f_pos_lock, and may do so for
        as long as it likes: only a thread of ours may ask for it. They go in their order, as inline."""
        if self._nowait:
            self._flags |= RWF_NOWAIT
        lock = self._request.context.locks.ask(self._file.identity)

        async def rest() -> int:
            async with lock:
                return await self._rest()

        return rest

    # ---- what a direction provides ----

    def _mode(self) -> bool:
        """The file is open for it."""
        raise NotImplementedError

    def _unsupported(self) -> int:
        """The rw_flags this direction has no use for."""
        raise NotImplementedError

    def _has_to_wait(self) -> bool:
        """True if there is nothing to be moved now, for sure, and the transfer may wait."""
        return False

    def _try(self) -> int | None:
        """Move what moves without blocking: its size, or None if the transfer ends here. EAGAIN."""
        raise NotImplementedError

    async def _wait(self) -> int | None:
        """Move the next piece, waiting as long as it takes: its size, or None if the transfer ends here.
        Cancellable."""
        raise NotImplementedError

    # ---- what they share ----

    def _check(self, attributes: bool) -> None:
        """io_rw_init_file() and rw_verify_area()"""
        file, flags = self._file, self._request.sqe.rw_flags
        if not self._mode():
            raise UringError(errno.EBADF)
        if file.refused:
            raise UringError(file.refused)
        if not file.regular and file.signalfd():
            raise UringError(errno.EOPNOTSUPP, "signals are read by who has them, into plain buffers")
        if flags & ~RWF_SUPPORTED:
            raise UringError(errno.EOPNOTSUPP, f"rw_flags {flags:#x}")
        if flags & RWF_APPEND and flags & RWF_NOAPPEND:
            raise UringError(errno.EINVAL, "RWF_APPEND against RWF_NOAPPEND")
        if flags & self._unsupported() or (flags & RWF_ATOMIC and not file.direct):
            raise UringError(errno.EOPNOTSUPP, f"rw_flags {flags:#x}")
        if self._request.context.setup_flags & IORING_SETUP_IOPOLL:
            if not file.direct:
                raise UringError(errno.EOPNOTSUPP, "a polled ring takes O_DIRECT files only")
        elif flags & RWF_HIPRI:
            raise UringError(errno.EINVAL, "RWF_HIPRI needs IORING_SETUP_IOPOLL")
        if attributes:
            raise UringError(errno.EINVAL, "the file has no integrity metadata")
        if self._offset + self._total >> 63 > 0:
            raise UringError(errno.EINVAL, "negative offset, or a transfer past the largest")

    def _inline(self) -> int | None:
        """Move what can be moved now; the result if that is all of it, None if the rest has to wait."""
        file = self._file
        while self._done < self._total or self._done == 0:
            if self._done >= CHUNK:
                return None
            try:
                moved = self._try()
            except UringError as error:
                if error.errno == errno.EAGAIN and self._nowait and not file.nowait:
                    raise UringError(errno.EOPNOTSUPP, "the file knows no RWF_NOWAIT") from error
                if error.errno == errno.EAGAIN and not (self._nowait or (file.nonblock and not file.can_poll)):
                    return (
                        None  # O_NONBLOCK counts as NOWAIT (io_file_get_flags()): what can be polled is waited for
                    )
                return self._failed(error)
            if not moved or file.streaming:
                break
        return self._finish()

    async def _rest(self) -> int:
        """Wait for the rest."""
        try:
            return await self._transfer()
        finally:
            if self._back:
                # kiocb_done() moves the position for a whole success only
                await self._file.unread(self._back)

    async def _transfer(self) -> int:
        while self._done < self._total or self._done == 0:
            try:
                moved = await self._wait()
            except UringError as error:
                return self._failed(error)
            # Files deliver all there is (need_complete_io()), streams what there is now.
            if not moved or self._file.streaming:
                break
            await trio.lowlevel.checkpoint()  # /dev/zero has no end, and never waits
        return self._finish()

    @property
    def _memory(self) -> Memory:
        """The memory of the iovecs: that of one address space once the request is a task's."""
        return self._fixed or self._request.caller.memory

    @property
    def _caller(self) -> Caller:
        """The caller as the request has it now: another object once the request is a task's."""
        return self._request.caller

    def _size(self) -> int:
        """Bytes to ask for next."""
        return min(self._total - self._done, CHUNK)

    def _position(self) -> int:
        return self._offset if self._offset < 0 else self._offset + self._done

    def _moved(self, count: int) -> None:
        self._done += count
        self._iovecs = advanced(self._iovecs, count)

    def _alignment(self) -> list[Iovec]:
        """What O_DIRECT looks at: the shape of the caller's buffers."""
        return truncated(self._iovecs, self._size()) if self._file.direct else []

    def _failed(self, error: UringError) -> int:
        if not self._done or self._is_all_or_nothing(error):
            raise error.again() from error
        return self._finish()

    def _is_all_or_nothing(self, error: UringError) -> bool:
        """iomap_dio_rw(): a fault behind what has been submitted is the result, whatever has been moved."""
        return self._file.direct and error.errno == errno.EFAULT

    def _finish(self) -> int:
        self._request.failed = self._done != self._total
        return self._done


class Reading(Transfer):
    def __init__(
        self,
        request: Request,
        file: File,
        iovecs: list[Iovec],
        memory: Memory | None = None,
        attributes: bool = False,
    ) -> None:
        self._room = CHUNK
        self._waits = DataWaits(request, file)
        super().__init__(request, file, iovecs, memory, attributes)

    def _mode(self) -> bool:
        return self._file.readable_mode()

    def _unsupported(self) -> int:
        return RWF_ATOMIC

    def _try(self) -> int | None:
        if self._unwritable():
            raise UringError(errno.EFAULT if self._file.ready() else errno.EAGAIN)
        where = self._size(), self._position(), self._flags
        return self._store(self._file.try_read(*where, self._caller, self._alignment()))

    async def _wait(self) -> int | None:
        data = await (self._stream() if self._file.streaming else self._read())
        await self._request.settle(taken=True)
        return self._store(data)

    async def _read(self) -> Data:
        return await self._file.read(self._size(), self._position(), self._flags, self._caller, self._alignment())

    def _arm(self) -> None:
        self._waits.arm()

    async def _stream(self) -> Data:
        """What is read is gone: only when there is data is it asked whether the caller can take it, or
        still lives, and then it is read at once."""
        while True:
            await self._waits.wait()
            if self._unwritable():
                raise UringError(errno.EFAULT)
            try:
                if not self._file.nowait:
                    return await self._read()
                return self._file.try_read(self._size(), self._position(), self._flags, self._caller)
            except UringError as error:
                if error.errno != errno.EAGAIN:
                    raise

    def _size(self) -> int:
        return min(super()._size(), self._room)

    def _has_to_wait(self) -> bool:
        """A pipe without data, and neither RWF_NOWAIT nor O_NONBLOCK: asked first, for whether memory can be
        written costs ten times as much. Of pipes alone, whose answer nobody else gives: an epoll asks all that is
        in it, which may be a ring of our own mount, and what cannot be read at all says so when it is tried."""
        file = self._file
        waits = file.pipe and self._total and not self._nowait
        return bool(waits) and not file.ready() and not file.nonblocking()

    def _unwritable(self) -> bool:
        """Look how much the caller's memory can take, for of a byte stream no more is read: what is read and
        cannot be stored is lost. True if it can take nothing, which is EFAULT as soon as there is data."""
        if self._file.streaming and self._total:
            if not self._file.bytestream():
                return self._memory.gone()
            self._room = self._memory.writable(self._iovecs)
            if self._room < self._total - self._done and self._file.available() > self._room:
                # copy_page_to_iter() takes nothing of a buffer it cannot copy whole
                self._room = 0
        return self._room == 0

    def _store(self, data: Data) -> int | None:
        """Hand data to the caller; None if the transfer ends here."""
        self._request.shows(data)
        stored = self._memory.scatter(data, self._iovecs)
        if stored < len(data) and (self._file.direct or (self._file.streaming and not self._file.bytestream())):
            raise UringError(errno.EFAULT)
        self._moved(stored)
        if isinstance(data, DataToEnd):
            self._memory.scatter(data.behind, self._iovecs)
        if stored == len(data):
            return stored or None
        if self._offset < 0 and not self._file.streaming:
            self._back = self._done - stored + len(data)
        if not self._done:
            raise UringError(errno.EFAULT)
        return None


class Writing(Transfer):
    _partly = False
    """The write has ended at memory that could not be read, and the file has taken what comes before that."""

    def _mode(self) -> bool:
        return self._file.writable_mode()

    def _unsupported(self) -> int:
        """RWF_ATOMIC where the file has no such writes. A write says so, but for one of nothing, which pwritev2(2)
        does not ask the file about, and io_uring does (kiocb_set_rw_flags()); one of a byte never is atomic."""
        if self._total or not self._flags & RWF_ATOMIC or not self._file.direct:
            return 0
        fault = self._file.write_fault([(0, 1)], 0, RWF_ATOMIC, self._caller)
        return RWF_ATOMIC if fault.error.errno == errno.EOPNOTSUPP else 0

    def _try(self) -> int | None:
        """A file's pages may have to be read or allocated: io-wq's work, and here a thread's."""
        if self._file.regular and not self._nowait:
            raise UringError(errno.EAGAIN)
        try:
            data = self._gather(RWF_NOWAIT)
            where = self._position(), self._flags
            return self._sent(self._file.try_write(data, *where, self._caller, self._alignment()))
        except UringError as error:
            self._broken(error)
            raise

    async def _wait(self) -> int | None:
        file = self._file
        if file.regular:
            return self._sent(await self._write())
        while True:
            self._request.waits_again()
            await file.wait_writable()
            await self._request.settle()
            try:
                if not file.nowait:
                    return self._sent(await self._write())
                return self._try()
            except UringError as error:
                if error.errno != errno.EAGAIN:
                    raise

    async def _write(self) -> int:
        """Write in a thread, and gather there, too: the caller's memory may be as slow as the file."""
        return await self._file.write(
            partial(self._gather, 0), self._position(), self._flags, self._caller, self._alignment()
        )

    def _gather(self, flags: int) -> Data:
        """What is there of the memory, and the file takes, to be written with these further flags. If that is
        nothing, what the file says of memory that is not there."""
        size = self._size()
        data = self._memory.gather(truncated(self._iovecs, size))
        if len(data) < size and self._file.discards():
            return bytes(size)
        taken = data if len(data) == size else data[: self._file.takes(len(data))]
        if not taken and self._total:
            raise self._fault(flags, data)
        return taken

    def _fault(self, flags: int, readable: Data) -> UringError:
        iovecs = truncated(self._iovecs, self._size())
        where = self._position(), self._flags | flags
        written, error = self._file.write_fault(iovecs, *where, self._caller, readable)
        if written:
            self._moved(written)
            self._partly = True
        if error.errno == errno.EAGAIN and self._nowait and not self._file.nowait:
            return UringError(errno.EOPNOTSUPP, "the file knows no RWF_NOWAIT")
        return error

    def _is_all_or_nothing(self, error: UringError) -> bool:
        return super()._is_all_or_nothing(error) and not self._partly

    def _sent(self, count: int) -> int | None:
        self._moved(count)
        return count or None

    def _broken(self, error: UringError) -> None:
        """The signal that comes with EPIPE, where the submitter itself would have written."""
        quiet = self._request.flags & IOSQE_ASYNC or self._flags & RWF_NOSIGNAL
        if error.errno == errno.EPIPE and not quiet and self._file.bytestream():
            self._request.caller.signal(signal.SIGPIPE)

    def _failed(self, error: UringError) -> int:
        if self._offset < 0 and not self._file.streaming:
            self._back = self._done
        return super()._failed(error)
