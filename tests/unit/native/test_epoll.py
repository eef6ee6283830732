"""epoll_ctl with a client's numbers for its files."""

import errno
import os
import re
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from uringfs import native
from uringfs.abi.machine import EPOLL_EVENT_SIZE

ADD, DEL, MOD = 1, 2, 3
EVENT = select.EPOLLIN.to_bytes(4, "little") + bytes(EPOLL_EVENT_SIZE - 4)


@pytest.fixture
def epoll() -> Iterator[int]:
    with select.epoll() as instance:
        yield instance.fileno()


@pytest.fixture
def pipe() -> Iterator[int]:
    ends = os.pipe()
    yield ends[0]
    for end in ends:
        os.close(end)


def known(epoll: int) -> list[int]:
    """The numbers it knows its files by."""
    lines = Path(f"/proc/self/fdinfo/{epoll}").read_text().splitlines()
    return sorted(int(line.split()[1]) for line in lines if line.startswith("tfd:"))


def open_files() -> dict[str, str]:
    with os.scandir("/proc/self/fd") as entries:
        return {entry.name: os.readlink(entry) for entry in entries if "/fd" not in os.readlink(entry)}


@pytest.mark.parametrize("number", [0, 2, 3, 4, 5, 6, 777])
def test_the_number_is_the_clients_and_our_descriptors_stay(epoll: int, pipe: int, number: int) -> None:
    before = open_files()
    native.epoll_ctl(epoll, ADD, pipe, number, EVENT)
    assert known(epoll) == [number]
    native.epoll_ctl(epoll, MOD, pipe, number, EVENT)
    native.epoll_ctl(epoll, ADD, pipe, number + 1, EVENT)
    assert known(epoll) == [number, number + 1]
    native.epoll_ctl(epoll, DEL, pipe, number, b"")
    assert known(epoll) == [number + 1]
    assert open_files() == before


@pytest.mark.parametrize(
    ("operation", "event", "code"),
    [
        (MOD, EVENT, errno.ENOENT),
        (DEL, b"", errno.ENOENT),
        (9, EVENT, errno.EINVAL),
        (-1, EVENT, errno.EINVAL),
        (ADD, b"", errno.EFAULT),
    ],
)
def test_errors(epoll: int, pipe: int, operation: int, event: bytes, code: int) -> None:
    with pytest.raises(OSError, match=re.escape(os.strerror(code))):
        native.epoll_ctl(epoll, operation, pipe, 50, event)


def test_files_that_are_not_there(epoll: int, pipe: int) -> None:
    for files in ((epoll, 12345), (12345, pipe), (epoll, 1 << 40)):
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            native.epoll_ctl(files[0], ADD, files[1], 50, EVENT)


def test_an_event_is_whole(epoll: int, pipe: int) -> None:
    with pytest.raises(ValueError, match="struct epoll_event"):
        native.epoll_ctl(epoll, ADD, pipe, 50, EVENT[:-1])
