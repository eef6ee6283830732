"""host.helper looks up paths as the kernel does for the same thread: each call beside the system call it stands
for, in two trees that are alike. The caller of these tests is this process."""

import ctypes
import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_native_id

import pytest

from tests.support.children import in_child
from uringfs.host.helper.caller import HelperCaller
from uringfs.host.helper.calls import CALLS
from uringfs.host.helper.kernel import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_FOLLOW,
    AT_SYMLINK_NOFOLLOW,
    OPEN_HOW,
    RESOLVE_BENEATH,
    RESOLVE_CACHED,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    found,
    openat2,
    syscall,
)
from uringfs.host.helper.walk import Numbers

USER, OTHER = 12340, 12341
CLONE_NEWNS, MS_REC, MS_PRIVATE, MS_NOSYMFOLLOW = 0x20000, 0x4000, 0x40000, 256
SYS_OPENAT = 56 if os.uname().machine == "aarch64" else 257
AT_REMOVEDIR, RENAME_NOREPLACE, RENAME_EXCHANGE = 0x200, 1, 2
libc = ctypes.CDLL(None, use_errno=True)

LINKS = {
    "to_file": "file",
    "to_dir": "dir",
    "to_dir_slash": "dir/",
    "to_none": "none",
    "to_none_slash": "none/",
    "to_nowhere": "none/none",
    "to_link": "to_file",
    "to_up": "../{tree}/file",
    "to_dot": ".",
    "loop": "loop",
    "dir/up": "../file",
    "dir/self": "/proc/self",
    "self": "/proc/self",
    "thread": "/proc/thread-self",
    "proc": "/proc",
    "fd": "/proc/self/fd",
    "absolute": "{root}/file",
    "root": "/",
    "long": "x" * 256,
    "deep": "dir/../" * 300 + "file",
}
PATHS = (
    *("file", "file/", "file/.", "file/x", "dir", "dir/", "dir//", "dir/.", "dir/..", "dir/../file", "dir/inner"),
    *(".", "..", "./", "../{tree}", "none", "none/", "none/x", "/", "//", "/..", "/../..", "/.", "{root}/file"),
    *(
        "to_file",
        "to_file/",
        "to_file/x",
        "to_dir",
        "to_dir/",
        "to_dir/inner",
        "to_dir_slash",
        "to_none",
        "to_none/",
    ),
    *(
        "to_none_slash",
        "to_nowhere",
        "to_link",
        "to_up",
        "to_dot/file",
        "loop",
        "loop/",
        "loop/x",
        "dir/up",
        "root",
    ),
    *(
        "absolute",
        "root/{root}/file",
        "long",
        "x" * 255,
        "x" * 256,
        "x" * 256 + "/y",
        "deep",
        "closed/x",
        "closed",
    ),
    *(f"link{n}" for n in (39, 40, 41)),
    *("/proc", "/proc/", "/proc/.", "/proc/..", "/proc/self", "/proc/self/", "/proc/self/.", "/proc/./self/stat"),
    *("/proc/self/../self/status", "/proc/self/..", "/proc/thread-self", "/proc/thread-self/comm", "/proc/mounts"),
    *("/proc/net", "/proc/net/dev", "/proc/self/exe", "/proc/self/cwd", "/proc/self/cwd/", "/proc/self/cwd/file"),
    *(
        "/proc/self/root",
        "/proc/self/root/..",
        "/proc/self/root/proc/self/stat",
        "/proc/self/fd",
        "/proc/self/fd/0",
    ),
    *(
        "/proc/self/fd/{fd}",
        "/proc/self/fd/{fd}/",
        "/proc/self/fd/{dirfd}",
        "/proc/self/fd/{dirfd}/file",
        "fd/{fd}",
    ),
    *("/proc/self/fd/{procfd}", "/proc/self/fd/{procdir}/stat", "/proc/self/fd/{procdir}", "/proc/self/fd/99999"),
    *("/dev/fd/{fd}", "/dev/stdin", "/dev/stdin/", "/dev/null", "self", "self/", "self/stat", "thread/comm"),
    *(
        "self/cwd/file",
        "dir/self/cwd/dir/self/cwd/file",
        "proc/self/exe",
        "proc/none",
        "proc/meminfo",
        "self/ns/net",
    ),
    *(
        "/proc/meminfo",
        "/proc/{pid}/stat",
        "/proc/1/exe",
        "/proc/sys/kernel/ostype",
        "/proc/self/none",
        "self/exe/x",
    ),
)
FLAGS = {
    "O_RDONLY": os.O_RDONLY,
    "O_RDWR": os.O_RDWR,
    "O_PATH": os.O_PATH,
    "O_DIRECTORY": os.O_DIRECTORY,
    "O_NOFOLLOW": os.O_NOFOLLOW,
    "O_PATH|O_NOFOLLOW": os.O_PATH | os.O_NOFOLLOW,
    "O_DIRECTORY|O_NOFOLLOW": os.O_DIRECTORY | os.O_NOFOLLOW,
    "O_CREAT": os.O_CREAT | os.O_RDWR,
    "O_CREAT|O_EXCL": os.O_CREAT | os.O_EXCL | os.O_WRONLY,
    "O_CREAT|O_NOFOLLOW": os.O_CREAT | os.O_NOFOLLOW,
    "O_EXCL": os.O_EXCL,
    "O_TMPFILE": os.O_TMPFILE | os.O_RDWR,
    "all": 0x7FFFFFFF & ~os.O_CREAT & ~os.O_TMPFILE & ~os.O_TRUNC | os.O_PATH,
}
RESOLVE = {
    "CACHED": RESOLVE_CACHED,
    "NO_SYMLINKS": RESOLVE_NO_SYMLINKS,
    "NO_MAGICLINKS": RESOLVE_NO_MAGICLINKS,
    "NO_XDEV": RESOLVE_NO_XDEV,
    "BENEATH": RESOLVE_BENEATH,
    "IN_ROOT": RESOLVE_IN_ROOT,
    "both": RESOLVE_BENEATH | RESOLVE_IN_ROOT,
    "unknown": 1 << 40,
}


