"""What readers of the Trace Event Format ask of a file, as Perfetto's trace_processor does: slices of a thread are
apart or within each other, else some are dropped; a flow's steps lie in slices, else it leads nowhere."""

import json
from collections import defaultdict
from typing import Any

Event = dict[str, Any]
Thread = tuple[int, int]


def load(text: str) -> list[Event]:
    """Read the events, of a file that nobody has closed, too."""
    found: list[Event] = json.loads(text.rstrip().rstrip(",").removesuffix("]").rstrip(",\n ") + "]")
    return found


def ns(us: float) -> int:
    return round(us * 1000)


def slices_of(events: list[Event]) -> dict[Thread, list[tuple[int, int]]]:
    """Thread -> (begin, end) in ns, by their begin, the longer first."""
    found: defaultdict[Thread, list[tuple[int, int]]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            begin = ns(event["ts"])
            found[event["pid"], event["tid"]].append((begin, begin + ns(event["dur"])))
    return {thread: sorted(some, key=lambda one: (one[0], -one[1])) for thread, some in found.items()}


def misplaced(slices: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Find slices that end later than one in which they begin."""
    wrong, stack = [], list[tuple[int, int]]()
    for one in slices:
        while stack and stack[-1][1] <= one[0]:
            stack.pop()
        if stack and one[1] > stack[-1][1]:
            wrong.append(one)
        stack.append(one)
    return wrong


def lost_steps(events: list[Event]) -> list[Event]:
    """Steps of flows that lie in no slice."""
    slices = slices_of(events)
    steps = [event for event in events if event["ph"] in ("s", "t", "f")]
    return [
        step
        for step in steps
        if not any(begin <= ns(step["ts"]) <= end for begin, end in slices.get((step["pid"], step["tid"]), ()))
    ]


def assert_readable(events: list[Event]) -> None:
    for thread, slices in slices_of(events).items():
        assert not misplaced(slices), thread
    assert not lost_steps(events)
    flows: defaultdict[int, list[str]] = defaultdict(list)
    for event in events:
        if event["ph"] in ("s", "t", "f"):
            flows[event["id"]].append(event["ph"])
    assert all(steps == ["s", "t", "f"] for steps in flows.values())
    named = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    assert set(slices_of(events)) <= named
