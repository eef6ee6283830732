"""Virtual time: clocks that jump to the next timer when everything waits.

A jump is right if nothing but a timer could have happened next. Three things are looked at for that: the
program, whose threads must all be asleep without a time limit of their own (process/asleep.py); this daemon, which
must have been idle for a moment, with no message unread, no call in a thread and no look due at what tells nobody
that it changes; and the requests that pend. The program is looked at before that moment and behind it: if none of
its threads has run in between, all of it waited at once.
"""

import time
from collections.abc import Callable, Iterable

import trio
from trio.testing import wait_all_tasks_blocked

from uringfs.host.events.timers import LocalTimers
from uringfs.host.process.asleep import Snapshot, asleep
from uringfs.host.threads import calls

IDLE = 0.0003
"""Seconds for which the daemon has to do nothing."""
FIRST_PAUSE, LAST_PAUSE = 0.0005, 0.02
"""Seconds between two looks at a program that goes on."""


class Jumps:
    """The jumps of one host's timers."""

    def __init__(
        self,
        timers: LocalTimers,
        pauses: LocalTimers,
        processes: Callable[[], Iterable[int]],
        quiet: Callable[[], bool],
    ) -> None:
        """pauses: of whoever looks again and again; they go on in real time. processes: the program. quiet: no
        request pends that could be complete by itself."""
        self._timers = timers
        self._pauses = pauses
        self._processes = processes
        self._quiet = quiet
        self.made = 0

    async def run(self) -> None:
        """For ever."""
        pause = FIRST_PAUSE
        while True:
            if self._timers.ahead() is None:
                self._timers.armed = trio.Event()
                await self._timers.armed.wait()
                pause = FIRST_PAUSE
            if await self._everything_waits():
                self._timers.jump()
                self.made += 1
                pause = FIRST_PAUSE
            else:
                await trio.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE)

    async def _everything_waits(self) -> bool:
        await wait_all_tasks_blocked(IDLE)
        before = self._program()
        if before is None:
            return False
        await self._looks()
        await wait_all_tasks_blocked(IDLE)
        return self._timers.ahead() is not None and self._program() == before

    def _program(self) -> Snapshot | None:
        return asleep(self._processes()) if self._quiet() and not calls.going_on else None

    async def _looks(self) -> None:
        """Let everybody look once who looks again and again."""
        last = self._pauses.last()
        if last is None:
            return
        looked = trio.Event()
        self._pauses.at(time.CLOCK_MONOTONIC, last, looked.set)
        await looked.wait()
