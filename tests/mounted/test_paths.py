"""Paths mean what they mean to the caller: its ids, groups, capabilities, umask and working directory. The
oracle is the same process, doing the same with system calls."""

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.support.children import Child, in_child
from tests.support.mounting import Mount, until
from tests.support.paths import (
    AT_FDCWD,
    GROUP,
    OTHER_GROUP,
    REGISTER_FILES,
    USER,
    Paths,
    actors,
    check,
    direct,
    libc,
    must,
    reads,
    same,
    user,
)
from uringfs.abi.constants import IOSQE_ASYNC, OPCODES
from uringfs.abi.structs import Sqe
from uringfs.client import Ring

CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2


def test_as_root(mount: Mount, tree: Path) -> None:
    reads(mount, tree, lambda: None)


def test_as_a_user(mount: Mount, tree: Path) -> None:
    reads(mount, tree, user())

    def body(paths: Paths) -> None:
        assert paths.read(tree / "root") == -errno.EACCES
        assert paths.read(tree / "user") == b"user"
        assert paths.read(tree / "other_group") == -errno.EACCES

    check(mount, user(), body)


def test_supplementary_groups(mount: Mount, tree: Path) -> None:
    reads(mount, tree, user((OTHER_GROUP, 99999)))
    check(mount, user((OTHER_GROUP,)), lambda paths: same(paths.read(tree / "other_group"), b"other_group"))


def test_root_without_its_capabilities(mount: Mount, tree: Path) -> None:
    def become() -> None:
        os.chmod(tree / "closed", 0)
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        data = (ctypes.c_uint32 * 6)()
        must(libc.syscall(125 if os.uname().machine == "x86_64" else 90, header, data))
        data[0] &= ~(1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH)
        must(libc.syscall(126 if os.uname().machine == "x86_64" else 91, header, data))

    reads(mount, tree, become)
    check(mount, become, lambda paths: same(paths.read(tree / "user"), -errno.EACCES))


def test_what_is_made_is_the_callers(mount: Mount, tree: Path) -> None:
    for mask in (0, 0o027, 0o777):

        def body(paths: Paths, mask: int = mask) -> None:
            os.umask(mask)
            made = tree / f"made{mask}"
            assert paths.mkdir(made, 0o2775) == 0
            assert paths.open(made.with_suffix(".f"), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666) == 0
            os.mkdir(made.with_suffix(".want"), 0o2775)
            found, want = made.stat(), made.with_suffix(".want").stat()
            assert (found.st_uid, found.st_gid, found.st_mode) == (want.st_uid, want.st_gid, want.st_mode)
            assert stat.S_IMODE(made.with_suffix(".f").stat().st_mode) == 0o666 & ~mask

        check(mount, user(), body)
    made = (tree / "made0").stat()
    assert (made.st_uid, made.st_gid) == (USER, GROUP)


def test_the_umask_of_one_is_not_anothers(mount: Mount, tree: Path) -> None:
    check(mount, lambda: must(os.umask(0o777)), lambda paths: same(paths.mkdir(tree / "a"), 0))
    check(mount, lambda: must(os.umask(0)), lambda paths: same(paths.mkdir(tree / "b"), 0))
    assert stat.S_IMODE((tree / "a").stat().st_mode) == 0
    assert stat.S_IMODE((tree / "b").stat().st_mode) == 0o777


def test_a_working_directory_that_was_removed(mount: Mount, tree: Path) -> None:
    def become() -> None:
        (tree / "gone").mkdir()
        os.chdir(tree / "gone")
        os.rmdir(tree / "gone")

    def body(paths: Paths) -> None:
        assert paths.mkdir("x") == -errno.ENOENT
        assert paths.read("../public") == direct("../public")

    check(mount, become, body)


def test_a_client_that_does_not_fetch(mount: Mount, tree: Path) -> None:
    """No descriptor can be put into its table: it is told so, and nothing has been done."""
    paths = Paths(mount)
    assert paths.call("OPENAT", tree / "new", rw_flags=os.O_CREAT | os.O_RDWR, len=0o600) == -errno.EOPNOTSUPP
    assert not (tree / "new").exists()
    fd = os.open("/dev/null", os.O_RDONLY)
    paths.ring.queue(Sqe(OPCODES.index("CLOSE"), fd=fd))
    paths.ring.submit(wait=1)
    assert paths.ring.wait().res == -errno.EOPNOTSUPP
    os.close(fd)
    paths.ring.close()


