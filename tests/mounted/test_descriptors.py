"""Descriptors that the client fetches: the protocol by hand, and clients that do not keep to it."""

import ctypes
import errno
import os
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.children import Child, in_child
from tests.support.mounting import Mount, until
from uringfs.abi.constants import IOSQE_ASYNC, OPCODES
from uringfs.abi.control import (
    AGENT,
    DESCRIPTOR,
    ENTER,
    ENTRY,
    FETCH,
    HEADER,
    URINGFS_CMD_AGENT,
    URINGFS_CMD_ENTER,
    URINGFS_CMD_FETCH,
    URINGFS_DESCRIPTOR_CLOEXEC,
    URINGFS_DESCRIPTOR_CLOSE,
    URINGFS_DESCRIPTOR_NEW,
    URINGFS_ENTER_FETCHES,
    URINGFS_OFF_CTL,
    URINGFS_POLL_FETCH,
    URINGFS_RESULT_FETCH,
    URINGFS_RESULT_LATER,
)
from uringfs.abi.structs import Cqe, Sqe
from uringfs.client import Ring

AT_FDCWD = -100
ROOM = 16


class Client:
    """A ring whose enters say that the client fetches."""

    def __init__(self, mount: Mount) -> None:
        self.ring = Ring(mount / "new", 16)
        self._names: list[object] = []

    def control(self, cmd: int, result: ctypes.c_int64, body: bytes) -> int:
        os.pwrite(self.ring.fd, HEADER.pack(cmd, HEADER.size + len(body)) + body, URINGFS_OFF_CTL)
        return result.value

    def submit(self, *sqes: Sqe) -> int:
        for sqe in sqes:
            self.ring.queue(sqe)
        result = ctypes.c_int64(-1)
        body = ENTER.pack(ctypes.addressof(result), len(sqes), 0, 0, URINGFS_ENTER_FETCHES, 0, 0)
        return self.control(URINGFS_CMD_ENTER, result, body)

    def open(self, path: str | Path, flags: int = os.O_RDONLY, sqe_flags: int = 0, user_data: int = 0) -> Sqe:
        name = ctypes.create_string_buffer(os.fsencode(path))
        self._names.append(name)
        number = OPCODES.index("OPENAT")
        address = ctypes.addressof(name)
        return Sqe(number, sqe_flags, fd=AT_FDCWD, addr=address, rw_flags=flags, user_data=user_data)

    def fetch(self, sock: int = -1, room: int = ROOM) -> list[tuple[int, int, int]]:
        """What is to be done: (id, res, what)."""
        entries = ctypes.create_string_buffer(max(room, 1) * DESCRIPTOR.size)
        result = ctypes.c_int64(-1)
        body = FETCH.pack(ctypes.addressof(result), ctypes.addressof(entries), 0, room, sock, 0)
        count = self.control(URINGFS_CMD_FETCH, result, body) & 0xFFFFFFFF
        return list(DESCRIPTOR.iter_unpack(entries.raw[: count * DESCRIPTOR.size]))

    def submit_and_wait(self, *sqes: Sqe) -> None:
        """Until there is something to fetch."""
        self.submit(*sqes)
        until(lambda: client_ready(self), "descriptors to fetch")

    def take(self) -> tuple[list[tuple[int, int, int]], list[int]]:
        """fetch() with a socketpair, and the descriptors that came."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            entries = self.fetch(theirs.fileno())
            if not any(what & URINGFS_DESCRIPTOR_NEW for _, _, what in entries):
                return entries, []
            _, fds, _, _ = socket.recv_fds(ours, 1, ROOM)
            return entries, fds

    def report(self, *entries: tuple[int, int, int]) -> int:
        packed = ctypes.create_string_buffer(b"".join(DESCRIPTOR.pack(*entry) for entry in entries))
        result = ctypes.c_int64(-1)
        body = FETCH.pack(ctypes.addressof(result), ctypes.addressof(packed), len(entries), 0, -1, 0)
        return self.control(URINGFS_CMD_FETCH, result, body)

    def agent(self, sock: int) -> None:
        result = ctypes.c_int64(-1)
        assert self.control(URINGFS_CMD_AGENT, result, AGENT.pack(ctypes.addressof(result), sock, 0)) == 0

    def results(self) -> list[Cqe]:
        return self.ring.reap()


@pytest.fixture
def client(mount: Mount) -> Iterator[Client]:
    client = Client(mount)
    yield client
    client.ring.close()


def test_the_cqe_comes_with_the_report(client: Client) -> None:
    assert client.submit(client.open("/etc/passwd", os.O_CLOEXEC, user_data=5)) == 1 | URINGFS_RESULT_FETCH
    until(lambda: client_ready(client), "a descriptor to fetch")
    entries, fds = client.take()
    assert [(res, what) for _, res, what in entries] == [(-1, URINGFS_DESCRIPTOR_NEW | URINGFS_DESCRIPTOR_CLOEXEC)]
    assert os.read(fds[0], 5) == b"root:"
    os.close(fds[0])
    assert client.results() == []
    assert client.report((entries[0][0], 77, 0)) == 0
    assert client.results() == [Cqe(5, 77, 0)]


def test_a_failure_reported_is_the_result(client: Client) -> None:
    client.submit_and_wait(client.open("/etc/passwd"))
    entries, fds = client.take()
    os.close(fds[0])
    client.report((entries[0][0], -errno.EMFILE, 0))
    assert [cqe.res for cqe in client.results()] == [-errno.EMFILE]


def test_a_close(client: Client) -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    client.submit(Sqe(OPCODES.index("CLOSE"), fd=fd, user_data=1))
    entries, _ = client.take()
    assert [(res, what) for _, res, what in entries] == [(fd, URINGFS_DESCRIPTOR_CLOSE)]
    os.close(fd)
    client.report((entries[0][0], 0, 0))
    assert client.results() == [Cqe(1, 0, 0)]


def test_no_more_than_there_is_room_for(client: Client) -> None:
    client.submit(*(client.open("/dev/null", user_data=n) for n in range(5)))
    found: list[int] = []
    for count in (3, 2):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            until(lambda: client_ready(client), "descriptors to fetch")
            entries = client.fetch(theirs.fileno(), 3)
            while len(entries) < count:  # opens end one by one
                more = client.fetch(theirs.fileno(), count - len(entries))
                entries += more
            fds: list[int] = []
            while len(fds) < count:
                fds += socket.recv_fds(ours, 1, 8)[1]
            assert len(fds) == len(entries) == count
            for fd in fds:
                os.close(fd)
            client.report(*((number, 9, 0) for number, _, _ in entries))
            found += [cqe.res for cqe in client.results()]
    assert found == [9] * 5


def client_ready(client: Client) -> bool:
    poll = select.poll()
    poll.register(client.ring.fd, URINGFS_POLL_FETCH)
    return bool(poll.poll(0))


def test_an_open_that_takes_long_is_announced_by_poll(client: Client, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    client.submit(client.open(tmp_path / "fifo", sqe_flags=IOSQE_ASYNC))
    assert client.take() == ([], [])
    assert not client_ready(client)
    done = threading.Event()

    def agent() -> None:
        """What a client that only looks at the CQ leaves to a thread."""
        poll = select.poll()
        poll.register(client.ring.fd, URINGFS_POLL_FETCH)
        assert poll.poll()[0][1] & URINGFS_POLL_FETCH
        entries, fds = client.take()
        client.report((entries[0][0], fds[0], 0))
        done.set()

    thread = threading.Thread(target=agent)
    thread.start()
    writer = os.open(tmp_path / "fifo", os.O_WRONLY)
    assert done.wait(30)
    thread.join()
    (cqe,) = client.results()
    os.write(writer, b"through")
    assert os.read(cqe.res, 10) == b"through"
    os.close(cqe.res)
    os.close(writer)


@pytest.mark.parametrize("kind", ["none", "closed", "file", "stream", "datagram", "netlink"])
def test_sockets_that_will_not_do(client: Client, kind: str) -> None:
    expected = {"none": errno.EMFILE, "closed": errno.EBADF, "file": errno.ENOTSOCK}.get(kind, errno.EINVAL)
    sockets: list[socket.socket] = []
    fd = {"none": -1, "closed": 12345}.get(kind, -1)
    if kind == "file":
        fd = os.open("/dev/null", os.O_RDWR)
    elif kind in ("stream", "datagram"):
        sockets += socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM if kind == "stream" else socket.SOCK_DGRAM)
        fd = sockets[0].fileno()
    elif kind == "netlink":
        sockets.append(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
        fd = sockets[0].fileno()
    client.submit_and_wait(client.open("/dev/null"))
    assert client.fetch(fd) == []
    until(lambda: client.ring.ready(), "the CQE")
    assert [cqe.res for cqe in client.results()] == [-expected]
    for sock in sockets:
        sock.close()
    if kind == "file":
        os.close(fd)


def test_the_daemon_speaks_to_no_third_party(client: Client) -> None:
    """A service that trusts root must not hear from the daemon what a client wants it to hear."""

    def service(parent: Child) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(f"\0uringfs-test-{os.getpid()}")
            listener.listen()
            parent.tell()
            connection, _ = listener.accept()
            assert connection.recv(16) == b""  # the client's close: nobody said anything

    with in_child(service) as child, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        child.expect()
        sock.connect(f"\0uringfs-test-{child.pid}")
        client.submit_and_wait(client.open("/dev/null"))
        assert client.fetch(sock.fileno()) == []
        until(lambda: client.ring.ready(), "the CQE")
        assert [cqe.res for cqe in client.results()] == [-errno.EPERM]


def test_a_full_socket_does_not_hold_up_the_daemon(client: Client) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                theirs.send(b"x")
        theirs.setblocking(True)
        client.submit_and_wait(client.open("/dev/null"))
        assert client.fetch(theirs.fileno()) == []
        until(lambda: client.ring.ready(), "the CQE")
        assert [cqe.res for cqe in client.results()] == [-errno.EAGAIN]


def test_reports_of_what_was_not_asked(client: Client) -> None:
    assert client.report((1, 5, 0), (1 << 63, 5, 0)) == 0  # none any more, or never
    client.submit(client.open("/dev/null"))
    until(lambda: client_ready(client), "a descriptor to fetch")
    with pytest.raises(OSError, match="Invalid argument"):
        client.report((1, 5, 0))  # the ring's first: it has not been fetched
    assert client.results() == []
    entries, fds = client.take()
    os.close(fds[0])
    client.report((entries[0][0], 3, 0))
    client.report((entries[0][0], 4, 0))
    assert [cqe.res for cqe in client.results()] == [3]


def test_another_process_gets_nothing(client: Client) -> None:
    client.submit(client.open("/dev/null"))
    until(lambda: client_ready(client), "a descriptor to fetch")

    def thief(parent: Child) -> None:
        assert client.take() == ([], [])

    with in_child(thief) as child:
        assert child.wait() == 0
    entries, fds = client.take()

    def liar(parent: Child) -> None:
        with pytest.raises(OSError, match="Invalid argument"):
            client.report((entries[0][0], 99, 0))

    with in_child(liar) as child:
        assert child.wait() == 0
    client.report((entries[0][0], fds[0], 0))
    assert [cqe.res for cqe in client.results()] == [fds[0]]
    os.close(fds[0])


def test_bad_addresses_and_counts(client: Client) -> None:
    client.submit(client.open("/dev/null"))
    until(lambda: client_ready(client), "a descriptor to fetch")
    result = ctypes.c_int64(-1)
    for entries, done, room, expected in (
        (8, 0, ROOM, errno.EFAULT),
        (8, 1, 0, errno.EFAULT),
        (8, 65, 0, errno.EINVAL),
        (8, 0xFFFFFFFF, 0, errno.EINVAL),
        ((1 << 64) - 1, 0, 0xFFFFFFFF, errno.EFAULT),
    ):
        body = FETCH.pack(ctypes.addressof(result), entries, done, room, -1, 0)
        with pytest.raises(OSError, match=os.strerror(expected)):
            client.control(URINGFS_CMD_FETCH, result, body)
    fetched, fds = client.take()  # nothing was lost by it
    os.close(fds[0])
    client.report((fetched[0][0], 1, 0))
    assert [cqe.res for cqe in client.results()] == [1]


def test_a_client_that_takes_and_dies(mount: Mount) -> None:
    """What was opened for it is closed: the other end of a pipe sees that."""
    reader, writer = os.pipe()

    def child(parent: Child) -> None:
        client = Client(mount)
        client.submit(client.open(f"/proc/self/fd/{writer}", os.O_WRONLY))
        until(lambda: client_ready(client), "a descriptor to fetch")
        os.kill(os.getpid(), 9)

    with in_child(child, ends_by=(-9,)) as process:
        process.wait()
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], 30)
    assert ready
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_a_ring_that_is_closed_with_descriptors_to_fetch(mount: Mount) -> None:
    reader, writer = os.pipe()
    client = Client(mount)
    client.submit(client.open(f"/proc/self/fd/{writer}", os.O_WRONLY))
    until(lambda: client_ready(client), "a descriptor to fetch")
    client.ring.close()
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], 30)
    assert ready
    assert os.read(reader, 1) == b""
    os.close(reader)


# -- agents


def test_an_agent_takes_what_no_enter_waits_for(client: Client, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert client.submit(client.open(fifo, os.O_RDONLY, IOSQE_ASYNC, user_data=3)) == 1 | URINGFS_RESULT_FETCH
    assert client.take() == ([], [])  # in vain
    assert client.submit() == URINGFS_RESULT_LATER
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        client.agent(theirs.fileno())
        assert client.submit() == 0
        with open(fifo, "wb"):
            message, fds, _, _ = socket.recv_fds(ours, ENTRY.size, 4)
            number, res, what, *_ = ENTRY.unpack(message)
            assert (res, what, len(fds)) == (-1, URINGFS_DESCRIPTOR_NEW, 1)
            ours.send(ENTRY.pack(number, 4711, *(0,) * 7))
            until(lambda: client.ring.ready(), "the CQE")
        assert [(cqe.user_data, cqe.res) for cqe in client.results()] == [(3, 4711)]
        os.close(fds[0])
        client.ring.close()
        assert ours.recv(ENTRY.size) == b""


def test_an_agent_that_dies_before_it_answers(client: Client, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        client.agent(theirs.fileno())
        client.submit(client.open(fifo, os.O_RDONLY, IOSQE_ASYNC))
        assert client.take() == ([], [])
        with open(fifo, "wb"):
            _, fds, _, _ = socket.recv_fds(ours, ENTRY.size, 4)
            os.close(fds[0])
    until(lambda: client.submit() & URINGFS_RESULT_FETCH, "the daemon to notice")
    entries, fds = client.take()
    client.report((entries[0][0], fds[0], 0))
    assert [cqe.res for cqe in client.results()] == [fds[0]]
    os.close(fds[0])


def test_agents_that_will_not_do(client: Client) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs, open("/dev/null") as file:
        for sock, expected in (
            (-1, errno.EBADF),
            (12345, errno.EBADF),
            (file.fileno(), errno.ENOTSOCK),
            (theirs.fileno(), errno.EINVAL),
        ):
            with pytest.raises(OSError, match=os.strerror(expected)):
                client.agent(sock)


def test_an_agent_must_be_the_callers(client: Client) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def another(parent: Child) -> None:
        with pytest.raises(OSError, match=os.strerror(errno.EPERM)):
            client.agent(theirs.fileno())

    with ours, theirs, in_child(another) as child:
        assert child.wait() == 0
