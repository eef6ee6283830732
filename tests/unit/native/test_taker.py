"""Taker: requests of a client, here of this very process, that the daemon performs without Python."""

import ctypes
import errno
import mmap
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.support import TakingMemory
from uringfs import native
from uringfs.abi.constants import (
    IORING_OFF_CQ_RING,
    IORING_OFF_SQES,
    IORING_OP_CLOSE,
    IORING_OP_NOP,
    IORING_OP_POLL_ADD,
    IORING_OP_READ,
    IORING_OP_READV,
    IORING_OP_WRITE,
    IORING_OP_WRITEV,
    IOSQE_ASYNC,
    IOSQE_IO_LINK,
)
from uringfs.abi.structs import IOVEC, SQ_TAIL, SQE, Params, Sqe
from uringfs.ring.geometry import Geometry
from uringfs.ring.ring import Ring

NOWHERE = 4096


class InCall:
    """host.protocols.InCall. pidfd_of: in place of what gives this process's."""

    def __init__(self, pidfd_of: Callable[[], int | None]) -> None:
        self.process_fd = pidfd_of
        self.let_go_of: list[int] = []

    def let_go(self, fd: int, /) -> None:
        self.let_go_of.append(fd)
        os.close(fd)


class Rig:
    """A ring, and this thread as the client in its control write."""

    def __init__(self) -> None:
        self.geometry = Geometry.of(8, Params())
        self.ring = Ring(TakingMemory(), self.geometry, (1, 0))
        sizes = self.geometry.sq_entries, self.geometry.cq_entries, self.geometry.sq_array
        memory = self.ring.memory
        taker = memory.taker(0, IORING_OFF_CQ_RING, IORING_OFF_SQES, *sizes, 64, 16)
        assert taker is not None
        self.taker = taker
        self.pidfd = os.pidfd_open(os.getpid())
        self.asked = 0
        self.caller = InCall(self.pidfd_of)

    def pidfd_of(self) -> int:
        self.asked += 1
        return self.pidfd

    def take(self, *sqes: Sqe, pidfd_of: Callable[[], int | None] | None = None) -> list[int]:
        """The results of those that were taken."""
        for sqe in sqes:
            assert self.ring.sq.push(sqe_bytes(sqe))
        sq, cq = self.ring.sq, self.ring.cq
        head, copies = cq.looked_at()
        tid, tail = threading.get_native_id(), cq.tail
        args = sq.pending(), True, sq.head, tail, cq.room, head, *copies
        taken = self.taker.take(tid, InCall(pidfd_of) if pidfd_of else self.caller, *args)
        if taken is None:
            return []
        sq.head, tail, room, head, of_sq, of_cq, _ = taken
        before = cq.tail
        cq.took(tail, room, head, (of_sq, of_cq))
        cq.publish()
        return [cqe.res for cqe in cq.reap(tail - before)]

    def close(self) -> None:
        self.ring.memory.close()
        os.close(self.pidfd)


