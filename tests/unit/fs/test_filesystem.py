"""The model of the mount, driven without one: files, memory, control writes, and what `cat` shows."""

import ctypes
import errno
import gc
import itertools
import mmap
import os
import re
import weakref
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fakehost.files import RegularFile
from tests.fakehost.host import FakeHost
from tests.unit.support import Client, nop
from uringfs.abi import control as abi
from uringfs.abi.constants import IORING_ENTER_GETEVENTS, IORING_OFF_SQES
from uringfs.abi.control import URINGFS_POLL_WAIT
from uringfs.abi.structs import CQ_HEAD, PARAMS_SIZE, SQ_TAIL, SQE
from uringfs.errors import UringError
from uringfs.fs import status
from uringfs.fs.filesystem import LAST_TIDY, TIDY, RingFs
from uringfs.fs.waits import Waits
from uringfs.memory.mapped import Daemons, MappedMemory
from uringfs.native import Words

TID, RESULT, PARAMS = 100, 0x10000, 0x11000


class CountingBackend(Daemons):
    """Heap memory that knows what is held."""

    name = "counting"

    def __init__(self) -> None:
        self.allocated = 0
        self.closed = 0

    def allocate(self, inode: int) -> MappedMemory:
        backend = self
        backend.allocated += 1

        class Counted(MappedMemory):
            def close(self) -> None:
                backend.closed += 1
                super().close()

        return Counted()


class Mount:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.backend = CountingBackend()
        self.host = FakeHost()
        self.thread = self.host.thread(TID)
        self.thread.memory.map(RESULT, 4096)
        self.thread.memory.map(PARAMS, 4096)
        self.fs = RingFs(self.backend, self.host, nursery, 8)

    async def write(self, fh: int, data: bytes) -> None:
        written = self.fs.write(fh, data, TID, 1000, 1000)
        result = written if isinstance(written, int) else await written()
        if result:
            raise UringError(-result)

    async def refusal(self, fh: int, data: bytes) -> int:
        with pytest.raises(UringError) as caught:
            await self.write(fh, data)
        return caught.value.errno

    def new(self) -> int:
        return self.fs.open(self.fs.lookup(b"new", 1000, 1000), TID, os.O_RDWR).fh

    def result(self) -> int:
        return abi.RESULT.unpack(self.thread.memory.read(RESULT, 8))[0]

    def client(self, fh: int) -> Client:
        ring = self.fs.ring(fh)
        assert ring is not None
        return Client(ring.memory, ring.geometry)


@pytest.fixture
async def mount(nursery: trio.Nursery) -> Mount:
    return Mount(nursery)


def message(cmd: int, body, *fields: int) -> bytes:
    return abi.HEADER.pack(cmd, abi.HEADER.size + body.size) + body.pack(*fields)


SETUP_8 = message(abi.URINGFS_CMD_SETUP, abi.SETUP, RESULT, 8, 0, PARAMS)


def enter(to_submit: int, wait: int = 0, result: int = RESULT) -> bytes:
    flags = IORING_ENTER_GETEVENTS if wait else 0
    return message(abi.URINGFS_CMD_ENTER, abi.ENTER, result, to_submit, wait, flags, 0, 0, 0)


@pytest.mark.parametrize("order", set(itertools.permutations(["release", "release", "unlink", "forget"])))
async def test_memory_is_freed_once_with_the_last_reference(mount: Mount, order: tuple[str, ...]) -> None:
    fs = mount.fs
    inode = fs.create(b"ring", 0o600, 0, 0)
    handles = [fs.open(inode, TID, os.O_RDWR).fh for _ in range(2)]
    await mount.write(handles[0], SETUP_8)
    for step, action in enumerate(order):
        assert len(fs.inodes) == 1, f"gone before {order[step:]}"
        if handles or "unlink" in order[step:]:
            assert mount.backend.closed == 0, f"closed before {order[step:]}"
        match action:
            case "release":
                fs.release(handles.pop())
            case "unlink":
                fs.inodes.unlink(b"ring")
            case "forget":
                fs.inodes.forget(inode.number, 1)
    assert (mount.backend.allocated, mount.backend.closed) == (1, 1)
    assert len(fs.inodes) == 0


async def test_ten_thousand_rings_leave_nothing(mount: Mount) -> None:
    for _ in range(10_000):
        inode = mount.fs.lookup(b"new", 0, 0)
        fh = mount.fs.open(inode, TID).fh
        mount.fs.release(fh)
        mount.fs.inodes.forget(inode.number, 1)
    assert len(mount.fs.inodes) == 0
    assert mount.backend.allocated == mount.backend.closed == 10_000


