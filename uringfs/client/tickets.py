"""Requests that tasks of an event loop wait for: which CQE is whose. Knows no loop."""

import errno
from collections.abc import Callable
from itertools import count

from uringfs.abi.constants import IORING_SETUP_SQE_MIXED
from uringfs.abi.structs import Cqe
from uringfs.client import prep
from uringfs.client.fetching import error_of
from uringfs.client.request import Request, more, result
from uringfs.client.ring import Ring

CANCELLING = 0
"""The user_data of requests that cancel others: nobody waits for them."""


class Ticket:
    """One request under way."""

    def __init__(self, user_data: int, done: Callable[[], None]) -> None:
        self.user_data = user_data
        self.cqes: list[Cqe] = []
        self.error: BaseException | None = None
        """What has ended the ring before the request."""
        self._done = done

    def complete(self, cqe: Cqe) -> bool:
        """Note a completion; True if it was the last."""
        self.cqes.append(cqe)
        if more(cqe):
            return False
        self._done()
        return True

    def fail(self, error: BaseException) -> None:
        self.error = error
        self._done()

    def first(self) -> Cqe:
        """The CQE with the result: what comes behind it is a notification, of SEND_ZC."""
        if self.error is not None:
            raise self.error
        return self.cqes[0]

    def result(self) -> int:
        """OSError if the request failed."""
        return result(self.first())


class Tickets:
    """The tickets of one ring."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._numbers = count(CANCELLING + 1)
        self._open: dict[int, Ticket] = {}

    def start(self, requests: tuple[Request, ...], done: Callable[[], Callable[[], None]]) -> list[Ticket]:
        """Queue and submit them, linked; done() makes what is called at the last CQE of each. BlockingIOError:
        they are more than the ring has entries."""
        self._make_room(len(requests))
        tickets = [Ticket(next(self._numbers), done()) for _ in requests]
        numbered = zip(requests, tickets, strict=True)
        self._ring.queue_linked([request.with_user_data(ticket.user_data) for request, ticket in numbered])
        self._open.update((ticket.user_data, ticket) for ticket in tickets)
        self._ring.submit()
        return tickets

    def cancel(self, tickets: list[Ticket]) -> None:
        """Ask the ring to end them; each still has its CQE."""
        for ticket in tickets:
            if ticket.user_data in self._open:
                self._make_room(1)
                self._ring.queue(prep.async_cancel(ticket.user_data, user_data=CANCELLING))
        self._ring.submit()

    def _make_room(self, requests: int) -> None:
        mixed = self._ring.params.flags & IORING_SETUP_SQE_MIXED
        need = requests * (3 if mixed else 1)  # an SQE of 128 bytes, and a filler before it
        if self._ring.room() < need:
            self._ring.submit()
        if self._ring.room() < need:
            raise BlockingIOError(errno.EAGAIN, f"the ring has no room for {requests} requests")

    def attend(self) -> None:
        """Ring.attend(), and those that are complete are told."""
        for cqe in self._ring.attend():
            ticket = self._open.get(cqe.user_data)
            if ticket is not None and ticket.complete(cqe):
                del self._open[cqe.user_data]

    def end(self, error: BaseException | None = None) -> None:
        """The ring is closed, or broken: OSError ECANCELED for all that pends."""
        open_, self._open = self._open, {}
        for ticket in open_.values():
            ticket.fail(error or error_of(errno.ECANCELED))
