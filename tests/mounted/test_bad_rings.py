"""Hostile rings: any content of the shared memory, any SQE, any descriptor. Every other ring goes on.

The `mount` fixture asserts the latter behind each test: a fresh ring works, and the daemon's log is clean.
"""

import ctypes
import errno
import mmap
import os
import random
import select
import signal
import struct
import threading
from collections.abc import Iterator

import pytest

from tests.support.calls import answer
from tests.support.children import Child, in_child
from tests.support.mounting import Mount
from uringfs import client
from uringfs.abi.constants import (
    IORING_OFF_CQ_RING,
    IORING_OFF_SQ_RING,
    IORING_OFF_SQES,
    IORING_OP_READV,
)
from uringfs.abi.control import (
    URINGFS_OFF_CTL,
)
from uringfs.abi.structs import Cqe, Sqe
from uringfs.client import Ring, nop

SEED = 20240131
KERNEL_ADDRESS = 0xFFFF888000000000
UNMAPPED = 0x10000 - 4096 * 8  # below what mmap_min_addr lets anyone map


@pytest.fixture
def ring(mount: Mount) -> Iterator[Ring]:
    with Ring(mount / "new", 8) as ring:
        yield ring


# -- heads, tails and everything else in the shared memory


WILD = [0, 1, 7, 8, 9, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF8, 0xFFFFFFFF, 0xDEADBEEF]


@pytest.mark.parametrize("value", WILD, ids=hex)
@pytest.mark.parametrize("word", range(0, 64, 4))
def test_any_header_word_set_to_anything(mount: Mount, word: int, value: int) -> None:
    """As in the kernel the ring may be lost; enter says something, and at once."""
    with Ring(mount / "new", 8, separate_cq=True) as ring:
        ring.queue(nop(1))
        ring.sq.store(word, value)
        ring.cq.store(word, value)
        ring.enter(8)
        os.write(ring.fd, b"reap\n")
        answer(lambda: os.write(ring.fd, b"nop\n"))
        os.pread(ring.fd, 1 << 20, 0)
        os.getxattr(ring.fd, "user.uring.cq_ready")
        poll = select.poll()
        poll.register(ring.fd)
        poll.poll(0)


