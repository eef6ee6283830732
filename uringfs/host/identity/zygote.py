"""The daemon's end of its helper processes (host.helper): it asks a zygote for them, and each for calls."""

import errno
import marshal
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Hashable, Sequence
from contextlib import suppress
from pathlib import Path
from struct import Struct

import trio

from uringfs.errors import UringError
from uringfs.host.identity.identity import Identity

OPENS = ("openat", "openat2")
GRACE = 1.0  # seconds that a call which changes names may take to end once it is cancelled
ROOM = 1 << 17
Value = int | bytes | tuple[str, int]
_REPLY = Struct("<qB")  # host.helper.serve.REPLY
_DONE, _LAST, _UNABLE = 0, 1, 2
_HELLO = b"pidfd"
_PROGRAM = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).parents[3])!r}); "
    "from uringfs.host.helper.zygote import main; main()"
)


class Unusable(Exception):
    """The call was not made: the process has ended before."""


class Zygote:
    """Started when it is first needed, and again if it has died."""

    def __init__(self) -> None:
        self._sock: socket.socket | None = None
        self._popen: subprocess.Popen[bytes] | None = None
        self._turn = trio.Lock()

    async def fork(self, identity: Identity, sock: socket.socket) -> None:
        """Ask for a helper with that socket. OSError: no zygote can be started."""
        message = marshal.dumps((*identity.key.ids, tuple(identity.namespaces)))
        fds = [sock.fileno(), identity.root, *identity.namespaces.values()]
        async with self._turn:
            while not await self._send(self._sock or self._start(), message, fds):
                pass

    async def _send(self, ours: socket.socket, message: bytes, fds: list[int]) -> bool:
        try:
            socket.send_fds(ours, [message], fds)
            return True
        except BlockingIOError:
            with suppress(trio.ClosedResourceError):
                await trio.lowlevel.wait_writable(ours)
        except (BrokenPipeError, ConnectionError):
            self.close()
        return False

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _PROGRAM],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
            )
        self._sock = ours
        return ours

    def close(self) -> None:
        """End it, and with it all its helpers."""
        if self._sock is not None:
            trio.lowlevel.notify_closing(self._sock)
        self._end()

    def __del__(self) -> None:
        """For a host that nobody has closed: no process, and no warning of one, is left."""
        self._end()

    def _end(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()
            self._popen = None


class Helper:
    """A process that makes calls for one identity, and our end of its socket."""

    def __init__(self, identity: Identity) -> None:
        self.key: Hashable = identity.key
        self.account: Hashable = identity.account
        self.at_home = identity.at_home
        self.since = 0.0
        """trio.current_time() at which it has become busy, or idle."""
        self.unborn = True
        self._pidfd = -1
        self._sock, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock.setblocking(False)

    async def call(
        self, zygote: Zygote, identity: Identity, name: str, args: Sequence[Value], fds: Sequence[int], room: int
    ) -> tuple[int, bytes, bool]:
        """(result or -errno, out, whether it can make another). An open's result is a descriptor of ours.
        Unusable, UringError."""
        if self.unborn:
            await zygote.fork(identity, self._theirs)
            self._theirs.close()
            self.unborn = False
        message = marshal.dumps((identity.umask, identity.numbers, name, tuple(args)))
        try:
            socket.send_fds(self._sock, [message], [identity.cwd, *fds])
        except (BrokenPipeError, ConnectionError) as error:
            raise Unusable from error
        opens = name in OPENS
        try:
            return await self._answer(room, opens)
        except trio.Cancelled:
            if opens:
                raise
            # What has begun may have happened: then the CQE says so, as the kernel's io-wq does
            with trio.CancelScope(deadline=trio.current_time() + GRACE, shield=True):
                return await self._answer(room, opens)
            raise

    async def _answer(self, room: int, opens: bool) -> tuple[int, bytes, bool]:
        data, fds = await self._receive(room)
        if data == _HELLO:
            self._pidfd = _only(fds)
            data, fds = await self._receive(room)
        if not data and self._pidfd < 0:
            raise Unusable  # it was never born
        if not data:
            raise UringError(errno.ECANCELED, "the helper process was killed in the midst of the call")
        result, state = _REPLY.unpack_from(data)
        if state == _UNABLE:
            raise UringError(errno.EPERM, f"the caller's identity could not be assumed: {os.strerror(-result)}")
        if opens and result >= 0:
            result = _only(fds)
        return result, data[_REPLY.size :], state == _DONE

    async def _receive(self, room: int) -> tuple[bytes, list[int]]:
        await trio.lowlevel.wait_readable(self._sock)
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, _REPLY.size + room, 1)
        except ConnectionError as error:  # what we have sent was never read
            raise Unusable from error
        return data, fds

    def end(self) -> None:
        """End the helper. One that has not said its pidfd yet comes to its end as it tries, with this socket
        shut."""
        trio.lowlevel.notify_closing(self._sock)
        self._theirs.close()
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
            if self._pidfd < 0:
                self._pidfd, *_ = socket.recv_fds(self._sock, ROOM, 1)[1] or [-1]
        self._sock.close()
        if self._pidfd >= 0:
            with suppress(OSError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def silent(self) -> bool:
        """Nothing has come from it that is still to be read."""
        return not _readable(self._sock.fileno())

    def ended(self) -> bool:
        """True once the helper, after end(), is gone."""
        if self._pidfd >= 0:
            if not _readable(self._pidfd):
                return False
            os.close(self._pidfd)
            self._pidfd = -1
        return True


def _readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def _only(fds: list[int]) -> int:
    """The descriptor that came with a message. ENFILE: there was no room for it here."""
    if not fds:
        raise UringError(errno.ENFILE, "the daemon has no descriptor left")
    return fds[0]
