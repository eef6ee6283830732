"""Hostile messages: what their writer gets is the kernel's errno, and every other ring goes on.

The `mount` fixture asserts the latter behind each test: a fresh ring works, and the daemon's log is clean.
"""

import ctypes
import errno
import mmap
import os
import random
import select
from collections.abc import Iterator

import pytest

from tests.support.calls import answer, fails
from tests.support.children import Child, in_child
from tests.support.mounting import Mount, until
from uringfs.abi.constants import (
    IORING_ENTER_EXT_ARG,
    IORING_ENTER_GETEVENTS,
)
from uringfs.abi.control import (
    ENTER,
    HEADER,
    REGISTER,
    SETUP,
    URINGFS_CMD_ENTER,
    URINGFS_CMD_REGISTER,
    URINGFS_CMD_SETUP,
    URINGFS_OFF_CTL,
    URINGFS_POLL_WAIT,
)
from uringfs.abi.structs import PARAMS_SIZE
from uringfs.client import Ring, nop

IORING_REGISTER_FILES = 2
SEED = 20240131
KERNEL_ADDRESS = 0xFFFF888000000000
UNMAPPED = 0x10000 - 4096 * 8  # below what mmap_min_addr lets anyone map


@pytest.fixture
def ring(mount: Mount) -> Iterator[Ring]:
    with Ring(mount / "new", 8) as ring:
        yield ring


@pytest.fixture
def fd(mount: Mount) -> Iterator[int]:
    """A ring file that has not been set up."""
    fd = os.open(mount / "new", os.O_RDWR)
    yield fd
    os.close(fd)


@pytest.fixture
def bad_addresses() -> Iterator[dict[str, int]]:
    """Addresses nothing can be stored at."""
    page = mmap.mmap(-1, 4096)
    keep = ctypes.c_char.from_buffer(page)
    address = ctypes.addressof(keep)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(address), 4096, mmap.PROT_READ) == 0
    yield {
        "NULL": 0,
        "unmapped": UNMAPPED,
        "read-only": address,
        "kernel": KERNEL_ADDRESS,
        "non-canonical": 1 << 63,
        "the last byte": (1 << 64) - 1,
    }
    del keep


# -- control writes


def test_control_writes_of_every_length(mount: Mount, fd: int, ring: Ring) -> None:
    """0 to 4096 bytes of anything, at both offsets, on a fresh and on a working ring."""
    rng = random.Random(SEED)
    seen = set()
    for length in range(4097):
        data = rng.randbytes(length)
        seen.add(answer(lambda: os.pwrite(fd, data, URINGFS_OFF_CTL)))  # noqa: B023
        seen.add(answer(lambda: os.pwrite(ring.fd, data, 0)))  # noqa: B023
    assert seen <= {0, errno.EINVAL, errno.ENOTTY}, {errno.errorcode[code] for code in seen - {0}}
    ring.queue(nop(1))
    assert ring.submit(wait=1) == 1


def test_random_messages_with_an_honest_header(mount: Mount, ring: Ring) -> None:
    """cmd and size are right, all else is noise: in a child, whose memory it may hit."""

    def noise(_: Child) -> None:
        rng = random.Random(SEED)
        seen = set()
        for _turn in range(3000):
            cmd, body = rng.choice(
                [(URINGFS_CMD_SETUP, SETUP), (URINGFS_CMD_ENTER, ENTER), (URINGFS_CMD_REGISTER, REGISTER)]
            )
            data = HEADER.pack(cmd, HEADER.size + body.size) + rng.randbytes(body.size)
            seen.add(answer(lambda: os.pwrite(ring.fd, data, URINGFS_OFF_CTL)))  # noqa: B023
        allowed = {errno.EINVAL, errno.EFAULT, errno.EBADF}
        assert seen <= allowed, {errno.errorcode.get(code, code) for code in seen}

    with in_child(noise):
        pass
    ring.queue(nop(1))
    assert ring.submit(wait=1) == 1


