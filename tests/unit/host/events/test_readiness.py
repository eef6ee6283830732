"""Timers, polls, epoll_ctl and shared futexes of the real host: timerfds, pipes and processes of this machine."""

import ctypes
import errno
import mmap
import os
import select
import signal
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from uringfs import native
from uringfs.abi.events import EPOLLET, EPOLLEXCLUSIVE, EPOLLHUP, EPOLLIN, EPOLLONESHOT, EPOLLOUT
from uringfs.abi.libc import libc
from uringfs.errors import UringError
from uringfs.host.events.poller import EpollPoller
from uringfs.host.events.slowpoll import members
from uringfs.host.events.timers import Heap
from uringfs.host.files.file import LocalFile
from uringfs.host.local import LocalHost
from uringfs.host.process import sharedmem
from uringfs.host.threads import MAX_BLOCKING

MONOTONIC = time.CLOCK_MONOTONIC


@pytest.fixture
async def host() -> LocalHost:
    return LocalHost()


class Pipe:
    def __init__(self, host: LocalHost) -> None:
        self._host = host
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC)
        self._files: list[LocalFile] = []

    def file(self, fd: int) -> LocalFile:
        file = self._host.adopt(os.dup(fd))
        self._files.append(file)
        return file

    def close(self) -> None:
        for file in self._files:
            file.close()
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture
def pipe(host: LocalHost) -> Iterator[Pipe]:
    pipe = Pipe(host)
    yield pipe
    pipe.close()


class Heard:
    """What was fired, and an event for each."""

    def __init__(self) -> None:
        self.masks: list[int] = []
        self._sender, self._receiver = trio.open_memory_channel[int](100)

    def __call__(self, mask: int = 0) -> None:
        self.masks.append(mask)
        self._sender.send_nowait(mask)

    async def next(self) -> int:
        with trio.fail_after(10):
            return await self._receiver.receive()


@pytest.mark.parametrize("clock", [time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME, time.CLOCK_REALTIME])
async def test_a_timer_of_each_clock(host: LocalHost, clock: int) -> None:
    fired, when = Heard(), host.timers.now(clock) + 2_000_000
    host.timers.at(clock, when, fired)
    await fired.next()
    assert time.clock_gettime_ns(clock) >= when


async def test_timers_fire_in_the_order_of_their_times(host: LocalHost) -> None:
    fired, now = Heard(), host.timers.now(MONOTONIC)
    for delay in (3, 1, 2, 1):
        host.timers.at(MONOTONIC, now + delay * 1_000_000, lambda delay=delay: fired(delay))
    for _ in range(4):
        await fired.next()
    assert fired.masks == [1, 1, 2, 3]


async def test_a_timer_set_by_a_timer(host: LocalHost) -> None:
    fired = Heard()
    host.timers.at(MONOTONIC, 0, lambda: host.timers.at(MONOTONIC, 0, fired))
    await fired.next()


async def test_the_first_timer_is_cancelled(host: LocalHost) -> None:
    fired, now = Heard(), host.timers.now(MONOTONIC)
    first = host.timers.at(MONOTONIC, now + 1_000_000, lambda: fired(1))
    host.timers.at(MONOTONIC, now + 2_000_000, lambda: fired(2))
    assert first.cancel()
    assert not first.cancel()
    assert await fired.next() == 2


