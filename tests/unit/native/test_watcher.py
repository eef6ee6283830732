"""The watcher of files: one wake-up is one event, whoever looks."""

import os
import select
from collections.abc import Iterator
from contextlib import suppress

import pytest

from uringfs import native
from uringfs.abi.events import EPOLLET, EPOLLIN, EPOLLONESHOT

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
            key = watcher.add(pipe[0], EPOLLIN | EPOLLET, False, True, False)
            os.write(pipe[1], b"x")
            watcher.settle()
            told = watcher.collect(False) + watcher.collect(False)
            assert [event[:2] for event in told] == [(key, EPOLLIN)]
            os.read(pipe[0], 1)
            watcher.remove(key)
    finally:
        watcher.close()


def test_what_is_wanted_once_wakes_who_looks_and_then_nobody(pipe: tuple[int, int]) -> None:
    watcher = native.Watcher()
    awake = select.poll()
    awake.register(watcher.fileno(), select.POLLIN)
    try:
        for woken in (False, True) * 20:
            key = watcher.add(pipe[0], EPOLLIN | EPOLLONESHOT, True, True, False)
            assert not awake.poll(0)
            os.write(pipe[1], b"x")
            assert awake.poll()
            assert [event[:2] for event in watcher.collect(woken)] == [(key, EPOLLIN)]
            assert not awake.poll(0)
            os.read(pipe[0], 1)
    finally:
        watcher.close()


def test_who_was_woken_for_nothing_sleeps_again(pipe: tuple[int, int]) -> None:
    """What is removed may tell of its end, to which nobody listens."""
    watcher = native.Watcher()
    awake = select.poll()
    awake.register(watcher.fileno(), select.POLLIN)
    try:
        assert watcher.remove(watcher.add(pipe[0], EPOLLIN | EPOLLONESHOT, True, True, False))
        assert awake.poll()
        assert watcher.collect(True) == []
        assert not awake.poll(0)
    finally:
        watcher.close()


@pytest.fixture
def eventfd() -> Iterator[int]:
    fd = os.eventfd(0)
    yield fd
    os.close(fd)


def test_what_an_eventfd_tells_is_there_at_once_and_once(eventfd: int) -> None:
    """AIO leaves what signals another eventfd to a worker of the kernel's."""
    watcher = native.Watcher()
    try:
        for _ in range(ROUNDS):
            key = watcher.add(eventfd, EPOLLIN | EPOLLONESHOT, True, True, True)
            os.eventfd_write(eventfd, 1)
            os.eventfd_read(eventfd)
            assert [event[:2] for event in watcher.collect(False)] == [(key, EPOLLIN)]
            assert not watcher.remove(key)
            assert watcher.collect(False) == []
    finally:
        watcher.close()


def test_who_sleeps_is_woken_by_an_eventfd(eventfd: int) -> None:
    watcher = native.Watcher()
    awake = select.poll()
    awake.register(watcher.fileno(), select.POLLIN)
    told = []
    try:
        for _ in range(ROUNDS):
            key = watcher.add(eventfd, EPOLLIN | EPOLLONESHOT, True, True, True)
            watcher.before_wait(True)
            os.eventfd_write(eventfd, 1)
            while not told:
                assert awake.poll()
                told = watcher.collect(True)
            assert [event[:2] for event in told] == [(key, EPOLLIN)]
            told.clear()
            os.eventfd_read(eventfd)
    finally:
        watcher.close()


def test_a_watch_of_an_eventfd_that_is_removed_is_told_of_no_more(eventfd: int) -> None:
    watcher = native.Watcher()
    try:
        for _ in range(ROUNDS):
            assert watcher.remove(watcher.add(eventfd, EPOLLIN | EPOLLONESHOT, True, True, True))
        watcher.settle()
        os.eventfd_write(eventfd, 1)
        watcher.settle()
        assert watcher.collect(True) == []
    finally:
        watcher.close()


def test_what_an_eventfd_has_told_wakes_at_once_who_waits(eventfd: int) -> None:
    watcher = native.Watcher()
    awake = select.poll()
    awake.register(watcher.fileno(), select.POLLIN)
    try:
        for sleeps in (False, True) * ROUNDS:
            key = watcher.add(eventfd, EPOLLIN | EPOLLONESHOT, True, True, True)
            os.eventfd_write(eventfd, 1)
            os.eventfd_read(eventfd)
            watcher.before_wait(sleeps)
            assert awake.poll(0)
            assert [event[:2] for event in watcher.collect(False)] == [(key, EPOLLIN)]
            assert not awake.poll(0)
    finally:
        watcher.close()


def test_who_looks_before_he_sleeps_is_not_woken_by_an_eventfd(eventfd: int) -> None:
    """A poll that signals completes in a thread of the kernel's, and that costs more than all the rest."""
    watcher = native.Watcher()
    awake = select.poll()
    awake.register(watcher.fileno(), select.POLLIN)
    try:
        for _ in range(ROUNDS):
            key = watcher.add(eventfd, EPOLLIN | EPOLLONESHOT, True, True, True)
            os.eventfd_write(eventfd, 1)
            assert [event[:2] for event in watcher.collect(False)] == [(key, EPOLLIN)]
            os.eventfd_read(eventfd)
            watcher.before_wait(True)
        assert not awake.poll(10)
    finally:
        watcher.close()


def test_where_there_is_no_room_for_what_wakes_an_eventfd_is_heard_all_the_same(eventfd: int) -> None:
    watcher = native.Watcher()
    awake = select.poll()
    awake.register(watcher.fileno(), select.POLLIN)
    others = []
    try:
        with suppress(BlockingIOError):
            while True:
                others.append(watcher.add(eventfd, EPOLLIN | EPOLLONESHOT, True, True, True))
        watcher.before_wait(True)
        assert not awake.poll(0)
        os.eventfd_write(eventfd, 1)
        told = 0
        while told < len(others):
            assert awake.poll()
            told += len(watcher.collect(True))
    finally:
        watcher.close()
