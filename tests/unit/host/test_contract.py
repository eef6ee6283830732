"""What requests may expect of a host (uringfs/host/protocols/): of the real one, whose caller is this process, and
of the one that the unit tests run on. A fake that behaves otherwise would have them test something else."""

import errno
import mmap
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import pytest
import trio
import trio.testing

from tests.fakehost.files import RegularFile, Sink, Stream
from tests.fakehost.host import FakeHost
from uringfs.abi.events import EPOLLIN, EPOLLOUT
from uringfs.errors import UringError
from uringfs.host.local import LocalHost
from uringfs.host.protocols import Caller, Host

PAGE = mmap.PAGESIZE
CURRENT = -1
CONTENT = b"0123456789"


class World(Protocol):
    """A host, a caller, and the caller's own hands."""

    host: Host
    caller: Caller

    def pages(self, count: int) -> int:
        """Map so many pages, zeroed, with none behind them: their address."""

    def protect(self, address: int) -> None:
        """The page there is readable only."""

    def file(self, content: bytes) -> int:
        """A descriptor of a regular file, open for both."""

    def stream(self) -> tuple[int, Callable[[bytes], object], Callable[[], object]]:
        """A pipe's reading end; what writes to it; what closes the other end."""

    def sink(self) -> tuple[int, Callable[[], bytes]]:
        """A pipe's writing end; what reads all that is in it."""

    def close(self) -> None: ...


class Fake:
    def __init__(self) -> None:
        self.host = host = FakeHost()
        self._thread = host.thread(100)
        self.caller: Caller = host.caller(100, 1000, 1000)
        self._address = 0x100000
        self._fd = 10

    def pages(self, count: int) -> int:
        address = self._thread.memory.map(self._address, count * PAGE)
        self._address += (count + 8) * PAGE
        return address

    def protect(self, address: int) -> None:
        self._thread.memory.map(address, 1, writable=False)

    def file(self, content: bytes) -> int:
        file = RegularFile(content)
        file.writable = True
        return self._put(file)

    def stream(self) -> tuple[int, Callable[[bytes], object], Callable[[], object]]:
        stream = Stream()
        return self._put(stream), stream.feed, stream.hang_up

    def sink(self) -> tuple[int, Callable[[], bytes]]:
        sink = Sink(1 << 16)
        return self._put(sink), sink.drain

    def _put(self, description: RegularFile | Stream | Sink) -> int:
        self._fd += 1
        self._thread.fds[self._fd] = description
        return self._fd

    def close(self) -> None:
        pass