def test_a_timer_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    heap, fired = Heap(), []
    heap.push(1, lambda: 1 // 0)
    heap.push(2, lambda: fired.append(2))
    assert not heap.fire(5, -1)
    assert fired == [2]
    assert "a timer failed" in caplog.text
    caplog.clear()


def test_a_heap_gives_others_a_turn() -> None:
    heap, fired = Heap(), []
    for n in range(5):
        heap.push(n, lambda n=n: fired.append(n))
    assert heap.fire(10, 3)
    assert fired == [0, 1, 2]
    assert not heap.fire(10, 3)
    assert fired == [0, 1, 2, 3, 4]


async def test_masks_now(host: LocalHost, pipe: Pipe) -> None:
    assert host.poller.mask(pipe.file(pipe.writer), EPOLLOUT | EPOLLIN) == EPOLLOUT
    assert host.poller.mask(pipe.file(pipe.reader), EPOLLIN) == 0
    os.write(pipe.writer, b"x")
    assert host.poller.mask(pipe.file(pipe.reader), EPOLLIN) == EPOLLIN


async def test_every_edge_is_told_until_the_watch_ends(host: LocalHost, pipe: Pipe) -> None:
    heard = Heard()
    watch = host.poller.watch(pipe.file(pipe.reader), EPOLLIN | EPOLLET, heard)
    for _ in range(3):
        os.write(pipe.writer, b"x")
        assert await heard.next() == EPOLLIN
    assert watch.cancel()
    assert not watch.cancel()
    os.write(pipe.writer, b"x")
    host.poller.dispatch()
    assert len(heard.masks) == 3


async def test_an_event_that_is_over_is_told(host: LocalHost, pipe: Pipe) -> None:
    heard = Heard()
    watch = host.poller.watch(pipe.file(pipe.reader), EPOLLIN | EPOLLET | EPOLLONESHOT, heard)
    os.write(pipe.writer, b"x")
    os.read(pipe.reader, 1)
    assert not watch.cancel()
    host.poller.dispatch()
    assert heard.masks == [EPOLLIN]
    assert not watch.cancel()


async def test_events_are_told_in_their_order_and_of_one_file_the_last_watch_first(
    host: LocalHost, pipe: Pipe
) -> None:
    other, told = Pipe(host), []
    events = EPOLLIN | EPOLLET | EPOLLONESHOT
    for one, name in ((pipe, "a"), (pipe, "b"), (other, "c"), (other, "d")):
        host.poller.watch(one.file(one.reader), events, lambda mask, name=name: told.append(name))
    for one in (other, pipe):
        os.write(one.writer, b"x")
    host.poller.dispatch()
    assert told == ["d", "c", "b", "a"]
    other.close()


class Told:
    """A watcher whose thread has told of something, of which nobody wants to hear any more."""

    def __init__(self) -> None:
        self._told = os.eventfd(1)
        self.fileno = lambda: self._told

    def add(self, fd: int, events: int, once: bool, aio: bool, late: bool) -> int:
        return 1

    def remove(self, key: int) -> bool:
        return True

    def before_wait(self, sleeps: bool) -> None: ...

    def collect(self, woken: bool) -> list[tuple[int, int, int]]:
        return [(os.eventfd_read(self._told), EPOLLIN, 1)]

    def close(self) -> None:
        os.close(self._told)


async def test_what_nobody_is_left_to_hear_does_not_keep_the_loop_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "Watcher", Told)
    poller = EpollPoller()
    reader, writer = os.pipe()
    poller.watch(reader, EPOLLIN | EPOLLET, lambda mask: None).cancel()
    with trio.fail_after(30):
        await trio.testing.wait_all_tasks_blocked(0.01)
    os.close(reader)
    os.close(writer)


async def test_of_a_lasting_watch_too(host: LocalHost, pipe: Pipe) -> None:
    heard = Heard()
    watch = host.poller.watch(pipe.file(pipe.reader), EPOLLIN | EPOLLET, heard)
    for _ in range(3):
        os.write(pipe.writer, b"x")
        os.read(pipe.reader, 1)
        assert await heard.next() == EPOLLIN
    assert watch.cancel()


async def test_a_watch_that_is_cancelled_lets_go_of_its_file(host: LocalHost) -> None:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    file = host.adopt(reader)
    watch = host.poller.watch(file, EPOLLIN | EPOLLET | EPOLLONESHOT, Heard())
    assert watch.cancel()
    host.poller.settle()
    file.close()
    with pytest.raises(BrokenPipeError):
        os.write(writer, b"x")
    os.close(writer)


async def test_more_watches_than_one_context_holds(host: LocalHost, pipe: Pipe) -> None:
    file, told = pipe.file(pipe.reader), []
    for _ in range(5000):
        host.poller.watch(file, EPOLLIN | EPOLLET | EPOLLONESHOT, told.append)
    os.write(pipe.writer, b"x")
    with trio.fail_after(10):
        while len(told) < 5000:
            await trio.lowlevel.checkpoint()
    assert told == [EPOLLIN] * 5000


