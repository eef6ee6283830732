"""The daemon as a deputy: what it writes to for a caller may be a ring file, of its own mount or of another one. A
control write is in the name of who writes, and that one is root."""

import ctypes
import os
from collections.abc import Callable, Iterator

import pytest
from attack import SECRET, Arena, become

from tests.support.children import in_child
from tests.support.mounting import Mount, open_directory
from uringfs.abi import control as abi
from uringfs.abi.constants import IOSQE_ASYNC, OPCODES
from uringfs.abi.structs import Sqe
from uringfs.client import Ring, nop

U64 = (1 << 64) - 1
VECTOR = (ctypes.c_uint64 * 2)()
WRITE, WRITEV, WRITE_FIXED, SPLICE = map(OPCODES.index, ("WRITE", "WRITEV", "WRITE_FIXED", "SPLICE"))


@pytest.fixture(scope="module")
def neighbour() -> Iterator[Mount]:
    """A second daemon."""
    with open_directory() as path, Mount(path / "mnt", "-o", "allow_other") as mount:
        yield mount


@pytest.fixture(params=["its own mount", "another's"])
def target(request: pytest.FixtureRequest, arena: Arena) -> Mount:
    return arena.mount if request.param == "its own mount" else request.getfixturevalue("neighbour")


Put = Callable[[Ring, int, "ctypes.Array[ctypes.c_char]"], Sqe]


def by_write(_: Ring, fd: int, data: "ctypes.Array[ctypes.c_char]") -> Sqe:
    return Sqe(WRITE, fd=fd, off=0, addr=ctypes.addressof(data), len=len(data))


def by_worker(_: Ring, fd: int, data: "ctypes.Array[ctypes.c_char]") -> Sqe:
    return Sqe(WRITE, IOSQE_ASYNC, fd=fd, off=U64, addr=ctypes.addressof(data), len=len(data))


def by_writev(_: Ring, fd: int, data: "ctypes.Array[ctypes.c_char]") -> Sqe:
    VECTOR[:] = ctypes.addressof(data), len(data)
    return Sqe(WRITEV, fd=fd, addr=ctypes.addressof(VECTOR), len=1)


def by_write_fixed(ring: Ring, fd: int, data: "ctypes.Array[ctypes.c_char]") -> Sqe:
    vector = (ctypes.c_uint64 * 2)(ctypes.addressof(data), len(data))
    ring.register(0, ctypes.addressof(vector), 1)
    return Sqe(WRITE_FIXED, fd=fd, addr=ctypes.addressof(data), len=len(data))


def by_splice(_: Ring, fd: int, data: "ctypes.Array[ctypes.c_char]") -> Sqe:
    read, write = os.pipe()
    os.write(write, data.raw)
    return Sqe(SPLICE, fd=fd, off=U64, addr=U64, len=len(data), file_index=read)


WAYS = (by_write, by_worker, by_writev, by_write_fixed, by_splice)


def result(arena: Arena, put: Put, fd: int, words: bytes) -> int:
    with Ring(arena.mount / "new", 8) as ring:
        data = ctypes.create_string_buffer(words, len(words))
        ring.queue(put(ring, fd, data))
        ring.submit(wait=1)
        return ring.wait().res


def as_attacker(code: Callable[[], None]) -> None:
    def attacker() -> None:
        become()
        code()

    with in_child(lambda _: attacker()):
        pass


@pytest.mark.parametrize("put", WAYS)
def test_text(arena: Arena, target: Mount, put: Put) -> None:
    words = f"readv path={arena.directory / 'secret'} len=64\nenter wait=1\n".encode()

    def attack() -> None:
        fd = os.open(target / "new", os.O_RDWR)
        os.write(fd, b"setup 8\n")
        code = result(arena, put, fd, words)
        assert SECRET.strip().encode() not in os.pread(fd, 65536, 0)
        assert code < 0

    as_attacker(attack)


@pytest.mark.parametrize("put", WAYS)
def test_binary(arena: Arena, target: Mount, put: Put) -> None:
    """Descriptors and addresses of what it would execute were the daemon's."""

    def attack() -> None:
        ring = Ring(target / "new", 8)
        ring.queue(nop(1))
        body = abi.ENTER.pack(0, 1, 0, 0, 0, 0, 0)
        words = abi.HEADER.pack(abi.URINGFS_CMD_ENTER, abi.HEADER.size + len(body)) + body
        code = result(arena, put, ring.fd, words)
        assert (ring.ready(), ring.queued()) == (0, 1), "requests in the daemon's name"
        assert code < 0

    as_attacker(attack)
