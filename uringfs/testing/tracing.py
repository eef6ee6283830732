"""The trace of a test: what its rings and programs have done, while it runs and when it has failed."""

import os
import select
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uringfs.watch.follow import Follower
from uringfs.watch.jsonlines import Objects
from uringfs.watch.record import INJECTED, Record, RecordKind
from uringfs.watch.strace import Lines

MOST = 1 << 16
"""Events that are kept, the last ones."""
LOOK = 0.05
"""Seconds between two looks: what waits for us is bounded."""
LAST = 40
"""Events that a failure shows."""
AROUND, INJECTIONS = 3, 8
"""A failure shows so many events on either side of so many injections, too, of the last ones."""
QUIET = (RecordKind.REAPED,)
"""Kinds of events that have no line."""


class TraceOfTest:
    """Events of this process and its children, from now on."""

    def __init__(self, mount: Path) -> None:
        """OSError"""
        self._events: deque[Record] = deque(maxlen=MOST)
        self._lock = threading.Lock()
        self._follower = Follower([str(mount)], f"tree={os.getpid()}")
        self._end = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._follow, name="uringfs-trace", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while not select.select([self._end], [], [], LOOK)[0]:
            self._look()

    def _look(self) -> None:
        with self._lock:
            while found := self._follower.read():
                self._events.extend(found)

    def records(self) -> list[Record]:
        """The last MOST events, those of requests that are complete by now among them."""
        self._look()
        with self._lock:
            return list(self._events)

    def lines(self) -> list[str]:
        """A line for each request, setup and register, as `uringfs run --trace` prints them."""
        return _lines(self.records())

    def events(self) -> list[dict[str, Any]]:
        """All events as objects: docs/watch.md has their fields."""
        objects = Objects()
        return [objects.object(record) for record in self.records()]

    def requests(self, *ops: str) -> list[dict[str, Any]]:
        """The requests that are complete, of these opcodes (all unless told), in the order of their CQEs."""
        return [
            event for event in self.events() if event["event"] == "request" and (not ops or event["op"] in ops)
        ]

    def clear(self) -> None:
        """Forget what has been."""
        self._look()
        with self._lock:
            self._events.clear()

    def excerpt(self) -> str:
        """The last events, and those around what was injected: for who looks for a reason."""
        return "\n".join(_excerpt(self.records()))

    def close(self) -> None:
        os.eventfd_write(self._end, 1)
        self._thread.join()
        self._follower.close()
        os.close(self._end)


def _lines(records: Sequence[Record]) -> list[str]:
    shown = Lines()
    return [shown.line(record).rstrip("\n") for record in records if record.kind not in QUIET]


def _is_injected(record: Record) -> bool:
    return record.kind == RecordKind.INJECTED or bool(record.flags & INJECTED)


def _excerpt(records: Sequence[Record]) -> list[str]:
    records = [record for record in records if record.kind not in QUIET]
    lines, wanted = _lines(records), set(range(max(0, len(records) - LAST), len(records)))
    for place in [place for place, record in enumerate(records) if _is_injected(record)][-INJECTIONS:]:
        wanted.update(range(max(0, place - AROUND), min(len(records), place + AROUND + 1)))
    found, before = list[str](), -1
    for place in sorted(wanted):
        if place > before + 1:
            found.append(f"... {place - before - 1} more")
        found.append(lines[place])
        before = place
    return found