def blocked(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/wchan").read_text() in ("wait_for_partner", "fifo_open")
    return False


def test_a_pending_open_ends_with_its_caller(mount: Mount, tree: Path) -> None:
    os.mkfifo(tree / "fifo")

    def child(parent: Child) -> None:
        paths = Paths(mount)
        name = ctypes.create_string_buffer(os.fsencode(tree / "fifo"))
        op = OPCODES.index("OPENAT")
        paths.ring.queue(Sqe(op, IOSQE_ASYNC, fd=AT_FDCWD, addr=ctypes.addressof(name), file_index=1))
        paths.ring.submit()
        parent.tell()
        parent.expect(b"never")

    with in_child(child, ends_by=(-9,)) as process:
        process.expect()
        until(lambda: any(blocked(pid) for pid in actors(mount)), "the open to block")
        process.kill()
    until(lambda: not any(blocked(pid) for pid in actors(mount)), "nobody to wait for the FIFO")


def test_what_one_user_lets_wait_keeps_nobody_else_waiting(mount: Mount, tree: Path) -> None:
    os.mkfifo(tree / "fifo", 0o666)
    (tree / "fifo").chmod(0o666)

    def child(parent: Child) -> None:
        ring = Ring(mount / "new", 128)
        user()()
        slots = (ctypes.c_int * 80)(*[-1] * 80)
        ring.register(REGISTER_FILES, ctypes.addressof(slots), 80)
        name = ctypes.create_string_buffer(os.fsencode(tree / "fifo"))
        for slot in range(80):
            at = {"fd": AT_FDCWD, "addr": ctypes.addressof(name), "file_index": slot + 1}
            ring.queue(Sqe(OPCODES.index("OPENAT"), IOSQE_ASYNC, **at))
        ring.submit()
        parent.tell()
        parent.expect(b"never")

    with in_child(child, ends_by=(-9,)) as process:
        process.expect()
        until(lambda: sum(blocked(pid) for pid in actors(mount)) == 16, "the opens to block")
        for become in (lambda: None, user_of(USER + 1)):
            check(mount, become, lambda paths: same([paths.exists(tree / "public") for _ in range(20)], [0] * 20))
        assert sum(blocked(pid) for pid in actors(mount)) == 16
        process.kill()
    until(lambda: not any(blocked(pid) for pid in actors(mount)), "nobody to wait for the FIFO")


def user_of(uid: int) -> Callable[[], None]:
    return lambda: os.setresuid(uid, uid, uid)


def test_nothing_is_left_open(mount: Mount, tree: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir(f"/proc/{mount.pid}/fd"))

    def body(paths: Paths) -> None:
        for _ in range(50):
            assert paths.read(tree / "user") == b"user"
            assert paths.read(tree / "root") == -errno.EACCES
            assert paths.exists(tree / "none") == -errno.ENOENT

    check(mount, user(), body)
    before = descriptors()
    check(mount, user(), body)
    # but for sockets of processes it keeps, of which there may be more now
    until(lambda: descriptors() < before + 10, "the daemon to close what it opened")


def test_names_that_are_not_text(mount: Mount, tree: Path) -> None:
    def body(paths: Paths) -> None:
        for name in (b"\xff\xfe", b"a\nb", "ü".encode(), b"x" * 255):
            path = os.fsencode(tree) + b"/" + name
            assert paths.mkdir(path) == 0
            assert os.path.isdir(path)
        assert paths.mkdir(os.fsencode(tree) + b"/" + b"x" * 256) == -errno.ENAMETOOLONG

    check(mount, lambda: None, body)


def test_a_path_into_the_mount_itself(mount: Mount, name: str) -> None:
    """The daemon serves the lookup while its request waits for it."""

    def body(paths: Paths) -> None:
        assert paths.open(mount / name, os.O_RDWR | os.O_CREAT, 0o644) == -errno.EBADF  # a ring in a ring
        assert paths.exists(mount / name) == 0
        assert paths.mkdir(mount / "directory") == -errno.EPERM
        assert paths.call("UNLINKAT", mount / name) == 0
        assert paths.exists(mount / name) == -errno.ENOENT

    check(mount, lambda: None, body)


def test_a_working_directory_in_the_mount_itself(mount: Mount) -> None:
    """Taking it must not ask the daemon, which is taking it."""

    def body(paths: Paths) -> None:
        os.chdir(mount.path)
        assert paths.exists(".") == 0
        assert paths.exists("none") == -errno.ENOENT
        assert paths.read("..") == -errno.EISDIR
        os.chroot(mount.path)
        assert paths.exists("/") == 0
        assert paths.exists("/../none") == -errno.ENOENT

    check(mount, lambda: None, body)
