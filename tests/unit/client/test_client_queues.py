"""The client's side of the queues against the engine's own, over one memory: every layout of SQEs and CQEs."""

import mmap
import os
from collections.abc import Callable, Iterator

import pytest

from uringfs.abi.constants import (
    IORING_CQE_F_32,
    IORING_SETUP_CQE32,
    IORING_SETUP_CQE_MIXED,
    IORING_SETUP_CQSIZE,
    IORING_SETUP_NO_SQARRAY,
    IORING_SETUP_SQ_REWIND,
    IORING_SETUP_SQE128,
    IORING_SETUP_SQE_MIXED,
    IOSQE_CQE_SKIP_SUCCESS,
)
from uringfs.abi.structs import SQE, Cqe, Params, Sqe
from uringfs.client import mapping
from uringfs.client.mapping import Queues
from uringfs.client.request import BigCqe
from uringfs.memory.mapped import MappedMemory
from uringfs.ops import table
from uringfs.ring.geometry import Geometry
from uringfs.ring.ring import Ring


class MemfdMemory(MappedMemory):
    """Ring memory that a client maps by a descriptor."""

    def __init__(self) -> None:
        super().__init__()
        self.fd = os.memfd_create("ring")

    def _map_pages(self, offset: int, size: int) -> mmap.mmap:
        os.ftruncate(self.fd, max(os.fstat(self.fd).st_size, offset + size))
        return mmap.mmap(self.fd, size, offset=offset)


class Both:
    """A ring as the engine and as the client has it."""

    def __init__(self, flags: int, entries: int = 4, cq_entries: int = 0) -> None:
        asked = Params(flags=flags, cq_entries=cq_entries)
        geometry = Geometry.of(entries, asked)
        self.memory = MemfdMemory()
        self.ring = Ring(self.memory, geometry, (1, 0))
        self.client = Queues(self.memory.fd, geometry.params(asked))

    def take(self) -> list[tuple[Sqe, bytes]]:
        """As the engine takes them: the SQE and what is behind its 64 bytes."""
        sq = self.ring.sq
        taken = [sq.get() for _ in range(sq.pending())]
        found = [(Sqe._make(SQE.unpack(data[:64])), data[64:]) for data in taken if data]
        sq.commit()
        return found

    def post(self, *cqes: tuple[int, int, bytes]) -> None:
        for user_data, flags, big in cqes:
            self.ring.cq.post(user_data, user_data, flags, big)
        self.ring.cq.publish()

    def close(self) -> None:
        self.client.close()
        self.memory.close()
        os.close(self.memory.fd)


@pytest.fixture
def make() -> Iterator[Callable[..., Both]]:
    made: list[Both] = []

    def make(*args: int, **names: int) -> Both:
        made.append(Both(*args, **names))
        return made[-1]

    yield make
    for each in made:
        each.close()


def sqe(user_data: int, opcode: int = 0) -> Sqe:
    return Sqe(opcode, user_data=user_data)


@pytest.mark.parametrize("flags", [0, IORING_SETUP_SQE128, IORING_SETUP_NO_SQARRAY, IORING_SETUP_SQE_MIXED])
def test_sqes_arrive_in_order_around_the_end(make: Callable[..., Both], flags: int) -> None:
    both = make(flags)
    for start in range(0, 30, 3):
        for user_data in range(start, start + 3):
            both.client.push(sqe(user_data))
        assert [each.user_data for each, _ in both.take()] == [start, start + 1, start + 2]


def test_with_sqe128_an_sqe_has_its_second_half_to_itself(make: Callable[..., Both]) -> None:
    both = make(IORING_SETUP_SQE128)
    command = bytes(range(80))
    both.client.push(sqe(1, 46), command)
    both.client.push(sqe(2))
    (first, half), (second, rest) = both.take()
    assert (first.user_data, second.user_data) == (1, 2)
    assert first.addr3.to_bytes(8, "little") + first.pad2.to_bytes(8, "little") + half == command
    assert rest == bytes(64)
    for user_data in range(4):
        both.client.push(sqe(user_data))
    both.take()
    both.client.push(sqe(9))  # where the first has been: nothing of it is left
    assert both.take() == [(sqe(9), bytes(64))]


