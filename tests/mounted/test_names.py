"""Inodes and names: what a shell, a script and a second user expect of a directory of rings."""

import contextlib
import errno
import os
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.calls import RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, fails, renameat2
from tests.support.children import Child, in_child
from tests.support.mounting import Mount, until
from uringfs.abi.control import RING_FILE_SIZE
from uringfs.client import Ring, nop

NOBODY, DAEMON = 65534, 1


def touch(path: Path, mode: int = 0o666) -> os.stat_result:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, mode)
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def as_user(uid: int, code: Callable[[], None]) -> None:
    """Run code in a child with that uid and gid and no capabilities."""

    def child(_: Child) -> None:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        code()

    with in_child(child):
        pass


# -- `new`


def test_new_gives_each_opener_a_ring_of_its_own(mount: Mount) -> None:
    """8 processes at once, 300 opens each: 2,400 distinct inodes."""

    def opener(child: Child) -> None:
        found = bytearray()
        child.expect()
        for _ in range(300):
            fd = os.open(mount / "new", os.O_RDWR)
            found += os.fstat(fd).st_ino.to_bytes(8, "little")
            os.close(fd)
        os.write(results[1], found)  # 2400 bytes: one piece in a pipe

    results = os.pipe()
    children = []
    try:
        managers = [in_child(opener) for _ in range(8)]
        children = [manager.__enter__() for manager in managers]
        for child in children:
            child.tell()
        for manager in managers:
            manager.__exit__(None, None, None)
        data = os.read(results[0], 1 << 16)
    finally:
        for fd in results:
            os.close(fd)
    inodes = {data[i : i + 8] for i in range(0, len(data), 8)}
    assert len(data) == 8 * 2400
    assert len(inodes) == 2400


def test_new_is_a_door_and_not_a_name(mount: Mount, name: str) -> None:
    assert os.listdir(mount.path) == []
    fails(errno.EPERM, os.unlink, mount / "new")
    touch(mount / name)
    fails(errno.EPERM, os.rename, mount / "new", mount / "other")
    fails(errno.EPERM, os.rename, mount / name, mount / "new")
    fails(errno.EEXIST, os.mknod, mount / "new")
    fd = os.open(mount / "new", os.O_RDWR | os.O_CREAT, 0o600)
    assert os.fstat(fd).st_nlink == 0
    assert os.fstat(fd).st_uid == os.getuid()
    os.close(fd)
    assert os.listdir(mount.path) == [name]


# -- creation


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_mode_and_umask(mount: Mount, name: str, umask: int) -> None:
    before = os.umask(umask)
    try:
        created = touch(mount / f"{name}c", 0o666)
        os.mknod(mount / f"{name}m", 0o640 | stat.S_IFREG)
    finally:
        os.umask(before)
    assert created.st_mode == stat.S_IFREG | 0o666 & ~umask
    assert os.stat(mount / f"{name}m").st_mode == stat.S_IFREG | 0o640 & ~umask
    assert created.st_size == 0
    assert created.st_nlink == 1


def test_the_creator_owns_it(mount: Mount, name: str) -> None:
    as_user(NOBODY, lambda: os.mknod(mount / name))
    found = os.stat(mount / name)
    assert (found.st_uid, found.st_gid) == (NOBODY, NOBODY)


