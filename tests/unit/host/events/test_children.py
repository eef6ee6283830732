"""News of real children of this process: ends as they happen, stops and births by their traces."""

import errno
import gc
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from uringfs.host.events.children import ChildWatch, LocalChildren, child_number, children
from uringfs.host.local import LocalHost
from uringfs.host.protocols import File

WEXITED, STOPS = os.WEXITED, os.WSTOPPED | os.WCONTINUED


def spawn(*command: str) -> int:
    return os.posix_spawnp(command[0], command, os.environ)


class Here:
    """Watches children of this process."""

    def __init__(self) -> None:
        self.host = LocalHost()
        self.caller = self.host.caller(os.getpid(), os.getuid(), os.getgid())
        self.news = 0
        self._changed = trio.Event()

    def watch(self, which: int, number: int, options: int = WEXITED) -> ChildWatch:
        return self.host.children.watch(self.caller, which, number, options, self._fire)

    def _fire(self) -> None:
        self.news += 1
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, options: int, pid: int) -> None:
        """News have come, at last such that waitid(2) finds the child."""
        with trio.fail_after(20):
            while True:
                changed = self._changed
                if self.news and os.waitid(os.P_PID, pid, options | os.WNOHANG):
                    return
                await changed.wait()


@pytest.fixture
def child() -> Iterator[int]:
    pid = spawn("sleep", "1000")
    yield pid
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("which", [os.P_PID, os.P_ALL])
async def test_an_end(child: int, which: int) -> None:
    here = Here()
    watch = here.watch(which, child)
    assert here.news == 0
    os.kill(child, signal.SIGKILL)
    await here.until(WEXITED, child)
    assert watch.cancel()
    assert not watch.cancel()
    assert here.host.children.watches == 0


async def test_an_end_before(child: int) -> None:
    here = Here()
    os.kill(child, signal.SIGKILL)
    os.waitid(os.P_PID, child, WEXITED | os.WNOWAIT)
    watch = here.watch(os.P_PID, child)
    await here.until(WEXITED, child)
    watch.cancel()


async def test_stops_however_short(child: int) -> None:
    here = Here()
    watch = here.watch(os.P_PID, child, STOPS)
    os.kill(child, signal.SIGSTOP)
    await here.until(os.WSTOPPED, child)
    here.news = 0
    os.kill(child, signal.SIGCONT)
    await here.until(os.WCONTINUED, child)
    here.news = 0
    os.kill(child, signal.SIGSTOP)
    os.waitid(os.P_PID, child, os.WSTOPPED | os.WNOWAIT)
    os.kill(child, signal.SIGCONT)
    await here.until(os.WCONTINUED, child)
    watch.cancel()


async def test_who_is_born_later(child: int) -> None:
    here = Here()
    watch = here.watch(os.P_ALL, 0)
    pid = spawn("false")
    await here.until(WEXITED, pid)
    watch.cancel()


async def test_a_sleeping_child_is_no_news(child: int, autojump_clock: MockClock) -> None:
    here = Here()
    watch = here.watch(os.P_PID, child)
    assert here.host.children.watches == 1
    assert watch._timer is None  # its end needs no look
    watch.cancel()
    assert here.news == 0


async def test_descriptors_go(child: int) -> None:
    here = Here()
    here.watch(os.P_PID, child).cancel()  # the poller has what it keeps
    gc.collect()  # what other tests have left
    before = len(os.listdir("/proc/self/fd"))
    watches = [here.watch(os.P_PID, child) for _ in range(20)]
    assert len(os.listdir("/proc/self/fd")) == before + 1  # one for all
    for watch in watches:
        watch.cancel()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_without_descriptors_an_end_is_looked_for(child: int) -> None:
    def adopt(fd: int) -> File:
        os.close(fd)
        raise OSError(errno.EMFILE, "no descriptor is free")

    here = Here()
    here.host.children = LocalChildren(here.host.timers, here.host.poller, adopt)
    watch = here.watch(os.P_PID, child)
    os.kill(child, signal.SIGKILL)
    await here.until(WEXITED, child)
    watch.cancel()


async def test_one_that_is_told_cancels_the_others(child: int) -> None:
    here, told = Here(), list[int]()
    watches: list[ChildWatch] = []

    def tell(number: int) -> None:
        told.append(number)
        watches[1 - number].cancel()

    for number in (0, 1):
        fire = partial(tell, number)
        watches.append(here.host.children.watch(here.caller, os.P_PID, child, WEXITED, fire))
    os.kill(child, signal.SIGKILL)
    with trio.fail_after(20):
        while not told:
            await trio.lowlevel.checkpoint()
    await trio.testing.wait_all_tasks_blocked()
    assert told == [0]
    watches[0].cancel()


def test_who_is_a_child(child: int) -> None:
    assert child in children(os.getpid())
    assert child_number(os.getpid(), child) == child
    assert child_number(os.getpid(), os.getppid()) == 0
    assert child_number(os.getpid(), 1) == 0
    assert child_number(os.getpid(), 0x7FFFFFFF) == 0


def test_a_child_in_a_pid_namespace_of_its_parent() -> None:
    """The number its parent knows it by is not ours."""
    if os.getuid() != 0:
        pytest.skip("needs root")
    command = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", "sleep 1000 & echo $!; wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as outer:
        assert outer.stdout is not None
        number = int(outer.stdout.readline())
        (init,) = children(outer.pid)
        (inner,) = children(init)
        assert inner != number
        assert child_number(init, inner) == number
        assert child_number(outer.pid, inner) == 0
        outer.kill()