def test_mixed_sqes_take_two_entries_and_never_the_last_and_the_first(make: Callable[..., Both]) -> None:
    both = make(IORING_SETUP_SQE_MIXED)
    both.client.push(sqe(1))
    both.client.push(sqe(2, 64), bytes(80))
    assert both.client.queued() == 3
    assert [each.user_data for each, _ in both.take()][:2] == [1, 2]
    both.client.push(sqe(3, 63))
    with pytest.raises(BlockingIOError):
        both.client.push(sqe(4, 63))
    (filler, _), (wide, _), *_ = both.take()
    assert (filler.opcode, filler.flags) == (0, IOSQE_CQE_SKIP_SUCCESS)
    assert (wide.opcode, wide.user_data) == (63, 3)


def test_a_full_queue_and_wrong_sizes(make: Callable[..., Both]) -> None:
    both = make(0, entries=2)
    both.client.push(sqe(1))
    both.client.push(sqe(2))
    with pytest.raises(BlockingIOError, match=r"the SQ is full \(2 entries\): submit\(\) first"):
        both.client.push(sqe(3))
    both.take()
    with pytest.raises(OSError, match="needs a ring with SQE128 or SQE_MIXED"):
        both.client.push(sqe(4, 63))
    with pytest.raises(OSError, match="17 bytes of command are too many"):
        both.client.push(sqe(4, 46), bytes(17))
    assert both.client.queued() == 0


def test_sq_rewind_starts_at_the_front_and_moves_what_was_left(make: Callable[..., Both]) -> None:
    both = make(IORING_SETUP_SQ_REWIND | IORING_SETUP_NO_SQARRAY)
    for user_data in (1, 2, 3):
        both.client.push(sqe(user_data))
    assert both.client.queued() == 3
    sq = both.ring.sq
    assert SQE.unpack(sq.get() or b"")[8] == 1
    sq.rewind()
    both.client.taken(1)
    assert both.client.queued() == 2
    both.client.push(sqe(4))
    assert [SQE.unpack(sq.get() or b"")[8] for _ in range(3)] == [2, 3, 4]


def test_cqe32(make: Callable[..., Both]) -> None:
    both = make(IORING_SETUP_CQE32)
    for start in range(0, 40, 5):
        both.post(*((number, 0, bytes([number]) * 16) for number in range(start, start + 5)))
        found = both.client.reap(None)
        assert found == [Cqe(number, number, 0) for number in range(start, start + 5)]
        assert [cqe.big_cqe for cqe in found if isinstance(cqe, BigCqe)] == [
            (int.from_bytes(bytes([number]) * 8, "little"),) * 2 for number in range(start, start + 5)
        ]


def test_cqe_mixed_in_any_order(make: Callable[..., Both]) -> None:
    both = make(IORING_SETUP_CQE_MIXED | IORING_SETUP_CQSIZE, cq_entries=8)
    for number in range(100):
        wide = number % 3 != 1
        both.post((number, IORING_CQE_F_32 if wide else 0, bytes([number]) * 16))
        if number % 2:
            for expected in (number - 1, number):
                (cqe,) = both.client.reap(1)
                assert cqe.user_data == expected
                assert isinstance(cqe, BigCqe) == (expected % 3 != 1)
    assert both.client.ready() == 0


def test_a_filler_with_nothing_behind_it_is_reaped(make: Callable[..., Both]) -> None:
    """A client that waits would find the ring ready for ever if the filler stayed."""
    both = make(IORING_SETUP_CQE_MIXED | IORING_SETUP_CQSIZE, cq_entries=8)
    both.post(*((number, 0, b"") for number in range(7)))
    both.post((7, IORING_CQE_F_32, b""))  # one place is left: a filler, and no room
    assert [cqe.user_data for cqe in both.client.reap(None)] == list(range(7))
    assert both.client.ready() == 0
    both.ring.cq.flush()
    assert [cqe.user_data for cqe in both.client.reap(None)] == [7]


def test_reap_takes_as_many_as_asked(make: Callable[..., Both]) -> None:
    both = make(0)
    both.post(*((number, 0, b"") for number in range(5)))
    assert [cqe.user_data for cqe in both.client.reap(2)] == [0, 1]
    assert both.client.reap(0) == []
    assert [cqe.user_data for cqe in both.client.reap(None)] == [2, 3, 4]


def test_what_takes_128_bytes_is_what_the_engine_says() -> None:
    assert mapping.SQE128_OPCODES == table.SQE128_OPCODES
