"""Prometheus's text format, made by its own client library (the extra `metrics`): a collector and no state."""

import errno
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from uringfs.errors import UringError
from uringfs.ring.ring import Counters
from uringfs.watch.arguments import opcode_name
from uringfs.watch.stats import BOUNDS, Tallies, Tally

if TYPE_CHECKING:
    from prometheus_client import Metric

NS = 1e9
HELP = {
    "enters": "Calls of io_uring_enter(2).",
    "submitted": "SQEs taken off the queues.",
    "completed": "CQEs posted.",
    "overflowed": "CQEs for which the CQ had no room at first.",
    "cancelled": "Requests cancelled while they waited.",
    "injected": "Faults injected.",
}


class Facts(NamedTuple):
    """What there is to be told of a mount."""

    version: str
    backend: str
    uptime: float
    """Seconds."""
    rings: int
    in_flight: int
    counters: Counters
    tallies: Tallies
    readers: int
    """How many read a trace."""
    lost: int
    """Events."""


class Collector:
    """prometheus_client.registry.Collector"""

    def __init__(self, facts: Callable[[], Facts]) -> None:
        self._facts = facts

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        facts = self._facts()
        about = {"version": facts.version, "backend": facts.backend}
        yield InfoMetricFamily("uringfs_mount", "What serves this mount.", value=about)
        yield GaugeMetricFamily("uringfs_uptime_seconds", "Since it was mounted.", value=facts.uptime)
        yield GaugeMetricFamily("uringfs_rings", "Rings that are set up.", value=facts.rings)
        yield GaugeMetricFamily("uringfs_in_flight", "Requests under way.", value=facts.in_flight)
        yield GaugeMetricFamily("uringfs_trace_readers", "Open traces.", value=facts.readers)
        yield CounterMetricFamily("uringfs_trace_lost", "Events that slow readers have lost.", value=facts.lost)
        for name, about_it in HELP.items():
            yield CounterMetricFamily(f"uringfs_{name}", about_it, value=getattr(facts.counters, name))
        yield from by_opcode(facts.tallies)


def by_opcode(tallies: Tallies) -> "Iterable[Metric]":
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    counting = "since somebody reads this"
    requests = CounterMetricFamily("uringfs_requests", f"Complete, {counting}.", labels=("op", "result"))
    duration = HistogramMetricFamily(
        "uringfs_request_duration_seconds", f"From taken to complete, {counting}.", labels=("op",)
    )
    for opcode, tally in sorted(tallies.items()):
        name = opcode_name(opcode)
        good = tally.count - sum(tally.errors.values())
        requests.add_metric((name, "ok"), good)
        for number, count in sorted(tally.errors.items()):
            requests.add_metric((name, errno.errorcode.get(number, str(number))), count)
        duration.add_metric((name,), buckets=_buckets(tally), sum_value=tally.total_ns / NS)
    return requests, duration


def _buckets(tally: Tally) -> list[tuple[str, float]]:
    bounds, total = [*(repr(bound / NS) for bound in BOUNDS), "+Inf"], 0.0
    found = []
    for bound, count in zip(bounds, tally.buckets, strict=True):
        total += count
        found.append((bound, total))
    return found


def text(facts: Callable[[], Facts]) -> str:
    """EOPNOTSUPP without the library."""
    try:
        from prometheus_client import CollectorRegistry, generate_latest
    except ImportError as error:
        raise UringError(errno.EOPNOTSUPP, "pip install uringfs[metrics]") from error
    registry = CollectorRegistry()
    registry.register(Collector(facts))
    return generate_latest(registry).decode()
