"""Bounds per user: of rings, and of their memory."""

import errno
import logging

import pytest
import trio

from tests.unit.fs.test_filesystem import PARAMS, RESULT, SETUP_8, Mount, message
from uringfs.abi import control as abi
from uringfs.abi.constants import IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_SINGLE_ISSUER
from uringfs.abi.structs import PARAMS as LAYOUT
from uringfs.abi.structs import Params
from uringfs.errors import UringError
from uringfs.fs.filesystem import RingFs
from uringfs.fs.quota import ROOT, Quota
from uringfs.register.pbuf import BUF_REG, IOU_PBUF_RING_MMAP
from uringfs.ring.geometry import Geometry

ALICE, BOB = 1000, 1001
PAGE = 4096
RING = Geometry.of(8, Params()).memory_size
REGISTER_PBUF_RING, UNREGISTER_PBUF_RING, REGISTER_RESIZE_RINGS = 22, 23, 33
ARG = PARAMS + 1024


def errno_of(caught: "pytest.ExceptionInfo[UringError]") -> int:
    return caught.value.errno


def test_the_pages_of_a_ring() -> None:
    assert RING == 3 * PAGE
    assert Geometry.of(32768, Params()).memory_size == 2 * (64 + 65536 * 16 + 32768 * 4 + 4032) + 32768 * 64


def test_rings_of_a_user() -> None:
    quota = Quota(rings=2)
    accounts = [quota.account(ALICE), quota.account(ALICE)]
    with pytest.raises(UringError) as caught:
        quota.account(ALICE)
    assert errno_of(caught) == errno.EDQUOT
    quota.account(BOB).close()
    for _ in range(5):
        quota.account(ROOT)
    accounts[0].close()
    accounts[0].close()  # counts once
    quota.account(ALICE)
    with pytest.raises(UringError):
        quota.account(ALICE)


def test_memory_of_a_user() -> None:
    quota = Quota(memory=10 * PAGE)
    one, other = quota.account(ALICE), quota.account(ALICE)
    one.charge(6 * PAGE)
    with pytest.raises(UringError) as caught:
        other.charge(5 * PAGE)
    assert errno_of(caught) == errno.ENOMEM
    other.charge(4 * PAGE)
    other.charge(-PAGE)
    one.charge(PAGE)
    quota.account(BOB).charge(10 * PAGE)
    quota.account(ROOT).charge(100 * PAGE)
    one.close()
    one.charge(-7 * PAGE)  # a region that outlives its ring: given back already
    with pytest.raises(UringError):
        other.charge(7 * PAGE + 1)
    other.charge(7 * PAGE)


def test_a_refusal_is_worth_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    quota = Quota(rings=0)
    with caplog.at_level(logging.WARNING):
        for uid in (ALICE, BOB, ALICE, ALICE):
            with pytest.raises(UringError):
                quota.account(uid)
    assert [record.getMessage().split()[1] for record in caplog.records] == [str(ALICE), str(BOB)]


@pytest.fixture
async def mount(nursery: trio.Nursery) -> Mount:
    mount = Mount(nursery)
    mount.fs = RingFs(mount.backend, mount.host, nursery, 8, Quota(rings=2, memory=2 * RING))
    return mount


async def test_rings_come_and_go(mount: Mount) -> None:
    for _ in range(3):
        files = [mount.new(), mount.new()]
        with pytest.raises(UringError) as caught:
            mount.new()
        assert errno_of(caught) == errno.EDQUOT
        mount.fs.inodes.forget(mount.fs.lookup(b"new", ROOT, ROOT).number, 1)
        for fh in files:
            await mount.write(fh, SETUP_8)
            inode = mount.fs.opened(fh).inode
            mount.fs.release(fh)
            mount.fs.inodes.forget(inode.number, 1)


async def test_setup_over_the_bound_leaves_no_ring(mount: Mount) -> None:
    one, other = mount.new(), mount.new()
    await mount.write(one, message(abi.URINGFS_CMD_SETUP, abi.SETUP, RESULT, 8, 0, PARAMS))
    big = message(abi.URINGFS_CMD_SETUP, abi.SETUP, RESULT, 256, 0, PARAMS)
    for _ in range(3):
        assert await mount.refusal(other, big) == errno.ENOMEM
        assert mount.fs.ring(other) is None
    await mount.write(other, SETUP_8)
    assert mount.fs.ring(other) is not None


async def test_regions_and_other_sizes_count(mount: Mount) -> None:
    """Buffer rings, given back when they are unregistered, and IORING_REGISTER_RESIZE_RINGS."""
    fh = mount.new()
    flags = IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER
    mount.thread.memory.put(PARAMS, LAYOUT.pack(*Params(flags=flags)))
    await mount.write(fh, SETUP_8)

    async def register(opcode: int, arg: bytes) -> None:
        mount.thread.memory.put(ARG, arg)
        await mount.write(fh, message(abi.URINGFS_CMD_REGISTER, abi.REGISTER, RESULT, opcode, 1, ARG))

    def buffers(group: int, entries: int) -> bytes:
        """struct io_uring_buf_reg; entries 0: to unregister"""
        return BUF_REG.pack(0, entries, group, IOU_PBUF_RING_MMAP if entries else 0, 0, bytes(20))

    async def refused(opcode: int, arg: bytes) -> int:
        with pytest.raises(UringError) as caught:
            await register(opcode, arg)
        return errno_of(caught)

    for _ in range(3):
        await register(REGISTER_PBUF_RING, buffers(1, 512))  # two pages
        assert await refused(REGISTER_PBUF_RING, buffers(2, 512)) == errno.ENOMEM
        await register(UNREGISTER_PBUF_RING, buffers(1, 0))
    larger = LAYOUT.pack(*Params(sq_entries=256))
    assert await refused(REGISTER_RESIZE_RINGS, larger) == errno.ENOMEM
    await register(REGISTER_RESIZE_RINGS, LAYOUT.pack(*Params(sq_entries=64)))
