"""Path requests of a process that has become somebody, beside its own system calls."""

import ctypes
import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.children import Child, in_child
from tests.support.mounting import Mount
from uringfs.abi.constants import IOSQE_FIXED_FILE, OPCODES
from uringfs.abi.structs import Sqe
from uringfs.client import Ring

AT_FDCWD = -100
REGISTER_FILES = 2
USER, GROUP, OTHER_GROUP = 12340, 12350, 12360
libc = ctypes.CDLL(None, use_errno=True)


def must(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Paths:
    """System calls through a ring, with one slot for a direct descriptor. Results as a CQE's: -errno."""

    def __init__(self, mount: Mount) -> None:
        self.ring = Ring(mount / "new", 8, fetches=False)
        slots = (ctypes.c_int * 1)(-1)
        self.ring.register(REGISTER_FILES, ctypes.addressof(slots), 1)

    def call(self, op: str, path: str | bytes, **fields: int) -> int:
        name = ctypes.create_string_buffer(os.fsencode(path))
        fields = {"fd": AT_FDCWD, "addr": ctypes.addressof(name), **fields}
        self.ring.queue(Sqe(OPCODES.index(op), **fields))
        self.ring.submit(wait=1)
        return self.ring.wait().res

    def open(self, path: str | bytes, flags: int = os.O_RDONLY, mode: int = 0, dirfd: int = AT_FDCWD) -> int:
        return self.call("OPENAT", path, fd=dirfd, rw_flags=flags, len=mode, file_index=1)

    def read(self, path: str | bytes, size: int = 4096) -> int | bytes:
        """The first bytes of a file: opened as a direct descriptor, read by READV."""
        res = self.open(path)
        if res < 0:
            return res
        buffer = bytearray(size)
        self.ring.readv(0, [buffer], 0, flags=IOSQE_FIXED_FILE)
        self.ring.submit(wait=1)
        res = self.ring.wait().res
        return res if res < 0 else bytes(buffer[:res])

    def close(self) -> None:
        """The direct descriptor."""
        self.ring.queue(Sqe(OPCODES.index("CLOSE"), file_index=1))
        self.ring.submit(wait=1)
        assert self.ring.wait().res == 0

    def mkdir(self, path: str | bytes, mode: int = 0o777, dirfd: int = AT_FDCWD) -> int:
        return self.call("MKDIRAT", path, fd=dirfd, len=mode)

    def exists(self, path: str | bytes) -> int:
        found = ctypes.create_string_buffer(256)
        return self.call("STATX", path, off=ctypes.addressof(found), len=0x7FF)


def direct(path: str | bytes) -> int | bytes:
    """What Paths.read() says, by system calls."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError as error:
        return -(error.errno or 0)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


@contextmanager
def open_tree() -> Iterator[Path]:
    """A directory all users reach, with files of several owners."""
    with tempfile.TemporaryDirectory(prefix="uringfs-paths-") as directory:
        path = Path(directory)
        os.chmod(path, 0o777)
        for name, uid, gid, mode in (
            ("root", 0, 0, 0o600),
            ("public", 0, 0, 0o644),
            ("user", USER, GROUP, 0o600),
            ("closed", USER, GROUP, 0o000),
            ("group", 0, GROUP, 0o640),
            ("other_group", 0, OTHER_GROUP, 0o640),
        ):
            (path / name).write_text(name)
            os.chown(path / name, uid, gid)
            os.chmod(path / name, mode)
        yield path


NAMES = ("root", "public", "user", "closed", "group", "other_group", "none")


def user(groups: tuple[int, ...] = ()) -> Callable[[], None]:
    def become() -> None:
        os.setgroups(groups)
        os.setresgid(GROUP, GROUP, GROUP)
        os.setresuid(USER, USER, USER)

    return become


def check(mount: Mount, become: Callable[[], None], body: Callable[[Paths], None]) -> None:
    """body in a child that has become somebody; any assertion fails the test."""

    def child(parent: Child) -> None:
        paths = Paths(mount)
        become()
        body(paths)

    with in_child(child) as process:
        assert process.wait() == 0


def reads(mount: Mount, tree: Path, become: Callable[[], None]) -> None:
    def body(paths: Paths) -> None:
        seen = {}
        for name in NAMES:
            path = os.fsencode(tree / name)
            seen[name] = direct(path)
            assert paths.read(path) == seen[name], name
        assert seen["public"] == b"public"
        assert seen["none"] == -errno.ENOENT

    check(mount, become, body)


def same(one: object, other: object) -> None:
    assert one == other


def children(pid: int) -> list[int]:
    """The children of whichever of the process' threads."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for found in tasks for child in found.read_text().split()]


def actors(mount: Mount) -> list[int]:
    """The daemon's helper processes: its zygote's children."""
    return [helper for zygote in children(mount.pid) for helper in children(zygote)]
