"""Writes that are lost unless they are synced: before each, what was there is kept, and put back when the process
that has written ends. Until then everybody sees the data, as in a page cache.

Both are done by way of the writer's own open file, which is held for as long, and with the rights that the writer
had when it submitted: nothing is read or written here that it could not have read or written itself. Where that
does not do, the write is one as any other, and the rule says why (Given.unable).
"""

import errno
import fcntl
import logging
import os
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass, field
from functools import partial

import trio

from uringfs.engine.request import Outcome, Request
from uringfs.errors import UringError
from uringfs.faults.given import Given
from uringfs.faults.matching import file_of
from uringfs.faults.waits import Begin, FindStall, Perform
from uringfs.host.protocols import Caller, File
from uringfs.ops.rw.iovec import total

log = logging.getLogger(__name__)

MOST_KEPT = 64 << 20
"""Bytes that are kept for one rule."""
OVERHEAD = 256
"""Bytes that one write is counted more."""
MOST_FILES = 64
"""Open files that are held for one rule."""


@dataclass(eq=False)
class Kept:
    """One write."""

    given: Given
    caller: Caller
    """Who has submitted it, detached."""
    file: File
    """The caller's open file. Unsynced._files holds it."""
    pid: int
    start: int
    end: int
    size: int = 0
    """Bytes that the file had."""
    before: bytes = b""
    known: bool = False
    """What was there, and how long the file was."""
    left: int = 2
    """How many are not over of two: to keep what is there, and to write."""

    @property
    def written(self) -> bool:
        """Whether it is over, whatever came of it."""
        return not self.left

    @property
    def cost(self) -> int:
        """Bytes."""
        return self.end - self.start + OVERHEAD

    def keep(self, fd: int) -> int:
        """Keep what the file holds now. Called in a thread, as the caller. OSError: EBADF if its file is not open
        for reading."""
        self.size = os.fstat(fd).st_size
        while len(self.before) < min(self.end, self.size) - self.start:
            at = self.start + len(self.before)
            piece = os.pread(fd, min(self.end, self.size) - at, at)
            if not piece:
                break
            self.before += piece
        self.known = True
        return 0

    def put_back(self, fd: int) -> int:
        """Write what was kept. Called in a thread, as the caller. OSError: EINVAL if the file has been told to
        append since."""
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND:
            raise OSError(errno.EINVAL, "O_APPEND has been set")
        done = 0
        while done < len(self.before):
            done += os.pwrite(fd, self.before[done:], self.start + done)
        if os.fstat(fd).st_size > self.size and self.end > self.size:
            os.ftruncate(fd, self.size)
        return 0


@dataclass(eq=False)
class _Over:
    """Held by a request: it is complete."""

    told: Callable[[], None]

    def close(self) -> None:
        self.told()


