"""The page of a ring's lane, from the daemon's side (docs/lane.md): its words, and how the lane is had and let go.

Words that clients write are arbitrary numbers here: they are masked, compared and shown, and never say how long
anything takes. Which process is behind a number, and whether it lives, is for others to know.
"""

from collections.abc import Callable, Container
from typing import NamedTuple

from uringfs.abi import lane as abi
from uringfs.abi.constants import IOSQE_CQE_SKIP_SUCCESS
from uringfs.abi.lane import LaneCounters, State, Taken
from uringfs.abi.numbers import U32
from uringfs.memory.base import RingMemory

BASE = abi.URINGFS_OFF_LANE
_REQUESTS_SIZE = abi.URINGFS_LANE_REQUESTS * abi.REQUEST.size
# Of all requests, read as one number: the bits of their holders.
_HOLDERS = sum(U32 << 8 * (n * abi.REQUEST.size + abi.REQUEST_HOLDER) for n in range(abi.URINGFS_LANE_REQUESTS))
# A client does not wait by itself then.
ENDS_SLEEP = abi.URINGFS_LANE_GETEVENTS | abi.URINGFS_LANE_CLOSED


class Ending(NamedTuple):
    """A CQE that a request gets which its client did not complete."""

    user_data: int
    res: int
    cqe_flags: int = 0


def _place(number: int) -> int:
    return BASE + abi.LANE_REQUESTS + number * abi.REQUEST.size


