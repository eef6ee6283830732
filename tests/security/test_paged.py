"""The attacks on a root daemon whose rings are shared through the page cache: stores into a mapped file come to it
as writes that the kernel makes, in nobody's name."""

import ctypes
import errno
import mmap
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attack import CONTROL, HERE, Arena, become, declared
from test_exec import HEADS, LATER, POLLED, TAILS

from tests.support.calls import answer
from tests.support.children import Child, in_child
from tests.support.mounting import Mount, open_directory
from uringfs.abi.control import URINGFS_OFF_CTL
from uringfs.client import Ring, nop
from uringfs.client.faults import Faults

SPECIALS = (".control", ".trace", ".rings")
MS_SYNC = 4


@pytest.fixture(scope="module")
def paged(directory: Path) -> Iterator[Arena]:
    with open_directory() as path, Mount(path / "mnt", "-o", "allow_other", "--backend", "pagecache") as mount:
        assert mount.backend == "pagecache"
        yield Arena(mount, directory)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("head", HEADS)
def test_what_starts_later(paged: Arena, oracle: bool, head: str, tail: str) -> None:
    paged.compare(CONTROL, oracle, "later", LATER, HEAD=head, TAIL=tail)


@pytest.mark.parametrize("tail", TAILS)
def test_a_poller(paged: Arena, oracle: bool, tail: str) -> None:
    paged.compare(CONTROL, oracle, "poller", POLLED, TAIL=tail)


@pytest.mark.parametrize("behaviour", declared(HERE / "creds.c"))
def test_sockets_hear_the_caller(paged: Arena, oracle: bool, behaviour: str) -> None:
    paged.compare(CONTROL, oracle, "creds", behaviour)


LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
FAILED = ctypes.c_void_p(-1).value


def mapped(file: int, offset: int, protection: int = mmap.PROT_READ | mmap.PROT_WRITE) -> int:
    """Where a page of the file is now. OSError."""
    at = LIBC.mmap(None, mmap.PAGESIZE, protection, mmap.MAP_SHARED, file, offset)
    if at == FAILED:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(at)


def store(file: int, offset: int, text: bytes) -> None:
    """Into a page of the file, which the kernel then writes back."""
    at = mapped(file, offset)
    ctypes.memmove(at, text, len(text))
    LIBC.msync(ctypes.c_void_p(at), ctypes.c_size_t(mmap.PAGESIZE), MS_SYNC)
    os.fsync(file)


def by_user(what: Callable[[], None]) -> None:
    """A store beyond a file's end is SIGBUS."""

    def body(_: Child) -> None:
        become()
        what()

    with in_child(body, ends_by=(0, -signal.SIGBUS)):
        pass


@pytest.mark.parametrize("name", SPECIALS)
def test_a_store_into_a_file_of_the_mounts_says_nothing(paged: Arena, name: str) -> None:
    def try_it() -> None:
        store(os.open(paged.mount / name, os.O_RDWR), 0, b"inject NOP:error=EIO\n")

    by_user(try_it)
    assert Faults(paged.mount.path).rules() == []


@pytest.mark.parametrize("offset", [0, 0x8000000, 0x10000000], ids=hex)
@pytest.mark.parametrize("name", SPECIALS)
def test_the_pages_of_a_file_of_the_mounts_are_no_rings(paged: Arena, name: str, offset: int) -> None:
    with Ring(paged.mount / "new", 4) as ring:
        ring.queue(nop(0xFEEDFACE))

        def look() -> None:
            at = mapped(os.open(paged.mount / name, os.O_RDWR), offset, mmap.PROT_READ)
            assert ctypes.string_at(at, mmap.PAGESIZE) == bytes(mmap.PAGESIZE)

        by_user(look)


@pytest.mark.parametrize("text", [b"setup 8\n", b"readv path=/etc/shadow len=8\nenter\n"])
def test_a_store_at_the_offset_of_control_writes_does_nothing(paged: Arena, text: bytes) -> None:
    """It would be root's."""
    path = paged.mount / "mine"

    def make() -> None:
        path.touch()

    def try_it() -> None:
        store(os.open(path, os.O_RDWR), URINGFS_OFF_CTL, text)

    by_user(make)
    before = path.read_bytes()
    by_user(try_it)
    assert path.read_bytes() == before
    path.unlink()


@pytest.mark.parametrize(("mode", "opens"), [(0o600, False), (0o644, True)])
def test_pages_of_others(paged: Arena, mode: int, opens: bool) -> None:
    path = paged.mount / "roots"
    path.touch(0o600)
    path.write_text("setup 4")
    path.chmod(mode)

    def try_it() -> None:
        assert answer(lambda: os.open(path, os.O_RDWR)) == errno.EACCES
        assert answer(lambda: os.open(path, os.O_RDONLY)) == (0 if opens else errno.EACCES)
        if opens:
            assert answer(lambda: mapped(os.open(path, os.O_RDONLY), 0)) == errno.EACCES
            assert answer(lambda: mapped(os.open(path, os.O_RDONLY), 0, mmap.PROT_READ)) == 0

    try:
        by_user(try_it)
    finally:
        path.unlink()