async def test_one_look_tells_all_there_is(host: LocalHost) -> None:
    pipes, told = [Pipe(host) for _ in range(300)], []
    watches = [host.poller.watch(one.file(one.reader), EPOLLIN | EPOLLET, told.append) for one in pipes]
    for one in pipes:
        os.write(one.writer, b"x")
    host.poller.dispatch()
    assert told == [EPOLLIN] * 300
    for watch, one in zip(watches, pipes, strict=True):
        watch.cancel()
        one.close()


async def test_a_file_with_two_wait_queues_is_watched_all_the_same(host: LocalHost, tmp_path) -> None:
    os.mkfifo(tmp_path / "fifo")
    file, heard = host.adopt(os.open(tmp_path / "fifo", os.O_RDWR)), Heard()
    watch = host.poller.watch(file, EPOLLIN | EPOLLET | EPOLLONESHOT, heard)
    os.write(file.fd, b"x")
    assert await heard.next() == EPOLLIN
    watch.cancel()
    file.close()


async def test_the_same_descriptor_is_watched_twice(host: LocalHost, pipe: Pipe) -> None:
    heard, file = Heard(), pipe.file(pipe.reader)
    watches = [host.poller.watch(file, EPOLLIN | EPOLLET, heard) for _ in range(2)]
    os.write(pipe.writer, b"x")
    assert [await heard.next() for _ in watches] == [EPOLLIN, EPOLLIN]
    assert [watch.cancel() for watch in watches] == [True, True]


async def test_many_watches_of_one_open_file_cost_one_descriptor(host: LocalHost, pipe: Pipe) -> None:
    heard, poller = [Heard() for _ in range(4)], host.poller
    other = os.open(f"/proc/self/fd/{pipe.reader}", os.O_RDONLY)  # the same pipe, not the same open file
    files, watches = [pipe.file(pipe.reader)], []
    watches.append(poller.watch(files[0], EPOLLIN | EPOLLET, heard[0]))
    before = len(os.listdir("/proc/self/fd"))
    for fire in heard[1:]:
        files.append(poller.same(pipe.file(pipe.reader)))
        watches.append(poller.watch(files[-1], EPOLLIN | EPOLLET, fire))
    assert len(os.listdir("/proc/self/fd")) == before
    assert all(file is files[0] for file in files)
    another = pipe.file(other)
    assert poller.same(another) is another
    os.write(pipe.writer, b"x")
    assert [await one.next() for one in heard] == [EPOLLIN] * 4
    late = Heard()
    watches.append(poller.watch(files[0], EPOLLIN | EPOLLET, late))
    poller.dispatch()
    assert late.masks == [EPOLLIN]
    assert [len(one.masks) for one in heard] == [1] * 4
    assert watches[0].cancel()
    os.write(pipe.writer, b"x")
    assert await heard[1].next() == EPOLLIN
    assert [len(one.masks) for one in heard] == [1, 2, 2, 2]
    for watch in watches[1:]:
        watch.cancel()
    for file in [*files, another]:
        file.close()
    assert files[0].fd < 0
    os.close(other)


async def test_an_exclusive_wake_up_reaches_one(host: LocalHost, pipe: Pipe) -> None:
    heard = [Heard(), Heard(), Heard()]
    events = EPOLLIN | EPOLLET | EPOLLEXCLUSIVE
    watches = [host.poller.watch(pipe.file(pipe.reader), events, fire) for fire in heard]
    os.write(pipe.writer, b"x")
    await heard[0].next()
    host.poller.dispatch()
    assert [len(one.masks) for one in heard] == [1, 0, 0]
    watches[0].cancel()
    os.write(pipe.writer, b"x")
    await heard[1].next()
    assert [len(one.masks) for one in heard] == [1, 1, 0]
    for watch in watches[1:]:
        watch.cancel()


async def test_a_file_that_cannot_be_watched(host: LocalHost, tmp_path) -> None:
    file = host.adopt(os.open(tmp_path, os.O_RDONLY))
    with pytest.raises(UringError) as caught:
        host.poller.watch(file, EPOLLIN, Heard())
    assert caught.value.errno == errno.EPERM
    file.close()


