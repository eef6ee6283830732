"""Which files are read and written with our own rights: those of which the kernel asks nobody."""

import ctypes
import errno
import os
import socket
import tempfile
from collections.abc import Callable

import pytest

from uringfs import native
from uringfs.errors import UringError
from uringfs.host.files.blind import Blind, blind
from uringfs.host.local import LocalHost

_libc = ctypes.CDLL(None, use_errno=True)
SYS_USERFAULTFD, O_CLOEXEC = 323, os.O_CLOEXEC
BOTH, READS, NEITHER = Blind(True, True), Blind(True, False), Blind(False, False)
ITSELF = Blind(False, False, itself=True)


def opened(path: str, flags: int = os.O_RDONLY) -> Callable[[], int]:
    return lambda: os.open(path, flags)


def of_family(family: int, type_: int, protocol: int = 0) -> Callable[[], int]:
    return lambda: socket.socket(family, type_, protocol).detach()


def pipe() -> int:
    reader, writer = os.pipe()
    os.close(writer)
    return reader


def temporary() -> int:
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as file:
        return os.dup(file.fileno())


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        pytest.param(pipe, BOTH, id="pipe"),
        pytest.param(of_family(socket.AF_INET, socket.SOCK_DGRAM), BOTH, id="inet"),
        pytest.param(of_family(socket.AF_UNIX, socket.SOCK_STREAM), BOTH, id="unix"),
        pytest.param(of_family(socket.AF_NETLINK, socket.SOCK_RAW), READS, id="netlink asks who sends"),
        pytest.param(lambda: os.eventfd(0), BOTH, id="eventfd"),
        pytest.param(lambda: os.memfd_create("x"), READS, id="memfd"),
        pytest.param(temporary, READS, id="disk"),
        pytest.param(opened("/dev/null"), BOTH, id="null"),
        pytest.param(opened("/dev/zero"), BOTH, id="zero"),
        pytest.param(opened("/dev/ptmx", os.O_RDWR | os.O_NOCTTY), BOTH, id="terminal"),
        pytest.param(opened("/dev/fuse", os.O_RDWR), NEITHER, id="an unknown device"),
        pytest.param(opened("/proc/self/status"), ITSELF, id="procfs"),
        pytest.param(opened("/sys/kernel/uevent_seqnum"), NEITHER, id="sysfs"),
        pytest.param(opened("/proc"), ITSELF, id="a directory of procfs"),
        pytest.param(lambda: os.pidfd_open(os.getpid()), NEITHER, id="pidfd"),
    ],
)
def test_known_files(make: Callable[[], int], expected: Blind) -> None:
    fd = make()
    try:
        assert blind(fd, native.fd_identity(fd), os.getpid()) == expected
    finally:
        os.close(fd)


async def test_what_makes_descriptors_in_the_readers_table_is_not_read() -> None:
    fd = _libc.syscall(SYS_USERFAULTFD if os.uname().machine == "x86_64" else 282, O_CLOEXEC | os.O_NONBLOCK)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    host = LocalHost()
    file = host.adopt(fd)
    with pytest.raises(UringError) as caught:
        file.try_read(16, -1, 0, host.caller(os.getpid(), 0, 0))
    assert caught.value.errno == errno.EOPNOTSUPP
    file.close()