class Tree:
    """A directory with one of each, the working one within the block; and descriptors, open meanwhile."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd, self.dirfd = os.open(path / "file", os.O_RDWR), os.open(path, os.O_RDONLY)
        self.procfd, self.procdir = os.open("/proc/self/stat", os.O_RDONLY), os.open("/proc/self", os.O_PATH)

    def named(self, path: str) -> bytes:
        numbers = {name: getattr(self, name) for name in ("fd", "dirfd", "procfd", "procdir")}
        text = path.format(tree=self.path.name, root=self.path, pid=os.getpid(), **numbers)
        return os.fsencode(text)

    def close(self) -> None:
        for fd in (self.fd, self.dirfd, self.procfd, self.procdir):
            os.close(fd)

    def listing(self) -> list[tuple[str, int, int, int]]:
        return sorted(_entries(self.path))


def _entries(path: Path) -> Iterator[tuple[str, int, int, int]]:
    for entry in os.scandir(path):
        info = entry.stat(follow_symlinks=False)
        yield entry.path.split("/", 3)[-1], info.st_mode, info.st_uid, info.st_nlink
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path))


def build(path: Path, links: int) -> None:
    path.chmod(0o777)
    (path / "dir").mkdir()
    (path / "dir/inner").write_text("inner")
    (path / "file").write_text("file")
    (path / "closed").mkdir(mode=0o700)
    for name, target in LINKS.items():
        (path / name).symlink_to(target.format(tree=path.name, root=path))
    (path / "link1").symlink_to("file")
    for n in range(2, links + 1):
        (path / f"link{n}").symlink_to(f"link{n - 1}")
    for name in ("file", "dir", "dir/inner"):
        os.chown(path / name, USER, USER)


@contextmanager
def a_tree(links: int = 41) -> Iterator[Tree]:
    """The working directory, too. links: the length of a chain of them, link1 to link41."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="uringfs-") as name:
        build(Path(name), links)
        os.chdir(name)
        tree = Tree(Path(name))
        try:
            yield tree
        finally:
            tree.close()
            os.chdir(before)