def test_sizes_and_commands_that_do_not_match(ring: Ring) -> None:
    result = ctypes.c_int64()
    good = ENTER.pack(ctypes.addressof(result), 0, 0, 0, 0, 0, 0)
    size = HEADER.size + len(good)

    def write(cmd: int, stated: int, body: bytes) -> int:
        return answer(lambda: os.pwrite(ring.fd, HEADER.pack(cmd, stated) + body, URINGFS_OFF_CTL))

    assert write(URINGFS_CMD_ENTER, size, good) == 0
    assert write(URINGFS_CMD_ENTER, size, good[:-1]) == errno.EINVAL
    assert write(URINGFS_CMD_ENTER, size, good + b"\0") == errno.EINVAL
    assert write(URINGFS_CMD_ENTER, size - 1, good) == errno.EINVAL
    assert write(URINGFS_CMD_ENTER, 0xFFFFFFFF, good) == errno.EINVAL
    assert write(URINGFS_CMD_ENTER, 0, good) == errno.EINVAL
    assert write(URINGFS_CMD_ENTER + (1 << 16), size, good) == errno.ENOTTY  # a size in cmd that is not its own
    assert write(URINGFS_CMD_SETUP, size, good) == errno.EINVAL  # another command's size
    assert write(0x40007501, size, good) == errno.ENOTTY
    assert answer(lambda: os.pwrite(ring.fd, b"\1", URINGFS_OFF_CTL)) == errno.EINVAL
    assert answer(lambda: os.pwrite(ring.fd, b"\1\0\0\0\0\0\0", URINGFS_OFF_CTL)) == errno.EINVAL


@pytest.mark.parametrize(
    "data",
    [
        b"setup 8\0\n",
        b"nop\0" * 100,
        b"x" * (1 << 20),
        b"nop " + b"y" * 5000,
        b"\xff\xfe\xfd\n",
        b"setup \xff\n",
        b"SETUP 8\n",
        b"setup=8\n",
        b"= = =\n",
        b"nop user_data=1e3\n",
        "nop user_data=\u0661\u0662 x\n".encode(),
        b"nop user_data=" + b"9" * 4070 + b"\n",
        b"\x7f\n",
        b"\0\0\0\0text",
    ],
    ids=lambda data: repr(data[:16]),
)
def test_text_that_is_no_command(ring: Ring, data: bytes) -> None:
    assert answer(lambda: os.write(ring.fd, data)) in (errno.EINVAL, errno.ENOTTY)
    os.pread(ring.fd, 1 << 20, 0)
    assert ring.queued() == 0


def test_a_megabyte_of_good_commands(ring: Ring) -> None:
    """The kernel hands it on in pieces; blank lines, so that any cut is one between commands."""
    assert os.write(ring.fd, b"\n" * (1 << 20)) == 1 << 20


def test_random_text(mount: Mount, name: str) -> None:
    """Words of the language in any order, with random fields; errors are EINVAL and few others."""
    rng = random.Random(SEED)
    words = "setup nop readv enter reap 0 1 8 -1 x wait=0 wait=1 flags=IO_LINK flags=| cq=4 user_data=7 "
    words += "path=/etc/hostname path=/ path=\xff len=0 len=9 off=3 # = \t"
    seen = set()
    fd = os.open(mount / name, os.O_RDWR | os.O_CREAT)
    for _ in range(2000):
        line = " ".join(rng.choices(words.split(" "), k=rng.randrange(1, 5)))
        if line.split()[:1] == ["enter"]:
            line = line.replace("wait=1", "")  # which may well wait for ever
        seen.add(answer(lambda: os.write(fd, line.encode())))  # noqa: B023
    assert seen <= {0, errno.EINVAL, errno.EBADFD, errno.EBUSY, errno.EAGAIN}
    os.close(fd)


# -- user pointers


