"""What clients have closed. close(2) of a ring does not wait for us: its RELEASE is on the wire when it returns,
behind whatever else has not been read yet."""

from collections import OrderedDict
from collections.abc import Callable

import trio

from uringfs import native

MOST_TURNS = 1000
"""Turns of the loop, each of which reads messages: after so many they are of clients that came later."""

Needless = Callable[[], bool]

_waiting: OrderedDict[object, None] = OrderedDict()
"""Who waits in settled(), in the order they came."""
_waiting_alike: dict[Needless, OrderedDict[object, None]] = {}
"""Who waits in settled(), by when that is not needed."""


def unsettled() -> bool:
    """Messages wait to be read, and among them may be a RELEASE."""
    return native.unread(native.emptied())


async def settled(unless: Needless, *, first: bool) -> None:
    """Let the loop read all messages that are there, unless that is not needed any more. Not cancelled. Who came
    first goes on first, in any case of those with one `unless`: between two that one event has woken, a message
    may come, another may be read, or the wait may become needless, and they have their order. first: it comes
    before all others, for it has gone on before them and waits once more."""
    since, me = native.emptied(), object()
    alike = _waiting_alike.setdefault(unless, OrderedDict())
    for waiting in (_waiting, alike):
        waiting[me] = None
        waiting.move_to_end(me, last=not first)
    try:
        for _ in range(MOST_TURNS):
            if _is_first(me, alike) and (unless() or (_is_first(me, _waiting) and not native.unread(since))):
                return
            await trio.lowlevel.cancel_shielded_checkpoint()
    finally:
        del _waiting[me], alike[me]
        if not alike:
            del _waiting_alike[unless]


def _is_first(me: object, waiting: OrderedDict[object, None]) -> bool:
    return next(iter(waiting)) is me
