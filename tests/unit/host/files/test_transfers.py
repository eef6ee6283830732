"""Real files in the daemon's hands: writes, limits, alignment, system calls, and who closes what."""

import errno
import mmap
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from tests.support.others import Other, other
from uringfs.errors import UringError
from uringfs.host.caller import LocalCaller
from uringfs.host.files.calls import Fallocate, Ftruncate, Splice, Tee
from uringfs.host.files.file import LocalFile
from uringfs.host.files.limits import check_newsize, soft_limit, within_fsize
from uringfs.host.local import LocalHost
from uringfs.host.protocols import INFINITY


@pytest.fixture
def host() -> LocalHost:
    return LocalHost()


@pytest.fixture
def me(host: LocalHost) -> LocalCaller:
    return host.caller(os.getpid(), 0, 0)


@contextmanager
def opened(host: LocalHost, path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[LocalFile]:
    file = host.adopt(os.open(path, flags, 0o600))
    yield file
    file.close()


def is_open(fd: int) -> bool:
    return Path(f"/proc/self/fd/{fd}").exists()


class Limited(LocalCaller):
    """One with an RLIMIT_FSIZE."""

    fsize = 10

    def limit_fsize(self) -> int:
        return self.fsize


async def test_a_write_in_a_thread(host: LocalHost, me: LocalCaller, tmp_path: Path) -> None:
    with opened(host, tmp_path / "file") as file:
        assert await file.write(lambda: b"abc", 2, 0, me) == 3
    assert (tmp_path / "file").read_bytes() == b"\0\0abc"


async def test_a_source_that_fails_writes_nothing(host: LocalHost, me: LocalCaller, tmp_path: Path) -> None:
    def source() -> bytes:
        raise UringError(errno.EFAULT)

    with opened(host, tmp_path / "file") as file, pytest.raises(UringError, match="EFAULT"):
        await file.write(source, 0, 0, me)
    assert (tmp_path / "file").read_bytes() == b""


async def test_the_callers_limit(host: LocalHost, tmp_path: Path) -> None:
    caller = Limited(host, os.getpid(), 0, 0)
    with opened(host, tmp_path / "file") as file:
        assert await file.write(lambda: b"0123456789abc", 4, 0, caller) == 6
        with pytest.raises(UringError, match="EFBIG"):
            await file.write(lambda: b"x", 10, 0, caller)
        assert await file.write(lambda: b"", 10, 0, caller) == 0
    append = os.O_WRONLY | os.O_APPEND
    with opened(host, tmp_path / "file", append) as file, pytest.raises(UringError, match="EFBIG"):
        await file.write(lambda: b"x", 0, 0, caller)
    assert (tmp_path / "file").stat().st_size == 10


def test_what_comes_before_a_fault_keeps_the_callers_limit(host: LocalHost, tmp_path: Path) -> None:
    """With O_DIRECT what comes before a fault is written, though the result is EFAULT."""
    caller = Limited(host, os.getpid(), 0, 0)
    path, there = tmp_path / "file", b"n" * mmap.PAGESIZE
    memory = [(mmap.PAGESIZE, 2 * mmap.PAGESIZE)]
    path.write_bytes(b"o" * 3 * mmap.PAGESIZE)
    with opened(host, path, os.O_RDWR | os.O_DIRECT) as file:
        with pytest.raises(UringError, match="EFBIG"):
            file.write_fault(memory, 0x1000, 0, caller, there)
        caller.fsize = mmap.PAGESIZE
        written, _ = file.write_fault(memory, 0, 0, caller, there)
        assert written == mmap.PAGESIZE  # the limit ends it before the fault
        caller.fsize = INFINITY
        written, error = file.write_fault(memory, mmap.PAGESIZE, 0, caller, there)
        assert error.errno == errno.EFAULT
    assert path.read_bytes() == b"n" * 2 * mmap.PAGESIZE + b"o" * mmap.PAGESIZE


def test_limits_at_the_current_position(tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb+", buffering=0) as file:
        file.seek(7)
        assert within_fsize(file.fileno(), 100, -1, False, 10) == 3
        file.truncate(20)
        check_newsize(file.fileno(), 15, 10)  # no larger than it is
        with pytest.raises(UringError, match="EFBIG"):
            check_newsize(file.fileno(), 21, 10)


def test_a_soft_limit_is_another_process_s() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (12345, resource.RLIM_INFINITY))
        assert soft_limit(child.pid, resource.RLIMIT_FSIZE) == 12345
        assert soft_limit(os.getpid(), resource.RLIMIT_FSIZE) == INFINITY
    finally:
        child.communicate(b"\n")
    with pytest.raises(UringError, match="ECANCELED"):
        soft_limit(child.pid, resource.RLIMIT_FSIZE)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_a_set_user_id_bit_does_not_survive_a_users_write(host: LocalHost, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with opened(host, path) as file:
        for uid, mode in ((0, 0o4777), (12345, 0o777)):
            path.chmod(0o4777)
            with other(Other(uid, uid)) as pid:
                await file.write(lambda: b"x", 0, 0, host.caller(pid, uid, uid))
            assert path.stat().st_mode & 0o7777 == mode


async def test_try_write_does_not_block(host: LocalHost, me: LocalCaller) -> None:
    read, write = os.pipe()
    file = host.adopt(write)
    size = file.try_write(bytes(1 << 22), -1, 0, me)
    assert 0 < size < 1 << 22
    with pytest.raises(UringError, match="EAGAIN"):
        file.try_write(b"x", -1, 0, me)
    assert not file.writable()
    os.close(read)
    with pytest.raises(UringError, match="EPIPE"):
        file.try_write(b"x", -1, 0, me)
    file.close()


async def test_o_direct_sees_the_callers_alignment(host: LocalHost, tmp_path: Path) -> None:
    path = Path("/var/tmp") / f"uringfs-{os.getpid()}"  # a tmpfs would take anything
    try:
        with opened(host, path, os.O_RDWR | os.O_CREAT | os.O_DIRECT) as file:
            caller = host.caller(os.getpid(), 0, 0)
            page = bytes(range(256)) * (mmap.PAGESIZE // 256)
            assert await file.write(lambda: page, 0, 0, caller, [(0, len(page))]) == len(page)
            parts = [(0, 512), (mmap.PAGESIZE * 7, len(page) - 512)]
            assert bytes(await file.read(len(page), 0, 0, caller, parts)) == page
            with pytest.raises(UringError, match="EINVAL"):
                await file.read(len(page), 0, 0, caller, [(1, len(page))])
            with pytest.raises(UringError, match="EINVAL"):
                await file.write(lambda: page, 0, 0, caller, [(3, len(page))])
    finally:
        path.unlink()


async def test_calls_report_errno(host: LocalHost, me: LocalCaller, tmp_path: Path) -> None:
    with opened(host, tmp_path / "file") as file:
        assert await file.call(Fallocate(0, 0, 100, INFINITY), me) == 0
        assert await file.call(Ftruncate(7, INFINITY), me) == 0
        assert (tmp_path / "file").stat().st_size == 7
        for call, code in (
            (Fallocate(0, 0, 100, 50), "EFBIG"),
            (Fallocate(0, 0, 0, 50), "EINVAL"),
            (Ftruncate(51, 50), "EFBIG"),
            (Ftruncate(-1, INFINITY), "EINVAL"),
        ):
            with pytest.raises(UringError, match=code):
                await file.call(call, me)


async def test_a_tmpfs_counts_what_keeps_the_size_too(host: LocalHost, me: LocalCaller) -> None:
    """shmem_fallocate(), which is a memfd's as well; a hole in it grows nothing."""
    file = host.adopt(os.memfd_create("tmpfs"))
    keep, hole = 0x01, 0x01 | 0x02
    with pytest.raises(UringError, match="EFBIG"):
        await file.call(Fallocate(keep, 0, 100, 50), me)
    assert await file.call(Fallocate(keep, 0, 50, 50), me) == 0
    assert await file.call(Fallocate(hole, 0, 100, 50), me) == 0
    file.close()


async def test_splice_and_tee_never_wait(host: LocalHost, me: LocalCaller) -> None:
    (a, b), (c, d) = os.pipe(), os.pipe()
    source, out = host.adopt(a), host.adopt(d)
    for call in (Splice(source, -1, -1, 5, 0, INFINITY), Tee(source, 5, 0)):
        with pytest.raises(UringError, match="EAGAIN"):
            await out.call(call, me)
    os.write(b, b"hello world")
    assert await out.call(Tee(source, 5, 0), me) == 5
    assert await out.call(Splice(source, -1, -1, 6, 0, INFINITY), me) == 6
    assert os.read(c, 100) == b"hellohello "
    source.close()
    out.close()
    os.close(b)
    os.close(c)


async def test_a_cancelled_wait_for_a_thread_leaves_the_file_to_its_user(host: LocalHost, me: LocalCaller) -> None:
    limiter = host.threads(0).limiter
    limiter.total_tokens = 1
    await limiter.acquire_on_behalf_of("somebody else")
    read, write = os.pipe()
    file = host.adopt(write)
    with trio.move_on_after(0) as scope:
        await file.call(os.fsync, me)
    assert scope.cancelled_caught
    assert is_open(write)
    file.close()
    assert not is_open(write)
    os.close(read)


async def test_a_call_that_has_begun_is_not_cancelled(host: LocalHost, me: LocalCaller) -> None:
    read, write = os.pipe()
    file = host.adopt(write)
    began, go = os.pipe(), os.pipe()

    def slow(fd: int) -> int:
        os.write(began[1], b"x")
        os.read(go[0], 1)
        return os.write(fd, b"done")

    async with trio.open_nursery() as nursery:

        async def cancel() -> None:
            await trio.lowlevel.wait_readable(began[0])
            nursery.cancel_scope.cancel()
            os.write(go[1], b"x")

        nursery.start_soon(cancel)
        assert await file.call(slow, me) == 4
    assert os.read(read, 10) == b"done"
    file.close()
    for fd in (read, *began, *go):
        os.close(fd)


def test_signals_go_to_the_thread(me: LocalCaller) -> None:
    got: list[int] = []
    before = signal.signal(signal.SIGPIPE, lambda number, frame: got.append(number))
    try:
        me.signal(signal.SIGPIPE)
    finally:
        signal.signal(signal.SIGPIPE, before)
    assert got == [signal.SIGPIPE]
