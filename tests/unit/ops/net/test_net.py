"""Requests on real sockets of this process, through the engine: cancelled wherever they wait, and what the
caller's bytes may say."""

import ctypes
import errno
import socket
from collections.abc import Callable
from contextlib import suppress

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests.fakehost.memory import FakeMemory
from tests.unit.support import Here, fill
from uringfs.abi.net import (
    CMSGHDR,
    IORING_ACCEPT_MULTISHOT,
    IORING_RECVSEND_POLL_FIRST,
    MSG_WAITALL,
    SCM_RIGHTS,
    SOL_SOCKET,
)
from uringfs.abi.numbers import s32
from uringfs.abi.structs import Sqe
from uringfs.errors import UringError
from uringfs.host.files.file import LocalFile
from uringfs.host.local import LocalHost
from uringfs.ops.net.msghdr import Cmsg, address, cmsgs, packed, store_address

ACCEPT, CONNECT, SEND, RECV, SEND_ZC = 13, 16, 26, 27, 47
MORE, NOTIF = 2, 8
CANCELED = -errno.ECANCELED


@pytest.fixture
def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair()


def at(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


async def test_a_cancelled_receive_takes_nothing(here: Here, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    room = ctypes.create_string_buffer(8)
    with ours, theirs:
        for flags in (0, IORING_RECVSEND_POLL_FIRST):
            await here.submit(Sqe(RECV, fd=theirs.fileno(), addr=at(room), len=8, ioprio=flags))
            await wait_all_tasks_blocked()
            here.cancel()
            ours.send(b"kept")
            assert await here.cqe() == (CANCELED, 0)
            assert theirs.recv(8) == b"kept"


async def test_a_cancelled_waitall_tells_what_came(here: Here, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    room = ctypes.create_string_buffer(8)
    with ours, theirs:
        await here.submit(Sqe(RECV, fd=theirs.fileno(), addr=at(room), len=8, rw_flags=MSG_WAITALL))
        ours.send(b"abc")
        with trio.fail_after(10):
            while room.raw[:3] != b"abc":
                await trio.lowlevel.checkpoint()
        here.cancel()
        assert await here.cqe() == (3, 0)


async def test_a_cancelled_send_sends_nothing(here: Here, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    text = ctypes.create_string_buffer(b"text")
    with ours, theirs:
        fill(ours)
        await here.submit(Sqe(SEND, fd=ours.fileno(), addr=at(text), len=4))
        await wait_all_tasks_blocked()
        here.cancel()
        assert await here.cqe() == (CANCELED, 0)
        ours.close()
        rest = b"".join(iter(lambda: theirs.recv(1 << 16), b""))
        assert set(rest) == {0}


async def test_a_cancelled_accept_leaves_the_connection(here: Here) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        for ioprio in (0, IORING_ACCEPT_MULTISHOT):
            # a slot that does not exist: what it may not do is accept
            await here.submit(Sqe(ACCEPT, fd=server.fileno(), ioprio=ioprio, file_index=0xFFFFFFFF))
            await wait_all_tasks_blocked()
            here.cancel()
            with socket.create_connection(server.getsockname()) as client:
                assert await here.cqe() == (CANCELED, 0)
                accepted, name = server.accept()
                with accepted:
                    assert name == client.getsockname()


async def test_who_connects_while_it_is_looked_is_accepted(nursery: trio.Nursery) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:

        class Late(LocalFile):
            def ready(self) -> bool:
                was = super().ready()
                if not was:
                    with suppress(OSError):  # it is connected
                        client.connect(server.getsockname())
                return was

        class LateHost(LocalHost):
            def adopt(self, fd: int, uid: int = 0, tid: int = 0) -> LocalFile:
                return Late(fd, self.own_device, self.threads(uid), tid)

        here = Here(nursery, host=LateHost())
        name, size = ctypes.create_string_buffer(16), ctypes.create_string_buffer(b"\x10\0\0\0", 4)
        await here.submit(Sqe(ACCEPT, fd=server.fileno(), addr=at(name), off=at(size), file_index=0xFFFFFFFF))
        assert (await here.cqe())[0] == -errno.ENFILE  # there is no slot
        assert int.from_bytes(name.raw[2:4], "big") == client.getsockname()[1]
        here.context.close()
        nursery.cancel_scope.cancel()


async def test_a_cancelled_connect(here: Here) -> None:
    with socket.socket() as server, socket.socket() as first, socket.socket() as second:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        host, port = server.getsockname()
        first.connect((host, port))  # the queue is full: further ones are not answered
        name = ctypes.create_string_buffer(
            socket.AF_INET.to_bytes(2, "little") + port.to_bytes(2, "big") + socket.inet_aton(host) + bytes(8), 16
        )
        await here.submit(Sqe(CONNECT, fd=second.fileno(), addr=at(name), off=16))
        with trio.fail_after(10):
            while second.getsockname()[1] == 0:
                await trio.lowlevel.checkpoint()
        here.cancel()
        assert await here.cqe() == (CANCELED, 0)
        assert second.getblocking()


async def test_a_cancelled_zero_copy_send_notifies(here: Here) -> None:
    text = ctypes.create_string_buffer(b"text")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
        fill(sock)
        await here.submit(Sqe(SEND_ZC, fd=sock.fileno(), addr=at(text), len=4))
        await wait_all_tasks_blocked()
        here.cancel()
        assert await here.cqe() == (CANCELED, MORE)
        assert await here.cqe() == (0, NOTIF)


async def test_the_end_of_the_ring_ends_them(here: Here, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    room = ctypes.create_string_buffer(8)
    with ours, theirs:
        await here.submit(Sqe(RECV, fd=theirs.fileno(), addr=at(room), len=8))
        await wait_all_tasks_blocked()
        here.context.close()
        await wait_all_tasks_blocked()
        ours.send(b"kept")
        assert theirs.recv(8) == b"kept"
        assert here.client.reap() == []


PAGE = 0x10000


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.binary(max_size=40)), max_size=5))
def test_control_messages_survive(found: list[tuple[int, int, bytes]]) -> None:
    assert [tuple(message) for message in cmsgs(packed([Cmsg(*one) for one in found]))] == found


@given(st.binary(max_size=200))
def test_any_control_bytes_end(control: bytes) -> None:
    found: list[Cmsg] = []
    with suppress(UringError):
        found.extend(cmsgs(control))
    assert sum(CMSGHDR.size + len(message.data) for message in found) <= len(control)


@pytest.mark.parametrize("length", [0, 15, 33, 1 << 63])
def test_a_message_of_a_bad_length(length: int) -> None:
    control = CMSGHDR.pack(length, SOL_SOCKET, SCM_RIGHTS) + bytes(16)
    with pytest.raises(UringError) as raised:
        list(cmsgs(control))
    assert raised.value.errno == errno.EINVAL


@pytest.mark.parametrize(
    ("size", "expected"), [(0, b""), (16, b"0123456789abcdef"), (129, errno.EINVAL), (0xFFFFFFFF, errno.EINVAL)]
)
def test_addresses_in(size: int, expected: bytes | int) -> None:
    memory = FakeMemory()
    memory.put(PAGE, b"0123456789abcdef")
    if isinstance(expected, bytes):
        assert address(memory, PAGE, size) == expected
        return
    with pytest.raises(UringError) as raised:
        address(memory, PAGE, size)
    assert raised.value.errno == expected


@pytest.mark.parametrize(("room", "stored"), [(0, 0), (3, 3), (6, 6), (100, 6)])
def test_addresses_out(room: int, stored: int) -> None:
    memory = FakeMemory()
    memory.put(PAGE, b"." * 16)
    memory.put(PAGE + 64, room.to_bytes(4, "little"))
    store_address(memory, b"abcdef", 6, PAGE, PAGE + 64)
    assert memory.read(PAGE, 16) == b"abcdef"[:stored].ljust(16, b".")
    assert memory.read(PAGE + 64, 4) == b"\6\0\0\0"


@pytest.mark.parametrize(
    ("store", "code"),
    [
        (lambda memory: memory.put(PAGE + 64, b"\xff\xff\xff\xff"), errno.EINVAL),
        (lambda memory: memory.unmap(PAGE, 4096), errno.EFAULT),
    ],
)
def test_addresses_that_cannot_be_stored(store: Callable[[FakeMemory], object], code: int) -> None:
    memory = FakeMemory()
    memory.put(PAGE, bytes(128))
    store(memory)
    with pytest.raises(UringError) as raised:
        store_address(memory, b"abcdef", 6, PAGE, PAGE + 64)
    assert raised.value.errno == code


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (1 << 31, -(1 << 31)), (0xFFFFFFFF, -1), (1 << 32, 0)])
def test_the_int_of_a_wider_field(value: int, expected: int) -> None:
    assert s32(value) == expected
