"""A ring whose requests asyncio tasks await.

async with AsyncioRing("/mnt/uring/new") as ring:
    fd = await ring.perform(prep.openat("/etc/hostname"))
"""

import asyncio
import os
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from uringfs.abi.structs import Cqe
from uringfs.client.request import Request
from uringfs.client.ring import Ring
from uringfs.client.tickets import Ticket, Tickets


class AsyncioRing:
    """A ring for the tasks of the loop that runs when `async with` begins. The end of the block cancels what
    pends."""

    def __init__(self, path: str | os.PathLike[str], entries: int = 64, **options: Any) -> None:
        """options: as of Ring."""
        self.ring = Ring(path, entries, **options)
        self._tickets = Tickets(self.ring)

    async def perform(self, request: Request) -> int:
        """Submit it and await its completion: its result, or OSError. A task that is cancelled meanwhile cancels
        the request and awaits its end, for its buffers are in use until then. user_data is the ring's own."""
        (ticket,) = await self._complete((request,))
        return ticket.result()

    async def perform_linked(self, *requests: Request) -> list[Cqe]:
        """A chain (IOSQE_IO_LINK): the CQE of each; a failure ends it, the rest get -ECANCELED."""
        return [ticket.first() for ticket in await self._complete(requests)]

    async def _complete(self, requests: tuple[Request, ...]) -> list[Ticket]:
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[None]] = []

        def done() -> Callable[[], None]:
            future: asyncio.Future[None] = loop.create_future()
            futures.append(future)
            return lambda: future.set_result(None)

        tickets = self._tickets.start(requests, done)
        everything = asyncio.gather(*futures)
        try:
            await asyncio.shield(everything)
        except asyncio.CancelledError:
            self._tickets.cancel(tickets)
            await asyncio.shield(everything)
            raise
        return tickets

    def _attend(self) -> None:
        try:
            self._tickets.attend()
        except OSError as error:  # the daemon is gone
            asyncio.get_running_loop().remove_reader(self.ring.pollable())
            self._tickets.end(error)

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self.ring.pollable(), self._attend)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self.ring.pollable())
        self.ring.close()
        self._tickets.end()
