"""Where lines go when there is no room; and reads that end in the middle of an event."""

import os
from collections.abc import Iterator

import pytest

from tests.fakehost.host import FakeOpening
from uringfs.watch import filters
from uringfs.watch.output import Sink
from uringfs.watch.record import RecordKind, blank, pack, whole
from uringfs.watch.subscription import Subscription
from uringfs.watch.viewer import OpenerViewer

LINES = [f"{number}\n" for number in range(300)]


@pytest.fixture
def full() -> Iterator[int]:
    fd = os.open("/dev/full", os.O_WRONLY)
    yield fd
    os.close(fd)


def test_a_device_without_room_loses_lines_that_are_counted(full: int) -> None:
    sink = Sink(full)
    sink.write(LINES)
    sink.write(LINES[:1])
    assert sink.lost == 301


def test_a_pipe_gets_all() -> None:
    read, write = os.pipe()
    sink = Sink(write)
    sink.write(LINES)
    os.close(write)
    with open(read) as file:
        assert file.read() == "".join(LINES)
    assert sink.lost == 0


@pytest.mark.parametrize("size", [1, 100, 1000])
def test_reads_of_any_size_give_all_events(size: int) -> None:
    reader = Subscription(OpenerViewer(0, FakeOpening()), lambda: None)
    reader.set_filter(filters.parse("format=raw", filters.Filter()))
    events = [pack(blank(RecordKind.REAPED, id=number)) for number in range(20)]
    for event in events:
        reader.push(event)
    data = b"".join(iter(lambda: reader.take(size), b""))
    assert data == b"".join(events)


def test_what_is_whole_of_a_read() -> None:
    event = pack(blank(RecordKind.REAPED, data=b"abc"))
    assert whole(b"") == whole(event[:3]) == whole(event[:-1]) == 0
    assert whole(event) == whole(event + event[:2]) == whole(event + event[:-1]) == len(event)
