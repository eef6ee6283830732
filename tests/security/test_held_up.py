"""Descriptors of a user's that take their time: whoever has them holds up nobody else. What is closed last is
closed by the daemon, which would wait for a server that does not answer, or for a socket that lingers."""

import array
import ctypes
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attack import Arena, become

from tests.support.children import Child, in_child
from tests.support.mounting import until
from tests.support.muted import muted
from uringfs.abi import control
from uringfs.abi.constants import OPCODES
from uringfs.abi.structs import Sqe
from uringfs.client import Ring, nop

HOUR = 3600
POLLIN, POLLPRI = 1, 2
LEN = 64
IN_TURN = range(3)
BUFFER = ctypes.create_string_buffer(LEN)


def serves(arena: Arena) -> None:
    """Somebody else, who says so within the deadline of Child.hear()."""

    def other(child: Child) -> None:
        become(54322, 54322)
        with Ring(arena.mount / "new", 1) as ring:
            ring.queue(nop(1))
            ring.submit(wait=1)
        child.tell()

    with in_child(other) as child:
        child.expect()


# -- a server that does not answer


def read(fd: int) -> Sqe:
    return Sqe(OPCODES.index("READ"), fd=fd, addr=ctypes.addressof(BUFFER), len=LEN)


def fsync(fd: int) -> Sqe:
    return Sqe(OPCODES.index("FSYNC"), fd=fd)


def poll(fd: int) -> Sqe:
    return Sqe(OPCODES.index("POLL_ADD"), fd=fd, rw_flags=POLLIN)


@pytest.mark.parametrize("request_of", [read, fsync, poll])
def test_a_server_that_does_not_answer_a_close(
    arena: Arena, scratch: Path, request_of: Callable[[int], Sqe]
) -> None:
    def client(child: Child) -> None:
        become()
        fd = os.open(scratch / "file", os.O_RDONLY)
        ring = Ring(arena.mount / "new", 8)
        for _ in IN_TURN:
            ring.queue(request_of(fd))
            ring.submit()
        child.tell()
        child.expect()

    with muted(scratch) as server, in_child(client) as child:
        try:
            child.expect()
            until(lambda: server.flushes, "the daemon to close its own")
            serves(arena)
        finally:
            server.speak()
        child.tell()


# -- sockets that linger


@contextmanager
def unread() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection whose first end has sent more than the other has room for, and waits for an hour when it is
    closed; and that other."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ours.setblocking(False)
        for _ in range(1000):
            try:
                ours.send(bytes(65536))
            except BlockingIOError:
                break
        ours.setblocking(True)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, HOUR))
        yield ours, theirs


def in_flight(lingering: socket.socket) -> tuple[socket.socket, socket.socket]:
    """(in the queue of the first of these is the only descriptor left, the second)"""
    one, other = socket.socketpair()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [lingering.fileno()]))]
    other.sendmsg([b"x"], rights)
    lingering.close()
    return one, other


def its_last_request_ends(ring: Ring, lingering: socket.socket) -> None:
    ring.queue(
        Sqe(OPCODES.index("RECV"), fd=lingering.fileno(), addr=ctypes.addressof(BUFFER), len=LEN, user_data=1)
    )
    ring.submit()
    lingering.close()
    ring.queue(Sqe(OPCODES.index("ASYNC_CANCEL"), fd=-1, addr=1))
    ring.submit(wait=2)


def the_socket_it_is_in_is_closed(ring: Ring, lingering: socket.socket) -> None:
    one, _other = in_flight(lingering)
    ring.queue(Sqe(OPCODES.index("POLL_ADD"), fd=one.fileno(), rw_flags=POLLPRI, user_data=1))
    ring.submit()
    one.close()
    ring.queue(Sqe(OPCODES.index("ASYNC_CANCEL"), fd=-1, addr=1))
    ring.submit(wait=2)


def it_is_received(op: str, ring: Ring, lingering: socket.socket) -> None:
    """Without room for it."""
    one, _other = in_flight(lingering)
    ring.queue(Sqe(OPCODES.index(op), fd=one.fileno(), addr=ctypes.addressof(BUFFER), len=LEN))
    ring.submit(wait=1)
    assert ring.wait().res == 1


def by_recv(ring: Ring, lingering: socket.socket) -> None:
    it_is_received("RECV", ring, lingering)


def by_read(ring: Ring, lingering: socket.socket) -> None:
    it_is_received("READ", ring, lingering)


def an_agents_socket_gets_it(ring: Ring, lingering: socket.socket) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [lingering.fileno()]))]
    ours.sendmsg([b"x"], rights)
    lingering.close()  # before the daemon looks: the last close is its own
    result = ctypes.c_int64(-1)
    body = control.AGENT.pack(ctypes.addressof(result), theirs.fileno(), 0)
    words = control.HEADER.pack(control.URINGFS_CMD_AGENT, control.HEADER.size + len(body)) + body
    os.pwrite(ring.fd, words, control.URINGFS_OFF_CTL)
    assert result.value == 0
    theirs.close()
    assert ours.recv(1) == b""  # that was no answer: the daemon has closed its own


def registered(ring: Ring, lingering: socket.socket) -> None:
    """It goes with the ring."""
    slots = (ctypes.c_int32 * 1)(lingering.fileno())
    ring.register(2, ctypes.addressof(slots), 1)
    lingering.close()
    ring.close()


Way = Callable[[Ring, socket.socket], None]
WAYS: list[Way] = [
    its_last_request_ends,
    the_socket_it_is_in_is_closed,
    by_recv,
    by_read,
    an_agents_socket_gets_it,
    registered,
]


@pytest.mark.parametrize("way", WAYS)
def test_a_socket_that_lingers(arena: Arena, way: Way) -> None:
    def client(child: Child) -> None:
        theirs.close()
        become()
        ring = Ring(arena.mount / "new", 8)
        child.expect()  # nobody else has it
        way(ring, ours)
        child.tell()

    with unread() as (ours, theirs), in_child(client) as child:
        ours.close()
        child.tell()
        try:
            child.expect()
            serves(arena)
        finally:
            theirs.close()
