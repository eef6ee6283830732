"""What an asynchronous request costs in tasks: one at most, on this machine's own files and threads."""

import ctypes
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.unit.support import Here, Spawned
from uringfs.abi.constants import IOSQE_ASYNC, OPCODES
from uringfs.abi.structs import TIMESPEC, Sqe

COUNT = 20
POLLIN = 1
buffer = ctypes.create_string_buffer(b"data", 64)
BUFFER = ctypes.addressof(buffer)


def sqe(op: str, fd: int = -1, **fields: int) -> Sqe:
    return Sqe(OPCODES.index(op), fd=fd, **fields)


class Kind(NamedTuple):
    request: Sqe
    complete: Callable[[], object] = lambda: None
    """Makes it complete."""
    settle: Callable[[], object] = lambda: None
    """Called after the test: then all is as before."""
    most: int = 1
    """Tasks it may cost."""


def pipe_read(folder: Path) -> Kind:
    receive, send = os.pipe()
    return Kind(sqe("READ", receive, addr=BUFFER, len=4), lambda: os.write(send, b"data"))


def recv(folder: Path) -> Kind:
    ours, theirs = (sock.detach() for sock in socket.socketpair())
    return Kind(sqe("RECV", ours, addr=BUFFER, len=4), lambda: os.write(theirs, b"data"))


def poll(folder: Path) -> Kind:
    fd = os.eventfd(0)
    request = sqe("POLL_ADD", fd, rw_flags=POLLIN)
    return Kind(request, lambda: os.eventfd_write(fd, 1), lambda: os.eventfd_read(fd), most=0)


def timeout(folder: Path) -> Kind:
    buffer[16:32] = TIMESPEC.pack(0, 1000)
    return Kind(sqe("TIMEOUT", addr=BUFFER + 16, len=1), most=0)


def file_write(folder: Path) -> Kind:
    fd = os.open(folder / "file", os.O_RDWR | os.O_CREAT)
    return Kind(sqe("WRITE", fd, addr=BUFFER, len=4, flags=IOSQE_ASYNC))


def fsync(folder: Path) -> Kind:
    return Kind(sqe("FSYNC", os.open(folder / "file", os.O_RDWR | os.O_CREAT)))


@pytest.mark.parametrize("kind", [pipe_read, recv, poll, timeout, file_write, fsync])
async def test_one_task_at_most(here: Here, tmp_path: Path, kind: Callable[[Path], Kind]) -> None:
    request, complete, settle, most = kind(tmp_path)

    async def once() -> None:
        await here.submit(request)
        assert here.client.results() == []
        complete()
        await here.cqe()
        settle()

    await once()  # what is kept from then on has begun: pollers, timers, helpers
    with Spawned() as spawned:
        for _ in range(COUNT):
            await once()
    assert spawned.count <= most * COUNT
