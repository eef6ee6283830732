"""A seccomp listener: system calls of other threads, to be answered (seccomp_unotify(2))."""

import errno
import fcntl
import os
import select
from collections.abc import Callable

import trio

from uringfs.abi import seccomp as abi
from uringfs.errors import UringError
from uringfs.host.files.closing import close_fd
from uringfs.host.protocols import File, Notification

_LINK = "anon_inode:seccomp notify"
_NO_ACCESS = 3  # open(2): neither to be read nor to be written; what is opened so has EBADF for both


class LocalListener:
    """fd is taken over. EINVAL if it is no listener: another file might answer for the kernel. EMFILE"""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._calls = trio.CapacityLimiter(16)
        if os.readlink(f"/proc/self/fd/{fd}") != _LINK:
            close_fd(fd)
            raise UringError(errno.EINVAL, "not a seccomp listener (SECCOMP_FILTER_FLAG_NEW_LISTENER)")
        try:
            self._blank, self._identity = _blank_file()
        except OSError as error:
            os.close(fd)
            raise UringError.of(error) from error

    async def each(self, fire: Callable[[Notification], None]) -> None:
        # In a thread: no call that takes a notification can be kept from waiting, and a client that kept the
        # listener for itself could take it before us.
        await trio.lowlevel.checkpoint_if_cancelled()  # from here on the thread starts, and closes these
        stop = os.eventfd(0, os.EFD_CLOEXEC)
        listener = os.dup(self._fd)
        token = trio.lowlevel.current_trio_token()

        def receive() -> None:
            try:
                while not _ended(listener, stop):
                    notification = _receive(listener)
                    if notification is not None:
                        token.run_sync_soon(fire, notification)
            except trio.RunFinishedError:
                pass
            finally:
                os.close(listener)
                os.close(stop)

        try:
            await trio.to_thread.run_sync(receive, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
        except trio.Cancelled:
            os.eventfd_write(stop, 1)
            raise

    def valid(self, number: int) -> bool:
        try:
            fcntl.ioctl(self._fd, abi.SECCOMP_IOCTL_NOTIF_ID_VALID, abi.NOTIF_ID.pack(number))
        except OSError:
            return False
        return True

    def answer(self, number: int, result: int) -> None:
        val, error = (result, 0) if result >= 0 else (0, result)
        try:
            fcntl.ioctl(self._fd, abi.SECCOMP_IOCTL_NOTIF_SEND, abi.NOTIF_RESP.pack(number, val, error, 0))
        except OSError as failed:
            if failed.errno not in (errno.ENOENT, errno.EINPROGRESS):
                raise

    async def install(
        self, number: int, fd: int, *, cloexec: bool, at: int | None = None, answers: bool = False
    ) -> int:
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_PATH:  # seccomp_notify_addfd() looks for it by fget()
            return -errno.EOPNOTSUPP
        flags = abi.SECCOMP_ADDFD_FLAG_SEND if answers else 0
        flags |= abi.SECCOMP_ADDFD_FLAG_SETFD if at is not None else 0
        ours = os.dup(fd)
        # mutable: then the call's own value is what ioctl() returns
        data = bytearray(abi.NOTIF_ADDFD.pack(number, flags, ours, at or 0, os.O_CLOEXEC if cloexec else 0))

        def add() -> int:
            """Waits for the thread to take it."""
            try:
                return int(fcntl.ioctl(self._fd, abi.SECCOMP_IOCTL_NOTIF_ADDFD, data))
            except OSError as error:
                return -(error.errno or errno.EIO)
            finally:
                os.close(ours)

        try:
            return await trio.to_thread.run_sync(add, limiter=self._calls)
        except trio.Cancelled:  # before it has begun
            os.close(ours)
            raise

    def blank(self) -> int:
        return self._blank

    def is_blank(self, file: File) -> bool:
        return file.identity == self._identity

    def close(self) -> None:
        for fd in (self._fd, self._blank):
            os.close(fd)


def _blank_file() -> tuple[int, tuple[int, int]]:
    """A descriptor of it, and its (device, inode)."""
    memfd = os.memfd_create("uringfs-closed", os.MFD_CLOEXEC)
    try:
        blank = os.open(f"/proc/self/fd/{memfd}", _NO_ACCESS | os.O_CLOEXEC)
        status = os.fstat(memfd)
    finally:
        os.close(memfd)
    return blank, (status.st_dev, status.st_ino)


def _ended(listener: int, stop: int) -> bool:
    """Wait for a notification; True if none will come any more, or if this is to stop."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(stop, select.POLLIN)
    ready = dict(poll.poll())
    return stop in ready or not ready.get(listener, 0) & select.POLLIN


def _receive(listener: int) -> Notification | None:
    """The next notification, or None if its thread has left meanwhile."""
    buffer = bytearray(abi.NOTIF.size)
    try:
        fcntl.ioctl(listener, abi.SECCOMP_IOCTL_NOTIF_RECV, buffer)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINTR):
            raise
        return None
    number, tid, _, nr, arch, pointer, *args = abi.NOTIF.unpack(buffer)
    return Notification(number, tid, nr, arch, pointer, tuple(args))
