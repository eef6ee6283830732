"""Requests that do not start when it is their turn. Held: after those that the kernel performs inline, as it
submits them, and we in a task, for in the kernel all that was submitted before has taken effect (io_queue_sqe()).
WireWaiters: while the wire may say that the ring is closed. Links and drains are elsewhere."""

from collections import deque
from collections.abc import Callable

import trio

from uringfs.engine.request import Holds, Request
from uringfs.host.protocols import Host

PATIENCE = 0.1
"""Seconds: nothing blocks inline (IO_URING_F_NONBLOCK), so what takes longer is io-wq's by then, or polls."""


class Held:
    """The requests of one ring that wait for others to take effect. go_on: starts those that next() gives."""

    def __init__(self, nursery: trio.Nursery, go_on: Callable[[], None]) -> None:
        self._nursery = nursery
        self._go_on = go_on
        self.holders: dict[Request, Holds] = {}
        """Requests under way that others have to wait for."""
        self.waiting: deque[Request] = deque()
        self._watched = False

    def must_wait(self, request: Request) -> bool:
        return bool(self.waiting) or self._is_held(request)

    def _is_held(self, request: Request) -> bool:
        """Requests that fill slots need not wait for each other: their turns keep their order
        (newfile.file_lock())."""
        if not self.holders:
            return False
        return not (request.fills_slot and all(holds is Holds.SLOTS for holds in self.holders.values()))

    def wait(self, request: Request) -> None:
        self.waiting.append(request)
        if not self._watched:
            self._watched = True
            self._nursery.start_soon(self._watch)

    def remove(self, request: Request) -> bool:
        """Take a cancelled request out. False if it does not wait here."""
        if request not in self.waiting:
            return False
        self.waiting.remove(request)
        return True

    def hold(self, request: Request) -> None:
        """Make what comes after this request wait: it was issued, and has not taken effect."""
        if request.holds is not None:
            self.holders[request] = request.holds

    def let_go(self, request: Request) -> None:
        """Let go what waits for this request: it has taken effect, or waits for something else by now."""
        if self.holders.pop(request, None) is not None and self.waiting:
            self._go_on()

    def next(self) -> Request | None:
        """Take the first that may start now; None if there is none."""
        return self.waiting.popleft() if self.waiting and not self._is_held(self.waiting[0]) else None

    async def _watch(self) -> None:
        while self.waiting:
            first = self.waiting[0]
            await trio.sleep(PATIENCE)
            if self.waiting and self.waiting[0] is first:
                self.holders.clear()
                self._go_on()
        self._watched = False


class WireWaiters:
    """Requests that start once the wire is read: until then their ring may have been closed."""

    def __init__(
        self, host: Host, nursery: trio.Nursery, start: Callable[[Request], None], after: Callable[[], None]
    ) -> None:
        """after: called once those have started that waited for the wire."""
        self._host = host
        self._nursery = nursery
        self._start = start
        self._after = after
        self._requests: deque[Request] = deque()

    def __bool__(self) -> bool:
        return bool(self._requests)

    def add(self, request: Request) -> None:
        self._requests.append(request)
        self._nursery.start_soon(self._settle)

    async def _settle(self) -> None:
        await self._host.settled()
        self.start()
        self._after()

    def start(self) -> None:
        """Start them now. A client that enters with the CQE of the one before in hand comes after all of it, as
        it is task work in the kernel, done before io_uring_enter(2) is."""
        while self._requests:
            self._start(self._requests.popleft())
