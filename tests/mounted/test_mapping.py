"""mmap of a ring file: by several processes, across fork, close and unlink, populated or not."""

import ctypes
import errno
import mmap
import os
import signal
from struct import Struct

import pytest

from tests.support.children import Child, in_child
from tests.support.mounting import Mount
from uringfs.abi.constants import (
    IORING_OFF_CQ_RING,
    IORING_OFF_PBUF_RING,
    IORING_OFF_PBUF_SHIFT,
    IORING_OFF_SQ_RING,
    IORING_OFF_SQES,
)
from uringfs.abi.structs import CQ_TAIL, SQ_TAIL
from uringfs.client import Ring, nop
from uringfs.client.mapping import map_ring
from uringfs.native import Words

OFFSETS = (IORING_OFF_SQ_RING, IORING_OFF_CQ_RING, IORING_OFF_SQES)
REGISTER_PBUF_RING, UNREGISTER_PBUF_RING, IOU_PBUF_RING_MMAP = 22, 23, 1
FREE_WORD = 4092  # of the first page: behind what an 8-entry ring uses


@pytest.mark.parametrize("flags", [0, mmap.MAP_POPULATE], ids=["lazy", "populate"])
@pytest.mark.parametrize("offset", OFFSETS, ids=["sq", "cq", "sqes"])
def test_two_processes_see_each_others_stores(mount: Mount, name: str, offset: int, flags: int) -> None:
    def peer(child: Child) -> None:
        fd = os.open(mount / name, os.O_RDWR)
        with map_ring(fd, 4096, offset, flags) as mapping, Words(mapping) as words:
            for value in range(1000):
                child.expect(b"?")
                assert words.load(FREE_WORD if offset != IORING_OFF_SQES else 0) == value
                words.store(FREE_WORD - 4 if offset != IORING_OFF_SQES else 4, value * 3)
                child.tell(b"!")

    # the SQEs of 8 entries fill 512 bytes, and the memory behind them ends with its page
    mine, theirs = (0, 4) if offset == IORING_OFF_SQES else (FREE_WORD, FREE_WORD - 4)
    with (
        Ring(mount / name, 8) as ring,
        in_child(peer) as child,
        map_ring(ring.fd, 4096, offset, flags) as mapping,
        Words(mapping) as words,
    ):
        for value in range(1000):
            words.store(mine, value)
            child.tell(b"?")
            child.expect(b"!")
            assert words.load(theirs) == value * 3


def test_a_child_of_fork_uses_the_ring(mount: Mount) -> None:
    with Ring(mount / "new", 8) as ring:

        def submit(child: Child) -> None:
            ring.queue(nop(7))
            assert ring.submit() == 1

        with in_child(submit):
            pass
        assert [cqe.user_data for cqe in ring.reap()] == [7]


