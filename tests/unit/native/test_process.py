"""The caller's memory and files, on ourselves and on a child whose mappings are known."""

import contextlib
import ctypes
import errno
import mmap
import os
import random
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from uringfs import native

PAGE = mmap.PAGESIZE
KERNEL = [
    0xFFFF_8880_0000_0000,
    0xFFFF_FFFF_8100_0000,
    0xFFFF_FFFF_FFFF_F000,
    (1 << 64) - 1,
    1 << 47,
    1 << 63,
]

CHILD = f"""
import ctypes, mmap, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
base = libc.mmap(None, 6 * {PAGE}, 3, 0x22, -1, 0)
ctypes.memmove(base, bytes(i % 251 for i in range(6 * {PAGE})), 6 * {PAGE})
# pages: rw, rw, r-, rw, unmapped, rw
assert libc.mprotect(ctypes.c_void_p(base + 2 * {PAGE}), ctypes.c_size_t({PAGE}), 1) == 0
assert libc.munmap(ctypes.c_void_p(base + 4 * {PAGE}), ctypes.c_size_t({PAGE})) == 0
print(base, flush=True)
sys.stdin.read()
"""


def content(offset: int, size: int) -> bytes:
    return bytes(i % 251 for i in range(offset, offset + size))


@contextlib.contextmanager
def raises(err: int) -> Iterator[None]:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is compared
        yield
    assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[err]


class Child:
    def __init__(self) -> None:
        self.proc = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.proc.stdout is not None
        self.base = int(self.proc.stdout.readline())
        self.pid = self.proc.pid

    def page(self, n: int) -> int:
        return self.base + n * PAGE

    def close(self) -> None:
        self.proc.kill()
        self.proc.communicate(timeout=30)


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child()
    yield child
    child.close()


# ---- memory ----


def test_vm_read_and_write_on_ourselves() -> None:
    buf = ctypes.create_string_buffer(b"0123456789", 10)
    addr = ctypes.addressof(buf)
    assert native.vm_read(os.getpid(), addr + 2, 5) == b"23456"
    native.vm_write(os.getpid(), addr + 8, b"xy")
    assert buf.raw == b"01234567xy"


def test_any_thread_of_the_process_names_it() -> None:
    buf = ctypes.create_string_buffer(b"abc", 3)
    done, tids = threading.Event(), []
    started = threading.Event()

    def run() -> None:
        tids.append(threading.get_native_id())
        started.set()
        done.wait(30)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert started.wait(30)
        assert tids[0] != os.getpid()
        assert native.vm_read(tids[0], ctypes.addressof(buf), 3) == b"abc"
    finally:
        done.set()
        thread.join(30)


def test_vm_read_is_exact_or_efault(child: Child) -> None:
    assert native.vm_read(child.pid, child.page(0) + 5, 3 * PAGE) == content(5, 3 * PAGE)
    assert native.vm_read(child.pid, child.page(3), PAGE) == content(3 * PAGE, PAGE)
    for addr, size in [(child.page(3) + 1, PAGE), (child.page(4), 1), (0, 1), (child.page(4) - 1, 2)]:
        with raises(errno.EFAULT):
            native.vm_read(child.pid, addr, size)


@pytest.mark.parametrize("address", [*KERNEL, 1 << 64, 1 << 200, -1, 0])
def test_addresses_that_cannot_be_the_process_own_are_efault(address: int) -> None:
    pid = os.getpid()
    with raises(errno.EFAULT):
        native.vm_read(pid, address, 8)
    with raises(errno.EFAULT):
        native.vm_readv(pid, [(address, 8)])
    with raises(errno.EFAULT):
        native.vm_write(pid, address, b"12345678")
    with raises(errno.EFAULT):
        native.vm_writev(pid, b"12345678", [(address, 8)])


def test_an_empty_transfer_succeeds_anywhere_mapped_or_not() -> None:
    assert native.vm_read(os.getpid(), 0, 0) == b""
    assert native.vm_readv(os.getpid(), []) == b""
    assert native.vm_readv(os.getpid(), [(0, 0), (KERNEL[0], 0)]) == b""
    assert native.vm_writev(os.getpid(), b"", [(0, 10)]) == 0
    assert native.vm_writev(os.getpid(), b"x", []) == 0
    native.vm_write(os.getpid(), 0, b"")


