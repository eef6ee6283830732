"""Task work: what is done behind a batch, or behind a completion, and never in the middle of one.

The normal kind is done at once, or when the batch has been submitted (io_req_normal_work_add(),
io_run_task_work()). With IORING_SETUP_DEFER_TASKRUN what completes behind a submission is done in an enter with
GETEVENTS, in the order it came, and no data is taken from a file before (io_req_local_work_add(),
io_run_local_work())."""

from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

from uringfs.engine.request import Request
from uringfs.ring.ring import Ring

Result = TypeVar("Result")
STEPS = 3  # of the scheduler, in which a task that may go on has taken its data


class WaitingEnter(Protocol):
    """An enter that waits."""

    def satisfied(self) -> bool: ...


class TaskWork:
    """The normal kind of task work of one ring. It is done in a loop, for a chain may be as long as the ring, and
    each of its requests may end while it is being started."""

    def __init__(self, more: Callable[[], bool], after: Callable[[], None]) -> None:
        """more: puts into the queue what may be done by now; False if there is nothing. after: follows each
        pass."""
        self.queue: deque[Callable[[], None]] = deque()
        self.running = False
        """The work is being done, or will be: after the batch that is being submitted."""
        self._more = more
        self._after = after

    def run(self) -> None:
        """io_run_task_work()"""
        if self.running:
            return
        self.running = True
        try:
            while self.queue or self._more():
                for _ in range(len(self.queue)):
                    self.queue.popleft()()
                self._after()
        finally:
            self.running = False


class LocalWork:
    """Task work of a ring with IORING_SETUP_DEFER_TASKRUN. after: publishes what a pass has posted, and starts
    what it has let go."""

    def __init__(self, ring: Ring, after: Callable[[], None]) -> None:
        self._ring = ring
        self._after = after
        self._queue: deque[Callable[[], None]] = deque()
        self._wait: WaitingEnter | None = None
        self._running = self._runs = self._closed = False
        self._letting_go_on = False
        self._coming: set[Request] = set()
        """Whose tasks are about to be complete."""
        self._owing: set[Request] = set()
        """Which have been woken by the ring's own eventfd: it is signalled for them once they are complete."""
        self._working: set[Request] = set()
        """Whose tasks have been let go on, and have not come to their next wait."""

    @property
    def in_call(self) -> bool:
        """Work is done in a call of the client's: the ring is open."""
        return self._runs or self._letting_go_on or self._wait is not None

    def add(self, work: Callable[[], None], quiet: bool = False) -> None:
        """quiet: the ring's eventfd is not signalled."""
        if self._closed:
            work()
            return
        self._queue.append(work)
        self._tell(quiet)
        self._pump()

    def expect(self, request: Request) -> None:
        """Expect a request whose task has been cancelled: it will be complete in a moment."""
        if not self._closed:
            self._coming.add(request)
            self._tell()

    def _tell(self, quiet: bool = False) -> None:
        if not self._ring.has_work:
            self._ring.has_work = True
            self._ring.show_work()
            if self._ring.eventfd is not None and not quiet:
                self._ring.eventfd.task_work()
            if self._ring.lane is not None:
                self._ring.lane.attend()
            for waiter in self._ring.waiters:  # who polls the ring
                waiter.completions()

    async def turn(self, request: Request) -> None:
        """Wait until the task of this request may take data, and complete."""
        turn = trio.Event()
        request.context.woken.discard(request)

        def go_on() -> None:
            if request.scope is not None and not request.scope.cancel_called:
                self._working.add(request)
            turn.set()

        # What a signal of the ring's own eventfd wakes does not signal it again there and then: the kernel puts
        # that off (eventfd_signal_allowed(), io_eventfd_do_signal()), and whoever reads the eventfd finds one.
        eventfd, file = self._ring.eventfd, request.target
        own = eventfd is not None and file is not None and bool(eventfd.signals(file))
        if own:
            self._owing.add(request)
        self.add(go_on, quiet=own)
        await turn.wait()

    def waits(self, request: Request) -> None:
        """The task of this request waits again: turn() comes before it does anything further."""
        self._working.discard(request)

    def complete(self, request: Request, work: Callable[[], None]) -> None:
        """The request is complete: work says so, now if its task has been let go on."""
        self._coming.discard(request)
        if request in self._owing:
            self._owing.remove(request)
            if self._ring.eventfd is not None:
                self._ring.eventfd.task_work()
        if request in self._working:
            self._working.remove(request)
            work()
            self._after()
        else:
            self.add(work)

    def run(self, min_events: int) -> None:
        """One pass, or more until so much has been done. Before it wait for what is coming(), behind it for what
        is going_on()."""
        done = 0
        self._runs = True
        while self._queue and (not done or done < min_events):
            done += self._pass()
        self._runs = False

    def coming(self) -> bool:
        """Tasks are about to complete requests."""
        return bool(self._coming)

    def going_on(self) -> bool:
        """Tasks of requests have been let go on."""
        return bool(self._working)

    async def run_what_comes(self, min_events: int, then: Callable[[], Result]) -> Result:
        """Give tasks a moment in which they complete what is coming(), and run()."""
        await self._steps(self._coming)
        self.run(min_events)
        return await self.until_gone_on(then)

    async def until_gone_on(self, then: Callable[[], Result]) -> Result:
        """Give tasks a moment in which they complete what is going_on()."""
        await self._steps(self._working)
        return then()

    async def _steps(self, some: set[Request]) -> None:
        self._letting_go_on = True
        for _ in range(STEPS):
            if some:
                await trio.lowlevel.cancel_shielded_checkpoint()
        self._letting_go_on = False

    def _pass(self) -> int:
        queue, self._queue = self._queue, deque()
        self._ring.has_work = False
        self._ring.show_work()
        for work in queue:
            work()
        self._after()
        return len(queue)

    def begin(self, wait: WaitingEnter) -> None:
        """An enter waits: work is done as it comes, until that has enough."""
        self._wait = wait
        self._pump()

    def end(self) -> None:
        self._wait = None

    def _pump(self) -> None:
        if self._running or self._wait is None:
            return
        self._running = True
        try:
            while self._queue and not self._wait.satisfied():
                self._pass()
        finally:
            self._running = False

    def close(self) -> None:
        """What is complete has only to be let go."""
        self._closed = True
        while self._queue:
            self._queue.popleft()()
