"""Requests that wait because a rule says so, before they begin or with their result in hand, and the stalls and
windows that many of them wait in."""

import random
import time
from collections.abc import Callable
from functools import partial

from uringfs.engine.request import IOU_ISSUE_SKIP_COMPLETE, Issue, Outcome, Request, RingContext
from uringfs.faults.given import Postponed
from uringfs.host.threads import calls

WINDOW = 10_000_000
"""ns that completions wait for others to change their order with."""
MOST_WINDOWS = 200
"""Such times at most, while calls are made that may complete others."""
Perform = Callable[[Request], Outcome]


class Stall:
    """Nothing of a ring begins or completes. ended: forgets it."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self.request = None
        self.waiting: list[Postponed] = []

    def go(self) -> None:
        """Let go what was held, in the order it came."""
        self._ended()
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one.go()


FindStall = Callable[[RingContext], Stall | None]


class Begin:
    """A request that is issued, as the engine sees it, and whose op has not begun. Cancellable."""

    def __init__(self, request: Request, perform: Perform, stall_of: FindStall) -> None:
        self.request = request
        self._perform = perform
        self._stall_of = stall_of
        self._over = False

    def outcome(self) -> Issue:
        """What the request's issue comes to. ESRCH."""
        self.request.caller = self.request.caller.detached()
        self.request.disarm = self._disarm
        return IOU_ISSUE_SKIP_COMPLETE

    def _disarm(self) -> bool:
        over, self._over = self._over, True
        return not over

    def go(self) -> None:
        if self._over:
            return
        stall = self._stall_of(self.request.context)
        if stall is not None:
            stall.waiting.append(self)
            return
        self._over = True
        self.request.context.resume(self.request, self._perform)


class HeldEnd:
    """A request that is all but complete, and held. passing: told before complete() is called again."""

    def __init__(
        self,
        request: Request,
        result: tuple[int, bool | None],
        stall_of: FindStall,
        passing: Callable[[Request], None],
    ) -> None:
        self.request = request
        self._result = result
        self._stall_of = stall_of
        self._passing = passing
        self._over = False

    def go(self) -> None:
        context = self.request.context
        if self._over or context.closed:
            return
        stall = self._stall_of(context)
        if stall is not None:
            stall.waiting.append(self)
            return
        self._over = True
        self._passing(self.request)
        context.complete(self.request, *self._result)


class Window:
    """Completions of one ring that are to change their order. chance: by the number of the first request. ended:
    forgets it."""

    def __init__(
        self,
        context: RingContext,
        room: int,
        chance: Callable[[int], random.Random],
        ended: Callable[[], None],
    ) -> None:
        self._context = context
        self._room = room
        self._chance = chance
        self._ended = ended
        self.request = None
        self._waiting: list[tuple[int, Postponed]] = []
        self._over = False

    def add(self, number: int, one: Postponed) -> None:
        """number: of the request among those that match. By it, and not by who was the quickest, they are sorted
        before they are shuffled: the order is chance's alone."""
        self._waiting.append((number, one))
        if len(self._waiting) >= self._room:
            self.go()

    def open(self, times: int = MOST_WINDOWS) -> None:
        """Wait for others, times * WINDOW at most. How long a disk takes must not decide about the order: while
        calls are being made in threads the time is not over."""
        timers = self._context.host.timers
        when = timers.now(time.CLOCK_MONOTONIC) + WINDOW
        timers.at(time.CLOCK_MONOTONIC, when, partial(self._time_is_over, times - 1))

    def _time_is_over(self, times: int) -> None:
        if self._over or self._context.closed:
            return
        if calls.going_on and times:
            self.open(times)
        else:
            self._context.task_work(self.go)  # so that all are seen at once

    def look(self) -> None:
        """To be called after the batch: find out whether anything else is under way that could come."""
        if self._waiting and not self._context.issued():
            self.go()

    def go(self) -> None:
        self._ended()
        self._over = True
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        waiting.sort(key=lambda entry: entry[0])
        self._chance(waiting[0][0]).shuffle(waiting)
        for _, one in waiting:
            one.go()
