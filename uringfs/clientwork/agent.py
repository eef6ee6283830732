"""A client's agent (URINGFS_CMD_AGENT): a thread of it that takes new descriptors, and closes old ones, as they
come, whatever its other threads wait for. The kernel's workers and pollers share the client's table.
"""

import logging
import math

import trio

from uringfs.abi.control import ENTRY, URINGFS_DESCRIPTOR_NEW
from uringfs.clientwork.delivery import Delivery, Report
from uringfs.errors import UringError
from uringfs.host.protocols import Channel

log = logging.getLogger(__name__)


class ClientAgent:
    """Each message, in both directions, is one struct uringfs_descriptor."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._asked: dict[int, Delivery] = {}
        self._scope = trio.CancelScope()
        self._in, self._out = trio.open_memory_channel[Delivery](math.inf)

    def ask(self, delivery: Delivery) -> None:
        self._asked[delivery.number] = delivery
        self._in.send_nowait(delivery)

    def forget(self, delivery: Delivery) -> None:
        """Forget a delivery that was cancelled: an answer to it comes too late."""
        self._asked.pop(delivery.number, None)

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
                number, res, _, _, _, *info = ENTRY.unpack(answer)
                delivery = self._asked.pop(number, None)
                if delivery is not None:
                    delivery.end(Report(res, *info))
        except UringError as error:
            log.debug("a client's agent is gone: %s", error)
