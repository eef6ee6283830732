"""Path system calls in a caller's name: with its ids, groups, capabilities, umask, root, working directory,
mount and user namespaces, as they were while it was blocked in its control write.

They run in processes (actor_process says why), one call at a time each. A call that is cancelled is ended
with its process, so not even the open of a FIFO outlives its request.
"""

import errno
import marshal
import math
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Hashable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import trio

from uringfs.errors import UringError
from uringfs.host.base import File, Name, Out
from uringfs.host.credentials import Credentials
from uringfs.host.procfs import status

MAX_PROCESSES = 64
MAX_IDLE = 4
"""So many are kept; more are started only when these have been busy for PATIENCE: what blocks (the open of
a FIFO) must not keep the others waiting, and 32 quick opens are not worth 32 processes."""
PATIENCE = 0.02  # seconds
MAX_REPLY = 1 << 18
GRACE = 1.0  # seconds that a call which changes names may take to end once it is cancelled
PROGRAM = Path(__file__).with_name("actor_process.py")

_NUMBERS = {  # x86-64, aarch64
    "openat": (257, 56),
    "openat2": (437, 437),
    "statx": (332, 291),
    "renameat2": (316, 276),
    "unlinkat": (263, 35),
    "mkdirat": (258, 34),
    "symlinkat": (266, 36),
    "linkat": (265, 37),
    "setxattr": (188, 5),
    "fsetxattr": (190, 7),
    "getxattr": (191, 8),
    "fgetxattr": (193, 10),
    "bind": (49, 200),
    "connect": (42, 203),
    "listen": (50, 201),
}
SYSTEM_CALLS = {name: pair[platform.machine() == "aarch64"] for name, pair in _NUMBERS.items()}
OPENS = ("openat", "openat2")
Value = int | bytes | tuple[str, int]


class _Unusable(Exception):
    """The call was not made: the process has ended, or cannot become who it has to be."""


class _Process:
    """One of them, and our end of its socket."""

    def __init__(self) -> None:
        self.key: Hashable = None
        """Identity.key of whom it is for: a user namespace is joined for good. None: for anybody."""
        self.fresh = True
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock.setblocking(False)
        with theirs:
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", str(PROGRAM)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
            )

    def ask(self, message: bytes, fds: Sequence[int]) -> None:
        try:
            socket.send_fds(self._sock, [message], fds)
        except (BrokenPipeError, ConnectionError) as error:
            raise _Unusable from error

    async def answer(self) -> tuple[int, bytes, list[int]]:
        await trio.lowlevel.wait_readable(self._sock)
        data, fds, _, _ = socket.recv_fds(self._sock, MAX_REPLY, 1)
        if not data:
            raise UringError(errno.EPERM, "the helper process has ended in the midst of a call")
        answer = marshal.loads(data)
        if answer is None:
            raise _Unusable
        result, out = answer
        return result, out, fds

    def end(self) -> None:
        self._sock.close()
        self._popen.kill()

    def ended(self) -> bool:
        return self._popen.poll() is not None


class ActorPool:
    """The processes there are."""

    def __init__(self) -> None:
        self._waiting = trio.lowlevel.ParkingLot()
        self._count = 0
        self._idle: list[_Process] = []
        self._ending: list[_Process] = []
        self._root = -1

    async def call(
        self, identity: "Identity", name: str, args: Sequence[Value], fds: Sequence[int]
    ) -> tuple[int, bytes]:
        """(result, out): a new descriptor of ours from an open. UringError; Cancelled ends the call."""
        makes_fd = name in OPENS
        message = marshal.dumps((tuple(identity.ids), SYSTEM_CALLS[name], tuple(args), makes_fd))
        while True:
            process = await self._take(identity.key)
            fresh, process.fresh, done = process.fresh, False, False
            try:
                process.ask(message, [*identity.fds, *fds])
                result, out, made = await self._answer(process, GRACE if not makes_fd else 0)
                process.key, done = identity.key, True
                break
            except _Unusable as error:
                if fresh:
                    raise UringError(errno.EPERM, "the caller's identity could not be assumed") from error
            except OSError as error:
                raise UringError.of(error) from error
            finally:
                self._put_back(process, done)
        if result < 0:
            raise UringError(-result)
        return made[0] if makes_fd else result, out

    async def _take(self, key: Hashable) -> _Process:
        """An idle one, or a new one."""
        limit, patience = MAX_IDLE, PATIENCE
        while (process := self._suitable(key)) is None:
            if self._count < limit:
                return self._spawn()
            if self._idle:  # for others
                self._end(self._idle.pop(0))
                continue
            with trio.move_on_after(patience) as scope:
                await self._waiting.park()
            if scope.cancelled_caught:
                limit, patience = MAX_PROCESSES, math.inf
        self._idle.remove(process)
        return process

    def _suitable(self, key: Hashable) -> _Process | None:
        """The one that was used last, of those for this identity, or for any."""
        for wanted in (key, None):
            for process in reversed(self._idle):
                if process.key == wanted:
                    return process
        return None

    async def _answer(self, process: _Process, grace: float) -> tuple[int, bytes, list[int]]:
        try:
            return await process.answer()
        except trio.Cancelled:
            if not grace:
                raise
            # What has begun may have happened: then the CQE says so, as the kernel's io-wq does
            with trio.CancelScope(deadline=trio.current_time() + grace, shield=True):
                return await process.answer()
            raise

    def _spawn(self) -> _Process:
        try:
            process = _Process()
        except OSError as error:
            raise UringError.of(error) from error
        self._count += 1
        return process

    def _put_back(self, process: _Process, reusable: bool) -> None:
        if reusable:
            if self._root < 0:
                self._root = os.open("/", os.O_PATH | os.O_CLOEXEC)
            with suppress(_Unusable):
                process.ask(marshal.dumps(None), [self._root])
            self._idle.append(process)
            if len(self._idle) > MAX_IDLE:
                self._end(self._idle.pop(0))
        else:
            self._end(process)
        self._waiting.unpark()

    def _end(self, process: _Process) -> None:
        process.end()
        self._ending.append(process)
        self._count -= 1
        self.reap()

    def reap(self) -> bool:
        """Whether all that were to end have: a process that is being killed may take its time, and whoever comes
        next looks again."""
        self._ending = [ending for ending in self._ending if not ending.ended()]
        return not self._ending

    def close(self) -> None:
        """End those that are idle."""
        while self._idle:
            self._end(self._idle.pop())
        if self._root >= 0:
            os.close(self._root)
            self._root = -1


