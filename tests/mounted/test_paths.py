"""Paths mean what they mean to the caller: its ids, groups, capabilities, umask, root and namespaces. The
oracle is the same process, doing the same with system calls."""

import ctypes
import errno
import os
import signal
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.children import Child, in_child
from tests.support.mounting import Mount, until
from uringfs.abi.constants import IOSQE_ASYNC, IOSQE_FIXED_FILE, OPCODES
from uringfs.abi.structs import Sqe
from uringfs.client import Ring

AT_FDCWD = -100
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
PR_SET_DUMPABLE = 4
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
REGISTER_FILES = 2
USER, GROUP, OTHER_GROUP = 12340, 12350, 12360
libc = ctypes.CDLL(None, use_errno=True)


def must(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Paths:
    """System calls through a ring, with one slot for a direct descriptor. Results as a CQE's: -errno."""

    def __init__(self, mount: Mount) -> None:
        self.ring = Ring(mount / "new", 8)
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


@pytest.fixture
def tree() -> Iterator[Path]:
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


def same(one: object, other: object) -> None:
    assert one == other


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


def test_in_a_chroot(mount: Mount, tree: Path) -> None:
    (tree / "jail").mkdir()
    (tree / "jail/inside").write_text("inside")
    (tree / "jail/absolute").symlink_to("/inside")
    (tree / "jail/up").symlink_to("../../../../inside")

    def become() -> None:
        os.chroot(tree / "jail")
        os.chdir("/")

    def body(paths: Paths) -> None:
        for name in ("/inside", "inside", "absolute", "/up", "../inside", "/../../inside"):
            assert paths.read(name) == direct(name) == b"inside", name
        assert paths.read(os.fsencode(tree / "public")) == -errno.ENOENT
        assert paths.read("/proc/self/root/etc/passwd") == -errno.ENOENT
        fd = os.open("/", os.O_PATH)
        assert paths.open("../inside", dirfd=fd) == 0

    check(mount, become, body)
    check(mount, lambda: (become(), user()())[1], body)


def test_a_working_directory_outside_of_the_root(mount: Mount, tree: Path) -> None:
    (tree / "jail").mkdir()

    def become() -> None:
        os.chdir(tree)
        os.chroot("jail")

    def body(paths: Paths) -> None:
        assert paths.read("public") == direct("public") == b"public"
        assert paths.read("/public") == -errno.ENOENT

    check(mount, become, body)


def test_a_working_directory_that_was_removed(mount: Mount, tree: Path) -> None:
    def become() -> None:
        (tree / "gone").mkdir()
        os.chdir(tree / "gone")
        os.rmdir(tree / "gone")

    def body(paths: Paths) -> None:
        assert paths.mkdir("x") == -errno.ENOENT
        assert paths.read("../public") == direct("../public")

    check(mount, become, body)


def private_tmpfs(tree: Path) -> Callable[[], None]:
    def become() -> None:
        must(libc.unshare(CLONE_NEWNS))
        must(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
        must(libc.mount(b"none", os.fsencode(tree), b"tmpfs", 0, b"mode=0777"))
        (tree / "hidden").write_text("hidden")

    return become


def test_in_a_mount_namespace(mount: Mount, tree: Path) -> None:
    def body(paths: Paths) -> None:
        assert paths.read(tree / "hidden") == b"hidden"
        assert paths.read(tree / "public") == -errno.ENOENT
        assert paths.mkdir(tree / "only_there") == 0
        assert (tree / "only_there").is_dir()
        # and nothing of the daemon's keeps the filesystem busy afterwards
        paths.close()
        until(lambda: libc.umount2(os.fsencode(tree), 0) == 0, "the umount")
        assert paths.read(tree / "public") == b"public"

    check(mount, private_tmpfs(tree), body)
    assert not (tree / "only_there").exists()


def test_in_a_user_namespace(mount: Mount, tree: Path) -> None:
    """root of a namespace of its own: privileged over what is mapped there, a user for the rest."""

    def become() -> None:
        user()()
        must(libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
        must(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS))
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {USER} 1")
        Path("/proc/self/gid_map").write_text(f"0 {GROUP} 1")
        assert os.geteuid() == 0

    reads(mount, tree, become)

    def body(paths: Paths) -> None:
        assert paths.read(tree / "root") == -errno.EACCES
        assert paths.read(tree / "closed") == b"closed"  # CAP_DAC_OVERRIDE, in its namespace
        assert paths.mkdir(tree / "made") == 0
        must(libc.mount(b"none", os.fsencode(tree), b"tmpfs", 0, b"mode=0777"))
        (tree / "hidden").write_text("hidden")
        assert paths.read(tree / "hidden") == b"hidden"
        assert paths.mkdir(tree / "there") == 0

    check(mount, become, body)
    assert ((tree / "made").stat().st_uid, (tree / "made").stat().st_gid) == (USER, GROUP)


def test_helpers_stay_in_a_user_namespace(mount: Mount, tree: Path) -> None:
    """Joining one takes a new process: not one for every call. What becomes of an idle one costs no call."""

    def become() -> None:
        must(libc.unshare(CLONE_NEWUSER))
        Path("/proc/self/uid_map").write_text("0 0 1")

    def body(paths: Paths) -> None:
        assert paths.read(tree / "public") == b"public"
        helpers = set(actors(mount))
        for _ in range(20):
            assert paths.read(tree / "public") == b"public"
        assert set(actors(mount)) == helpers
        for pid in helpers:
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: "Z (zombie)" in Path(f"/proc/{pid}/status").read_text(), "its end")
        assert paths.read(tree / "public") == b"public"

    check(mount, become, body)
    check(mount, lambda: None, lambda paths: same(paths.read(tree / "public"), b"public"))


def test_ids_are_told_as_a_user_namespace_knows_them(mount: Mount, tree: Path) -> None:
    def become() -> None:
        user()()
        must(libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
        must(libc.unshare(CLONE_NEWUSER))
        Path("/proc/self/uid_map").write_text(f"7 {USER} 1")
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        must(libc.syscall(126 if os.uname().machine == "x86_64" else 91, header, (ctypes.c_uint32 * 6)()))

    def body(paths: Paths) -> None:
        found = ctypes.create_string_buffer(256)
        assert paths.call("STATX", tree / "user", off=ctypes.addressof(found), len=0x7FF) == 0
        assert int.from_bytes(found.raw[20:24], "little") == (tree / "user").stat().st_uid == 7

    check(mount, become, body)


def test_in_a_user_namespace_where_nobody_is_mapped(mount: Mount, tree: Path) -> None:
    def become() -> None:
        user()()
        must(libc.unshare(CLONE_NEWUSER))

    reads(mount, tree, become)


def test_proc_self_is_neither_the_daemon_nor_a_way_out(mount: Mount, tree: Path) -> None:
    """/proc/self is who looks it up: through a link, too, it must show nothing of the daemon's."""
    (tree / "self").symlink_to("/proc/self")
    (tree / "thread").symlink_to("/proc/thread-self")

    def body(paths: Paths) -> None:
        status = paths.read("/proc/self/status")
        assert isinstance(status, bytes)
        assert f"\nPid:\t{os.getpid()}\n".encode() in status
        assert paths.read("/proc/self/environ") == direct("/proc/self/environ")
        for link in ("self", "thread"):
            for name in ("status", "maps"):
                text = paths.read(tree / link / name, 1 << 16)
                assert isinstance(text, int) or (
                    f"\nTgid:\t{mount.pid}\n".encode() not in text and b"memfd:" not in text
                )
        for name in ("maps", "mem", "fd/0", "environ", "cwd/etc/passwd", "root/etc/passwd"):
            assert paths.read(f"/proc/{mount.pid}/{name}") == direct(f"/proc/{mount.pid}/{name}"), name
        assert paths.read(f"/proc/{mount.pid}/maps") == -errno.EACCES

    check(mount, user(), body)


def test_no_descriptor_leads_out_of_a_chroot(mount: Mount, tree: Path) -> None:
    (tree / "jail/proc").mkdir(parents=True)
    (tree / "jail/self").symlink_to("/proc/self")
    (tree / "jail/inside").write_text("inside")

    def become() -> None:
        must(libc.unshare(CLONE_NEWNS))
        must(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
        must(libc.mount(b"/proc", os.fsencode(tree / "jail/proc"), None, MS_BIND, None))
        os.chroot(tree / "jail")
        os.chdir("/")
        user()()

    def body(paths: Paths) -> None:
        assert os.listdir("/proc/self/fd")
        seen = 0
        for where in ("self/fd", "self/task/../fd", f"proc/{mount.pid}/fd"):
            for fd in range(32):
                assert isinstance(paths.read(f"{where}/{fd}/etc/passwd"), int), (where, fd)
                seen += paths.read(f"{where}/{fd}/inside") == b"inside"
        assert seen  # its own root, which it may see: the links do work
        for where in ("self", f"proc/{mount.pid}"):
            for name in ("root", "cwd"):
                assert isinstance(paths.read(f"{where}/{name}/etc/passwd"), int)

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


def actors(mount: Mount) -> list[int]:
    """The daemon's children, of whichever of its threads."""
    tasks = Path(f"/proc/{mount.pid}/task").glob("*/children")
    return [int(pid) for children in tasks for pid in children.read_text().split()]


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
