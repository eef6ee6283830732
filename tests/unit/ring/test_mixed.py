"""CQEs of 32 bytes among those of 16: in order, none lost, none across the end, whatever the client reaps."""

from struct import Struct

from hypothesis import given
from hypothesis import strategies as st

from uringfs.abi.constants import (
    IORING_CQE_F_32,
    IORING_CQE_F_SKIP,
    IORING_OFF_CQ_RING,
    IORING_SETUP_CQE_MIXED,
)
from uringfs.abi.structs import CQ_HEAD, CQ_TAIL, CQE, CQES, Params
from uringfs.memory.mapped import MappedMemory
from uringfs.ring.geometry import Geometry
from uringfs.ring.ring import Ring

ENTRIES = 8
U32 = 0xFFFFFFFF
BIG = Struct("<QQ")


def reap(ring: Ring, base: int, most: int) -> list[tuple[int, bytes]]:
    """As a client walks them: (user_data, second half) of up to most CQEs."""
    memory, found = ring.memory, []
    head, tail = memory.load(CQ_HEAD), memory.load(CQ_TAIL)
    assert (tail - head) & U32 <= ENTRIES
    while head != tail and len(found) < most:
        index = head % ENTRIES
        user_data, _, flags = CQE.unpack(memory.read(base + CQES + 16 * index, 16))
        big = b""
        if flags & IORING_CQE_F_32:
            assert index + 1 < ENTRIES
            big = memory.read(base + CQES + 16 * (index + 1), 16)
            head += 1
        if not flags & IORING_CQE_F_SKIP:
            found.append((user_data, big))
        head = (head + 1) & U32
    for copy in (0, IORING_OFF_CQ_RING):
        memory.store(copy + CQ_HEAD, head)
    return found


@given(
    steps=st.lists(st.tuples(st.lists(st.booleans(), max_size=12), st.integers(0, 9)), max_size=30),
    mirror=st.booleans(),
)
def test_in_order_and_whole(steps: list[tuple[list[bool], int]], mirror: bool) -> None:
    ring = Ring(MappedMemory(), Geometry.of(4, Params(flags=IORING_SETUP_CQE_MIXED)), (1, 0))
    base = IORING_OFF_CQ_RING if mirror else 0
    expected, got = [], []
    for kinds, most in steps:
        for wide in kinds:
            number = len(expected)
            big = BIG.pack(number, ~number & 0xFFFF) if wide else b""
            ring.cq.post(number, 0, IORING_CQE_F_32 if wide else 0, big)
            expected.append((number, big))
        ring.publish()
        got += reap(ring, base, most)
        ring.flush()
    while len(got) < len(expected):
        more = reap(ring, base, ENTRIES)
        ring.flush()
        assert more or ring.cq.ready()
        got += more
    assert got == expected
