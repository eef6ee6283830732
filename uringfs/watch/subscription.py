"""One reader's queue of events: bounded, in bytes. What does not fit is lost and counted, and no request waits."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from uringfs.host.protocols import Caller
from uringfs.ring.ring import Ring
from uringfs.watch.filters import Filter
from uringfs.watch.jsonlines import Objects
from uringfs.watch.record import Kind, blank, pack, unpack
from uringfs.watch.strace import Lines
from uringfs.watch.viewer import Viewer

MOST = 4 << 20
"""Bytes of events that wait for a reader."""
AT_ONCE = 256
"""Events that are turned into text for one read(2): the daemon serves others in between."""


class Who(NamedTuple):
    """A caller, as events name it."""

    pid: int
    tid: int
    comm: bytes
    lineage: Callable[[], tuple[int, ...]]
    """Gives the reader's process, that one's parent, and so on."""


def lost(count: int) -> bytes:
    return pack(blank(Kind.LOST, id=count))


class Subscription:
    """What one open(2) of MOUNT/.trace sees."""

    def __init__(self, viewer: Viewer, wake: Callable[[], None]) -> None:
        """wake: called when there is something to read and there was nothing before."""
        self._viewer = viewer
        self._wake = wake
        self._events: deque[bytes] = deque()
        self._size = 0
        self._rest = b""  # of a line that did not fit into a read
        self._lost = 0  # since the last event that was kept
        self._trees: set[int] = set()
        self._lines = Lines()
        self._objects = Objects()
        self.filter = Filter()
        self.total_lost = 0

    def set_filter(self, wanted: Filter) -> None:
        self.filter = wanted
        self._trees = set(wanted.trees or ())

    # -- what is wanted

    def watches(self, ring: Ring) -> bool:
        """True if the subscriber may want events of this ring."""
        return self._viewer.owns(ring.owner[1]) and (self.filter.rings is None or ring.number in self.filter.rings)

    def wants(self, ring: Ring, caller: Caller, who: Who) -> bool:
        """Events of what this caller submits."""
        return self.watches(ring) and self._wants_process(who) and self._viewer.sees(ring.owner[1], caller)

    def wants_call(self, number: int, owner: int, caller: Caller, who: Who, res: int) -> bool:
        """A setup or register on the ring file with that inode number, of that user."""
        wanted = self.filter
        if not wanted.calls or (wanted.failed and res >= 0):
            return False
        if wanted.rings is not None and number not in wanted.rings:
            return False
        return self._wants_process(who) and self._viewer.sees(owner, caller)

    def _wants_process(self, who: Who) -> bool:
        pids, trees = self.filter.pids, self.filter.trees
        if pids is None and trees is None:
            return True
        if pids is not None and who.pid in pids:
            return True
        if trees is None:
            return False
        if who.pid not in self._trees and not self._trees.isdisjoint(who.lineage()):
            self._trees.add(who.pid)
        return who.pid in self._trees

    def wants_result(self, opcode: int, res: int) -> bool:
        wanted = self.filter
        return (wanted.opcodes is None or opcode in wanted.opcodes) and (res < 0 or not wanted.failed)

    # -- the queue

    def full(self) -> bool:
        return self._size >= MOST

    def lose(self) -> None:
        self._lost += 1
        self.total_lost += 1

    def push(self, event: bytes) -> None:
        if self._size >= MOST:
            self.lose()
            return
        if self._lost:
            self._append(lost(self._lost))
            self._lost = 0
        self._append(event)

    def _append(self, event: bytes) -> None:
        self._size += len(event)
        self._events.append(event)
        if len(self._events) == 1:
            self._wake()

    def readable(self) -> bool:
        return bool(self._events or self._rest or self._lost)

    def much(self) -> bool:
        """There is enough for a read of its own."""
        return self._size > MOST // 32

    def take(self, size: int) -> bytes:
        """At most so many bytes of whole events, or lines; of one that is larger, a piece."""
        pieces, room, count = [self._rest], size - len(self._rest), 0
        while room > 0 and (self._events or self._lost) and (count < AT_ONCE or self.filter.format == "raw"):
            piece = self._show(self._next())
            pieces.append(piece)
            room, count = room - len(piece), count + 1
        found = b"".join(pieces)
        self._rest = found[size:]
        return found[:size]

    def _next(self) -> bytes:
        if not self._events:
            count, self._lost = self._lost, 0
            return lost(count)
        event = self._events.popleft()
        self._size -= len(event)
        return event

    def _show(self, event: bytes) -> bytes:
        if self.filter.format == "raw":
            return event
        record, _ = unpack(event)
        show = self._objects.line if self.filter.format == "json" else self._lines.line
        return show(record).encode("utf-8", "surrogateescape")
