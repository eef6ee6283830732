"""close_fd(): whoever does not answer for a file holds up nobody."""

import os
import threading
from collections import defaultdict

import pytest
import trio

from uringfs.errors import UringError
from uringfs.host.events.eventfd import LocalEventFd
from uringfs.host.files import closing
from uringfs.host.listener import LocalListener

Closed = dict[int, list[int]]
"""Threads that have closed a descriptor. Others may be closed at any time: tests leave garbage."""


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> Closed:
    """With files of a file system that somebody else answers for."""
    threads: Closed = defaultdict(list)
    close = os.close

    def note(fd: int) -> None:
        threads[fd].append(threading.get_ident())
        close(fd)

    monkeypatch.setattr(closing, "closes_promptly", lambda device: False)
    monkeypatch.setattr(closing.os, "close", note)
    monkeypatch.setattr(closing.native, "close_soon", note)
    return threads


def a_file() -> int:
    return os.memfd_create("of a server")


async def closes_elsewhere(closed: Closed, fd: int) -> bool:
    with trio.fail_after(30):
        while not closed[fd]:
            await trio.lowlevel.checkpoint()
    return threading.get_ident() != closed[fd][0]


async def test_a_thread_closes(closed: Closed) -> None:
    fd = a_file()
    closing.close_fd(fd)
    assert await closes_elsewhere(closed, fd)


async def test_what_needs_no_answer_is_closed_at_once(closed: Closed) -> None:
    for fd in os.pipe():
        closing.close_fd(fd)
        assert closed[fd] == [threading.get_ident()]


@pytest.mark.parametrize("take", [LocalEventFd, LocalListener])
async def test_what_was_none_is_not_closed_by_the_loop(closed: Closed, take: type) -> None:
    fd = a_file()
    with pytest.raises(UringError, match="EINVAL"):
        take(fd)
    assert await closes_elsewhere(closed, fd)
