"""What clients have closed. close(2) of a ring does not wait for us: its RELEASE is on the wire when it returns,
behind whatever else has not been read yet."""

from collections.abc import Callable

import trio

from uringfs import native

MOST_TURNS = 1000
"""Turns of the loop, each of which reads messages: after so many they are of clients that came later."""


def unsettled() -> bool:
    """Messages wait to be read, and among them may be a RELEASE."""
    return native.unread(native.emptied())


async def settled(unless: Callable[[], bool]) -> None:
    """Let the loop read all messages that are there, unless that is not needed any more. Not cancelled."""
    since = native.emptied()
    for _ in range(MOST_TURNS):
        if not native.unread(since) or unless():
            return
        await trio.lowlevel.cancel_shielded_checkpoint()