async def test_an_opaque_ring_is_read_only_by_who_opened_it_to_read(mount: Mount) -> None:
    inode = mount.fs.lookup(b"new", 1000, 1000)
    writer, reader = (mount.fs.open(inode, TID, flags).fh for flags in (os.O_RDWR, os.O_RDONLY))
    assert mount.fs.read(writer, 0, 10)
    opaque = message(abi.URINGFS_CMD_SETUP, abi.SETUP, RESULT, 8, abi.URINGFS_SETUP_OPAQUE, PARAMS)
    await mount.write(writer, opaque)
    with pytest.raises(UringError) as caught:
        mount.fs.read(writer, 0, 10)
    assert caught.value.errno == errno.EINVAL
    assert mount.fs.read(reader, 0, 7) == b"SqMask:"


async def test_a_message_that_comes_too_late_meets_no_mount(mount: Mount) -> None:
    fh = mount.new()
    assert await mount.refusal(fh + 1, enter(0)) == errno.EBADF
    mount.fs.close()
    assert await mount.refusal(fh, enter(0)) == errno.ENOTCONN


async def test_each_open_of_new_is_another_ring(mount: Mount) -> None:
    one, two = mount.new(), mount.new()
    await mount.write(one, SETUP_8)
    assert mount.fs.ring(two) is None
    assert await mount.refusal(two, enter(0)) == errno.EBADFD
    assert await mount.refusal(one, SETUP_8) == errno.EBUSY


@pytest.mark.parametrize("params", [0, 0x999000, (1 << 64) - 60, 0xFFFF_8000_0000_0000])
async def test_setup_with_a_bad_pointer_leaves_no_ring(mount: Mount, params: int) -> None:
    fh = mount.new()
    setup = message(abi.URINGFS_CMD_SETUP, abi.SETUP, RESULT, 8, 0, params)
    assert await mount.refusal(fh, setup) == errno.EFAULT
    assert mount.fs.ring(fh) is None
    mount.thread.memory.map(PARAMS, PARAMS_SIZE, writable=False)
    assert await mount.refusal(fh, SETUP_8) == errno.EFAULT
    assert mount.fs.ring(fh) is None


async def test_a_control_write_that_needs_no_wait_is_done_when_it_returns(mount: Mount) -> None:
    fh = mount.new()
    assert mount.fs.write(fh, SETUP_8, TID, 1000, 1000) == 0
    mount.client(fh).push(nop(1))
    assert mount.fs.write(fh, enter(1), TID, 1000, 1000) == 0
    assert mount.result() == 1
    assert mount.client(fh).results() == [(1, 0)]


async def test_a_tail_that_is_waited_for_comes_with_the_enter(mount: Mount) -> None:
    fh = mount.new()
    await mount.write(fh, SETUP_8)
    for tail, written in ((0, 0), (1, -errno.EINPROGRESS)):
        fields = (RESULT, 0, 1, IORING_ENTER_GETEVENTS, abi.URINGFS_ENTER_TAIL, 0, tail << 32)
        data = message(abi.URINGFS_CMD_ENTER, abi.ENTER, *fields)
        assert mount.fs.write(fh, data, TID, 1000, 1000) == written


async def test_an_enter_that_waits_goes_on_in_its_poll(mount: Mount, nursery: trio.Nursery) -> None:
    fh = mount.new()
    await mount.write(fh, SETUP_8)
    mount.client(fh).push(nop(1))
    assert mount.fs.write(fh, enter(0, wait=1), TID, 1000, 1000) == -errno.EINPROGRESS
    answers: list[tuple[int, int]] = []
    waits = Waits(lambda number, events: answers.append((number, events)))
    nursery.start_soon(waits.run)
    waits.begin(7, mount.fs.wait(fh, TID, 1000, 1000))
    await wait_all_tasks_blocked()
    assert answers == []
    await mount.write(fh, enter(1, result=RESULT + 8))
    await wait_all_tasks_blocked()
    assert answers == [(7, URINGFS_POLL_WAIT)]
    assert mount.result() == 0
    assert mount.client(fh).results() == [(1, 0)]
    with pytest.raises(UringError):
        mount.fs.wait(fh, TID, 1000, 1000)
    assert not waits.interrupt(7)


async def test_a_wait_that_is_over_when_its_poll_comes(mount: Mount, nursery: trio.Nursery) -> None:
    fh = mount.new()
    await mount.write(fh, SETUP_8)
    mount.client(fh).push(nop(1))
    assert mount.fs.write(fh, enter(0, wait=1), TID, 1000, 1000) == -errno.EINPROGRESS
    await mount.write(fh, enter(1, result=RESULT + 8))
    answers: list[tuple[int, int]] = []
    waits = Waits(lambda number, events: answers.append((number, events)))
    nursery.start_soon(waits.run)
    waits.begin(7, mount.fs.wait(fh, TID, 1000, 1000))
    assert answers == []
    await wait_all_tasks_blocked()
    assert answers == [(7, URINGFS_POLL_WAIT)]
    assert mount.result() == 0


async def test_an_interrupted_wait_stores_eintr(mount: Mount) -> None:
    fh = mount.new()
    await mount.write(fh, SETUP_8)
    await mount.refusal(fh, enter(0, wait=1))
    answers: list[tuple[int, int]] = []
    waits = Waits(lambda number, events: answers.append((number, events)))
    waits.begin(7, mount.fs.wait(fh, TID, 1000, 1000))
    assert waits.interrupt(7)
    assert answers == [(7, 0)]
    assert mount.result() == -errno.EINTR
    assert not mount.fs.ring(fh).waiters


