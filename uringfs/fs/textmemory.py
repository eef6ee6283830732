"""Requests that text has queued: they act in the name of who wrote it, on memory of the daemon's own.

The writer is often gone when they are performed, and a shell has no memory to name. So what the text says stands
in a TextMemory, which has nothing else in it; descriptors and paths are the writer's, and so are its rights.
"""

import copy
import errno
import weakref
from collections.abc import Callable

from uringfs.abi.constants import IOSQE_FIXED_FILE
from uringfs.abi.net import USER_MSGHDR
from uringfs.abi.numbers import PAGE
from uringfs.abi.structs import IOVEC, Sqe
from uringfs.engine.request import Attachment, Issue, Outcome, Pending, Request
from uringfs.errors import UringError
from uringfs.fs.codec.sqetext import SqeCommand, SqeMemory
from uringfs.host.process.pieces import PiecewiseMemory
from uringfs.host.protocols import Caller, Data, File, Memory

BASE = 1 << 36
MAX_BYTES = 4 << 20
MAX_REQUESTS = 64
"""What the text requests of one ring may have, queued and under way."""


class TextMemory(PiecewiseMemory):
    """Pages from BASE on, zeros behind what has been put there."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._end = 0

    def __len__(self) -> int:
        return len(self._data)

    def place(self, data: bytes) -> int:
        """Keep the data, with a NUL after it. Returns its address, a multiple of 8."""
        start = self._end
        self._end = -(-(start + len(data) + 1) // 8) * 8
        self._data.extend(bytes(-(-self._end // PAGE) * PAGE - len(self._data)))
        self._data[start : start + len(data)] = data
        return BASE + start

    def _readable(self, address: int, length: int) -> int:
        start = address - BASE
        return min(length, len(self._data) - start) if 0 <= start <= len(self._data) else 0

    _writable = _readable

    def _load(self, address: int, size: int) -> bytes:
        return bytes(self._data[address - BASE : address - BASE + size])

    def _store(self, address: int, data: Data) -> int:
        self._data[address - BASE : address - BASE + len(data)] = data
        return len(data)

    def gone(self) -> bool:
        return False


class TextRequests:
    """The text requests of one ring, and what of them is kept for `cat`."""

    def __init__(self, keep: Callable[[int, bytes], None]) -> None:
        self._keep = keep
        self._count = 0
        self._bytes = 0

    def make(self, writer: Caller, command: SqeCommand) -> tuple[Sqe, Attachment]:
        """The SQE with its addresses, and what goes with it. EAGAIN: the ring has too many; ESRCH."""
        sqe, memory, rooms = command.sqe, TextMemory(), []
        for piece in command.pieces:
            address = memory.place(piece.data)
            if piece.kept:
                rooms.append((address, piece))
            sqe = sqe._replace(**{piece.field: _shaped(memory, piece, address)})
        if self._count >= MAX_REQUESTS or self._bytes + len(memory) > MAX_BYTES:
            said = f"the ring has {self._count} text requests with {self._bytes} bytes: `enter` and `reap` first"
            raise UringError(errno.EAGAIN, said)
        request = TextRequest(writer, memory if command.pieces else None, rooms, self._keep)
        file = request.opened = None if sqe.flags & IOSQE_FIXED_FILE else _file(writer, sqe.fd)
        self._add(1, len(memory))
        ends = weakref.finalize(request, self._end, file, len(memory))
        ends.atexit = False
        request.ends = ends
        return sqe, request

    def _end(self, file: File | None, size: int) -> None:
        self._add(-1, -size)
        if file is not None:
            file.close()

    def _add(self, count: int, size: int) -> None:
        self._count += count
        self._bytes += size


def _file(writer: Caller, fd: int) -> File | None:
    """The writer's, which may be gone when the request is performed. Never one of our own mount: a ring that holds
    itself open would have no end."""
    try:
        file = writer.file(fd)
    except UringError:
        return None  # no descriptor, or none that this opcode asks for: then it is found later, or not
    if not file.inode:
        return file
    file.close()
    return None


def _shaped(memory: TextMemory, piece: SqeMemory, address: int) -> int:
    """What the field names: the data, or an array of one struct iovec, or a struct msghdr, that has it."""
    if not piece.shape:
        return address
    iovec = memory.place(IOVEC.pack(address, len(piece.data)))
    if piece.shape == "iovec":
        return iovec
    return memory.place(USER_MSGHDR.pack(0, 0, 0, iovec, 1, 0, 0, 0))


class TextNop(Attachment):
    """A NOP that text has queued: the file was closed behind the text, which does not cancel it where it waits (a
    rule holds it)."""

    def issue(self, request: Request) -> Outcome:
        return request.op.issue(request)


class TextRequest(Attachment):
    """Performed as the writer of the text, whoever submits it: with its descriptors and rights, as they were."""

    def __init__(
        self,
        writer: Caller,
        memory: TextMemory | None,
        rooms: list[tuple[int, SqeMemory]],
        keep: Callable[[int, bytes], None],
    ) -> None:
        """memory None: the writer's own. rooms: (address, piece) of what is kept."""
        # With its root and working directory, which may be gone with it when the request is performed
        self._writer = copy.copy(writer.with_credentials(writer.credentials()).detached())
        if memory is not None:
            self._writer.memory = memory
        self.opened: File | None = None
        """The file that was at sqe->fd when the text was written."""
        self._rooms = rooms
        self._keep = keep
        self.ends: Callable[[], object] | None = None
        """Called once: it is complete, or was never taken."""

    def close(self) -> None:
        """The request is complete."""
        if self.ends is not None:
            self.ends()

    def caller(self, submitter: Caller) -> Caller:
        return self._writer

    def file(self, request: Request) -> File:
        if self.opened is None:
            return request.caller.file(request.sqe.fd)
        self.opened.hold()
        return self.opened

    def issue(self, request: Request) -> Outcome:
        request.held.append(self)
        outcome = request.op.issue(request)
        if isinstance(outcome, int):
            return self._kept(request, outcome)
        return outcome if isinstance(outcome, Issue) else self._later(request, outcome)

    def _later(self, request: Request, rest: Pending) -> Pending:
        async def run() -> int:
            return self._kept(request, await rest())

        return run

    def _kept(self, request: Request, res: int) -> int:
        """A result is bytes where it is above 0; STATX and its like fill the room, and say 0."""
        memory: Memory = request.caller.memory
        for address, piece in self._rooms if res >= 0 else ():
            size = min(res, len(piece.data)) if res or piece.field == "addr" else len(piece.data)
            self._keep(request.sqe.user_data, memory.read(address, size))
        return res