async def test_an_epoll_instance_is_polled_in_a_thread(host: LocalHost, pipe: Pipe) -> None:
    with select.epoll() as epoll:
        epoll.register(pipe.reader, EPOLLIN)
        file = pipe.file(epoll.fileno())
        assert host.poller.mask(file, EPOLLIN) is None
        assert await host.poller.ask(file, EPOLLIN) == 0
        os.write(pipe.writer, b"x")
        with trio.fail_after(10):
            assert await host.poller.wait(file, EPOLLIN) == EPOLLIN
        events = await host.poller.epoll_wait(file, 4)
        assert struct.unpack("<IiI", events)[:2] == (EPOLLIN, pipe.reader)


async def test_an_epoll_instance_is_watched_in_a_thread(host: LocalHost, pipe: Pipe) -> None:
    begun, heard, refused = trio.Event(), Heard(), Heard()
    with select.epoll() as epoll:
        epoll.register(pipe.reader, EPOLLIN)
        file = pipe.file(epoll.fileno())
        watch = host.poller.watch_slowly(file, EPOLLIN | EPOLLET, begun.set, heard, refused)
        for _ in range(3):
            os.write(pipe.writer, b"x")
            assert await heard.next() == EPOLLIN
        assert watch.cancel()
        assert not watch.cancel()
        os.write(pipe.writer, b"x")
    assert refused.masks == []


async def test_watches_in_threads_hold_up_no_polls_in_threads(host: LocalHost, pipe: Pipe) -> None:
    file, before = pipe.file(pipe.reader), len(os.listdir("/proc/self/fd"))
    begun = [trio.Event() for _ in range(MAX_BLOCKING + 10)]
    watches = [host.poller.watch_slowly(file, EPOLLIN | EPOLLET, one.set, Heard(), Heard()) for one in begun]
    os.write(pipe.writer, b"x")
    with trio.fail_after(10):
        assert await host.poller.ask(file, EPOLLIN) == EPOLLIN
        for watch, one in zip(watches, begun, strict=True):
            watch.cancel()
            await one.wait()
        while len(os.listdir("/proc/self/fd")) > before:
            await trio.lowlevel.checkpoint()


async def test_polls_in_threads_hold_up_no_epoll_ctl(host: LocalHost, pipe: Pipe) -> None:
    events, begun = EPOLLIN | EPOLLET | EPOLLONESHOT, [trio.Event() for _ in range(MAX_BLOCKING + 10)]
    file = pipe.file(pipe.reader)
    watches = [host.poller.watch_slowly(file, events, one.set, Heard(), Heard()) for one in begun]
    with select.epoll() as epoll, trio.fail_after(30):
        event = struct.pack("<IQ", EPOLLIN, 7)
        await host.poller.epoll_ctl(pipe.file(epoll.fileno()), 1, file, pipe.reader, event)
        for watch, one in zip(watches, begun, strict=True):
            watch.cancel()
            await one.wait()


async def test_what_has_no_events_is_not_watched(host: LocalHost) -> None:
    file, refused = host.adopt(os.open("/dev/null", os.O_RDWR)), Heard()
    begun = trio.Event()
    watch = host.poller.watch_slowly(file, EPOLLIN | EPOLLET, begun.set, Heard(), refused)
    assert await refused.next() == EPOLLIN
    assert not watch.cancel()
    with trio.fail_after(30):
        await begun.wait()
    file.close()


@pytest.mark.parametrize("events", [EPOLLIN | EPOLLET, EPOLLIN | EPOLLET | EPOLLONESHOT])
async def test_an_event_of_an_epoll_instance_counts_though_it_is_over(
    host: LocalHost, pipe: Pipe, events: int
) -> None:
    begun, heard = trio.Event(), Heard()
    with select.epoll() as epoll:
        epoll.register(pipe.reader, EPOLLIN)
        watch = host.poller.watch_slowly(pipe.file(epoll.fileno()), events, begun.set, heard, Heard())
        with trio.fail_after(30):
            await begun.wait()
        os.write(pipe.writer, b"x")
        os.read(pipe.reader, 1)
        assert epoll.poll(0) == []
        assert await heard.next() == EPOLLIN
        watch.cancel()


