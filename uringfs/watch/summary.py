"""What strace -c says of system calls, of requests: by opcode, with percentiles of the latency."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from uringfs.watch.arguments import opcode_name
from uringfs.watch.record import LATE, Record, RecordKind

STEPS = 32
"""Buckets for each doubling: percentiles are exact to 2%."""
PERCENTS = 50, 95, 99


@dataclass(slots=True)
class SummaryRow:
    count: int = 0
    errors: int = 0
    timed: int = 0
    """How many requests have a known latency."""
    total_ns: int = 0
    longest_ns: int = 0
    buckets: Counter[int] = field(default_factory=Counter)

    def note(self, record: Record) -> None:
        self.count += 1
        self.errors += record.res < 0
        if record.taken and not record.flags & LATE:
            ns = record.completed - record.taken
            self.timed += 1
            self.total_ns += ns
            self.longest_ns = max(self.longest_ns, ns)
            self.buckets[int(math.log2(max(ns, 1)) * STEPS)] += 1

    def percentile(self, percent: float) -> float:
        """ns"""
        wanted, below = self.timed * percent / 100, 0
        for bucket in sorted(self.buckets):
            below += self.buckets[bucket]
            if below >= wanted:
                return min(2 ** ((bucket + 0.5) / STEPS), float(self.longest_ns))
        return 0.0


class Summary:
    def __init__(self) -> None:
        self.rows: dict[str, SummaryRow] = {}
        self.lost = 0

    def note(self, records: Iterable[Record]) -> None:
        for record in records:
            if record.kind == RecordKind.REQUEST:
                self.rows.setdefault(opcode_name(record.sqe.opcode), SummaryRow()).note(record)
            elif record.kind == RecordKind.LOST:
                self.lost += record.id

    def lines(self) -> list[str]:
        total = sum(row.total_ns for row in self.rows.values())
        titles = [
            "% time",
            "seconds",
            "usecs/req",
            "requests",
            "errors",
            *(f"p{p} us" for p in PERCENTS),
            "max us",
        ]
        table = ["".join(f"{title:>10}" for title in titles) + " opcode\n"]
        table.append(" ".join(["---------"] * len(titles) + [" ----------------\n"]))
        for name, row in sorted(self.rows.items(), key=lambda item: -item[1].total_ns):
            table.append(self._line(name, row, total))
        if self.lost:
            table.append(f"{self.lost} events were lost: counts are too low\n")
        return table

    def _line(self, name: str, row: SummaryRow, total: int) -> str:
        percent = 100 * row.total_ns / total if total else 0.0
        each = row.total_ns / 1000 / row.timed if row.timed else 0.0
        words = [
            f"{percent:.2f}",
            f"{row.total_ns / 1e9:.6f}",
            f"{each:.1f}",
            str(row.count),
            str(row.errors or ""),
        ]
        words += [f"{row.percentile(p) / 1000:.1f}" for p in PERCENTS] + [f"{row.longest_ns / 1000:.1f}"]
        return "".join(f"{word:>10}" for word in words) + f" {name}\n"

    def object(self) -> dict[str, Any]:
        """The summary for --json. Times in ns."""
        return {
            "lost": self.lost,
            "ops": {
                name: {
                    "count": row.count,
                    "errors": row.errors,
                    "total_ns": row.total_ns,
                    **{f"p{p}_ns": round(row.percentile(p)) for p in PERCENTS},
                    "max_ns": row.longest_ns,
                }
                for name, row in self.rows.items()
            },
        }
