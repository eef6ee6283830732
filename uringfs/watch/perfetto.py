"""Events as a trace that ui.perfetto.dev and chrome://tracing open: the JSON array of the Trace Event Format, an
event a line, readable at any time, for a reader adds what closes it.

A process is a ring. Its first thread is the submission, its second the completions, each other one an opcode, or
one more of that where requests overlap: a request in flight is a slice from taken to complete. An arrow goes from
its submission to the slice, and on to its completion.
"""

import json
from bisect import bisect
from typing import Any

from uringfs.watch.arguments import opcode_name
from uringfs.watch.record import How, Record, RecordKind
from uringfs.watch.strace import call
from uringfs.watch.values import result

SUBMISSION, COMPLETIONS, FIRST = 1, 2, 10
ROWS = 1000
"""Threads at most for one opcode."""
MOMENT = 500
"""ns: how long a submission and a completion are shown, where none follows sooner."""
REMEMBERED = 4096
"""Moments of a thread that one may still come to lie between."""


def _us(ns: int) -> float:
    return ns / 1000


class Moments:
    """The slices of one thread, which have no length of their own: any two are apart, or one lies in the other, or
    else readers drop them. They come in any order."""

    def __init__(self) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []

    def length(self, begin: int) -> int:
        """ns of a further one that begins there."""
        place = bisect(self._begins, begin)
        around = self._ends[bisect(self._begins, begin - MOMENT) : place]
        end = min([begin + MOMENT, *(end for end in around if end > begin), *self._begins[place : place + 1]])
        self._begins.insert(place, begin)
        self._ends.insert(place, end)
        if place >= REMEMBERED:
            del self._begins[: REMEMBERED // 2], self._ends[: REMEMBERED // 2]
        return end - begin


class Slices:
    """The lines of a stream of events."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, int], list[int]] = {}
        """(ring, opcode) -> when the last slice of each of its threads ends, ns."""
        self._moments: dict[tuple[int, int], Moments] = {}
        """By ring and thread."""
        self._known: set[tuple[int, int]] = set()
        self.begin = '[\n{"ph":"M","name":"process_labels","pid":0,"args":{"labels":"uringfs trace"}}'
        """Each line that follows begins with a comma, and `end` makes it JSON: what is cut off before can be read
        by Perfetto all the same."""
        self.end = "\n]\n"

    def lines(self, record: Record) -> list[str]:
        events: list[dict[str, Any]] = []
        if record.kind == RecordKind.REQUEST:
            events = self._request(record)
        elif record.kind == RecordKind.CQE:
            events = self._completion(record, f"{opcode_name(record.sqe.opcode)} CQE")
        elif record.kind in (RecordKind.LOST, RecordKind.INJECTED, RecordKind.CLOSED):
            kind = RecordKind(record.kind).name.lower()
            name = f"{kind} {record.id or ''} {record.name.decode('utf-8', 'replace')}"
            ring, ns = record.ring, record.completed
            events = [{"ph": "i", "s": "p", "name": name.strip(), "pid": ring, "tid": 0, "ts": _us(ns)}]
        return [",\n" + json.dumps(event, separators=(",", ":")) for event in events]

    def _name(self, record: Record, thread: int, name: str) -> list[dict[str, Any]]:
        """Said before the first slice on a thread."""
        ring = record.ring
        said: list[dict[str, Any]] = []
        if (ring, 0) not in self._known:
            comm = record.comm.decode("utf-8", "replace")
            self._known.add((ring, 0))
            title = {"name": f"ring {ring}: {comm} {record.pid}"}
            said.append({"ph": "M", "name": "process_name", "pid": ring, "tid": 0, "args": title})
        if (ring, thread) not in self._known:
            self._known.add((ring, thread))
            common = {"ph": "M", "pid": ring, "tid": thread}
            said.append({**common, "name": "thread_name", "args": {"name": name}})
            said.append({**common, "name": "thread_sort_index", "args": {"sort_index": thread}})
        return said

    def _thread(self, record: Record) -> tuple[int, str]:
        """One whose last slice has ended when this one begins."""
        opcode = record.sqe.opcode
        rows = self._rows.setdefault((record.ring, opcode), [])
        free = (place for place, end in enumerate(rows) if end <= record.taken)
        place = min(next(free, len(rows)), ROWS - 1)
        if place == len(rows):
            rows.append(0)
        rows[place] = record.completed
        name = opcode_name(opcode) + (f" ({place + 1})" if place else "")
        return FIRST + opcode * ROWS + place, name

    def _request(self, record: Record) -> list[dict[str, Any]]:
        if not record.taken:  # when nobody watched
            return self._completion(record, f"{opcode_name(record.sqe.opcode)} complete")
        thread, row = self._thread(record)
        name = opcode_name(record.sqe.opcode)
        slice_ = {
            "ph": "X",
            "cat": "request",
            "name": name,
            "pid": record.ring,
            "tid": thread,
            "ts": _us(record.taken),
            "dur": _us(record.completed - record.taken),
            "args": _about(record),
        }
        taken = _us(record.taken)
        submitted = {
            "ph": "X",
            "cat": "submission",
            "name": name,
            "pid": record.ring,
            "tid": SUBMISSION,
            "ts": taken,
        }
        submitted |= {
            "dur": self._moment(record.ring, SUBMISSION, record.taken),
            "args": {"tid": record.tid, "queued us before": _us(record.taken - record.queued)},
        }
        names = [*self._name(record, SUBMISSION, "submission"), *self._name(record, thread, row)]
        flow = {"cat": "request", "name": "request", "id": record.id, "pid": record.ring}
        return [
            *(*names, submitted, {**flow, "ph": "s", "tid": SUBMISSION, "ts": taken}),
            *(slice_, {**flow, "ph": "t", "tid": thread, "ts": taken}),
            *self._completion(record, f"{name} = {record.res}"),
            {**flow, "ph": "f", "bp": "e", "tid": COMPLETIONS, "ts": _us(record.completed)},
        ]

    def _completion(self, record: Record, name: str) -> list[dict[str, Any]]:
        event = {"ph": "X", "cat": "completion", "name": name, "pid": record.ring, "tid": COMPLETIONS}
        length = self._moment(record.ring, COMPLETIONS, record.completed)
        event |= {"ts": _us(record.completed), "dur": length, "args": {"user_data": record.sqe.user_data}}
        return [*self._name(record, COMPLETIONS, "completions"), event]

    def _moment(self, ring: int, thread: int, begin: int) -> float:
        """us"""
        return _us(self._moments.setdefault((ring, thread), Moments()).length(begin))


def _about(record: Record) -> dict[str, Any]:
    return {
        "call": call(record),
        "result": result(record),
        "how": How(record.how).name.lower(),
        "user_data": record.sqe.user_data,
        "id": record.id,
        "chain": record.chain,
        "issued us after": _us(record.issued - record.taken) if record.issued else None,
    }