class Real:
    def __init__(self) -> None:
        self._local = LocalHost()
        self.host: Host = self._local
        self.caller: Caller = self._local.caller(os.getpid(), os.getuid(), os.getgid())
        self._fds: list[int] = []
        self._maps: list[int] = []

    def pages(self, count: int) -> int:
        size = (count + 1) * PAGE
        address = int(
            MMAP(0, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        )
        MPROTECT(address + count * PAGE, PAGE, 0)
        return address

    def protect(self, address: int) -> None:
        MPROTECT(address, PAGE, mmap.PROT_READ)

    def file(self, content: bytes) -> int:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
        os.pwrite(fd, content, 0)
        return self._keep(fd)

    def stream(self) -> tuple[int, Callable[[bytes], object], Callable[[], object]]:
        reader, writer = os.pipe()
        self._keep(reader)
        return reader, lambda data: os.write(writer, data), lambda: os.close(writer)

    def sink(self) -> tuple[int, Callable[[], bytes]]:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        self._keep(reader)
        return self._keep(writer), lambda: os.read(reader, 1 << 20)

    def _keep(self, fd: int) -> int:
        self._fds.append(fd)
        return fd

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._local.actors.close()


def _libc() -> tuple[Callable[..., int], Callable[..., int]]:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc.mmap, libc.mprotect


MMAP, MPROTECT = _libc()


@pytest.fixture(params=[Fake, Real], ids=["fake", "real"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    world = request.param()
    yield world
    world.close()


@pytest.fixture(params=[False, True], ids=["in the call", "later"])
async def caller(request: pytest.FixtureRequest, world: World) -> Caller:
    """Both memories of a caller: while its call is answered, and after."""
    return world.caller.detached() if request.param else world.caller


def refusal(call: Callable[..., object], *args: object) -> int:
    with pytest.raises(UringError) as caught:
        call(*args)
    return caught.value.errno


# ---- memory ----


async def test_what_is_written_is_read(world: World, caller: Caller) -> None:
    address = world.pages(2)
    caller.memory.write(address + PAGE - 3, b"across")
    assert caller.memory.read(address + PAGE - 4, 8) == b"\0across\0"
    assert caller.memory.read(address, 0) == b""
    caller.memory.write(address, b"")


async def test_all_or_efault(world: World, caller: Caller) -> None:
    address = world.pages(1)
    assert refusal(caller.memory.read, address + PAGE - 2, 3) == errno.EFAULT
    assert refusal(caller.memory.write, address + PAGE - 2, b"abc") == errno.EFAULT
    assert refusal(caller.memory.read, 8, 1) == errno.EFAULT
    world.protect(address)
    assert caller.memory.read(address, 1) == b"\0"
    assert refusal(caller.memory.write, address, b"a") == errno.EFAULT


async def test_iovecs_are_taken_up_to_the_first_that_fails(world: World, caller: Caller) -> None:
    first, second = world.pages(1), world.pages(1)
    caller.memory.write(first + PAGE - 4, b"abcd")
    caller.memory.write(second, b"efgh")
    whole = [(first + PAGE - 4, 4), (second, 0), (second, 2)]
    broken = [(first + PAGE - 4, 4), (8, 2), (second, 2)]
    assert bytes(caller.memory.gather(whole)) == b"abcdef"
    assert bytes(caller.memory.gather(broken)) == b"abcd"
    assert caller.memory.scatter(b"ABCDEF", whole) == 6
    assert caller.memory.scatter(b"123456", broken) == 4
    assert caller.memory.read(first + PAGE - 4, 4) == b"1234"
    assert caller.memory.read(second, 3) == b"EFg"
    assert (caller.memory.writable(whole), caller.memory.writable(broken)) == (6, 4)
    assert caller.memory.scatter(b"ab", whole) == 2


async def test_what_cannot_be_written_is_found_out_before(world: World, caller: Caller) -> None:
    address = world.pages(2)
    world.protect(address + PAGE)
    assert caller.memory.writable([(address, 2 * PAGE)]) == PAGE
    assert caller.memory.writable([(address + PAGE, 1)]) == 0
    assert not caller.memory.gone()


# ---- files ----


async def test_no_file_is_ebadf(world: World, caller: Caller) -> None:
    assert refusal(caller.file, 1_000_000) == errno.EBADF
    assert refusal(caller.file, -1) == errno.EBADF


async def test_a_file_is_read_at_an_offset_and_at_its_position(world: World, caller: Caller) -> None:
    file = caller.file(world.file(CONTENT))
    assert (file.regular, file.streaming, file.can_poll) == (True, False, False)
    assert (file.readable_mode(), file.writable_mode(), file.nonblocking()) == (True, True, False)
    assert bytes(await file.read(4, 3, 0, caller)) == b"3456"
    assert bytes(await file.read(4, CURRENT, 0, caller)) == b"0123"
    assert bytes(await file.read(4, CURRENT, 0, caller)) == b"4567"
    await file.unread(2)
    assert bytes(await file.read(9, CURRENT, 0, caller)) == b"6789"
    assert bytes(await file.read(9, 50, 0, caller)) == b""
    assert bytes(file.try_read(2, 0, 0, caller)) == b"01"
    file.close()


async def test_a_file_is_written(world: World, caller: Caller) -> None:
    file = caller.file(world.file(CONTENT))
    assert await file.write(lambda: b"abc", 2, 0, caller) == 3
    assert await file.write(lambda: b"X", CURRENT, 0, caller) == 1
    assert bytes(await file.read(20, 0, 0, caller)) == b"X1abc56789"
    file.close()


async def test_handles_of_one_open_file_are_the_same(world: World, caller: Caller) -> None:
    fd, other_fd = world.file(CONTENT), world.file(CONTENT)
    one, again, other = caller.file(fd), caller.file(fd), caller.file(other_fd)
    assert one.same(again)
    assert one.identity == again.identity
    assert not one.same(other)
    assert one.identity != other.identity
    for file in (one, again, other):
        file.close()


async def test_an_empty_stream_would_block_and_is_waited_for(world: World, caller: Caller) -> None:
    fd, feed, hang_up = world.stream()
    file = caller.file(fd)
    assert (file.regular, file.streaming, file.can_poll) == (False, True, True)
    assert (file.ready(), file.available()) == (False, 0)
    assert refusal(file.try_read, 4, CURRENT, 0, caller) == errno.EAGAIN
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.wait)
        await trio.testing.wait_all_tasks_blocked()
        feed(b"data")
    assert (file.ready(), file.available()) == (True, 4)
    assert bytes(file.try_read(3, CURRENT, 0, caller)) == b"dat"
    assert bytes(await file.read(3, CURRENT, 0, caller)) == b"a"
    hang_up()
    assert file.ready()
    assert bytes(file.try_read(3, CURRENT, 0, caller)) == b""
    file.close()


async def test_a_full_sink_would_block_and_is_waited_for(world: World, caller: Caller) -> None:
    fd, drain = world.sink()
    file = caller.file(fd)
    assert file.writable()
    for _ in range(16):
        assert file.try_write(bytes(4096), CURRENT, 0, caller) == 4096
    assert refusal(file.try_write, b"x", CURRENT, 0, caller) == errno.EAGAIN
    assert not file.writable()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.wait_writable)
        await trio.testing.wait_all_tasks_blocked()
        assert drain() == bytes(1 << 16)
    assert file.try_write(b"abc", CURRENT, 0, caller) == 3
    assert drain() == b"abc"
    file.close()


async def test_a_wait_can_be_cancelled(world: World, caller: Caller) -> None:
    file = caller.file(world.stream()[0])
    with trio.CancelScope() as scope:
        scope.cancel()
        await file.wait()
    assert scope.cancelled_caught
    file.close()


# ---- programs ----


async def test_a_caller_lives_while_it_calls(world: World) -> None:
    later = world.caller.detached()
    assert world.caller.program is later.program
    assert (later.program.same(), later.program.lives(), later.program.exited()) == (True, True, False)
    assert later.process == world.caller.process
    assert (later.tid, later.uid, later.gid) == (world.caller.tid, world.caller.uid, world.caller.gid)
    assert later.detached() is later


# ---- timers, and polls ----


async def test_timers_fire_in_their_order(world: World) -> None:
    fired, done, timers = [], trio.Event(), world.host.timers
    now = timers.now(time.CLOCK_MONOTONIC)
    for name, delay in (("second", 2_000_000), ("first", 1_000_000), ("third", 2_000_000)):
        timers.at(time.CLOCK_MONOTONIC, now + delay, lambda name=name: fired.append(name))
    never = timers.at(time.CLOCK_MONOTONIC, now + 1_500_000, lambda: fired.append("cancelled"))
    last = timers.at(time.CLOCK_MONOTONIC, now + 3_000_000, done.set)
    assert never.cancel()
    assert not never.cancel()
    with trio.fail_after(10):
        await done.wait()
    assert fired == ["first", "second", "third"]
    assert not last.cancel()


async def test_a_poll_says_what_holds_and_what_comes(world: World) -> None:
    fd, feed, hang_up = world.stream()
    file, seen, poller = world.caller.file(fd), [], world.host.poller
    assert poller.mask(file, EPOLLIN | EPOLLOUT) == 0
    watch = poller.watch(file, EPOLLIN, seen.append)
    feed(b"x")
    with trio.fail_after(10):
        while not seen:
            poller.dispatch()
            await trio.lowlevel.checkpoint()
    assert all(mask & EPOLLIN for mask in seen)
    assert (poller.mask(file, EPOLLIN) or 0) & EPOLLIN
    assert watch.cancel()
    assert not watch.cancel()
    count = len(seen)
    feed(b"y")
    poller.dispatch()
    await trio.testing.wait_all_tasks_blocked()
    assert len(seen) == count
    hang_up()
    poller.settle()
    file.close()
