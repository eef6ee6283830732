"""Paths in the root and the namespaces of the caller. The oracle is the same process, doing the same with
system calls."""

import ctypes
import errno
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.support.mounting import Mount, until
from tests.support.paths import GROUP, USER, Paths, actors, check, direct, libc, must, reads, same, user

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
PR_SET_DUMPABLE = 4
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2


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
        assert set(actors(mount)) <= helpers  # others' may have ended
        for pid in helpers:
            with suppress(PermissionError, ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), "its end, and that somebody takes note")
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
        must(libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))

    def body(paths: Paths) -> None:
        own = os.open("/", os.O_PATH)
        helpers = [f"proc/{pid}/fd" for pid in actors(mount)] if os.path.exists(f"/proc/{mount.pid}") else []
        for where in ("self/fd", "self/task/../fd", f"proc/{mount.pid}/fd", *helpers):
            for fd in range(32):
                for name in (f"{where}/{fd}/etc/passwd", f"{where}/{fd}/inside"):
                    want = (-errno.EACCES, -errno.ENOENT) if where in helpers else (direct(name),)  # it may end
                    assert paths.read(name) in want, name
        assert helpers
        assert paths.read(f"self/fd/{own}/inside") == b"inside"  # its own root: the links do work
        for where in ("self", f"proc/{mount.pid}"):
            for name in ("root", "cwd"):
                assert isinstance(paths.read(f"{where}/{name}/etc/passwd"), int)

    check(mount, become, body)