@pytest.fixture(scope="module")
def tree() -> Iterator[Tree]:
    """For calls that change nothing."""
    with a_tree() as tree:
        yield tree


def ours(name: str, *args: object) -> tuple[int, bytes]:
    """A call as a helper makes it for this thread: (result or -errno, out)."""
    numbers = os.getpid(), get_native_id()
    cwd = os.open(".", os.O_PATH)
    caller = HelperCaller(Numbers(*numbers, *numbers), cwd)
    try:
        return CALLS[name](caller, *args)
    except OSError as error:
        return -(error.errno or 0), b""
    finally:
        caller.close()
        os.close(cwd)


def natively(call: Callable[[], int]) -> int:
    try:
        return call()
    except OSError as error:
        return -(error.errno or 0)


def _openat(at: int, path: bytes, flags: int, mode: int) -> int:
    result = libc.syscall(SYS_OPENAT, at, path, flags, mode)
    if result < 0:
        raise OSError(ctypes.get_errno(), "openat")
    return result


def opened(fd: int, created: bool = False) -> object:
    """What a descriptor is of, with its status flags; an error is itself."""
    if fd < 0:
        return errno.errorcode[-fd]
    try:
        what = found(fd)
        flags = int(Path(f"/proc/self/fdinfo/{fd}").read_text().split("flags:")[1].split()[0], 8)
        return (what.mode if created else what), flags & ~os.O_CLOEXEC
    finally:
        os.close(fd)


def open_both(tree: Tree, path: str, flags: int, at: int = AT_FDCWD) -> None:
    name = tree.named(path)
    want = opened(natively(lambda: _openat(at, name, flags, 0o640)))
    got = opened(ours("openat", at, name, flags, 0o640)[0])
    assert got == want


READS = [name for name in FLAGS if "CREAT" not in name and "TMPFILE" not in name]


@pytest.mark.parametrize("flags", READS)
@pytest.mark.parametrize("path", PATHS)
def test_open(tree: Tree, path: str, flags: str) -> None:
    open_both(tree, path, FLAGS[flags])


@pytest.mark.parametrize("at", ["dirfd", "fd", "procdir", "procfd"])
@pytest.mark.parametrize(
    "path", [*PATHS[:40], "stat", "cwd/file", "exe", "fd/{fd}", "../self/stat", "../meminfo", "task"]
)
def test_open_at(tree: Tree, path: str, at: str) -> None:
    open_both(tree, path, os.O_RDONLY, getattr(tree, at))
    open_both(tree, path, os.O_PATH | os.O_NOFOLLOW, getattr(tree, at))


def as_user(become: Callable[[], None], body: Callable[[], None]) -> None:
    """In a child, as an ordinary user that can be looked into, as it was before it was root's child."""

    def child(_: object) -> None:
        become()
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
        libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE
        body()

    with in_child(child) as process:
        assert process.wait() == 0


def test_open_as_a_user() -> None:
    def body() -> None:
        for path in PATHS:
            for flags in (os.O_RDONLY, os.O_RDWR, os.O_PATH, os.O_PATH | os.O_NOFOLLOW):
                open_both(tree, path, flags)

    with a_tree() as tree:
        as_user(lambda: None, body)


@pytest.mark.parametrize("sticky", [0o1777, 0o777, 0o1775])
def test_protected_symlinks(sticky: int) -> None:
    """may_follow_link(): of last components alone."""

    def body() -> None:
        for path in ("shared/user", "shared/other", "shared/root", "shared/dir_other/inner", "shared/dir_other"):
            for suffix in ("", "/"):
                open_both(tree, path + suffix, os.O_RDONLY)
                open_both(tree, path + suffix, os.O_RDONLY | os.O_NOFOLLOW)
                statx_both(tree, path + suffix, 0)
        open_both(tree, "chain", os.O_RDONLY)

    with a_tree() as tree:
        shared = tree.path / "shared"
        shared.mkdir()
        shared.chmod(sticky)
        for name, owner in (("user", USER), ("other", OTHER), ("root", 0)):
            (shared / name).symlink_to("../file")
            (shared / f"dir_{name}").symlink_to("../dir")
            os.chown(shared / name, owner, owner, follow_symlinks=False)
            os.chown(shared / f"dir_{name}", owner, owner, follow_symlinks=False)
        (tree.path / "chain").symlink_to("shared/other")
        as_user(lambda: None, body)