def sqe_bytes(sqe: Sqe) -> bytes:
    return SQE.pack(*sqe)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    before = os.listdir("/proc/self/fd")
    yield rig
    assert os.listdir("/proc/self/fd") == before  # none that was fetched is left
    rig.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """A file of a mount that is known."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    fd = os.open(path, os.O_RDWR)
    native.know_mount(native.fd_identity(fd)[4])
    yield fd
    os.close(fd)


def address(memory: "ctypes.Array[ctypes.c_char]") -> int:
    return ctypes.addressof(memory)


def test_a_read_of_a_known_mount(file: int, rig: Rig) -> None:
    memory = ctypes.create_string_buffer(16)
    read = Sqe(IORING_OP_READ, fd=file, addr=address(memory), len=4, off=3)
    assert rig.take(read, read._replace(off=8), read._replace(off=10)) == [4, 2, 0]
    assert memory.raw[:4] == b"8956"
    assert rig.asked == 1


def test_a_vector(file: int, rig: Rig) -> None:
    memory = ctypes.create_string_buffer(16)
    vector = ctypes.create_string_buffer(IOVEC.pack(address(memory) + 8, 2) + IOVEC.pack(address(memory), 3))
    assert rig.take(Sqe(IORING_OP_READV, fd=file, addr=address(vector), len=2)) == [5]
    assert memory.raw[:10] == b"234\0\0\0\0\0" + b"01"


@pytest.mark.parametrize("op", [IORING_OP_READ, IORING_OP_READV])
def test_memory_that_is_not_there_is_pythons(file: int, rig: Rig, op: int) -> None:
    assert rig.take(Sqe(op, fd=file, addr=NOWHERE, len=1)) == []


def test_a_read_that_can_be_stored_in_part_is_pythons(file: int, rig: Rig) -> None:
    pages = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + mmap.PAGESIZE), mmap.PAGESIZE, 0)
    assert rig.take(Sqe(IORING_OP_READ, fd=file, addr=start + mmap.PAGESIZE - 2, len=4)) == []


def test_a_mount_that_is_not_known_is_pythons(file: int, rig: Rig) -> None:
    memory = ctypes.create_string_buffer(16)
    with open("/proc/self/status", "rb") as status:
        assert rig.take(Sqe(IORING_OP_READ, fd=status.fileno(), addr=address(memory), len=4)) == []
    assert len(rig.caller.let_go_of) == 1  # whose server may not answer a close
    native.know_mount(0)
    rig.ring.sq.head = rig.ring.sq.words()[1]
    assert rig.take(Sqe(IORING_OP_READ, fd=file, addr=address(memory), len=4)) == []


def test_descriptors_that_are_none(rig: Rig) -> None:
    closed = os.dup(0)
    os.close(closed)
    assert rig.take(Sqe(IORING_OP_READ, fd=-1, addr=NOWHERE, len=1)) == [-errno.EBADF]
    assert rig.take(Sqe(IORING_OP_READ, fd=closed, addr=NOWHERE, len=1)) == [-errno.EBADF]
    assert rig.take(Sqe(IORING_OP_POLL_ADD, fd=closed, rw_flags=select.POLLIN)) == [-errno.EBADF]


def test_a_file_that_is_not_open_for_reading(tmp_path: Path, rig: Rig, file: int) -> None:
    fd = os.open(tmp_path / "file", os.O_WRONLY)
    try:
        assert rig.take(Sqe(IORING_OP_READ, fd=fd, addr=NOWHERE, len=1)) == [-errno.EBADF]
    finally:
        os.close(fd)


def test_a_pipe_is_written_to_and_left_to_be_read(rig: Rig) -> None:
    read, write = os.pipe()
    memory = ctypes.create_string_buffer(b"abcdef")
    vector = ctypes.create_string_buffer(IOVEC.pack(address(memory), 2))
    sqes = (
        Sqe(IORING_OP_WRITE, fd=write, addr=address(memory), len=3),
        Sqe(IORING_OP_WRITEV, fd=write, addr=address(vector), len=1),
        Sqe(IORING_OP_READ, fd=read, addr=address(memory), len=1),
    )
    try:
        assert rig.take(*sqes) == [3, 2]
        assert os.read(read, 16) == b"abcab"
        os.close(read)
        rig.ring.sq.head = rig.ring.sq.words()[1]
        assert rig.take(sqes[0]) == []  # EPIPE, and a signal
    finally:
        os.close(write)


def test_what_is_ready(rig: Rig) -> None:
    one, other = socket.socketpair()
    with one, other:
        other.send(b"x")
        poll = Sqe(IORING_OP_POLL_ADD, fd=one.fileno(), rw_flags=select.POLLIN)
        assert rig.take(poll, poll._replace(fd=other.fileno())) == [select.POLLIN]


@pytest.mark.parametrize(
    "sqe",
    [
        Sqe(IORING_OP_CLOSE, fd=0),
        Sqe(IORING_OP_NOP, IOSQE_ASYNC),
        Sqe(IORING_OP_NOP, personality=1),
        Sqe(IORING_OP_NOP, ioprio=1),
        Sqe(63),
        Sqe(255),
    ],
)
def test_what_is_not_taken(rig: Rig, sqe: Sqe) -> None:
    assert rig.take(sqe) == []


def test_of_a_client_that_may_be_gone_only_nops_are(file: int, rig: Rig) -> None:
    memory = ctypes.create_string_buffer(16)
    sqes = Sqe(IORING_OP_NOP), Sqe(IORING_OP_READ, fd=file, addr=address(memory), len=4)
    for sqe in sqes:
        rig.ring.sq.push(sqe_bytes(sqe))
    head, copies = rig.ring.cq.looked_at()
    taken = rig.taker.take(-1, None, 2, True, 0, 0, 0, head, *copies)
    assert taken is not None
    assert taken[:2] == (1, 1)


@pytest.mark.parametrize("pidfd_of", [lambda: None, lambda: 1 / 0, lambda: "x", lambda: 1 << 40])
def test_a_pidfd_that_cannot_be_had(file: int, rig: Rig, pidfd_of: Callable[[], int | None]) -> None:
    memory = ctypes.create_string_buffer(16)
    assert rig.take(Sqe(IORING_OP_READ, fd=file, addr=address(memory), len=4), pidfd_of=pidfd_of) == []


def test_a_chain_is_taken_where_nothing_follows(rig: Rig) -> None:
    chain = Sqe(IORING_OP_NOP, IOSQE_IO_LINK), Sqe(IORING_OP_NOP)
    assert rig.take(*chain, Sqe(IORING_OP_NOP)) == []
    rig.ring.sq.head = rig.ring.sq.words()[1]
    assert rig.take(*chain) == [0, 0]


def test_more_files_than_a_pass_remembers(rig: Rig) -> None:
    ends = [socket.socketpair() for _ in range(10)]
    polls = [Sqe(IORING_OP_POLL_ADD, fd=end.fileno(), rw_flags=select.POLLOUT) for pair in ends for end in pair]
    taken = [rig.take(*polls[at : at + 7]) for at in (0, 7)]
    assert taken == [[select.POLLOUT] * 7, [select.POLLOUT] * 7]
    for pair in ends:
        for end in pair:
            end.close()


def test_a_tail_that_lies(rig: Rig) -> None:
    rig.ring.memory.store(SQ_TAIL, 0x80000000)
    assert rig.take() == [0] * 8  # NOPs all, as many as there are entries


def test_released(rig: Rig) -> None:
    rig.taker.release()
    rig.taker.release()
    with pytest.raises(ValueError, match="released"):
        rig.taker.take(0, None, 0, True, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "args",
    [
        (IORING_OFF_CQ_RING, IORING_OFF_SQES, 8, 16, 1 << 31, 64, 16),
        (IORING_OFF_CQ_RING, 1 << 40, 8, 16, 0, 64, 16),
        (IORING_OFF_CQ_RING + 1, IORING_OFF_SQES, 8, 16, 0, 64, 16),
        (1 << 63, IORING_OFF_SQES, 8, 16, 0, 64, 16),
        (IORING_OFF_CQ_RING, IORING_OFF_SQES, 7, 16, 0, 64, 16),
        (IORING_OFF_CQ_RING, IORING_OFF_SQES, 8, 0, 0, 64, 16),
        (IORING_OFF_CQ_RING, IORING_OFF_SQES, 8, 1 << 31, 0, 64, 16),
    ],
)
def test_queues_that_do_not_lie_in_the_memory(args: tuple[int, ...]) -> None:
    memory = TakingMemory()
    memory.grow(Geometry.of(8, Params()).file_size)
    with pytest.raises(ValueError, match="do not lie"):
        memory.taker(0, *args)
    memory.close()
