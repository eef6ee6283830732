"""close_fd(): whoever does not answer for a file holds up nobody."""

import os
import threading

import pytest
import trio

from uringfs.errors import UringError
from uringfs.host.events.eventfd import LocalEventFd
from uringfs.host.files import closing
from uringfs.host.listener import LocalListener


@pytest.fixture
def closed_by(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Threads that have closed, with files of a file system that somebody else answers for."""
    threads: list[int] = []
    close = os.close

    def note(fd: int) -> None:
        threads.append(threading.get_ident())
        close(fd)

    monkeypatch.setattr(closing, "closes_promptly", lambda device: False)
    monkeypatch.setattr(closing.os, "close", note)
    return threads


def a_file() -> int:
    return os.memfd_create("of a server")


async def test_a_thread_closes(closed_by: list[int]) -> None:
    fd = a_file()
    closing.close_fd(fd)
    with trio.fail_after(5):
        while not closed_by:
            await trio.lowlevel.checkpoint()
    assert closed_by != [threading.get_ident()]


async def test_what_needs_no_answer_is_closed_at_once(closed_by: list[int]) -> None:
    reader, writer = os.pipe()
    closing.close_fd(reader)
    closing.close_fd(writer)
    assert closed_by.count(threading.get_ident()) >= 2


@pytest.mark.parametrize("take", [LocalEventFd, LocalListener])
async def test_what_was_none_is_not_closed_by_the_loop(closed_by: list[int], take: type) -> None:
    with pytest.raises(UringError, match="EINVAL"):
        take(a_file())
    with trio.fail_after(5):
        while not closed_by:
            await trio.lowlevel.checkpoint()
    assert threading.get_ident() not in closed_by
