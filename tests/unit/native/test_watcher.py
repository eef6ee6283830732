"""The watcher of files: one wake-up is one event, whoever looks."""

import os
from collections.abc import Iterator

import pytest

from uringfs import native
from uringfs.abi.events import EPOLLET, EPOLLIN

ROUNDS = 500


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    fds = os.pipe()
    yield fds
    for fd in fds:
        os.close(fd)


def test_an_event_that_settle_finds_is_told_of_once(pipe: tuple[int, int]) -> None:
    """settle() comes across completions of AIO, often before the thread does; epoll tells of them, too."""
    watcher = native.Watcher()
    try:
        for _ in range(ROUNDS):
            key = watcher.add(pipe[0], EPOLLIN | EPOLLET, False, True)
            os.write(pipe[1], b"x")
            watcher.settle()
            told = watcher.collect() + watcher.collect()
            assert [event[:2] for event in told] == [(key, EPOLLIN)]
            os.read(pipe[0], 1)
            watcher.remove(key)
    finally:
        watcher.close()