def test_nosymfollow() -> None:
    def child(_: object) -> None:
        assert libc.unshare(CLONE_NEWNS) == 0
        assert libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0
        assert libc.mount(b"none", b"dir", b"tmpfs", MS_NOSYMFOLLOW, None) == 0
        os.mkdir("dir/sub")
        Path("dir/sub/file").write_text("x")
        os.symlink("sub", "dir/link")
        os.symlink("/proc/self", "dir/self")
        for path in ("dir/link", "dir/link/file", "dir/self/stat", "to_dir/link", "dir/sub/file", "dir/self"):
            for flags in (os.O_RDONLY, os.O_PATH | os.O_NOFOLLOW, os.O_CREAT):
                open_both(tree, path, flags)

    with a_tree() as tree, in_child(child) as process:
        assert process.wait() == 0


def create_both(path: str, flags: int) -> None:
    seen = []
    for call in (
        lambda name: natively(lambda: _openat(AT_FDCWD, name, flags, 0o640)),
        lambda name: ours("openat", AT_FDCWD, name, flags, 0o640)[0],
    ):
        with a_tree(41 if path.startswith("link") else 1) as tree:
            result = opened(call(tree.named(path)), created=True)
            seen.append((result, tree.listing()))
    assert seen[1] == seen[0]


@pytest.mark.parametrize("flags", [name for name in FLAGS if name not in READS])
@pytest.mark.parametrize("path", [path for path in PATHS if "/proc/" not in path or "{" in path or "cwd" in path])
def test_create(path: str, flags: str) -> None:
    create_both(path, FLAGS[flags])


@pytest.mark.parametrize("resolve", RESOLVE)
@pytest.mark.parametrize("path", PATHS)
def test_openat2(tree: Tree, path: str, resolve: str) -> None:
    """Where the kernel has to follow links under conditions, what lies on a procfs is refused: ELOOP."""
    name = tree.named(path)
    conditional = RESOLVE[resolve] & (RESOLVE_NO_XDEV | RESOLVE_BENEATH | RESOLVE_IN_ROOT)
    for flags in (os.O_RDONLY, os.O_RDONLY | os.O_NOFOLLOW):
        how = OPEN_HOW.pack(flags | 0o100000, 0, RESOLVE[resolve])
        want = opened(
            natively(lambda flags=flags: openat2(tree.dirfd, name, flags | 0o100000, 0, RESOLVE[resolve]))
        )
        got = opened(ours("openat2", tree.dirfd, name, how, OPEN_HOW.size)[0])
        if resolve == "CACHED" and "EAGAIN" in (want, got):
            continue
        assert got == want or (conditional and got == "ELOOP" and not isinstance(want, str))


def statx_both(tree: Tree, path: str, flags: int, at: int = AT_FDCWD, mask: int = 0x17FF) -> None:
    def native() -> int:
        return syscall("statx", at, name, flags, mask, want)

    name, want, got = tree.named(path), ctypes.create_string_buffer(256), ctypes.create_string_buffer(256)
    result, out = ours("statx", at, name, flags, mask, got)
    assert result == natively(native)
    if result >= 0:
        assert _lasting(out) == _lasting(want.raw)


def _lasting(statx: bytes) -> bytes:
    """Without times, links and sizes: those of procfs change. uid to ino, devices, mount."""
    return statx[20:40] + statx[128:152]


