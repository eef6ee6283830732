"""poll, select and epoll on a ring file, as on an io_uring descriptor."""

import os
import select
import threading
from collections.abc import Iterator

import pytest

from tests.support.children import DEADLINE
from tests.support.mounting import Mount, until
from uringfs.client import Ring, nop

IN, OUT, ERR = select.POLLIN, select.POLLOUT, select.POLLERR


@pytest.fixture
def ring(mount: Mount) -> Iterator[Ring]:
    with Ring(mount / "new", 2) as ring:
        yield ring


def now(ring: Ring) -> int:
    """What poll(2) says without waiting."""
    poll = select.poll()
    poll.register(ring.fd, IN | OUT)
    return dict(poll.poll(0)).get(ring.fd, 0)


def test_readable_with_completions_writable_with_room(ring: Ring) -> None:
    assert now(ring) == OUT
    ring.queue(nop(1))
    ring.queue(nop(2))
    assert now(ring) == 0  # the SQ is full, the CQ is empty
    ring.submit()
    assert now(ring) == IN | OUT
    ring.reap()
    assert now(ring) == OUT


def test_before_setup_it_is_an_error(mount: Mount) -> None:
    fd = os.open(mount / "new", os.O_RDWR)
    poll = select.poll()
    poll.register(fd, IN | OUT)
    assert dict(poll.poll(0)) == {fd: ERR}
    os.close(fd)


def submit_later(ring: Ring, before: threading.Event) -> threading.Thread:
    """A thread that submits a NOP once told."""

    def run() -> None:
        assert before.wait(DEADLINE)
        ring.queue(nop(5))
        ring.submit()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("how", ["poll", "select", "epoll", "epoll-edge"])
def test_a_completion_wakes_who_waits(ring: Ring, how: str) -> None:
    go = threading.Event()
    thread = submit_later(ring, go)
    try:
        go.set()
        if how == "poll":
            poll = select.poll()
            poll.register(ring.fd, IN)
            assert poll.poll(DEADLINE * 1000) == [(ring.fd, IN)]
        elif how == "select":
            assert select.select([ring.fd], [], [], DEADLINE)[0] == [ring.fd]
        else:
            with select.epoll() as epoll:
                epoll.register(ring.fd, select.EPOLLIN | (select.EPOLLET if how == "epoll-edge" else 0))
                assert epoll.poll(DEADLINE) == [(ring.fd, select.EPOLLIN)]
    finally:
        thread.join()
    assert [cqe.user_data for cqe in ring.reap()] == [5]


def test_a_read_that_ends_later_wakes_epoll(ring: Ring) -> None:
    receive, send = os.pipe()
    with select.epoll() as epoll:
        epoll.register(ring.fd, select.EPOLLIN)
        for turn in range(50):
            data = bytearray(1)
            ring.readv(receive, [data], user_data=turn)
            ring.submit()
            assert epoll.poll(0) == []
            os.write(send, b"x")
            assert epoll.poll(DEADLINE) == [(ring.fd, select.EPOLLIN)]
            assert [(cqe.user_data, cqe.res) for cqe in ring.reap()] == [(turn, 1)]
    os.close(receive)
    os.close(send)


def test_edge_triggered_epoll_tells_each_batch_once(ring: Ring) -> None:
    with select.epoll() as epoll:
        epoll.register(ring.fd, select.EPOLLIN | select.EPOLLET)
        for _ in range(20):
            ring.queue(nop())
            ring.submit()
            until(lambda: epoll.poll(0), "the edge")
            assert epoll.poll(0) == []
            ring.reap()


def test_one_epoll_watches_many_rings(mount: Mount) -> None:
    rings = [Ring(mount / "new", 4) for _ in range(20)]
    with select.epoll() as epoll:
        for ring in rings:
            epoll.register(ring.fd, select.EPOLLIN)
        for index in (7, 0, 19):
            rings[index].queue(nop())
            rings[index].submit()
            assert epoll.poll(DEADLINE) == [(rings[index].fd, select.EPOLLIN)]
            rings[index].reap()
    for ring in rings:
        ring.close()


def test_pollers_do_not_pile_up(mount: Mount, ring: Ring) -> None:
    """A poll that nobody ended with a completion leaves no watcher behind the next one."""
    for _ in range(200):
        now(ring)
        with select.epoll() as epoll:
            epoll.register(ring.fd, select.EPOLLIN)
            epoll.poll(0)
    text = os.pread(ring.fd, 1 << 16, 0).decode()
    assert "Waiting:\t0" in text  # enters that wait, not polls
    assert os.getxattr(ring.fd, "user.uring.waiting") == b"0"


def test_two_openers_of_one_ring_poll_each_for_itself(mount: Mount, name: str) -> None:
    with Ring(mount / name, 4) as ring:
        other = os.open(mount / name, os.O_RDWR)
        with select.epoll() as epoll:
            epoll.register(ring.fd, select.EPOLLIN)
            epoll.register(other, select.EPOLLIN)
            assert epoll.poll(0) == []
            ring.queue(nop())
            ring.submit()
            seen: set[int] = set()
            until(lambda: seen.update(fd for fd, _ in epoll.poll(0)) or len(seen) == 2, "both to be told")
        os.close(other)
