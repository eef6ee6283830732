"""A scripted client of a ring's lane on a mount: tests/unit/laneclient.py over the pages that a process maps."""

import ctypes
from types import SimpleNamespace
from typing import Self

from tests.unit.laneclient import LaneClient
from uringfs._words import Words
from uringfs.abi.constants import IORING_OFF_CQ_RING, IORING_OFF_SQ_RING, IORING_OFF_SQES, IORING_SETUP_CQE32
from uringfs.abi.control import ENTER as ENTER_BODY
from uringfs.abi.control import LANE, URINGFS_CMD_ENTER, URINGFS_CMD_LANE, URINGFS_ENTER_KICK
from uringfs.abi.lane import ANSWER, URINGFS_LANE_SIZE, URINGFS_OFF_LANE, LaneAnswer
from uringfs.abi.structs import CQE, CQES
from uringfs.client import Ring
from uringfs.client.fetching import control
from uringfs.client.mapping import map_ring


def attach(fd: int, version: int = 1, room: int = ANSWER.size) -> LaneAnswer:
    """URINGFS_CMD_LANE. OSError."""
    result, answer = ctypes.c_int64(-1), (ctypes.c_char * max(room, ANSWER.size))()
    body = LANE.pack(ctypes.addressof(result), ctypes.addressof(answer), version, room)
    assert control(fd, URINGFS_CMD_LANE, body, result) == 0
    return LaneAnswer._make(ANSWER.unpack_from(answer))


def kick(fd: int) -> None:
    result = ctypes.c_int64(-1)
    body = ENTER_BODY.pack(ctypes.addressof(result), 0, 0, 0, URINGFS_ENTER_KICK, 0, 0)
    assert control(fd, URINGFS_CMD_ENTER, body, result) == 0


class Shared:
    """The memory of a ring file, as LaneClient wants it: offsets are the file's."""

    def __init__(self, fd: int, answer: LaneAnswer) -> None:
        cqe_size = CQE.size * (2 if answer.setup_flags & IORING_SETUP_CQE32 else 1)
        rings = CQES + answer.cq_entries * cqe_size + 4 * answer.sq_entries + 64
        sizes = {
            IORING_OFF_SQES: answer.sq_entries * 64,
            URINGFS_OFF_LANE: URINGFS_LANE_SIZE,
            IORING_OFF_CQ_RING: rings,
            IORING_OFF_SQ_RING: rings,
        }
        self._maps = {at: map_ring(fd, size, at, 0) for at, size in sizes.items()}
        self._words = {at: Words(mapping) for at, mapping in self._maps.items()}

    def _base(self, offset: int) -> int:
        return next(base for base in self._maps if base <= offset)

    def load(self, offset: int) -> int:
        base = self._base(offset)
        return self._words[base].load(offset - base)

    def store(self, offset: int, value: int) -> None:
        base = self._base(offset)
        self._words[base].store(offset - base, value)
        self._words[base].fence()

    def read(self, offset: int, size: int) -> bytes:
        base = self._base(offset)
        return self._maps[base][offset - base : offset - base + size]

    def write(self, offset: int, data: bytes) -> None:
        base = self._base(offset)
        self._maps[base][offset - base : offset - base + len(data)] = data

    def close(self) -> None:
        for words in self._words.values():
            words.release()
        for mapping in self._maps.values():
            mapping.close()


class Lane(LaneClient):
    """The lane of this process, on a ring that it has open."""

    def __init__(self, ring: Ring) -> None:
        self.fd = ring.fd
        self.answer = attach(ring.fd)
        self.shared = Shared(ring.fd, self.answer)
        cqe_size = CQE.size * (2 if self.answer.setup_flags & IORING_SETUP_CQE32 else 1)
        geometry = SimpleNamespace(
            sq_entries=self.answer.sq_entries,
            cq_entries=self.answer.cq_entries,
            sq_array=self.answer.sq_array,
            sqe_size=64,
            cqe_size=cqe_size,
        )
        super().__init__(SimpleNamespace(memory=self.shared, geometry=geometry), self.answer.holder)  # type: ignore

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shared.close()
