"""Requests that wait because a rule says so, before they begin or with their result in hand, and the stalls and
windows that many of them wait in."""

import logging
import random
import time
from collections.abc import Callable

from uringfs.engine.request import IOU_ISSUE_SKIP_COMPLETE, Issue, Outcome, Request, RingContext
from uringfs.faults.given import Postponed

log = logging.getLogger(__name__)

WINDOW = 0.01
"""Seconds that completions wait for others to change their order with, if these wait for an event."""
PATIENCE = 60.0
"""Seconds that they wait for what is at work, and may be so without an end: an open(2) of a fifo, say."""
NSEC = 1_000_000_000
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


Later = Callable[[float, Postponed, RingContext], None]
"""Takes seconds after which something of a ring goes on, once what its client has done before has been read."""


def _is_at_work(request: Request) -> bool:
    """True of an issued request whose task waits for no event."""
    return request.scope is not None and not (request.is_armed or request.polls())


class _Tick:
    """Postponed, of no request."""

    request = None

    def __init__(self, go: Callable[[], None]) -> None:
        self.go = go


class Window:
    """Completions of one ring that are to change their order. chance: by the number of the first request. ended:
    forgets it."""

    def __init__(
        self,
        context: RingContext,
        room: int,
        chance: Callable[[int], random.Random],
        ended: Callable[[], None],
        later: Later,
    ) -> None:
        self._context = context
        self._room = room
        self._chance = chance
        self._later = later
        self._ended = ended
        self.request = None
        self._waiting: list[tuple[int, Postponed]] = []
        self._over = False
        self._opened = 0
        self._tick = _Tick(self._time_is_over)

    def add(self, number: int, one: Postponed) -> None:
        """number: of the request among those that match. By it, and not by who was the quickest, they are sorted
        before they are shuffled: the order is chance's alone."""
        self._waiting.append((number, one))
        if len(self._waiting) >= self._room:
            self.go()

    def open(self) -> None:
        """Wait for others."""
        self._opened = self._now()
        self._later(WINDOW, self._tick, self._context)

    def _now(self) -> int:
        return self._context.host.timers.now(time.CLOCK_MONOTONIC)

    def _time_is_over(self) -> None:
        if self._over or self._context.closed:
            return
        if self._may_still_come():
            self._later(WINDOW, self._tick, self._context)
        else:
            self._context.task_work(self.go)  # so that all are seen at once

    def _may_still_come(self) -> bool:
        """How long a disk takes, or a busy machine until its task goes on, must not decide about the order: what
        ends by itself is waited for."""
        at_work = [request for request in self._context.issued() if _is_at_work(request)]
        if any(request.target is not None and request.target.regular for request in at_work):
            return True
        if not at_work or self._now() - self._opened < PATIENCE * NSEC:
            return bool(at_work)
        log.warning("ring %d: reorder waits no longer for %d requests", self._context.ring.number, len(at_work))
        return False

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