def map_raw(fd: int, size: int, offset: int) -> int:
    """mmap(2) without the duplicate descriptor that Python's mmap keeps."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    address = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, offset)
    assert address != ctypes.c_void_p(-1).value, os.strerror(ctypes.get_errno())
    return int(address)


def unmap_raw(address: int, size: int) -> None:
    libc = ctypes.CDLL(None)
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    assert libc.munmap(address, size) == 0


def test_a_mapping_outlives_close_and_unlink(mount: Mount, name: str) -> None:
    ring = Ring(mount / name, 8)
    ring.queue(nop(1))
    ring.submit()
    address = map_raw(ring.fd, 4096, IORING_OFF_SQ_RING)
    try:
        word = ctypes.cast(address, ctypes.POINTER(ctypes.c_uint32))
        assert word[CQ_TAIL // 4] == 1
        ring.close()
        with Ring(mount / name, None, params=ring.raw_params) as again:
            again.queue(nop(2))
            assert again.submit() == 1
            assert word[CQ_TAIL // 4] == 2  # the same memory, seen through the mapping of a closed file
            os.unlink(mount / name)
            again.queue(nop(3))
            assert again.submit() == 1
            assert word[CQ_TAIL // 4] == 3
        word[SQ_TAIL // 4] = 99
        assert word[SQ_TAIL // 4] == 99  # and still memory when the ring is no more
    finally:
        unmap_raw(address, 4096)


def test_the_cq_mapped_on_its_own(mount: Mount) -> None:
    with Ring(mount / "new", 4, separate_cq=True) as ring:
        for turn in range(100):
            for i in range(4):
                ring.queue(nop(turn * 4 + i))
            assert ring.submit(wait=4) == 4
            assert [cqe.user_data for cqe in ring.reap()] == list(range(turn * 4, turn * 4 + 4))


def test_a_private_mapping_is_a_copy_and_never_reaches_the_ring(mount: Mount) -> None:
    with (
        Ring(mount / "new", 4) as ring,
        mmap.mmap(ring.fd, 4096, mmap.MAP_PRIVATE, offset=IORING_OFF_SQ_RING) as private,
    ):
        private[SQ_TAIL : SQ_TAIL + 4] = b"\1\0\0\0"
        assert ring.enter(1) == 0


@pytest.mark.parametrize("where", ["behind the SQEs", "between the areas"])
def test_beyond_the_ring_there_is_nothing_of_the_daemon(mount: Mount, where: str) -> None:
    """A hole of the sparse memfd reads as zeroes, what is behind its end is SIGBUS: in the client."""
    with Ring(mount / "new", 8) as ring:
        offset = IORING_OFF_SQES + (1 << 20) if where == "behind the SQEs" else 0x4000000

        def touch(child: Child) -> None:
            with mmap.mmap(ring.fd, 4096, mmap.MAP_SHARED, offset=offset) as mapping:
                assert mapping[:] == bytes(4096)

        ends = where == "behind the SQEs" and mount.backend == "passthrough"  # else all files are of one size
        with in_child(touch, ends_by=[-signal.SIGBUS if ends else 0]):
            pass


PBUF_REG = Struct("<QIHH24x")  # struct io_uring_buf_reg: ring_addr, ring_entries, bgid, flags


def pbuf(ring: Ring, opcode: int, entries: int, bgid: int, flags: int) -> int:
    """IORING_(UN)REGISTER_PBUF_RING: 0 or -errno."""
    argument = ctypes.create_string_buffer(PBUF_REG.pack(0, entries, bgid, flags))
    try:
        return ring.register(opcode, ctypes.addressof(argument), 1)
    except OSError as error:
        return -(error.errno or 0)


def test_buffer_rings_of_the_rings_own_lie_64_kib_apart(mount: Mount) -> None:
    """One of more than 4096 entries covers the next group's offset, which can have none then."""
    with Ring(mount / "new", 4) as ring:
        assert pbuf(ring, REGISTER_PBUF_RING, 8192, 1, IOU_PBUF_RING_MMAP) == 0
        assert pbuf(ring, REGISTER_PBUF_RING, 8, 2, IOU_PBUF_RING_MMAP) == -errno.ENOMEM
        assert pbuf(ring, REGISTER_PBUF_RING, 8, 3, IOU_PBUF_RING_MMAP) == 0
        assert pbuf(ring, UNREGISTER_PBUF_RING, 0, 1, 0) == 0
        assert pbuf(ring, REGISTER_PBUF_RING, 8, 2, IOU_PBUF_RING_MMAP) == 0


def test_all_groups_of_a_ring_cost_the_daemon_one_descriptor(mount: Mount) -> None:
    def descriptors() -> int:
        return len(os.listdir(f"/proc/{mount.process.pid}/fd"))

    with Ring(mount / "new", 4) as ring:
        before = descriptors()
        for bgid in range(0, 1 << 16, 32):
            assert pbuf(ring, REGISTER_PBUF_RING, 8, bgid, IOU_PBUF_RING_MMAP) == 0
        assert descriptors() <= before + 1


def test_a_buffer_ring_that_is_unregistered_gives_its_pages_back(mount: Mount) -> None:
    offset = IORING_OFF_PBUF_RING | 5 << IORING_OFF_PBUF_SHIFT
    with Ring(mount / "new", 4) as ring:
        assert pbuf(ring, REGISTER_PBUF_RING, 4096, 5, IOU_PBUF_RING_MMAP) == 0
        with mmap.mmap(ring.fd, 65536, offset=offset) as mapping:
            mapping[:] = b"x" * 65536
            assert pbuf(ring, UNREGISTER_PBUF_RING, 0, 5, 0) == 0
            assert mapping[:] == bytes(65536)
            mapping[:4] = b"mine"  # memory still
