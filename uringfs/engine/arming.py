"""Requests whose files are polled by threads: they are armed a moment later, and what a client does next must not
come before that."""

import trio

from uringfs.engine.request import Request

LONGEST = 1.0
"""Seconds that a client waits for it: the file may be of somebody who does not answer."""


class Arming:
    """The requests of one ring that are about to be armed."""

    def __init__(self) -> None:
        self._requests: set[Request] = set()
        self._none = trio.Event()

    def __bool__(self) -> bool:
        return bool(self._requests)

    def begin(self, request: Request) -> None:
        if not self._requests:
            self._none = trio.Event()
        self._requests.add(request)

    def done(self, request: Request) -> None:
        """The request is armed, or will not be."""
        self._requests.discard(request)
        if not self._requests:
            self._none.set()

    async def wait(self) -> None:
        """Wait until none is. No cancellation: what a call has submitted stands."""
        with trio.move_on_after(LONGEST, shield=True):
            await self._none.wait()
        self._requests.clear()