@pytest.mark.parametrize("flags", [0, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, 0x80, 0x6000])
@pytest.mark.parametrize("path", [*PATHS, ""])
def test_statx(tree: Tree, path: str, flags: int) -> None:
    statx_both(tree, path, flags)
    statx_both(tree, path, flags, tree.dirfd)


NAMES = (
    *(
        "file",
        "dir",
        "dir/",
        "none",
        "none/",
        "to_file",
        "to_dir",
        "to_dir/",
        "to_none",
        "to_none/",
        "loop",
        "/",
        ".",
    ),
    *(
        "..",
        "dir/.",
        "dir/..",
        "none/x",
        "to_dir/inner",
        "to_dir/new",
        "self/cwd/new",
        "self/cwd/file",
        "/proc/self",
    ),
    *(
        "/proc/self/cwd/new",
        "/proc/new",
        "closed",
        "x" * 256,
        "file/x",
        "loop/x",
        "/proc/self/fd/{fd}",
        "to_dot/new",
    ),
)
CHANGES: dict[str, Callable[[bytes, bytes], tuple[object, ...]]] = {
    "mkdirat": lambda one, _: (AT_FDCWD, one, 0o750),
    "unlinkat": lambda one, _: (AT_FDCWD, one, 0),
    "unlinkat of a directory": lambda one, _: (AT_FDCWD, one, AT_REMOVEDIR),
    "unlinkat with a flag": lambda one, _: (AT_FDCWD, one, 0x4000),
    "symlinkat": lambda one, _: (b"target", AT_FDCWD, one),
    "renameat2": lambda one, two: (AT_FDCWD, one, AT_FDCWD, two, 0),
    "renameat2 without replacing": lambda one, two: (AT_FDCWD, one, AT_FDCWD, two, RENAME_NOREPLACE),
    "renameat2 of both": lambda one, two: (AT_FDCWD, one, AT_FDCWD, two, RENAME_EXCHANGE),
    "renameat2 with a flag": lambda one, two: (AT_FDCWD, one, AT_FDCWD, two, 0x40),
    "linkat": lambda one, two: (AT_FDCWD, one, AT_FDCWD, two, 0),
    "linkat following": lambda one, two: (AT_FDCWD, one, AT_FDCWD, two, AT_SYMLINK_FOLLOW),
    "linkat with a flag": lambda one, two: (AT_FDCWD, one, AT_FDCWD, two, 0x40),
}
SECOND = ("new", "file", "to_none", "none/x", "to_dir/new", "/proc/self/cwd/new")


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("path", NAMES)
def test_changes(path: str, change: str) -> None:
    call = change.split()[0]
    count = (len(SECOND) if path in ("file", "dir") else 2) if call in ("renameat2", "linkat") else 1
    for second in SECOND[:count]:
        seen = []
        for make in (lambda *args: (natively(lambda: syscall(*args)), b""), ours):
            with a_tree(1) as tree:
                result, _ = make(call, *CHANGES[change](tree.named(path), tree.named(second)))
                seen.append((result, tree.listing()))
        assert seen[1] == seen[0], second


@pytest.mark.parametrize(
    "path", [*PATHS[:50], "/proc/self/fd/{fd}", "self/cwd/file", "fd/{fd}", "/proc/self", "/dev/fd/{fd}"]
)
def test_xattrs(tree: Tree, path: str) -> None:
    name, value = tree.named(path), ctypes.create_string_buffer(16)
    want = natively(lambda: syscall("setxattr", name, b"user.test", b"native", 6, 0))
    assert ours("setxattr", name, b"user.test", b"native", 6, 0)[0] == want
    want = natively(lambda: syscall("getxattr", name, b"user.test", value, 16))
    got = ctypes.create_string_buffer(16)
    result, out = ours("getxattr", name, b"user.test", got, 16)
    assert (result, out or bytes(16)) == (want, value.raw)
    assert ours("getxattr", name, b"user.none", got, 16)[0] == natively(
        lambda: syscall("getxattr", name, b"user.none", value, 16)
    )
    os.chdir(tree.path)  # a helper goes home itself