def test_exclusive_creation(mount: Mount, name: str) -> None:
    touch(mount / name)
    fails(errno.EEXIST, os.open, mount / name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    fails(errno.EEXIST, os.mknod, mount / name)
    fails(errno.ENOENT, os.open, mount / f"{name}x", os.O_RDWR)


def test_names_up_to_255_bytes(mount: Mount) -> None:
    touch(mount / ("n" * 255))
    fails(errno.ENAMETOOLONG, os.open, mount / ("n" * 256), os.O_RDWR | os.O_CREAT)
    fails(errno.ENAMETOOLONG, os.rename, mount / ("n" * 255), mount / ("n" * 256))
    odd = b"\xff \n\\"
    os.close(os.open(bytes(mount.path) + b"/" + odd, os.O_RDWR | os.O_CREAT))
    assert odd in os.listdir(bytes(mount.path))


def test_only_rings(mount: Mount, name: str) -> None:
    touch(mount / name)
    fails(errno.EPERM, os.mkdir, mount / "d")
    fails(errno.EPERM, os.symlink, name, mount / "s")
    fails(errno.EPERM, os.link, mount / name, mount / "l")
    fails(errno.EPERM, os.mkfifo, mount / "f")
    fails(errno.EPERM, os.mknod, mount / "b", stat.S_IFBLK | 0o600, os.makedev(7, 0))
    fails(errno.EPERM, os.mknod, mount / "c", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    fails(errno.EPERM, os.mknod, mount / "k", stat.S_IFSOCK | 0o600)
    fails(errno.ENOTDIR, os.rmdir, mount / name)
    fails(errno.ENOENT, os.rmdir, mount / "none")
    fails(errno.ENOTDIR, os.stat, mount / name / "below")
    assert os.listdir(mount.path) == [name]


# -- unlink and rename


def test_unlink(mount: Mount, name: str) -> None:
    touch(mount / name)
    os.unlink(mount / name)
    fails(errno.ENOENT, os.stat, mount / name)
    fails(errno.ENOENT, os.unlink, mount / name)


def test_an_unlinked_ring_works_until_its_last_close(mount: Mount, name: str) -> None:
    with Ring(mount / name, 4) as ring:
        first = os.fstat(ring.fd)
        os.unlink(mount / name)
        assert os.fstat(ring.fd).st_nlink == 0
        assert touch(mount / name).st_ino != first.st_ino  # the name is free for another
        again = os.open(f"/proc/self/fd/{ring.fd}", os.O_RDWR)
        ring.queue(nop(3))
        assert ring.submit(wait=1) == 1
        assert b"Submitted:\t1" in os.pread(again, 1 << 16, 0)
        os.close(again)


def test_rename(mount: Mount, name: str) -> None:
    with Ring(mount / name, 4) as ring:
        os.rename(mount / name, mount / f"{name}b")
        fails(errno.ENOENT, os.stat, mount / name)
        assert os.stat(mount / f"{name}b").st_ino == os.fstat(ring.fd).st_ino
        ring.queue(nop(3))
        assert ring.submit(wait=1) == 1
    fails(errno.ENOENT, os.rename, mount / "none", mount / name)
    os.rename(mount / f"{name}b", mount / f"{name}b")


def test_rename_over_another(mount: Mount, name: str) -> None:
    mine = touch(mount / name)
    with Ring(mount / f"{name}b", 4) as other:
        os.rename(mount / name, mount / f"{name}b")
        assert os.listdir(mount.path) == [f"{name}b"]
        assert os.stat(mount / f"{name}b").st_ino == mine.st_ino
        assert os.fstat(other.fd).st_nlink == 0
        other.queue(nop(3))
        assert other.submit(wait=1) == 1


def test_renameat2(mount: Mount, name: str) -> None:
    a, b = mount / name, mount / f"{name}b"
    first, second = touch(a), touch(b)
    fails(errno.EEXIST, renameat2, a, b, RENAME_NOREPLACE)
    renameat2(a, b, RENAME_EXCHANGE)
    assert (os.stat(a).st_ino, os.stat(b).st_ino) == (second.st_ino, first.st_ino)
    renameat2(a, mount / f"{name}c", RENAME_NOREPLACE)
    fails(errno.ENOENT, renameat2, b, a, RENAME_EXCHANGE)
    fails(errno.EINVAL, renameat2, b, a, RENAME_WHITEOUT)
    assert sorted(os.listdir(mount.path)) == [f"{name}b", f"{name}c"]


def test_rename_to_elsewhere_is_another_filesystem(mount: Mount, name: str, tmp_path: Path) -> None:
    touch(mount / name)
    fails(errno.EXDEV, os.rename, mount / name, tmp_path / name)


# -- attributes


def test_chmod_chown_utimens(mount: Mount, name: str) -> None:
    touch(mount / name)
    os.chmod(mount / name, 0o4755)
    os.chown(mount / name, DAEMON, NOBODY)
    os.utime(mount / name, ns=(1_000_000_001, 2_000_000_002))
    now = os.stat(mount / name)
    assert now.st_mode & 0o777 == 0o755
    assert (now.st_uid, now.st_gid) == (DAEMON, NOBODY)
    assert (now.st_atime_ns, now.st_mtime_ns) == (1_000_000_001, 2_000_000_002)
    assert now.st_ctime_ns > 2_000_000_002
    os.utime(mount / name)
    assert os.stat(mount / name).st_mtime_ns > 2_000_000_002


def test_chown_by_an_ordinary_user(mount: Mount, name: str) -> None:
    touch(mount / name)
    os.chown(mount / name, NOBODY, NOBODY)

    def owner() -> None:
        fails(errno.EPERM, os.chown, mount / name, DAEMON, -1)
        os.chmod(mount / name, 0o600)

    as_user(NOBODY, owner)
    as_user(DAEMON, lambda: fails(errno.EPERM, os.chmod, mount / name, 0o666))
    assert stat.S_IMODE(os.stat(mount / name).st_mode) == 0o600


def test_attributes_of_the_root_directory(mount: Mount, name: str) -> None:
    before = os.stat(mount.path)
    assert before.st_mode == stat.S_IFDIR | 0o1777
    try:
        os.chmod(mount.path, 0o755)
        os.utime(mount.path, ns=(1_000_000_001, 2_000_000_002))
        now = os.stat(mount.path)
        assert (now.st_mode, now.st_mtime_ns) == (stat.S_IFDIR | 0o755, 2_000_000_002)
        as_user(NOBODY, lambda: fails(errno.EACCES, touch, mount / "mine"))
        touch(mount / name)  # a name more is a change of the directory
        assert os.stat(mount.path).st_mtime_ns > 2_000_000_002
    finally:
        os.chmod(mount.path, 0o1777)


def test_truncation_is_accepted_and_without_effect(mount: Mount, name: str) -> None:
    with Ring(mount / name, 4) as ring:
        ring.queue(nop(1))
        for size in (0, 4096, RING_FILE_SIZE, 1 << 40):
            os.truncate(mount / name, size)
            os.ftruncate(ring.fd, size)
        os.close(os.open(mount / name, os.O_RDWR | os.O_TRUNC))
        os.close(os.open(mount / name, os.O_WRONLY | os.O_TRUNC | os.O_CREAT))
        assert os.fstat(ring.fd).st_size == 0
        assert ring.submit(wait=1) == 1
        assert [cqe.user_data for cqe in ring.reap()] == [1]


def test_access_across_users(mount: Mount, name: str) -> None:
    """0600 keeps others out, 0666 lets them in, and who is let in shares the queues."""
    with Ring(mount / name, 4) as ring:
        os.chmod(mount / name, 0o600)

        def stranger() -> None:
            for flags in (os.O_RDWR, os.O_RDONLY, os.O_WRONLY):
                fails(errno.EACCES, os.open, mount / name, flags)

        as_user(NOBODY, stranger)
        os.chmod(mount / name, 0o666)

        def guest() -> None:
            with Ring(mount / name, None, params=ring.raw_params) as theirs:
                theirs.queue(nop(77))
                assert theirs.submit(wait=1) == 1
            with Ring(mount / "new", 4) as own:
                own.queue(nop(1))
                assert own.submit(wait=1) == 1

        as_user(NOBODY, guest)
        assert [cqe.user_data for cqe in ring.reap()] == [77]


def test_the_directory_is_sticky(mount: Mount, name: str) -> None:
    """As in /tmp: others can neither remove nor rename what is not theirs, 0666 or not."""
    touch(mount / name)
    os.chmod(mount / name, 0o666)

    def stranger() -> None:
        fails(errno.EPERM, os.unlink, mount / name)
        fails(errno.EPERM, os.rename, mount / name, mount / f"{name}b")
        touch(mount / f"{name}mine")
        fails(errno.EPERM, os.rename, mount / f"{name}mine", mount / name)
        os.unlink(mount / f"{name}mine")

    as_user(NOBODY, stranger)
    assert os.listdir(mount.path) == [name]


# -- directory and file system


def test_readdir_of_a_thousand(mount: Mount, name: str) -> None:
    wanted = {f"{name}_{i}" for i in range(1000)}
    for each in wanted:
        os.mknod(mount / each)
    assert os.listdir(mount.path).__len__() == 1000
    with os.scandir(mount.path) as entries:
        found = {entry.name: entry.inode() for entry in entries}
    assert set(found) == wanted
    assert all(os.stat(mount / each).st_ino == inode for each, inode in list(found.items())[::50])
    listed = subprocess.run(["ls", "-l", str(mount.path)], capture_output=True, text=True, check=True).stdout
    assert listed.count("\n") == 1001


def test_readdir_while_names_go(mount: Mount, name: str) -> None:
    """What stays from beginning to end is listed once; what goes meanwhile at most once."""
    for i in range(1000):
        os.mknod(mount / f"{name}_{i}")
    with os.scandir(mount.path) as entries:
        found = [next(entries).name]
        for i in range(0, 1000, 2):
            os.unlink(mount / f"{name}_{i}")
        found += [entry.name for entry in entries]
    assert len(found) == len(set(found))
    assert {f"{name}_{i}" for i in range(1, 1000, 2)} <= set(found)


def test_readdir_while_a_name_is_moved_over_another(mount: Mount, name: str) -> None:
    for i in range(300):
        os.mknod(mount / f"{name}_{i}")
    with os.scandir(mount.path) as entries:
        next(entries)
        os.rename(mount / f"{name}_299", mount / f"{name}_0")
        list(entries)
    assert len(os.listdir(mount.path)) == 299


def test_seekdir(mount: Mount, name: str) -> None:
    """rewinddir and seekdir of a C program: Perl has them."""
    for i in range(500):
        os.mknod(mount / f"{name}_{i}")
    script = """
        opendir(D, $ARGV[0]); my @a = map { scalar readdir(D) } 1..200; my $p = telldir(D);
        my @b = readdir(D); seekdir(D, $p); my @c = readdir(D); rewinddir(D); my @d = readdir(D);
        print join(",", scalar(@b), "@b" eq "@c" ? 1 : 0, "@d" eq "@a @b" ? 1 : 0);
    """
    done = subprocess.run(["perl", "-e", script, str(mount.path)], capture_output=True, text=True, check=True)
    count, same, all_same = done.stdout.split(",")
    assert int(count) in (300, 302)  # . and .. are not ours to give
    assert (same, all_same) == ("1", "1")


def test_statfs(mount: Mount, name: str) -> None:
    until(lambda: os.statvfs(mount.path).f_ffree >= 4095, "what other tests left to be forgotten")
    before = os.statvfs(mount.path)
    touch(mount / name)
    now = os.statvfs(mount.path)
    assert now.f_files == 4096
    assert before.f_ffree - now.f_ffree == 1
    assert now.f_namemax == 255
    subprocess.run(["df", "-i", str(mount.path)], check=True, capture_output=True)


def test_create_and_unlink_by_many_at_once(mount: Mount, name: str) -> None:
    errors: list[BaseException] = []

    def work(n: int) -> None:
        try:
            for i in range(100):
                path = mount / f"{name}_{i % 5}"
                fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
                os.close(fd)
                if n % 2:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(path)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
