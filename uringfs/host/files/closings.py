"""What clients have closed. close(2) of a ring does not wait for us: its RELEASE is on the wire when it returns,
behind whatever else has not been read yet."""

from collections.abc import Callable

import trio

from uringfs import native

MOST_TURNS = 1000
"""Turns of the loop, each of which reads messages: after so many they are of clients that came later."""

_waiting: dict[object, None] = {}
"""Who waits in settled(), in the order they came."""


def unsettled() -> bool:
    """Messages wait to be read, and among them may be a RELEASE."""
    return native.unread(native.emptied())


async def settled(unless: Callable[[], bool]) -> None:
    """Let the loop read all messages that are there, unless that is not needed any more. Not cancelled. Who came
    first goes on first: a message may come, and another may be read, between two of one event, which have their
    order."""
    since, me = native.emptied(), object()
    _waiting[me] = None
    try:
        for _ in range(MOST_TURNS):
            if unless() or not (_is_behind(me) or native.unread(since)):
                return
            await trio.lowlevel.cancel_shielded_checkpoint()
    finally:
        del _waiting[me]


def _is_behind(me: object) -> bool:
    return next(iter(_waiting)) is not me
