"""A ring whose requests trio tasks await.

async with TrioRing("/mnt/uring/new") as ring:
    fd = await ring.perform(prep.openat("/etc/hostname"))
"""

import os
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import trio

from uringfs.abi.structs import Cqe
from uringfs.client.request import Request
from uringfs.client.ring import Ring
from uringfs.client.tickets import Ticket, Tickets


class TrioRing:
    """Usable within `async with`, whose end cancels what pends."""

    def __init__(self, path: str | os.PathLike[str], entries: int = 64, **options: Any) -> None:
        """options: as of Ring."""
        self.ring = Ring(path, entries, **options)
        self._tickets = Tickets(self.ring)
        self._scope = trio.CancelScope()

    async def perform(self, request: Request) -> int:
        """Submit it and wait for its completion: its result, or OSError. A checkpoint. Cancelled, it cancels the
        request and waits for its end, for its buffers are in use until then. user_data is the ring's own."""
        (ticket,) = await self._complete((request,))
        return ticket.result()

    async def perform_linked(self, *requests: Request) -> list[Cqe]:
        """A chain (IOSQE_IO_LINK): the CQE of each; a failure ends it, the rest get -ECANCELED."""
        return [ticket.first() for ticket in await self._complete(requests)]

    async def _complete(self, requests: tuple[Request, ...]) -> list[Ticket]:
        await trio.lowlevel.checkpoint_if_cancelled()
        events: list[trio.Event] = []

        def done() -> Callable[[], None]:
            events.append(trio.Event())
            return events[-1].set

        tickets = self._tickets.start(requests, done)
        try:
            await self._all(events)
        except trio.Cancelled:
            self._tickets.cancel(tickets)
            with trio.CancelScope(shield=True):
                await self._all(events)
            raise
        return tickets

    @staticmethod
    async def _all(events: list[trio.Event]) -> None:
        for event in events:
            await event.wait()

    async def _serve(self) -> None:
        with self._scope:
            try:
                while True:
                    await trio.lowlevel.wait_readable(self.ring.pollable())
                    self._tickets.attend()
            except OSError as error:  # the daemon is gone
                self._tickets.end(error)

    async def __aenter__(self) -> Self:
        trio.lowlevel.spawn_system_task(self._serve)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scope.cancel()
        trio.lowlevel.notify_closing(self.ring.pollable())
        self.ring.close()
        self._tickets.end()
