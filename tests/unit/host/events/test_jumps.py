"""Clocks that jump when everything waits: timers of hours, and a program that is a thread of another process."""

import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from uringfs.host.events.jumps import Jumps
from uringfs.host.events.timers import NSEC, LocalTimers
from uringfs.host.threads import in_thread

HOUR = 3600 * NSEC
CLOCK = time.CLOCK_MONOTONIC


class Clocks:
    """Timers that jump, and what they have fired."""

    def __init__(self) -> None:
        self.timers = LocalTimers()
        self.pauses = LocalTimers()
        self.fired: list[str] = []

    def after(self, delay: int, name: str, clock: int = CLOCK) -> trio.Event:
        done = trio.Event()

        def fire() -> None:
            self.fired.append(name)
            done.set()

        self.timers.at(clock, self.timers.now(clock) + delay, fire)
        return done

    def jumps(self, *processes: int, quiet: bool = True) -> Jumps:
        return Jumps(self.timers, self.pauses, lambda: processes, lambda: quiet)


def started(*command: str) -> Iterator[int]:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        yield process.pid
        process.kill()


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process that waits for nothing that time brings."""
    yield from started("cat")


@pytest.fixture(params=["sleep 1000", "exec sh -c 'while :; do :; done'"], ids=["sleeps", "computes"])
def goer(request: pytest.FixtureRequest) -> Iterator[int]:
    yield from started("sh", "-c", request.param)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


async def test_timers_of_all_clocks_come_in_their_order(
    clocks: Clocks, sleeper: int, nursery: trio.Nursery
) -> None:
    last = clocks.after(3 * HOUR, "three")
    clocks.after(HOUR, "one", time.CLOCK_BOOTTIME)
    clocks.after(2 * HOUR, "two", time.CLOCK_REALTIME)
    nursery.start_soon(clocks.jumps(sleeper).run)
    with trio.fail_after(60):
        await last.wait()
    assert clocks.fired == ["one", "two", "three"]
    assert clocks.timers.skew > 2 * HOUR
    assert clocks.timers.now(CLOCK) >= time.clock_gettime_ns(CLOCK) + 2 * HOUR


async def test_a_timer_that_was_set_later(clocks: Clocks, sleeper: int, nursery: trio.Nursery) -> None:
    nursery.start_soon(clocks.jumps(sleeper).run)
    with trio.fail_after(60):
        await clocks.after(HOUR, "one").wait()
        await clocks.after(HOUR, "two").wait()
    assert clocks.timers.skew > HOUR


async def test_a_clients_absolute_time_is_as_far_ahead_as_before(clocks: Clocks) -> None:
    clocks.after(HOUR, "one")
    clocks.timers.jump()
    assert clocks.fired == ["one"]
    when = time.clock_gettime_ns(CLOCK) + HOUR
    clocks.timers.at(CLOCK, clocks.timers.absolute(when), lambda: None)
    ahead = clocks.timers.ahead()
    assert ahead is not None
    assert HOUR - 60 * NSEC < ahead <= HOUR


async def test_no_jump_while_the_program_goes_on(clocks: Clocks, goer: int) -> None:
    clocks.after(HOUR, "one")
    await attempts(clocks.jumps(goer))
    assert clocks.timers.skew == 0


async def test_no_jump_while_something_pends(clocks: Clocks, sleeper: int) -> None:
    clocks.after(HOUR, "one")
    await attempts(clocks.jumps(sleeper, quiet=False))
    assert clocks.timers.skew == 0


async def test_no_jump_while_a_thread_makes_a_call(clocks: Clocks, sleeper: int, nursery: trio.Nursery) -> None:
    clocks.after(HOUR, "one")
    release = threading.Event()
    nursery.start_soon(in_thread, release.wait)
    await trio.testing.wait_all_tasks_blocked()
    await attempts(clocks.jumps(sleeper))
    assert clocks.timers.skew == 0
    release.set()


async def test_whoever_looks_again_has_looked_before_a_jump(
    clocks: Clocks, sleeper: int, nursery: trio.Nursery
) -> None:
    looked: list[int] = []
    clocks.pauses.at(CLOCK, time.clock_gettime_ns(CLOCK) + NSEC // 20, lambda: looked.append(clocks.timers.skew))
    done = clocks.after(HOUR, "one")
    nursery.start_soon(clocks.jumps(sleeper).run)
    with trio.fail_after(60):
        await done.wait()
    assert looked == [0]


async def attempts(jumps: Jumps) -> None:
    """Let it look a few times."""
    with trio.move_on_after(0.2):
        await jumps.run()