def test_scribbling_over_the_whole_ring_while_another_enters(mount: Mount) -> None:
    """A thread stores random words everywhere, masks and SQEs included, and a process of its own suffers."""

    def suffer(_: Child) -> None:
        rng = random.Random(SEED)
        stop = threading.Event()
        with Ring(mount / "new", 8) as ring:
            mirror = mmap.mmap(ring.fd, 4096, offset=IORING_OFF_CQ_RING)

            def scribble() -> None:
                noise = random.Random(SEED + 1)
                while not stop.is_set():
                    for area in (ring.rings, mirror, ring.sqes):
                        offset = noise.randrange(0, len(area) // 4) * 4
                        area[offset : offset + 4] = noise.randbytes(4)

            thread = threading.Thread(target=scribble)
            thread.start()
            try:
                seen = set()
                for _turn in range(3000):
                    count = rng.choice([0, 1, 8, 0xFFFFFFFF])
                    seen.add(answer(lambda: client.enter(ring.fd, count)))  # noqa: B023
                    if rng.random() < 0.05:
                        os.pread(ring.fd, 1 << 20, 0)
                        answer(lambda: os.write(ring.fd, b"nop\nenter\nreap\n"))
                assert seen <= {0}, seen
            finally:
                stop.set()
                thread.join()

    with in_child(suffer), Ring(mount / "new", 4) as control:  # another ring, all the while
        for i in range(200):
            control.queue(nop(i))
            assert control.submit(wait=1) == 1
            assert [cqe.user_data for cqe in control.reap()] == [i]


def test_random_sqes(mount: Mount) -> None:
    """64 random bytes an SQE, an index array at random: every one of them is answered or dropped."""

    def submit(_: Child) -> None:
        rng = random.Random(SEED)
        with Ring(mount / "new", 64, cq_entries=4096) as ring:
            for _turn in range(300):
                ring.sqes[:] = rng.randbytes(len(ring.sqes))
                for slot in range(64):
                    ring.sqes[slot * 64] = rng.choice([0, 1, 1, rng.randrange(256)])
                    ring.sqes[slot * 64 + 1] &= rng.choice([0, 0xFF])
                tail = int.from_bytes(ring.rings[4:8], "little")
                ring.sq.store(4, (tail + 64) & 0xFFFFFFFF)
                while ring.queued():
                    if ring.enter(64) == 0:
                        break
                ring.reap()

    with in_child(submit):
        pass


# -- descriptors


def read_through(ring: Ring, fd: int, size: int = 16, offset: int = client.CURRENT_POSITION) -> int:
    ring.readv(fd, [bytearray(size)], offset, user_data=5)
    assert ring.submit(wait=1) == 1
    (cqe,) = ring.reap()
    assert cqe.user_data == 5
    return cqe.res


def test_negative_and_closed_descriptors(ring: Ring) -> None:
    receive, send = os.pipe()
    os.close(receive)
    for fd in (-1, -2, -100, -(1 << 31), receive, 1 << 20, (1 << 31) - 1):
        assert read_through(ring, fd) == -errno.EBADF
    assert read_through(ring, send) == -errno.EBADF  # open, but for writing alone
    os.close(send)


@pytest.mark.parametrize("offset", [client.CURRENT_POSITION, 0, 1 << 40])
def test_reads_of_the_mount_itself(mount: Mount, ring: Ring, name: str, offset: int) -> None:
    """Whoever answers such a read is the one who waits for it: refused, as io_uring's own files are."""
    assert read_through(ring, ring.fd, 16, offset) == -errno.EINVAL
    with Ring(mount / name, 4) as other:
        assert read_through(ring, other.fd, 16, offset) == -errno.EINVAL
    fresh = os.open(mount / "new", os.O_RDONLY)
    assert read_through(ring, fresh, 16, offset) == -errno.EINVAL
    os.close(fresh)
    root = os.open(mount.path, os.O_RDONLY | os.O_DIRECTORY)
    assert read_through(ring, root, 16, offset) == -errno.EISDIR
    os.close(root)
    path = os.open(mount / name, os.O_PATH)
    assert read_through(ring, path, 16, offset) == -errno.EBADF
    os.close(path)


def test_reads_of_an_epoll_that_watches_the_ring(mount: Mount, ring: Ring) -> None:
    """Polling that epoll would poll the ring, and so ask the daemon."""
    with select.epoll() as epoll, select.epoll() as outer:
        epoll.register(ring.fd, select.EPOLLIN)
        outer.register(epoll.fileno(), select.EPOLLIN)
        for fd in (epoll.fileno(), outer.fileno()):
            assert read_through(ring, fd) == -errno.EINVAL


def test_a_pipe_to_itself(ring: Ring) -> None:
    """Reads of one pipe on one ring, several pending, answered in their order."""
    receive, send = os.pipe()
    for i in range(3):
        ring.readv(receive, [bytearray(1)], user_data=i)
    assert ring.submit() == 3
    os.write(send, b"abc")
    assert sorted(ring.wait() for _ in range(3)) == [Cqe(0, 1, 0), Cqe(1, 1, 0), Cqe(2, 1, 0)]
    os.close(receive)
    os.close(send)


def test_the_daemons_own_descriptors_cannot_be_named(mount: Mount, ring: Ring) -> None:
    """SQE descriptors are the caller's: a number that is open only in the daemon is EBADF."""
    mine = {int(fd) for fd in os.listdir("/proc/self/fd")}
    theirs = {int(fd) for fd in os.listdir(f"/proc/{mount.pid}/fd")}
    only = sorted(theirs - mine) or [max(mine) + 1]
    assert all(read_through(ring, fd) == -errno.EBADF for fd in only)


def test_the_last_close_is_the_daemons(mount: Mount) -> None:
    """The client dies while the daemon holds a duplicate of a ring file's descriptor, or just did."""

    def die(_: Child) -> None:
        with Ring(mount / "new", 64) as ring:
            for i in range(64):
                ring.readv(ring.fd, [bytearray(1)], user_data=i)
            signal.setitimer(signal.ITIMER_REAL, 0.002)
            while True:
                ring.submit()
                ring.reap()
                for i in range(32):
                    ring.readv(ring.fd, [bytearray(1)], user_data=i)

    for _ in range(20):
        with in_child(die, ends_by=[-signal.SIGALRM]):
            pass


def test_memory_that_is_the_ring_itself(mount: Mount, ring: Ring, tmp_path: object) -> None:
    """READV into the mapped rings and SQEs: the daemon stores there through the client's memory."""
    receive, send = os.pipe()
    for area in (ring.sqes, ring.rings):
        keep = ctypes.c_char.from_buffer(area)
        iovec = ctypes.create_string_buffer(struct.pack("<QQ", ctypes.addressof(keep), 64), 16)
        os.write(send, b"\xff" * 64)
        ring.queue(Sqe(IORING_OP_READV, 0, 0, receive, client.CURRENT_POSITION, ctypes.addressof(iovec), 1))
        ring.submit()
        del keep
    os.pread(ring.fd, 1 << 20, 0)
    os.close(receive)
    os.close(send)


def test_mappings_of_strange_places(ring: Ring) -> None:
    for offset in (IORING_OFF_SQ_RING, IORING_OFF_CQ_RING, IORING_OFF_SQES, URINGFS_OFF_CTL, 0x1000, 0x3000_0000):
        for size in (4096, 1 << 20, 1 << 28):
            try:
                with mmap.mmap(ring.fd, size, offset=offset):
                    pass
            except (OSError, ValueError):
                continue


def test_writes_at_strange_offsets(ring: Ring) -> None:
    for offset in (0, 1, 4095, IORING_OFF_CQ_RING, IORING_OFF_SQES, URINGFS_OFF_CTL, 1 << 40, (1 << 62)):
        assert os.pwrite(ring.fd, b"nop\n", offset) == 4
        assert ring.submit(wait=1) == 1
        ring.reap()
