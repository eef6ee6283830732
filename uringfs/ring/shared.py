"""The queues of a ring that has a lane: clients take SQEs and post CQEs, too, so whoever does has to have it.

They replace the plain ones when the first client attaches (Ring.share()). Without the lane the daemon looks at
positions and changes none. CQEs that it has meanwhile stay outstanding until it has it.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from uringfs.abi.constants import IORING_OFF_CQ_RING
from uringfs.abi.lane import State, Taken
from uringfs.abi.structs import CQ_TAIL, Cqe
from uringfs.memory.base import RingMemory
from uringfs.ring.geometry import Geometry
from uringfs.ring.lane import LanePage
from uringfs.ring.queues import CompletionQueue, SubmissionQueue


class Lane(Protocol):
    """Whose turn it is at the queues (engine/lane.py)."""

    page: LanePage
    had: bool
    """The daemon has it."""

    def take(self) -> bool:
        """Have it until let_go(); False if a client has it, and a kick will come of it."""

    def let_go(self) -> None:
        """If it is had, and not until end()."""

    def begin(self) -> bool:
        """Have it until end(), also behind let_go(). False: wait()."""

    async def wait(self) -> None:
        """begin(), when a client has let go. Cancellable."""

    def end(self) -> None: ...

    def recalls(self) -> bool:
        """With the lane: a client's call waits for the first request, and is told to submit it: handed_in()."""

    async def handed_in(self) -> None:
        """Wait until the client that recalls() has told has submitted its request, or does not in time."""

    def overdue(self) -> int:
        """Requests that are to be submitted for those who have not done so: 0 or 1."""

    def under_way(self) -> list[Taken]:
        """Requests that clients have taken, and perform."""

    def look(self) -> None:
        """A client may have let go, posted, or left something to be posted."""

    def cancel(self, match: Callable[[Taken], bool], most: int | None) -> list[Taken]:
        """With the lane: those of them that have not begun get -ECANCELED when it is let go, at most `most`."""

    def attend(self) -> None:
        """Who has to hear of what happens in the lane may have changed."""


class SharedSubmissionQueue(SubmissionQueue):
    def __init__(self, old: SubmissionQueue, memory: RingMemory, geometry: Geometry, lane: Lane) -> None:
        self._lane = lane
        super().__init__(memory, geometry)
        self.head = old.head

    @property
    def head(self) -> int:
        return self._head if self._lane.had else self._lane.page.sq_head()

    @head.setter
    def head(self, position: int) -> None:
        self._head = position

    def adopt(self, state: State) -> None:
        """The lane is had again."""
        self._head = state.sq_head


class SharedCompletionQueue(CompletionQueue):
    def __init__(
        self,
        old: CompletionQueue,
        memory: RingMemory,
        geometry: Geometry,
        sq: SubmissionQueue,
        lane: Lane,
    ) -> None:
        self._lane = lane
        self.outstanding: deque[tuple[Cqe, bytes]] = deque()
        """Posted while a client had the lane."""
        super().__init__(memory, geometry, sq)
        self._tail = self._published = old.tail
        self.backlog, self.max_backlog = old.backlog, old.max_backlog
        self._head, self._copies = old.looked_at()

    @property
    def tail(self) -> int:
        return self._tail if self._lane.had else self._lane.page.tail()

    @tail.setter
    def tail(self, position: int) -> None:
        self._tail = position

    def adopt(self, state: State, clean: bool) -> None:
        """The lane is had again. clean: who had it before has shown all that was posted; the last word of that is
        the mirror's tail."""
        self._tail = state.tail
        self._published = state.tail if clean else self._memory.load(IORING_OFF_CQ_RING + CQ_TAIL)
        self._head, self._copies = state.cq_head, (state.cq_head_sq, state.cq_head_cq)
        self._free = 0

    def state(self, sq_head: int, seen: int) -> State:
        """What is handed over: all that was taken is done."""
        return State(self._tail, sq_head, sq_head, seen, self._head, *self._copies)

    def post(self, user_data: int, res: int, flags: int, big: bytes = b"") -> None:
        if self._lane.take():
            super().post(user_data, res, flags, big)
        elif len(self.outstanding) < self.max_backlog:
            self.outstanding.append((Cqe(user_data, res, flags), big))
        else:
            self.lose()

    def spill(self, cqe: Cqe, big: bytes = b"") -> None:
        if self._lane.take():
            super().spill(cqe, big)
        else:
            self.post(*cqe, big)

    def post_outstanding(self) -> None:
        """The lane is had again."""
        waiting, self.outstanding = self.outstanding, deque()
        for cqe, big in waiting:
            super().post(*cqe, big)

    def full(self) -> bool:
        if self._lane.had:
            return super().full()
        return bool(self.backlog) or self.ready() + len(self.outstanding) >= self.entries

    def flush(self) -> None:
        if self.backlog and self._lane.take():
            super().flush()

    def publish(self) -> bool:
        if self.outstanding and not self._lane.take():
            return False
        if self._lane.had:
            super().publish()
            self._lane.let_go()
        return True

    def show(self) -> None:
        """What was posted and not published, before the lane is let go."""
        if self._published != self._tail:
            super().publish()