def test_what_is_in_an_epoll_instance() -> None:
    with select.epoll() as epoll, tempfile.TemporaryFile() as file:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        epoll.register(reader, EPOLLIN)
        of_pipes = os.fstat(reader)
        assert members(epoll.fileno(), of_pipes.st_dev) == [of_pipes.st_ino]
        assert members(epoll.fileno(), os.fstat(file.fileno()).st_dev) == []
        os.close(reader)
        os.close(writer)


async def test_a_poll_in_a_thread_is_cancelled(host: LocalHost, pipe: Pipe) -> None:
    file = pipe.file(pipe.reader)
    before = set(os.listdir("/proc/self/fd"))
    with trio.fail_after(10), trio.move_on_after(0.01) as scope:
        await host.poller.wait(file, EPOLLIN)
    assert scope.cancelled_caught
    with trio.fail_after(10):
        while len(set(os.listdir("/proc/self/fd")) - before) > 1:  # the listing's own
            await trio.lowlevel.checkpoint()


async def test_a_poll_is_cancelled_before_it_has_a_thread(host: LocalHost, pipe: Pipe) -> None:
    file = pipe.file(pipe.reader)
    before = len(os.listdir("/proc/self/fd"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await host.poller.wait(file, EPOLLIN)
    assert scope.cancelled_caught
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_hang_up_ends_a_poll_in_a_thread(host: LocalHost) -> None:
    ours, theirs = socket.socketpair()
    file = host.adopt(ours.detach())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, theirs.close)
        with trio.fail_after(10):
            assert await host.poller.wait(file, EPOLLOUT << 3) & EPOLLHUP
    file.close()


async def test_epoll_ctl_under_another_number(host: LocalHost, pipe: Pipe) -> None:
    with select.epoll() as epoll:
        event = struct.pack("<IQ", EPOLLIN, 77)
        await host.poller.epoll_ctl(pipe.file(epoll.fileno()), 1, pipe.file(pipe.reader), pipe.reader, event)
        os.write(pipe.writer, b"x")
        assert epoll.poll(0) == [(77, EPOLLIN)]
        epoll.unregister(pipe.reader)
        assert epoll.poll(0) == []
        with pytest.raises(UringError) as caught:
            await host.poller.epoll_ctl(pipe.file(epoll.fileno()), 3, pipe.file(pipe.reader), 0, event)
        assert caught.value.errno == errno.ENOENT


def address_of(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def test_what_is_shared_and_what_is_not(tmp_path) -> None:
    (tmp_path / "file").write_bytes(bytes(8192))
    with open(tmp_path / "file", "r+b") as file:
        shared = mmap.mmap(file.fileno(), 8192)
        again = mmap.mmap(file.fileno(), 4096, offset=4096)
        private = mmap.mmap(file.fileno(), 4096, flags=mmap.MAP_PRIVATE)
    found = sharedmem.find(os.getpid(), address_of(shared) + 4096 + 8)
    assert found is not None
    other = sharedmem.find(os.getpid(), address_of(again) + 8)
    assert other is not None
    assert found[0] == other[0]
    assert found[0].offset == 4104
    assert sharedmem.find(os.getpid(), address_of(private)) is None
    assert sharedmem.find(os.getpid(), 0) is None


async def test_pending_signals_of_a_caller(host: LocalHost) -> None:
    own = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2})
    fd = libc.signalfd(-1, struct.pack("<Q", 1 << signal.SIGUSR1 - 1), os.O_CLOEXEC)
    file, heard = host.adopt(fd), Heard()
    caller = host.caller(threading.get_native_id(), os.getuid(), os.getgid())
    assert file.signalfd()
    watch = host.signals.watch(caller, file, heard)
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)  # other threads do not block it
    assert not host.signals.pending(caller, file)
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
    assert await heard.next() == EPOLLIN
    assert host.signals.pending(caller, file)
    assert watch.cancel()
    assert not watch.cancel()
    for _ in range(2):
        signal.sigtimedwait({signal.SIGUSR1, signal.SIGUSR2}, 1)
    signal.pthread_sigmask(signal.SIG_SETMASK, own)
    file.close()