def test_setup_with_bad_pointers(fd: int, bad_addresses: dict[str, int]) -> None:
    params = ctypes.create_string_buffer(PARAMS_SIZE)
    result = ctypes.c_int64()

    def setup(result_at: int, params_at: int) -> int:
        body = SETUP.pack(result_at, 8, 0, params_at)
        return answer(
            lambda: os.pwrite(fd, HEADER.pack(URINGFS_CMD_SETUP, HEADER.size + len(body)) + body, URINGFS_OFF_CTL)
        )

    for what, address in bad_addresses.items():
        assert setup(ctypes.addressof(result), address) == errno.EFAULT, what
        assert setup(address, ctypes.addressof(params)) == errno.EFAULT, what
    # half of it behind the end of a page that is the last
    area = mmap.mmap(-1, 8192)
    keep = ctypes.c_char.from_buffer(area)
    base = ctypes.addressof(keep)
    ctypes.CDLL(None).mprotect(ctypes.c_void_p(base + 4096), 4096, 0)
    assert setup(ctypes.addressof(result), base + 4096 - PARAMS_SIZE // 2) == errno.EFAULT
    del keep
    # and no half-made ring was left
    assert setup(ctypes.addressof(result), ctypes.addressof(params)) == 0


def test_enter_with_bad_pointers(ring: Ring, bad_addresses: dict[str, int]) -> None:
    wait = IORING_ENTER_GETEVENTS

    def raw(result_at: int, flags: int, arg: int, argsz: int, min_complete: int = 1) -> int:
        body = ENTER.pack(result_at, 0, min_complete, flags, 0, arg, argsz)
        return answer(
            lambda: os.pwrite(
                ring.fd, HEADER.pack(URINGFS_CMD_ENTER, HEADER.size + len(body)) + body, URINGFS_OFF_CTL
            )
        )

    result = ctypes.c_int64()
    for what, address in bad_addresses.items():
        assert raw(address, 0, 0, 0) == errno.EFAULT, what
        if what not in ("NULL", "read-only"):  # no mask; a mask is only read
            assert raw(ctypes.addressof(result), wait, address, 8) == errno.EFAULT, what
        if what != "read-only":
            assert raw(ctypes.addressof(result), wait | IORING_ENTER_EXT_ARG, address, 24) == errno.EFAULT, what
    assert raw(ctypes.addressof(result), wait, ctypes.addressof(result), 7) == errno.EINVAL
    assert raw(ctypes.addressof(result), wait | IORING_ENTER_EXT_ARG, ctypes.addressof(result), 23) == errno.EINVAL
    assert raw(ctypes.addressof(result), 1 << 31, 0, 0) == errno.EINVAL


def test_a_wait_whose_result_cannot_be_stored(ring: Ring, bad_addresses: dict[str, int]) -> None:
    """EINPROGRESS, then the completion: there is nowhere to put it, and that is the client's loss."""
    for address in bad_addresses.values():
        body = ENTER.pack(address, 0, 1, IORING_ENTER_GETEVENTS, 0, 0, 0)
        message = HEADER.pack(URINGFS_CMD_ENTER, HEADER.size + len(body)) + body
        assert answer(lambda: os.pwrite(ring.fd, message, URINGFS_OFF_CTL)) == errno.EINPROGRESS  # noqa: B023
        ring.queue(nop())
        ring.submit()
        poll = select.poll()
        poll.register(ring.fd, URINGFS_POLL_WAIT)
        assert poll.poll(20_000)
        ring.reap()


def test_register_of_any_opcode_with_bad_pointers(mount: Mount, bad_addresses: dict[str, int]) -> None:
    """The errno is the opcode's own business; that it is one, and not the daemon's EIO, is ours."""
    allowed = {0, errno.EINVAL, errno.EFAULT, errno.ENXIO, errno.EBADFD, errno.EBADF, errno.EOVERFLOW}
    allowed |= {errno.EMFILE, errno.EBUSY, errno.ENOENT, errno.EOPNOTSUPP}
    for address in bad_addresses.values():
        for opcode in (*range(64), 1 << 31, (1 << 32) - 1):
            with Ring(mount / "new", 8) as ring:
                for count in (0, 1, 8, 256, (1 << 32) - 1):
                    code = answer(lambda: ring.register(opcode, address, count))  # noqa: B023
                    assert code in allowed, (opcode, address, count, errno.errorcode[code])


def test_a_ring_cannot_be_registered_with_a_ring(mount: Mount) -> None:
    """io_uring_register(2): EBADF. The daemon would hold the file whose close it waits for."""
    before = os.statvfs(mount.path).f_ffree
    for _ in range(10):
        with Ring(mount / "new", 8) as ring, Ring(mount / "new", 8) as other:
            for fd in (ring.fd, other.fd):
                table = ctypes.c_int32(fd)
                fails(errno.EBADF, ring.register, IORING_REGISTER_FILES, ctypes.addressof(table), 1)
    until(lambda: os.statvfs(mount.path).f_ffree >= before - 1, "the rings to be freed")


def test_poll_for_a_wait_that_nobody_began(ring: Ring, fd: int) -> None:
    for each in (ring.fd, fd):
        poll = select.poll()
        poll.register(each, URINGFS_POLL_WAIT)
        assert poll.poll(20_000) == [(each, select.POLLERR)]


def test_waits_that_nobody_polls_for(mount: Mount) -> None:
    """EINPROGRESS again and again: only the last of a thread is kept, and it goes with the file."""
    with Ring(mount / "new", 8) as ring:
        result = ctypes.c_int64()
        body = ENTER.pack(ctypes.addressof(result), 0, 1, IORING_ENTER_GETEVENTS, 0, 0, 0)
        message = HEADER.pack(URINGFS_CMD_ENTER, HEADER.size + len(body)) + body
        for _ in range(1000):
            fails(errno.EINPROGRESS, os.pwrite, ring.fd, message, URINGFS_OFF_CTL)
        ring.queue(nop(1))
        assert ring.submit(wait=1) == 1