class Ids(NamedTuple):
    """As seen in our user namespace."""

    fsuid: int
    fsgid: int
    groups: tuple[int, ...]
    capabilities: int
    umask: int
    joins: bool
    """Another user namespace: its capabilities count there, and ids are told as it knows them
    (from_kuid_munged()), so it has to be joined."""


class Identity:
    """A thread's credentials, with the root and working directory that it has now. Holds descriptors until nothing
    refers to it."""

    def __init__(self, tid: int, credentials: Credentials) -> None:
        self._fds: list[int] = []
        namespace = ""
        try:
            fields = status(tid)
            for link in ("root", "cwd"):
                self._fds.append(os.open(f"/proc/{tid}/{link}", os.O_PATH | os.O_CLOEXEC))
            if credentials.foreign:
                self._fds.append(os.open(f"/proc/{tid}/ns/user", os.O_RDONLY | os.O_CLOEXEC))
                namespace = os.readlink(f"/proc/self/fd/{self._fds[-1]}")
        except FileNotFoundError as error:
            raise UringError(errno.ESRCH, f"thread {tid} is gone") from error
        except OSError as error:
            raise UringError.of(error) from error
        self.ids = Ids(
            credentials.uid.fs,
            credentials.gid.fs,
            credentials.groups,
            credentials.effective,
            int(fields["Umask"][0], 8),
            bool(namespace),
        )
        self.key = (namespace, self.ids._replace(umask=0)) if namespace else None
        """Who a process has to be for good to be this one; None: any process can, and go back."""
        self.pid, self.tid = fields["NStgid"][-1].encode(), fields["NSpid"][-1].encode()
        """Its ids in its own pid namespace."""

    @property
    def fds(self) -> list[int]:
        return self._fds

    def itself(self, path: bytes) -> bytes:
        """/proc/self by the caller's number: the one who looks it up is a process of ours."""
        for alias, number in ((b"/proc/self", b"/proc/" + self.pid), (b"/dev/fd", b"/proc/" + self.pid + b"/fd")):
            if path == alias or path.startswith(alias + b"/"):
                return number + path[len(alias) :]
        alias = b"/proc/thread-self"
        if path.startswith(alias + b"/"):
            return b"/proc/" + self.pid + b"/task/" + self.tid + path[len(alias) :]
        return bytes(path)

    def __del__(self) -> None:
        for fd in self._fds:
            os.close(fd)


class LocalActor:
    """base.Actor"""

    def __init__(self, pool: ActorPool, tid: int, credentials: Credentials) -> None:
        self._pool = pool
        self._identity = Identity(tid, credentials)

    async def call(self, name: str, *args: int | bytes | File | Out) -> tuple[int, bytes]:
        values: list[Value] = []
        fds: list[int] = []
        for arg in args:
            if isinstance(arg, Out):
                values.append(("out", arg.size))
            elif isinstance(arg, bytes):
                values.append(self._identity.itself(arg) if isinstance(arg, Name) else arg)
            elif isinstance(arg, int):
                values.append(arg)
            else:
                values.append(("file", len(fds)))
                fds.append(arg.fileno())
        return await self._pool.call(self._identity, name, values, fds)
