"""One reader's queue of events: bounded, in bytes. What does not fit is lost and counted, and no request waits."""

from collections.abc import Callable
from typing import NamedTuple

from uringfs.host.protocols import Caller
from uringfs.native import EventQueue
from uringfs.ring.ring import Ring
from uringfs.watch.filters import Filter
from uringfs.watch.jsonlines import Objects
from uringfs.watch.record import unpack
from uringfs.watch.strace import Lines
from uringfs.watch.viewer import Viewer

MOST = 4 << 20
"""Bytes of events that wait for a reader."""
AT_ONCE = 256
"""Events that are turned into text for one read(2): the daemon serves others in between."""


class EventCaller(NamedTuple):
    """A caller, as events name it."""

    pid: int
    tid: int
    comm: bytes
    lineage: Callable[[], tuple[int, ...]]
    """Gives the reader's process, that one's parent, and so on."""


ALL = b"\xff" * 32


def mask(opcodes: frozenset[int] | None) -> bytes:
    """A bit for each of 256. None: all."""
    if opcodes is None:
        return ALL
    return sum(1 << opcode for opcode in opcodes).to_bytes(32, "little")


class Subscription:
    """What one open(2) of MOUNT/.trace sees."""

    def __init__(self, viewer: Viewer, wake: Callable[[], None]) -> None:
        """wake: called when there is something to read and there was nothing before."""
        self._viewer = viewer
        self.queue = EventQueue(MOST, wake)
        self._rest = b""  # of a line that did not fit into a read
        self._trees: set[int] = set()
        self._lines = Lines()
        self._objects = Objects()
        self.filter = Filter()

    def set_filter(self, wanted: Filter) -> None:
        self.filter = wanted
        self.queue.want(mask(wanted.opcodes), wanted.failed)
        self._trees = set(wanted.trees or ())

    # -- what is wanted

    def watches(self, ring: Ring) -> bool:
        """True if the subscriber may want events of this ring."""
        return self._viewer.owns(ring.owner[1]) and (self.filter.rings is None or ring.number in self.filter.rings)

    def wants(self, ring: Ring, caller: Caller, who: EventCaller) -> bool:
        """Events of what this caller submits."""
        return self.watches(ring) and self._wants_process(who) and self._viewer.sees(ring.owner[1], caller)

    @property
    def is_constant(self) -> bool:
        """What it wants() once of a program's calls on a ring, it wants whatever becomes of that program."""
        return self._viewer.is_unlimited

    def wants_call(self, number: int, owner: int, caller: Caller, who: EventCaller, res: int) -> bool:
        """A setup or register on the ring file with that inode number, of that user."""
        wanted = self.filter
        if not wanted.calls or (wanted.failed and res >= 0):
            return False
        if wanted.rings is not None and number not in wanted.rings:
            return False
        return self._wants_process(who) and self._viewer.sees(owner, caller)

    def _wants_process(self, who: EventCaller) -> bool:
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

    # -- the queue

    @property
    def total_lost(self) -> int:
        return self.queue.total_lost

    def push(self, event: bytes) -> None:
        self.queue.push(event)

    def readable(self) -> bool:
        return bool(self.queue.size or self._rest or self.queue.lost)

    def much(self) -> bool:
        """There is enough for a read of its own."""
        return self.queue.size > MOST // 32

    def take(self, size: int) -> bytes:
        """At most so many bytes of events, or lines; of the last, perhaps a piece."""
        if len(self._rest) >= size:
            found, self._rest = self._rest[:size], self._rest[size:]
            return found
        rest = self.queue.take(size - len(self._rest)) if self.filter.format == "raw" else b""
        pieces = [self._rest, rest]
        room, count = size - len(self._rest) - len(rest), 0
        while room > 0 and (self.queue.size or self.queue.lost) and count < AT_ONCE:
            piece = self._show(self.queue.next())
            pieces.append(piece)
            room, count = room - len(piece), count + 1
        found = b"".join(pieces)
        self._rest = found[size:]
        return found[:size]

    def _show(self, event: bytes) -> bytes:
        if self.filter.format == "raw":
            return event
        record, _ = unpack(event)
        show = self._objects.line if self.filter.format == "json" else self._lines.line
        return show(record).encode("utf-8", "surrogateescape")