class LanePage:
    """The lane's page of one ring, in the ring's memory."""

    def __init__(self, memory: RingMemory) -> None:
        self._memory = memory
        self._stored: dict[int, int] = {}  # the daemon's own words

    def begin(self, state: State) -> None:
        """Before anybody attaches: whatever stands there is gone, and the daemon has the lane."""
        self._stored.clear()
        self._memory.write(BASE, bytes(abi.URINGFS_LANE_SIZE))
        self.want()
        self.store(state)
        self.set(abi.LANE_VERSION, abi.URINGFS_LANE_VERSION)

    def set(self, offset: int, value: int) -> bool:
        """A word of the daemon's alone; False if it has been that already."""
        if self._stored.get(offset) == value:
            return False
        self._stored[offset] = value
        self._memory.store(BASE + offset, value)
        return True

    # -- the lock

    def want(self) -> None:
        """Clients stay out from now on, or leave and kick."""
        self._memory.store(BASE + abi.LANE_DAEMON, 1)
        self._memory.fence()

    def holder(self) -> int:
        """Who of the clients has the lane. 0, behind want(): the daemon has it."""
        return self._memory.load(BASE + abi.LANE_LOCK) & abi.URINGFS_LANE_HOLDERS

    def unlock(self) -> None:
        """Unlock what a dead holder has locked."""
        self._memory.store(BASE + abi.LANE_LOCK, 0)

    def admit(self) -> None:
        """Clients may come in."""
        self._memory.store(BASE + abi.LANE_DAEMON, 0)
        self._memory.fence()

    def polled(self) -> bool:
        """A client sleeps in poll(2): another process that posts cannot wake it."""
        return bool(self._memory.load(BASE + abi.LANE_SLEEPERS) & abi.URINGFS_LANE_POLLS)

    def rouse(self, tail: int) -> int:
        """With the lane: clients sleep until cq_tail is that far, or have to wait in the daemon from now on. Not
        0, what stood at `sleepers`: wake() them."""
        sleepers = self._memory.load(BASE + abi.LANE_SLEEPERS)
        if not sleepers:
            return 0
        far = (tail - self._memory.load(BASE + abi.LANE_WAKE_AT)) & U32 < 1 << 31
        recalled = self.claimed() & abi.URINGFS_LANE_RECALLED
        if not far and not recalled and not self._stored.get(abi.LANE_ATTENTION, 0) & ENDS_SLEEP:
            return 0
        self._memory.store(BASE + abi.LANE_SLEEPERS, 0)
        self._memory.store(BASE + abi.LANE_WAKES, (self._memory.load(BASE + abi.LANE_WAKES) + 1) & U32)
        return sleepers

    def wake(self) -> None:
        self._memory.wake(BASE + abi.LANE_WAKES)

    def poller(self, thread: int) -> None:
        """0: the daemon polls the ring; else a client's thread does."""
        if self.set(abi.LANE_POLLER, thread):
            self._memory.fence()

    def wake_poller(self) -> None:
        self._memory.store(BASE + abi.LANE_WAKEUPS, (self._memory.load(BASE + abi.LANE_WAKEUPS) + 1) & U32)
        self._memory.wake(BASE + abi.LANE_WAKEUPS)

    def claimed(self) -> int:
        """0; or by whom (bits 16 to 31), and whether that one submits it now (URINGFS_LANE_RECALLED)."""
        return self._memory.load(BASE + abi.LANE_CLAIMED)

    def recall(self) -> None:
        """With the lane: whoever has claimed a request is to submit it now."""
        self._memory.store(BASE + abi.LANE_CLAIMED, self.claimed() | abi.URINGFS_LANE_RECALLED)

    def end_claim(self) -> None:
        self._memory.store(BASE + abi.LANE_CLAIMED, 0)

    def unclaim(self, number: int) -> bool:
        """With the lane: a process is gone. True: the request at sq_head was one that a call of its waited for."""
        sleepers = self._memory.load(BASE + abi.LANE_SLEEPERS)
        if sleepers >> 16 == number:
            self._memory.store(BASE + abi.LANE_SLEEPERS, sleepers & 1)
        if self.claimed() >> 16 != number:
            return False
        self.end_claim()
        return True

    # -- what is handed over with it

    def load(self) -> State:
        return State._make(abi.STATE.unpack(self._memory.read(BASE + abi.LANE_STATE, abi.STATE.size)))

    def store(self, state: State) -> None:
        self._memory.write(BASE + abi.LANE_STATE, abi.STATE.pack(*state))

    def tail(self) -> int:
        """cq_tail, whoever has the lane."""
        return self._memory.load(BASE + abi.LANE_POSTED_TAIL)

    def sq_head(self) -> int:
        return self._memory.load(BASE + abi.LANE_SQ_HEAD)

    # -- requests that clients have taken and perform

    def requests(self) -> list[tuple[int, Taken]]:
        """(place, request)"""
        data = self._memory.read(BASE + abi.LANE_REQUESTS, _REQUESTS_SIZE)
        if not int.from_bytes(data, "little") & _HOLDERS:
            return []
        taken = map(Taken._make, abi.REQUEST.iter_unpack(data))
        return [(place, request) for place, request in enumerate(taken) if request.holder]

    def under_way(self, holders: Container[int]) -> list[tuple[int, Taken]]:
        """requests() of these holders that are not complete."""
        requests = [one for one in self.requests() if one[1].holder in holders]
        return [one for one in requests if not one[1].state & abi.URINGFS_LANE_CANCELED]

    def queued(
        self, holders: Container[int], match: Callable[[Taken], bool], head: int
    ) -> list[tuple[int, Taken]]:
        """under_way() that match and which no worker has begun, the oldest first. head: of the SQ."""
        under_way = self.under_way(holders)
        queued = [one for one in under_way if one[1].state & abi.URINGFS_LANE_QUEUED and match(one[1])]
        return sorted(queued, key=lambda one: (one[1].sq - head) & U32)

    def free(self, place: int) -> None:
        self._memory.store(_place(place) + abi.REQUEST_HOLDER, 0)

    def cancel(self, place: int) -> bool:
        """With the lane: no worker begins this one any more. False: one has."""
        at = _place(place) + abi.REQUEST_STATE
        if self._memory.fetch_or(at, abi.URINGFS_LANE_CANCELED) & abi.URINGFS_LANE_QUEUED:
            return True
        self._memory.fetch_and(at, ~abi.URINGFS_LANE_CANCELED & U32)
        return False

    # -- counters

    def counters(self) -> LaneCounters:
        data = self._memory.read(BASE + abi.LANE_COUNTERS, abi.COUNTERS.size)
        return LaneCounters._make(abi.COUNTERS.unpack(data))

    def taken(self) -> tuple[int, ...]:
        """Requests completed by clients, by opcode."""
        return abi.TAKEN.unpack(self._memory.read(BASE + abi.LANE_TAKEN, abi.TAKEN.size))


def finished(request: Taken) -> Ending | None:
    """The CQE of one that its client has performed and could not post; None if it is to have none."""
    if request.flags & IOSQE_CQE_SKIP_SUCCESS and not request.failed:
        return None
    return Ending(request.user_data, request.res, request.cqe_flags)


def interrupted(state: State, canceled: int) -> Ending | None:
    """The holder of the lock is dead: the CQE of what it had taken and not completed. canceled: its res."""
    return Ending(state.doing_user_data, canceled) if state.sq_head != state.done else None


def abandoned(request: Taken, state: State | None, canceled: int) -> Ending | None:
    """The CQE of a request whose client is dead, if it has had none. state: as that client left it, if it had the
    lock: what it was posting is complete if the tail is past it, and what it was taking is interrupted()'s."""
    if request.state == abi.URINGFS_LANE_FINISHED:
        return finished(request)
    if request.state & abi.URINGFS_LANE_CANCELED:
        return None
    if state is not None:
        posted = request.state == abi.URINGFS_LANE_POSTING and request.cq != state.tail
        taking = request.sq == state.done and state.sq_head != state.done
        if posted or (taking and request.state & ~abi.URINGFS_LANE_QUEUED == abi.URINGFS_LANE_UNDER_WAY):
            return None
    return Ending(request.user_data, canceled)
