"""Faults of sockets and paths, on a host that is this machine: the far end is seen, data is short or wrong."""

import ctypes
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.unit.faults.conftest import ROOT, differences
from tests.unit.support import Here
from uringfs.abi import constants as abi
from uringfs.abi.structs import Sqe
from uringfs.faults import matching
from uringfs.faults.engine import FaultEngine

DATA = bytes(range(32))


@pytest.fixture
def memory() -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(DATA, 4096)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.fixture
def tcp() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        accepted, _ = server.accept()
        with accepted:
            yield client, accepted


def transfer(opcode: int, sock: socket.socket, memory: ctypes.Array[ctypes.c_char], size: int = 32) -> Sqe:
    return Sqe(opcode, fd=sock.fileno(), addr=ctypes.addressof(memory), len=size, user_data=1)


Pair = tuple[socket.socket, socket.socket]
Memory = ctypes.Array[ctypes.c_char]


async def one(here: Here, sqe: Sqe) -> int:
    await here.submit(sqe)
    return (await here.cqe())[0]


@pytest.mark.parametrize("opcode", [abi.IORING_OP_SEND, abi.IORING_OP_WRITE])
async def test_a_short_send(here: Here, broken: FaultEngine, pair: Pair, memory: Memory, opcode: int) -> None:
    broken.inject("SEND,WRITE:short=5", ROOT)
    assert await one(here, transfer(opcode, pair[0], memory)) == 5
    assert pair[1].recv(100) == DATA[:5]


async def test_a_torn_send(here: Here, broken: FaultEngine, pair: Pair, memory: Memory) -> None:
    broken.inject("SEND:torn=5", ROOT)
    assert await one(here, transfer(abi.IORING_OP_SEND, pair[0], memory)) == 32
    assert pair[1].recv(100) == DATA[:5]


@pytest.mark.parametrize("before", [True, False])
async def test_a_short_receive(here: Here, broken: FaultEngine, pair: Pair, memory: Memory, before: bool) -> None:
    broken.inject("RECV:short=5", ROOT)
    if before:
        pair[0].send(b"x" * 9)
    await here.submit(transfer(abi.IORING_OP_RECV, pair[1], memory))
    if not before:
        await trio.testing.wait_all_tasks_blocked()
        pair[0].send(b"x" * 9)
    assert (await here.cqe())[0] == 5
    assert bytes(memory)[:6] == b"xxxxx" + DATA[5:6]
    assert pair[1].recv(100) == b"x" * 4


async def test_what_is_sent_is_corrupt(here: Here, broken: FaultEngine, pair: Pair, memory: Memory) -> None:
    broken.inject("SEND:corrupt=2..3", ROOT)
    assert await one(here, transfer(abi.IORING_OP_SEND, pair[0], memory)) == 32
    assert differences(pair[1].recv(100), DATA) == [2, 3]
    assert bytes(memory)[:32] == DATA


async def test_what_is_received_is_corrupt(here: Here, broken: FaultEngine, pair: Pair, memory: Memory) -> None:
    broken.inject("RECV:corrupt=1", ROOT)
    pair[0].send(b"x" * 32)
    assert await one(here, transfer(abi.IORING_OP_RECV, pair[1], memory)) == 32
    assert len(differences(bytes(memory)[:32], b"x" * 32)) == 1


async def test_a_peer(here: Here, broken: FaultEngine, tcp: Pair, memory: Memory) -> None:
    host, port = tcp[0].getpeername()
    broken.inject(f'SEND:peer="{host}:{port}":error=ECONNRESET', ROOT)
    assert await one(here, transfer(abi.IORING_OP_SEND, tcp[0], memory)) == -errno.ECONNRESET
    assert await one(here, transfer(abi.IORING_OP_SEND, tcp[1], memory)) == 32


async def test_where_it_connects_to(here: Here, broken: FaultEngine, memory: Memory) -> None:
    rule = broken.inject('CONNECT:peer="127.0.0.1:*":error=ETIMEDOUT', ROOT)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as sock:
        port = server.getsockname()[1]
        name = socket.AF_INET.to_bytes(2, "little") + port.to_bytes(2, "big") + socket.inet_aton("127.0.0.1")
        memory[:16] = name.ljust(16, b"\0")
        sqe = Sqe(abi.IORING_OP_CONNECT, fd=sock.fileno(), addr=ctypes.addressof(memory), off=16)
        assert await one(here, sqe) == -errno.ETIMEDOUT
        broken.remove(rule.id, ROOT)
        broken.inject('CONNECT:peer="127.0.0.2:*":error=ETIMEDOUT', ROOT)
        assert await one(here, sqe) == 0


@pytest.mark.parametrize(
    ("sockaddr", "shown"),
    [
        (b"\x01\0/run/x\0", "unix:/run/x"),
        (b"\x01\0\0name", "unix:@name"),
        (b"\x02\0\0\x50\x7f\0\0\x01" + bytes(8), "127.0.0.1:80"),
        (b"\x0a\0\0\x50" + bytes(19) + b"\x01" + bytes(4), "[::1]:80"),
        (b"", ""),
        (b"\x02\0", ""),
    ],
)
def test_addresses(sockaddr: bytes, shown: str) -> None:
    assert matching.address(sockaddr) == shown


async def test_what_a_descriptor_is(here: Here, broken: FaultEngine, memory: Memory, tmp_path: Path) -> None:
    rule = broken.inject(f"%write:path={tmp_path}/*.wal:error=ENOSPC", ROOT)
    for name, result in (("db.wal", -errno.ENOSPC), ("db.log", 32)):
        fd = os.open(tmp_path / name, os.O_RDWR | os.O_CREAT)
        try:
            sqe = Sqe(abi.IORING_OP_WRITE, fd=fd, addr=ctypes.addressof(memory), len=32)
            assert await one(here, sqe) == result
        finally:
            os.close(fd)
    assert (tmp_path / "db.wal").read_bytes() == b""
    assert (tmp_path / "db.log").read_bytes() == DATA
    assert rule.matched == 1


async def test_corruption_of_a_large_write_is_where_it_was_asked(
    here: Here, broken: FaultEngine, tmp_path: Path
) -> None:
    size = 3 << 20
    memory = ctypes.create_string_buffer(size)
    place = (2 << 20) + 17
    broken.inject(f"WRITE:corrupt={place}..{place + 1}", ROOT)
    fd = os.open(tmp_path / "large", os.O_RDWR | os.O_CREAT)
    try:
        sqe = Sqe(abi.IORING_OP_WRITE, fd=fd, addr=ctypes.addressof(memory), len=size)
        assert await one(here, sqe) == size
    finally:
        os.close(fd)
    written = (tmp_path / "large").read_bytes()
    assert [at for at in range(size) if written[at]] == [place, place + 1]
