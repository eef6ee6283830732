"""A client's agent (URINGFS_CMD_AGENT): a thread of it that takes new descriptors, and closes old ones, as they
come, whatever its other threads wait for. The kernel's workers and pollers share the client's table.
"""

import errno
import logging
import math
from collections.abc import Callable
from contextlib import suppress

import trio

from uringfs.abi.control import ENTRY, URINGFS_DESCRIPTOR_NEW
from uringfs.clientwork.delivery import Delivery, Report
from uringfs.errors import UringError
from uringfs.host.protocols import Channel

log = logging.getLogger(__name__)

MOST_EARLY = 64  # a client's threads that sleep (contrib/launcher/sleepers.c)


class ClientAgent:
    """Each message, in both directions, is one struct uringfs_descriptor."""

    def __init__(self, channel: Channel, awake: Callable[[int], None]) -> None:
        self._channel = channel
        self._awake = awake
        """Ends a sleep for a number that nobody waits for any more."""
        self._asked: dict[int, Delivery] = {}
        self._early: dict[int, Report] = {}
        """Woken before it was reported that they sleep, or forgotten meanwhile: oldest first."""
        self._scope = trio.CancelScope()
        self._in, self._out = trio.open_memory_channel[Delivery](math.inf)

    def ask(self, delivery: Delivery) -> None:
        self._asked[delivery.number] = delivery
        self._in.send_nowait(delivery)

    def forget(self, delivery: Delivery) -> None:
        """Forget a delivery that was cancelled: an answer to it comes too late."""
        self._asked.pop(delivery.number, None)

    def sleeps(self, delivery: Delivery) -> None:
        """A thread of the client's sleeps for a delivery, and will answer."""
        if delivery.number in self._early:
            delivery.end(self._early.pop(delivery.number))
        else:
            self._asked[delivery.number] = delivery

    def look(self) -> None:
        """Take the answers that are there."""
        with suppress(UringError):  # _receive() hears of it, too
            while len(answer := self._channel.received(ENTRY.size)) == ENTRY.size:
                self._answered(answer)

    def _answered(self, answer: bytes) -> None:
        number, res, _, _, _, *info = ENTRY.unpack(answer)
        delivery = self._asked.pop(number, None)
        if delivery is not None:
            delivery.end(Report(res, *info))
        elif res == -errno.EINPROGRESS:  # it was forgotten meanwhile
            self._awake(number)
        else:
            self._early[number] = Report(res, *info)
            if len(self._early) > MOST_EARLY:
                self._early.pop(next(iter(self._early)))

    def unanswered(self) -> list[Delivery]:
        return list(self._asked.values())

    def stop(self) -> None:
        self._scope.cancel()

    async def run(self) -> None:
        """Until the client's end is closed, answers nonsense, or stop()."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send)
                    await self._receive()
                    nursery.cancel_scope.cancel()
        finally:
            self._channel.close()

    async def _send(self) -> None:
        try:
            async for delivery in self._out:
                # looked at again behind each wait: of one that was cancelled the descriptor is another by now
                while delivery.number in self._asked and not self._sent(delivery):
                    await self._channel.room()
        except UringError as error:
            log.debug("a client's agent is gone: %s", error)
            self.stop()

    def _sent(self, delivery: Delivery) -> bool:
        wanted = delivery.wanted
        assert wanted is not None
        new = wanted.what & URINGFS_DESCRIPTOR_NEW
        return self._channel.send(delivery.entry(wanted), [wanted.number] if new else [])

    async def _receive(self) -> None:
        try:
            while len(answer := await self._channel.receive(ENTRY.size)) == ENTRY.size:
                self._answered(answer)
        except UringError as error:
            log.debug("a client's agent is gone: %s", error)
