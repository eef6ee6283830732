"""A client's half of the lane (docs/lane.md), one store or load after the other: generators that stop behind each,
so that tests can do something in between, or let the client die there."""

from collections.abc import Generator
from typing import NamedTuple, TypeVar

from tests.unit.support import U32, Client
from uringfs.abi import lane as abi
from uringfs.abi.constants import (
    IORING_OFF_CQ_RING,
    IORING_OFF_SQES,
    IORING_OP_NOP,
    IOSQE_CQE_SKIP_SUCCESS,
)
from uringfs.abi.structs import CQ_HEAD, CQ_TAIL, CQE, CQES, SQ_HEAD, SQ_TAIL, SQE, Sqe

BASE = abi.URINGFS_OFF_LANE
T = TypeVar("T")
Steps = Generator[str, None, "Pass"]


class Pass(NamedTuple):
    """What a call of the lane came to."""

    taken: int = 0
    kick: bool = False
    """The daemon is to be told."""
    refused: bool = False
    """The lane could not be had."""


class LaneClient:
    """One process, by its number, on one ring. What it performs comes to `res`."""

    def __init__(self, client: Client, number: int) -> None:
        self.memory = client.memory
        self.geometry = client.geometry
        self.number = number
        self.res = 0

    def load(self, offset: int) -> int:
        return self.memory.load(BASE + offset)

    def store(self, offset: int, value: int) -> None:
        self.memory.store(BASE + offset, value & U32)

    def _store64(self, offset: int, value: int) -> None:
        self.memory.write(BASE + offset, value.to_bytes(8, "little"))

    def _add64(self, offset: int, more: int = 1) -> None:
        count = int.from_bytes(self.memory.read(BASE + offset, 8), "little")
        self._store64(offset, count + more)

    @property
    def attention(self) -> int:
        return self.load(abi.LANE_ATTENTION)

    # -- the lock

    def lock(self) -> Generator[str, None, bool]:
        if self.load(abi.LANE_DAEMON):
            return False
        yield "looked"
        if self.load(abi.LANE_LOCK):  # compare and swap
            return False
        self.store(abi.LANE_LOCK, self.number)
        yield "locked"
        if self.load(abi.LANE_DAEMON):
            self.store(abi.LANE_LOCK, 0)
            return False
        yield "has it"
        return True

    def _publish(self, published: int, tail: int, head: int) -> Generator[str, None, None]:
        mask, size = self.geometry.cq_entries - 1, self.geometry.cqe_size
        for position in range(published, published + ((tail - published) & U32)):
            at = CQES + (position & mask) * size
            self.memory.write(IORING_OFF_CQ_RING + at, self.memory.read(at, size))
        yield "mirrored"
        self.memory.store(CQ_TAIL, tail)
        yield "one tail"
        self.memory.store(IORING_OFF_CQ_RING + CQ_TAIL, tail)
        yield "both tails"
        self.memory.store(SQ_HEAD, head)
        yield "published"

    def unlock(self, posted: bool) -> Generator[str, None, bool]:
        """Whether a kick is due."""
        self.store(abi.LANE_LOCK, 0)
        yield "let go"
        return bool(self.load(abi.LANE_DAEMON) or (posted and self.attention))

    # -- requests

    def enter(self, most: int) -> Steps:
        """io_uring_enter(2), as far as the lane goes: NOPs and whatever else may be taken."""
        if not (yield from self.lock()):
            return Pass(refused=True, kick=True)
        head, tail = self.load(abi.LANE_SQ_HEAD), self.load(abi.LANE_POSTED_TAIL)
        published, taken = tail, 0
        while taken < most and self._may_take(head, tail):
            sqe = self._sqe(head)
            self._doing(sqe)
            yield "doing"
            self.store(abi.LANE_SQ_HEAD, head := (head + 1) & U32)
            self._add64(abi.LANE_COUNTERS + 8)
            taken += 1
            yield "taken"
            tail = self._post(sqe.user_data, tail, sqe.flags)
            yield "stored"
            self._posted(tail, head)
            self._add64(abi.LANE_TAKEN + 8 * (sqe.opcode % 64))
            yield "posted"
        if taken:
            self._add64(abi.LANE_COUNTERS)
        yield from self._publish(published, tail, head)
        return Pass(taken, (yield from self.unlock(tail != published)))

    def _may_take(self, head: int, tail: int) -> bool:
        pending = (self.memory.load(SQ_TAIL) - head) & U32
        full = (tail - self.memory.load(CQ_HEAD)) & U32 >= self.geometry.cq_entries
        if not pending or full or self.attention & abi.URINGFS_LANE_CLOSED:
            return False
        sqe = self._sqe(head)
        known = sqe.opcode == IORING_OP_NOP and self.load(abi.LANE_OPS) >> sqe.opcode & 1
        return bool(known) and not sqe.flags & ~self.load(abi.LANE_FLAGS)

    def _sqe(self, position: int) -> Sqe:
        index = position & (self.geometry.sq_entries - 1)
        if self.geometry.sq_array:
            index = self.memory.load(self.geometry.sq_array + 4 * index)
        data = self.memory.read(IORING_OFF_SQES + index * self.geometry.sqe_size, SQE.size)
        return Sqe._make(SQE.unpack(data))

    def _doing(self, sqe: Sqe) -> None:
        self.store(abi.LANE_STATE + 28, sqe.opcode | sqe.flags << 8)
        self._store64(abi.LANE_STATE + 32, sqe.user_data)
        self.store(abi.LANE_STATE + 12, self.load(abi.LANE_STATE + 12) | sqe.flags)

    def _post(self, user_data: int, tail: int, flags: int = 0) -> int:
        if flags & IOSQE_CQE_SKIP_SUCCESS and self.res >= 0:
            return tail
        at = CQES + (tail & (self.geometry.cq_entries - 1)) * self.geometry.cqe_size
        self.memory.write(at, CQE.pack(user_data, self.res, 0))
        self._add64(abi.LANE_COUNTERS + 16)
        return (tail + 1) & U32

    def _posted(self, tail: int, done: int) -> None:
        self._store64(abi.LANE_STATE, tail | done << 32)

    # -- without the lock

    def begin_outside(self, state: int = abi.URINGFS_LANE_UNDER_WAY) -> Generator[str, None, int]:
        """The next request is under way, at the place that is returned."""
        assert (yield from self.lock())
        head, tail = self.load(abi.LANE_SQ_HEAD), self.load(abi.LANE_POSTED_TAIL)
        sqe = self._sqe(head)
        self._doing(sqe)
        self.store(abi.LANE_SQ_HEAD, head := (head + 1) & U32)
        self._add64(abi.LANE_COUNTERS + 8)
        yield "taken"
        places = range(abi.URINGFS_LANE_REQUESTS)
        place = next(place for place in places if not self.load(_place(place) + 8))
        fields = (sqe.user_data, 0, head - 1 & U32, 0, state, sqe.opcode, sqe.flags, 0, 0, 0)
        self.memory.write(BASE + _place(place), abi.REQUEST.pack(*fields))
        self.store(_place(place) + 8, self.number)
        yield "has a place"
        self._posted(tail, head)
        yield "under way"
        yield from self._publish(tail, tail, head)
        yield from self.unlock(posted=False)
        return place

    def begin_queued(self, place: int) -> bool:
        """A worker begins one that was QUEUED. False: it has been cancelled."""
        at = _place(place) + abi.REQUEST_STATE
        if self.memory.fetch_and(BASE + at, ~abi.URINGFS_LANE_QUEUED & U32) & abi.URINGFS_LANE_CANCELED:
            self.store(_place(place) + abi.REQUEST_HOLDER, 0)
            return False
        return True

    def end_outside(self, place: int) -> Steps:
        """It is complete: by itself if it has the lane and may post."""
        request = abi.Taken._make(abi.REQUEST.unpack(self.memory.read(BASE + _place(place), abi.REQUEST.size)))
        if not (yield from self.lock()):
            self._hand_over(place)
            return Pass(kick=True)
        if self.attention & abi.URINGFS_LANE_CLOSED:
            self.store(abi.LANE_LOCK, 0)
            self._hand_over(place)
            return Pass(kick=True)
        head, tail = self.load(abi.LANE_SQ_HEAD), self.load(abi.LANE_POSTED_TAIL)
        self.memory.store(BASE + _place(place) + 16, tail)
        self._state(place, abi.URINGFS_LANE_POSTING)
        yield "posting"
        after = self._post(request.user_data, tail, request.flags)
        yield "stored"
        self._posted(after, head)
        yield "posted"
        self.store(_place(place) + 8, 0)
        yield "free"
        yield from self._publish(tail, after, head)
        return Pass(1, (yield from self.unlock(posted=True)))

    def _hand_over(self, place: int) -> None:
        self.memory.write(BASE + _place(place) + 24, self.res.to_bytes(4, "little", signed=True))
        self._state(place, abi.URINGFS_LANE_FINISHED)

    def _state(self, place: int, state: int) -> None:
        self.memory.write(BASE + _place(place) + 20, bytes([state]))


def _place(place: int) -> int:
    return abi.LANE_REQUESTS + place * abi.REQUEST.size


def run(steps: Generator[str, None, T]) -> T:
    """Run all of the steps."""
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
