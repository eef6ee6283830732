"""What an io_uring_enter(2) comes to, at once or step by step: plain functions go as far as nothing has to wait,
and return what goes on."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from uringfs.engine.wait import CqWait


class Entered(NamedTuple):
    """What an enter came to: the return value, and the wait still to be done, if any."""

    result: int
    wait: CqWait | None = None


Submitting = Callable[[], Awaitable[int]]
"""Goes on with a submission, to its end: SQEs consumed."""
Entering = Callable[[], Awaitable[Entered]]
"""Goes on with an enter, as far as its wait. Cancelled before it has submitted: nothing is done."""


async def then(submitting: Submitting, get_events: Callable[[int], Entered | Entering]) -> Entered:
    """Enter with what a submission came to."""
    entered = get_events(await submitting())
    return entered if isinstance(entered, Entered) else await entered()


async def behind(first: Callable[[], Awaitable[None]], rest: Callable[[], Entered | Entering]) -> Entered:
    """Enter after something that takes its time."""
    await first()
    entered = rest()
    return entered if isinstance(entered, Entered) else await entered()


async def submit_behind(first: Callable[[], Awaitable[None]], rest: Callable[[], int | Submitting]) -> int:
    """Submit after something that takes its time."""
    await first()
    submitted = rest()
    return submitted if isinstance(submitted, int) else await submitted()
