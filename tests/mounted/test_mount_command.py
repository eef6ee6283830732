"""`mount.py`: its errors, its options, how it starts and how it ends."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mounting import AS_NOBODY, DEADLINE, ROOT, Mount, is_mounted, open_directory, until
from uringfs.cli.mount import Exit
from uringfs.client import Ring, nop

MOUNT_PY = str(ROOT / "mount.py")


def refused(*args: str, by: tuple[str, ...] = (), env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run a mount.py that must end by itself: (exit status, what it said)."""
    done = subprocess.run(
        [*by, sys.executable, MOUNT_PY, *args],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        env={**os.environ, **(env or {})},
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def assert_refused(result: tuple[int, str], status: Exit, *words: str) -> None:
    """That exit status, and one line that holds the words."""
    assert result[0] == status, result
    assert re.fullmatch(r"uringfs: [^\n]+\n", result[1]), result
    for word in words:
        assert word in result[1]


def shell(script: str) -> tuple[str, ...]:
    """A command prefix that runs script in a mount namespace of its own first."""
    return ("unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{script}; exec "$@"', "sh")


# -- errors


def test_each_error_has_its_own_exit_status() -> None:
    assert len({int(status) for status in Exit}) == len(Exit)
    assert 2 not in {int(status) for status in Exit}  # argparse's


def test_no_such_mountpoint(tmp_path: Path) -> None:
    assert_refused(refused(str(tmp_path / "none")), Exit.NO_MOUNTPOINT, "mkdir -p")


def test_not_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert_refused(refused(str(tmp_path / "file")), Exit.NOT_A_DIRECTORY)


def test_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert_refused(refused(str(tmp_path / "file" / "mnt")), Exit.NO_MOUNTPOINT)


@pytest.mark.parametrize("inside", [False, True], ids=["itself", "the one above"])
def test_a_directory_without_permission(inside: bool) -> None:
    """Root without the right to pass over modes is like any other user."""
    plain = (
        "setpriv",
        "--bounding-set=-dac_override,-dac_read_search",
        "--inh-caps=-dac_override,-dac_read_search",
    )
    with open_directory() as home:
        closed = home / "closed"
        place = closed / "mnt" if inside else closed
        place.mkdir(parents=True)
        os.chown(closed, 65534, 65534)
        closed.chmod(0)
        assert_refused(refused(str(place), by=plain), Exit.NO_PERMISSION, "Permission denied")
        closed.chmod(0o700)


def test_what_is_no_path_of_a_directory(tmp_path: Path) -> None:
    loop, dangling = tmp_path / "loop", tmp_path / "dangling"
    loop.symlink_to(loop)
    dangling.symlink_to(tmp_path / "none")
    assert_refused(refused(str(loop)), Exit.NO_MOUNTPOINT, "symbolic links")
    assert_refused(refused(str(dangling)), Exit.NO_MOUNTPOINT, "mkdir -p")
    assert_refused(refused("x" * 300), Exit.NO_MOUNTPOINT, "too long")


def test_not_empty(directory: Path) -> None:
    (directory / "file").touch()
    assert_refused(refused(str(directory)), Exit.NOT_EMPTY)


def test_already_mounted(directory: Path) -> None:
    with Mount(directory) as mount:
        assert_refused(refused(str(directory)), Exit.ALREADY_MOUNTED, "umount")
        assert Ring(mount / "new").submit() == 0


def test_no_dev_fuse(directory: Path) -> None:
    by = shell("mount -t tmpfs none /dev")
    assert_refused(refused(str(directory), by=by), Exit.NO_DEV_FUSE, "/dev/fuse", "modprobe")


def test_dev_fuse_not_permitted(directory: Path) -> None:
    """As an ordinary user, where /dev/fuse is root's alone."""
    by = (
        *shell("mount -t tmpfs none /dev; mknod -m 600 /dev/fuse c 10 229; mknod -m 666 /dev/null c 1 3"),
        *AS_NOBODY,
    )
    assert_refused(refused(str(directory), by=by), Exit.NO_PERMISSION, "/dev/fuse", "root")


def test_no_cap_sys_admin(directory: Path) -> None:
    by = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    asked = refused(str(directory), "--backend", "passthrough", by=by)
    assert_refused(asked, Exit.NO_PERMISSION, "CAP_SYS_ADMIN", "root")


def test_kernel_too_old(directory: Path) -> None:
    """setarch's 2.6 personality: uname(2) says 2.6.x."""
    for backend, wanted in (("passthrough", "6.9"), ("pagecache", "6.6"), ("auto", "6.6")):
        said = refused(str(directory), "--backend", backend, by=("setarch", "--uname-2.6"))
        assert_refused(said, Exit.KERNEL_TOO_OLD, wanted, "2.6.")


def test_libfuse_missing(directory: Path) -> None:
    """The shared library hidden under an empty file, so that pyfuse3 cannot be loaded."""
    maps = subprocess.run(
        [sys.executable, "-c", "import uringfs.native, pyfuse3; print(open('/proc/self/maps').read())"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    library = next(line.split()[-1] for line in maps.splitlines() if "libfuse3.so" in line)
    by = shell(f"mount --bind /dev/null {library}")
    assert_refused(refused(str(directory), by=by), Exit.NO_LIBFUSE, "apt-get install")


def test_libfuse_without_custom_io(directory: Path, tmp_path: Path) -> None:
    """As 3.18.3 is by default: its function is there, and fails."""
    source, library = tmp_path / "without.c", tmp_path / "without.so"
    fails = "{ return -1; }"
    source.write_text(f"int fuse_session_custom_io() {fails}\nint fuse_session_custom_io_317() {fails}\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    for backend in ("passthrough", "pagecache"):
        said = refused(str(directory), "--backend", backend, env={"LD_PRELOAD": str(library)})
        assert_refused(said, Exit.NO_LIBFUSE, "without custom I/O")
        assert not is_mounted(directory)


def test_unknown_mount_option(directory: Path) -> None:
    status, said = refused(str(directory), "-o", "no_such_option")
    assert status == Exit.FAILED
    theirs, ours, *more = said.splitlines()  # libfuse's own line first
    assert "no_such_option" in theirs
    assert ours.startswith(f"uringfs: libfuse could not mount {directory}")
    assert not more
    assert not is_mounted(directory)


@pytest.mark.parametrize(
    "args", [["--max-rings", "0"], ["--max-rings", "x"], ["--backend", "x"], ["--log-level", "x"]]
)
def test_usage(directory: Path, args: list[str]) -> None:
    status, said = refused(str(directory), *args)
    assert status == 2
    assert args[0] in said


def test_log_file_that_cannot_be_written(directory: Path, tmp_path: Path) -> None:
    assert_refused(refused(str(directory), "--log-file", str(tmp_path / "no" / "log")), Exit.FAILED, "log")


# -- options


def test_says_which_backend_runs(directory: Path) -> None:
    for asked, runs in (("auto", "passthrough"), ("passthrough", "passthrough"), ("pagecache", "pagecache")):
        with Mount(directory, "--backend", asked) as mount:
            assert f"{directory}: serving rings; backend {runs}\n" in mount.log()


def test_auto_falls_back_and_says_why(directory: Path) -> None:
    """A passthrough mount of a user namespace serves until the first open(2), which fails."""
    with Mount(directory, "--backend", "auto", command=("unshare", "-Urm")) as mount:
        why = "FUSE passthrough needs CAP_SYS_ADMIN in the initial user namespace"
        assert f"serving rings; backend pagecache: {why}\n" in mount.log()


def test_log_level(directory: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for level, seen in (("warning", False), ("info", False), ("debug", True)):
        log.unlink(missing_ok=True)
        assert refused(str(directory), "--daemon", "--log-file", str(log), "--log-level", level) == (0, "")
        fd = os.open(directory / "new", os.O_RDWR)
        with pytest.raises(OSError, match="Invalid argument"):
            os.write(fd, b"nonsense\n")
        os.close(fd)
        subprocess.run(["umount", str(directory)], check=True)
        assert ("nonsense" in log.read_text()) is seen
        assert ("serving rings" in log.read_text()) is (level != "warning")


def test_max_rings(directory: Path) -> None:
    with Mount(directory, "--max-rings", "3") as mount:
        assert os.statvfs(directory).f_files == 3
        rings = [Ring(mount / name) for name in ("new", "a", "b")]
        assert os.statvfs(directory).f_ffree == 0
        for name in ("new", "c"):
            with pytest.raises(OSError, match="No space left on device"):
                Ring(mount / name)
        rings.pop(0).close()
        until(lambda: os.statvfs(directory).f_ffree == 1, "the closed ring to be freed")
        rings.append(Ring(mount / "c"))
        for ring in rings:
            ring.queue(nop())
            assert ring.submit(wait=1) == 1
            ring.close()


def test_allow_other_and_without_it(directory: Path) -> None:
    script = f"import os; os.close(os.open({str(directory / 'new')!r}, os.O_RDWR))"
    as_other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", script]
    with Mount(directory, "-o", "allow_other,default_permissions"):
        subprocess.run(as_other, check=True, timeout=DEADLINE)
    with Mount(directory):
        done = subprocess.run(as_other, check=False, timeout=DEADLINE, capture_output=True, text=True)
        assert "PermissionError" in done.stderr


@pytest.mark.parametrize("option", ["ro", "max_read=131072", "subtype=other"])
def test_options_that_cannot_work(directory: Path, option: str) -> None:
    assert_refused(refused(str(directory), "-o", f"rw,{option}"), Exit.BAD_OPTION, option)
    assert not is_mounted(directory)


def test_options_for_others_are_passed_over(directory: Path) -> None:
    """What fstab(5) has for mount(8), systemd and init scripts."""
    generic = "defaults,rw,noauto,user,_netdev,nofail,x-systemd.automount,x-systemd.requires=a.service,comment=x"
    with Mount(directory, "-o", generic, "-o", "noexec,fsname=rings") as mount:
        with open("/proc/self/mounts") as mounts:
            (line,) = [line for line in mounts if f" {directory} " in line]
        assert line.startswith(f"rings {directory} fuse.uringfs rw,")
        assert "noexec" in line
        assert Ring(mount / "new").submit() == 0


# -- the end


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "umount"])
def test_ends_without_a_mount_left(directory: Path, how: str) -> None:
    mount = Mount(directory)
    try:
        with Ring(mount / "new", 4) as ring:
            ring.queue(nop())
            ring.submit(wait=1)
        if how == "umount":
            subprocess.run(["umount", str(directory)], check=True)
        else:
            mount.process.send_signal(signal.Signals[how])
        assert mount.process.wait(DEADLINE) == 0, mount.log()
        assert not is_mounted(directory)
        mount.assert_clean_log()
    finally:
        mount.stop()


def test_ends_while_a_ring_is_in_use(directory: Path) -> None:
    """SIGTERM with open, mapped rings and pending reads: the daemon goes, the client gets errors."""
    mount = Mount(directory)
    receive, send = os.pipe()
    ring = Ring(mount / "new", 4)
    try:
        ring.readv(receive, [bytearray(8)], user_data=1)
        assert ring.submit() == 1
        assert mount.stop() == 0, mount.log()
        assert not is_mounted(directory)
        mount.assert_clean_log()
        with pytest.raises(OSError, match=r"Transport endpoint|Software caused connection abort"):
            ring.enter(0)
    finally:
        mount.stop()
        ring.close()
        os.close(receive)
        os.close(send)


def test_daemon(directory: Path, tmp_path: Path) -> None:
    """--daemon returns once rings can be used, and leaves a process without a terminal."""
    log = tmp_path / "log"
    assert refused(str(directory), "--daemon", "--log-file", str(log)) == (0, "")
    with Ring(directory / "new", 4) as ring:
        ring.queue(nop(5))
        ring.submit(wait=1)
    text = log.read_text()
    assert "serving rings" in text
    subprocess.run(["umount", str(directory)], check=True)
    assert not is_mounted(directory)


def test_daemon_hands_its_error_on(directory: Path) -> None:
    status, said = refused(str(directory), "--daemon", "-o", "no_such_option")
    assert status == Exit.FAILED
    assert "no_such_option" in said


def test_a_stale_mount_is_cleaned(directory: Path) -> None:
    mount = Mount(directory)
    mount.process.kill()
    mount.process.wait(DEADLINE)
    assert is_mounted(directory)
    with pytest.raises(OSError, match=r"Transport endpoint is not connected|Software caused connection abort"):
        os.statvfs(directory)
    with Mount(directory) as again:  # at once: the kernel still has the root's attributes
        assert "cleaned the mount of a daemon that is gone" in again.log()
        with Ring(again / "new", 4) as ring:
            ring.queue(nop())
            assert ring.submit(wait=1) == 1


def test_a_relative_mountpoint_with_blanks(tmp_path: Path) -> None:
    directory = tmp_path / "a b\\c"
    directory.mkdir()
    done = subprocess.run(
        [sys.executable, MOUNT_PY, "a b\\c", "--daemon"], cwd=tmp_path, check=False, timeout=DEADLINE
    )
    assert done.returncode == 0
    try:
        assert_refused(refused(str(directory)), Exit.ALREADY_MOUNTED)
    finally:
        subprocess.run(["umount", str(directory)], check=True)
