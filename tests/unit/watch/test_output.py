"""Where lines go when there is no room."""

import os
from collections.abc import Iterator

import pytest

from uringfs.watch.output import Sink

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
