"""Counts and latencies by ring and opcode, for those who ask: `uringfs top`, MOUNT/.metrics. Not told of what is
performed past the engine (the lane), and does not ask for it.
"""

import time
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

from uringfs.engine.hooks import Hooks, Subscriber
from uringfs.engine.request import Request, RingContext
from uringfs.ring.ring import Ring

BOUNDS = [n * 10**e for e in range(3, 10) for n in (1, 2, 5)] + [10**10]
"""Upper bounds of a histogram's buckets, ns: 1 us to 10 s. One more bucket has what is longer."""
_now = time.monotonic_ns


@dataclass(slots=True, eq=False)
class Tally:
    """What requests of one opcode have come to."""

    count: int = 0
    total_ns: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    errors: Counter[int] = field(default_factory=Counter)
    """By errno."""

    def note(self, ns: int, res: int) -> None:
        self.count += 1
        self.total_ns += ns
        self.buckets[bisect_left(BOUNDS, ns)] += 1
        if res < 0:
            self.errors[-res] += 1

    def add(self, other: "Tally") -> None:
        self.count += other.count
        self.total_ns += other.total_ns
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]
        self.errors.update(other.errors)


Tallies = dict[int, Tally]
"""By opcode."""


class Stats(Subscriber):
    """Counts as long as anybody asks: begin() and end() in pairs."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self._users = 0
        self._taken: dict[Request, int] = {}
        self._rings: dict[Ring, Tallies] = {}
        self._closed: Tallies = {}

    def watches(self, ring: Ring) -> bool:
        return False

    def begin(self) -> None:
        self._users += 1
        if self._users == 1:
            self._hooks.subscribe(self)

    def end(self) -> None:
        self._users -= 1
        if self._users == 0:
            self._hooks.unsubscribe(self)
            self._taken.clear()
            for ring in tuple(self._rings):
                self.forget(ring)

    def age(self, request: Request) -> int | None:
        """ns since it was taken; None if nobody asked then."""
        taken = self._taken.get(request)
        return _now() - taken if taken is not None else None

    def of(self, ring: Ring) -> Tallies:
        return self._rings.get(ring, {})

    def total(self) -> Tallies:
        """The tallies of all rings, closed ones too."""
        total: Tallies = {}
        for tallies in (self._closed, *self._rings.values()):
            add(total, tallies)
        return total

    def io_uring_submit_req(self, request: Request) -> None:
        self._taken[request] = _now()

    def io_uring_req_failed(self, request: Request, error: int) -> None:
        self._taken[request] = _now()

    def io_uring_complete(
        self, ring: Ring, request: Request | None, user_data: int, res: int, cflags: int
    ) -> None:
        if request is not None:
            self._end(ring, request, res)

    def io_req_cqe_skip(self, request: Request, res: int) -> None:
        self._end(request.context.ring, request, res)

    def _end(self, ring: Ring, request: Request, res: int) -> None:
        taken = self._taken.pop(request, None)
        if taken is None:
            return
        tallies = self._rings.get(ring)
        if tallies is None:
            tallies = self._rings[ring] = {}
        tally = tallies.get(request.sqe.opcode)
        if tally is None:
            tally = tallies[request.sqe.opcode] = Tally()
        tally.note(_now() - taken, res)

    def io_ring_ctx_free(self, context: RingContext) -> None:
        self.forget(context.ring)
        for request in [request for request in self._taken if request.context is context]:
            del self._taken[request]

    def forget(self, ring: Ring) -> None:
        """Add what a closed ring has counted to the total."""
        add(self._closed, self._rings.pop(ring, {}))


def add(total: Tallies, more: Tallies) -> None:
    for opcode, tally in more.items():
        total.setdefault(opcode, Tally()).add(tally)