def test_vm_readv_returns_the_readable_prefix(child: Child) -> None:
    ranges = [
        (child.page(3) + PAGE - 3, 3),
        (child.page(0), 2),
        (child.page(3) + PAGE - 1, 5),
        (child.page(5), 9),
    ]
    expected = content(4 * PAGE - 3, 3) + content(0, 2) + content(4 * PAGE - 1, 1)
    assert native.vm_readv(child.pid, ranges) == expected
    with raises(errno.EFAULT):
        native.vm_readv(child.pid, [(child.page(4), 1), (child.page(0), 1)])


def test_vm_writev_scatters_in_order_and_stops_at_the_buffer_or_the_fault(child: Child) -> None:
    pid = child.pid
    assert native.vm_writev(pid, b"abcdef", [(child.page(1), 2), (child.page(0), 3), (child.page(3), 100)]) == 6
    assert native.vm_read(pid, child.page(1), 3) == b"ab" + content(PAGE + 2, 1)
    assert native.vm_read(pid, child.page(0), 4) == b"cde" + content(3, 1)
    assert native.vm_read(pid, child.page(3), 2) == b"f" + content(3 * PAGE + 1, 1)
    # half-way: into the unmapped page
    assert native.vm_writev(pid, b"1234567890", [(child.page(3) + PAGE - 4, 10)]) == 4
    assert native.vm_read(pid, child.page(3) + PAGE - 4, 4) == b"1234"
    # half-way: into the read-only page
    assert native.vm_writev(pid, b"1234567890", [(child.page(0), 1), (child.page(2) - 2, 9)]) == 3
    assert native.vm_read(pid, child.page(2) - 2, 4) == b"23" + content(2 * PAGE, 2)


def test_read_only_memory_is_not_written(child: Child) -> None:
    with raises(errno.EFAULT):
        native.vm_write(child.pid, child.page(2), b"x")
    with raises(errno.EFAULT):
        native.vm_writev(child.pid, b"x", [(child.page(2), 1)])
    with raises(errno.EFAULT):
        native.vm_write(child.pid, child.page(2) - 1, b"xy")
    assert native.vm_read(child.pid, child.page(2), 2) == content(2 * PAGE, 2)


def test_1024_ranges_and_no_more() -> None:
    buf = ctypes.create_string_buffer(1024)
    addr = ctypes.addressof(buf)
    order = list(range(1024))
    random.Random(7).shuffle(order)
    data = bytes(random.Random(8).randbytes(1024))
    ranges = [(addr + i, 1) for i in order]
    assert native.vm_writev(os.getpid(), data, ranges) == 1024
    assert bytes(buf.raw[i] for i in order) == data
    assert native.vm_readv(os.getpid(), ranges) == data
    with raises(errno.EINVAL):
        native.vm_readv(os.getpid(), [*ranges, (addr, 1)])
    with raises(errno.EINVAL):
        native.vm_writev(os.getpid(), data, [*ranges, (addr, 1)])


@pytest.mark.parametrize("ranges", [[(0, -1)], [(0, 1 << 63)], [(0, (1 << 63) - 1), (0, 1)], [(0, 1 << 70)]])
def test_lengths_beyond_ssize_t_are_einval(ranges: list[tuple[int, int]]) -> None:
    with raises(errno.EINVAL):
        native.vm_readv(os.getpid(), ranges)
    with raises(errno.EINVAL):
        native.vm_writev(os.getpid(), b"x", ranges)


@pytest.mark.parametrize("ranges", [[1], [(1, 2, 3)], [("a", 1)], [(1, "a")], 5, [[1, 2]]])
def test_what_is_no_range_is_a_type_error(ranges: object) -> None:
    with pytest.raises(TypeError):
        native.vm_readv(os.getpid(), ranges)  # type: ignore[arg-type]


@pytest.mark.parametrize("tid", [0, -1, -(1 << 31), (1 << 31) - 1, 1 << 31, 1 << 63, 1 << 100])
def test_a_thread_that_cannot_be_is_esrch(tid: int) -> None:
    with raises(errno.ESRCH):
        native.vm_read(tid, PAGE, 1)
    with raises(errno.ESRCH):
        native.vm_writev(tid, b"x", [(PAGE, 1)])
    with raises(errno.ESRCH):
        native.writable_prefix(tid, PAGE, 1)