@dataclass(eq=False)
class Unsynced:
    """All of a mount. ended: waits until a process has."""

    nursery: trio.Nursery
    ended: Callable[[int], Awaitable[None]] | None
    changed: Callable[[], None]
    """Told when there may be none left."""
    _files: dict[Hashable, list[Kept]] = field(default_factory=dict)
    """By File.identity. Each of them holds its open file once."""
    _synced: dict[Request, tuple[Hashable, list[Kept]]] = field(default_factory=dict)
    """What was written before an FSYNC that has begun."""
    _waited: dict[int, trio.Event] = field(default_factory=dict)
    """Set when a write of that process is over; then there is a new one."""

    def __bool__(self) -> bool:
        return bool(self._files)

    # -- writes

    def write(self, given: Given, pid: int, stall_of: FindStall, perform: Perform, request: Request) -> Outcome:
        """In place of perform(request), when what is there has been kept."""
        file = file_of(request)
        if file is None:
            raise UringError(errno.EBADF)
        file = self._same(file)
        start, length = request.sqe.off, _length(request)
        kept = Kept(given, request.caller.detached(), file, pid, start, start + length)
        if not self._has_room_for(kept):
            given.unable = f"{MOST_KEPT >> 20} MiB or {MOST_FILES} open files are kept"
            file.close()
            return perform(request)
        self._add(kept)
        request.held.append(_Over(partial(self._over, kept)))
        begin = Begin(request, perform, stall_of)
        outcome = begin.outcome()
        self.nursery.start_soon(self._keep, kept, begin)
        return outcome

    def _add(self, kept: Kept) -> None:
        kept.given.kept += kept.cost
        kept.given.unsynced += 1
        self._files.setdefault(kept.file.identity, []).append(kept)
        if kept.pid not in self._waited:
            self._waited[kept.pid] = trio.Event()
            self.nursery.start_soon(self._lose_at_end_of, kept.pid)

    def _same(self, file: File) -> File:
        """A file that is held already, of the same open file: so many writes cost one descriptor."""
        for kept in self._files.get(file.identity, ()):
            if kept.file is file or kept.file.same(file):
                kept.file.hold()
                file.close()
                return kept.file
        return file

    def _has_room_for(self, kept: Kept) -> bool:
        given = kept.given
        files = {one.file for some in self._files.values() for one in some if one.given is given}
        return given.kept + kept.cost <= MOST_KEPT and len(files | {kept.file}) <= MOST_FILES

    async def _keep(self, kept: Kept, begin: Begin) -> None:
        with trio.CancelScope(shield=True):
            try:
                await kept.file.call(kept.keep, kept.caller)
            except UringError as error:
                write_only = error.errno == errno.EBADF
                kept.given.unable = "not open for reading" if write_only else os.strerror(error.errno)
                self._forget(kept.file.identity, [kept])
            finally:
                self._over(kept)
        await begin.request.context.host.settled()
        begin.go()

    def _over(self, kept: Kept) -> None:
        kept.left -= 1
        waited = self._waited.get(kept.pid)
        if waited is not None:
            waited.set()
            self._waited[kept.pid] = trio.Event()

    # -- syncs

    def sync(self, perform: Perform, request: Request) -> Outcome:
        """In place of perform(request), of an FSYNC: it is about what has been written before."""
        file = file_of(request)
        if file is not None:
            identity = file.identity
            file.close()
            written = [kept for kept in self._files.get(identity, ()) if kept.written]
            self._synced[request] = identity, written
            request.held.append(_Over(partial(self._unsyncs, request)))
        return perform(request)

    def _unsyncs(self, request: Request) -> None:
        self._synced.pop(request, None)

    def complete(self, request: Request, res: int) -> None:
        """An FSYNC has come to this, whatever its rule makes of it."""
        identity, written = self._synced.pop(request, (None, ()))
        if identity is None or res < 0:
            return
        self._forget(identity, written)
        for left in self._files.get(identity, ()):
            # What was synced stays there, though the write behind it was kept before it was made
            left.size = max([left.size, *(kept.end for kept in written)])

    def _forget(self, identity: Hashable, some: Iterable[Kept]) -> None:
        known = self._files.pop(identity, [])
        gone = set(some).intersection(known)
        for kept in gone:
            kept.given.kept -= kept.cost
            kept.given.unsynced -= 1
            kept.file.close()
        if len(gone) < len(known):
            self._files[identity] = [kept for kept in known if kept not in gone]

    # -- the end

    async def _lose_at_end_of(self, pid: int) -> None:
        """Waits for the end of a process, or of the mount."""
        try:
            if self.ended is not None:
                await self.ended(pid)
            while not all(kept.written for kept in self._of(pid)):
                await self._waited[pid].wait()
        finally:
            del self._waited[pid]
            with trio.CancelScope(shield=True):
                await self._lose(pid)

    def _of(self, pid: int) -> list[Kept]:
        return [kept for some in self._files.values() for kept in some if kept.pid == pid]

    async def _lose(self, pid: int) -> None:
        for identity in tuple(self._files):
            lost = [kept for kept in self._files.get(identity, ()) if kept.pid == pid]
            for kept in reversed(lost):
                await self._put_back(kept)
            self._forget(identity, lost)
        self.changed()

    async def _put_back(self, kept: Kept) -> None:
        if not kept.known:  # nothing could be kept
            return
        try:
            await kept.file.call(kept.put_back, kept.caller)
        except UringError as error:
            kept.given.unable = f"it could not be put back: {error.message or os.strerror(error.errno)}"
            log.warning("rule %d: what was not synced is not lost: %s", kept.given.id, error)


def _length(request: Request) -> int:
    return total(request.data) if isinstance(request.data, list) else request.sqe.len