async def test_a_session_in_text(mount: Mount) -> None:
    fh = mount.new()
    mount.thread.paths["/etc/motd"] = RegularFile(b'say "hi"\n')
    await mount.write(fh, b"setup 4\nnop user_data=42\nreadv path=/etc/motd len=64 user_data=43\nenter wait=2\n")
    shown = mount.fs.read(fh, 0, 1 << 20).decode()
    assert "user_data:42, res:0" in shown
    assert "user_data:43, res:9" in shown
    assert 'Data:\tuser_data:43, len:9, "say \\"hi\\"\\n"' in shown
    await mount.write(fh, b"reap")
    assert mount.client(fh).results() == []
    assert await mount.refusal(fh, b"fly") == errno.EINVAL
    assert "EINVAL: unknown command 'fly'" in mount.fs.read(fh, 0, 1 << 20).decode()


def kernel_fdinfo(entries: int, sqes: list[bytes], submit: int, reaped: int) -> list[str]:
    """The lines of /proc/self/fdinfo of a kernel ring in that state, io_uring's own."""
    libc = ctypes.CDLL(None, use_errno=True)
    params = ctypes.create_string_buffer(PARAMS_SIZE)
    fd = libc.syscall(425, entries, params)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    slots = mmap.mmap(fd, 64 * entries, offset=IORING_OFF_SQES)
    with slots, mmap.mmap(fd, 4096) as rings, Words(rings) as words:
        for number, sqe in enumerate(sqes):
            slots[64 * number : 64 * number + 64] = sqe
            words.store(64 + 16 * 2 * entries + 4 * number, number)
        words.store(SQ_TAIL, len(sqes))
        assert libc.syscall(426, fd, submit, 0, 0, None, 0) == submit
        words.store(CQ_HEAD, reaped)
        with open(f"/proc/self/fdinfo/{fd}") as info:
            lines = info.read().splitlines()
    os.close(fd)
    return lines[next(n for n, line in enumerate(lines) if line.startswith("SqMask")) :]


@pytest.mark.parametrize(("submit", "reaped"), [(0, 0), (3, 1), (5, 0), (5, 5)])
async def test_the_text_begins_as_the_kernels_fdinfo(mount: Mount, submit: int, reaped: int) -> None:
    sqes = [nop(10 + n, off=n, addr=n * 4096) for n in range(5)]
    theirs = kernel_fdinfo(8, [SQE.pack(*sqe) for sqe in sqes], submit, reaped)
    fh = mount.new()
    await mount.write(fh, SETUP_8)
    client = mount.client(fh)
    client.push(*sqes)
    await mount.write(fh, enter(submit))
    client.memory.store(CQ_HEAD, reaped)
    ours = mount.fs.read(fh, 0, 1 << 20).decode().splitlines()
    assert [blanks(line) for line in ours[: len(theirs)]] == [blanks(line) for line in theirs]
    assert ours[len(theirs)].startswith("Owner:")


def blanks(line: str) -> str:
    return re.sub(r"\s+", " ", line).strip()


async def test_xattrs_are_numbers(mount: Mount) -> None:
    fh = mount.new()
    payload = mount.fs.opened(fh).inode.payload
    assert status.xattrs(payload) == {"user.uring.state": b"new"}
    await mount.write(fh, SETUP_8)
    values = status.xattrs(payload)
    assert values.pop("user.uring.state") == b"ready"
    assert values["user.uring.sq_entries"] == b"8"
    assert all(value.isdigit() for value in values.values())


class Left:
    """What the collector alone can free."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
async def test_cycles_are_collected_after_a_ring_was_closed(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    mount = Mount(nursery)
    nursery.start_soon(mount.fs.tidy)
    for _ in range(2):
        await trio.sleep(3 * LAST_TIDY)
        file = mount.fs.open(mount.fs.lookup(b"new", 0, 0), TID)
        there = weakref.ref(Left())
        await trio.sleep(100 * TIDY)
        assert there() is not None, "nothing was closed for long"
        mount.fs.release(file.fh)
        await trio.sleep(2 * TIDY)
        assert there() is None
    nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("uncollected")
async def test_what_is_left_later_is_collected_later(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A thread that closed the ring and is slow to end, say; and then no more, or the daemon never slept."""
    mount = Mount(nursery)
    nursery.start_soon(mount.fs.tidy)
    file = mount.fs.open(mount.fs.lookup(b"new", 0, 0), TID)
    mount.fs.release(file.fh)
    await trio.sleep(2 * TIDY)
    there = weakref.ref(Left())
    await trio.sleep(2 * LAST_TIDY)
    assert there() is None
    there = weakref.ref(Left())
    await trio.sleep(1000 * LAST_TIDY)
    assert there() is not None
    nursery.cancel_scope.cancel()