def test_a_process_that_has_ended_is_esrch() -> None:
    child = Child()
    child.close()
    for call in (native.vm_read, native.writable_prefix, native.writable_prefix_text):
        with raises(errno.ESRCH):
            call(child.pid, child.base, 1)


# ---- writable_prefix ----


@pytest.mark.parametrize("prefix", [native.writable_prefix, native.writable_prefix_text])
def test_writable_prefix_ends_at_read_only_and_unmapped_pages(prefix, child: Child) -> None:
    pid = child.pid
    assert prefix(pid, child.page(0), 2 * PAGE) == 2 * PAGE
    assert prefix(pid, child.page(0) + 10, 100 * PAGE) == 2 * PAGE - 10
    assert prefix(pid, child.page(1), 5) == 5
    assert prefix(pid, child.page(2), 5) == 0
    assert prefix(pid, child.page(2) - 1, 5) == 1
    assert prefix(pid, child.page(3), 2 * PAGE) == PAGE
    assert prefix(pid, child.page(4), PAGE) == 0
    assert prefix(pid, child.page(0), 0) == 0
    assert prefix(pid, 0, PAGE) == 0
    for address in KERNEL:
        assert prefix(pid, address, 64) == 0


@pytest.mark.parametrize("prefix", [native.writable_prefix, native.writable_prefix_text])
def test_writable_prefix_goes_on_over_adjacent_writable_mappings(prefix) -> None:
    fd = os.memfd_create("two")
    os.ftruncate(fd, 8 * PAGE)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    base = libc.mmap(None, 3 * PAGE, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    fixed = 0x10  # MAP_FIXED
    for page, file_page in ((0, 5), (1, 2)):  # not mergeable: file offsets are not consecutive
        assert libc.mmap(base + page * PAGE, PAGE, 3, mmap.MAP_SHARED | fixed, fd, file_page * PAGE)
    try:
        assert prefix(os.getpid(), base + 1, 10 * PAGE) == 2 * PAGE - 1
    finally:
        libc.munmap(base, 3 * PAGE)
        os.close(fd)


def test_query_and_text_agree_all_over_a_process(child: Child) -> None:
    rng = random.Random(3)
    starts = [int(line.split("-")[0], 16) for line in Path(f"/proc/{child.pid}/maps").read_text().splitlines()]
    assert len(starts) > 20
    some_writable = 0
    for start in starts:
        for addr in (start, max(0, start - PAGE), start + rng.randrange(PAGE)):
            for size in (1, 3 * PAGE, 1 << 40, (1 << 64) - 1):
                found = native.writable_prefix(child.pid, addr, size)
                assert found == native.writable_prefix_text(child.pid, addr, size)
                some_writable += found > 0
    assert some_writable > 20


# ---- files ----


def test_pidfd_getfd_shares_the_open_file_description(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    fd = os.open(path, os.O_RDONLY)
    pidfd = native.pidfd_open(os.getpid(), 0)
    copy = native.pidfd_getfd(pidfd, fd)
    try:
        assert copy != fd
        assert not os.get_inheritable(copy)
        assert not os.get_inheritable(pidfd)
        os.lseek(fd, 4, os.SEEK_SET)
        assert os.read(copy, 2) == b"45"
        assert os.lseek(fd, 0, os.SEEK_CUR) == 6
    finally:
        for each in (fd, pidfd, copy):
            os.close(each)


@pytest.mark.parametrize("fd", [-1, -100, -(1 << 31), (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 63, -(1 << 70)])
def test_pidfd_getfd_of_no_descriptor_is_ebadf(fd: int) -> None:
    pidfd = native.pidfd_open(os.getpid(), 0)
    try:
        with raises(errno.EBADF):
            native.pidfd_getfd(pidfd, fd)
    finally:
        os.close(pidfd)
    with raises(errno.EBADF):
        native.pidfd_getfd(fd, 0)
    with raises(errno.EBADF):
        native.fd_identity(fd)


def test_pidfd_errors() -> None:
    for tid in (0, -1, 1 << 40):
        with pytest.raises(OSError) as caught:  # noqa: PT011
            native.pidfd_open(tid, 0)
        assert caught.value.errno in (errno.ESRCH, errno.EINVAL)
    with raises(errno.EINVAL):
        native.pidfd_open(os.getpid(), 0x7FFF0000)
    child = Child()
    pidfd = native.pidfd_open(child.pid, 0)
    try:
        child.close()
        with raises(errno.ESRCH):
            native.pidfd_getfd(pidfd, 0)
    finally:
        os.close(pidfd)


def test_preadv2_and_pwritev2_at_an_offset_and_at_the_position(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    try:
        assert native.pwritev2(fd, b"0123456789", 0, 0) == 10
        buf = bytearray(4)
        assert native.preadv2(fd, buf, 3, 0) == 4
        assert buf == b"3456"
        os.lseek(fd, 8, os.SEEK_SET)
        assert native.preadv2(fd, buf, (1 << 64) - 1, 0) == 2
        assert buf == b"8956"
        assert native.preadv2(fd, buf, -1, 0) == 0
        assert native.pwritev2(fd, b"ab", -1, 0) == 2
        assert os.pread(fd, 20, 0) == b"0123456789ab"
        with raises(errno.EINVAL):
            native.preadv2(fd, buf, -2, 0)
        with raises(errno.EOPNOTSUPP):
            native.preadv2(fd, buf, 0, 1 << 30)
        with raises(errno.EBADF):
            native.preadv2(-1, buf, 0, 0)
        with pytest.raises(BufferError):
            native.preadv2(fd, b"1234", 0, 0)
    finally:
        os.close(fd)


def test_preadv2_nowait_on_an_empty_pipe_is_eagain() -> None:
    r, w = os.pipe()
    try:
        with raises(errno.EAGAIN):
            native.preadv2(r, bytearray(1), -1, os.RWF_NOWAIT)
        with raises(errno.ESPIPE):
            native.preadv2(r, bytearray(1), 0, 0)
    finally:
        os.close(r)
        os.close(w)


BLOCKED_READER = """
import errno, os, pathlib, signal, threading
from uringfs import native
r, w = os.pipe()
outcome = []
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.siginterrupt(signal.SIGUSR1, True)
def read():
    try:
        outcome.append(native.preadv2(r, bytearray(1), -1, 0))
    except OSError as exc:
        outcome.append(exc.errno)
thread = threading.Thread(target=read)
thread.start()
waits = pathlib.Path(f"/proc/self/task/{thread.native_id}/syscall")
number = {"x86_64": "327 ", "aarch64": "286 "}[os.uname().machine]
while not waits.read_text().startswith(number):
    assert thread.is_alive()
signal.pthread_kill(thread.ident, signal.SIGUSR1)
thread.join()
assert outcome == [errno.EINTR], outcome
"""


def test_preadv2_lets_other_threads_run_and_is_not_retried_after_a_signal() -> None:
    """A process of its own: with the interpreter lock held it would hang for good."""
    subprocess.run([sys.executable, "-c", BLOCKED_READER], check=True, timeout=30)


def test_fd_identity_is_what_fstat_says(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    fds = [
        os.open(tmp_path / "f", os.O_RDONLY),
        os.open(tmp_path, os.O_PATH),
        os.memfd_create("m"),
        *os.pipe(),
    ]
    fds.append(os.open("/dev/null", os.O_RDONLY))
    a, b = socket.socketpair()
    with a, b:
        for fd in [*fds, a.fileno()]:
            st = os.fstat(fd)
            assert native.fd_identity(fd)[:4] == (st.st_dev, st.st_ino, st.st_mode, st.st_rdev)
    for fd in fds:
        os.close(fd)
    with raises(errno.EBADF):
        native.fd_identity(fds[0])
    with raises(errno.EBADF):
        native.fd_identity(-100)  # AT_FDCWD


def test_argument_counts_and_types() -> None:
    with pytest.raises(TypeError):
        native.vm_read(1, 2)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        native.vm_read("1", 2, 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        native.fd_identity(struct)  # type: ignore[arg-type]
