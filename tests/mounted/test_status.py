"""`uringfs status`, `umount` and `doctor`."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.mounting import AS_NOBODY, DEADLINE, URINGFS, Mount, is_mounted
from uringfs import __version__
from uringfs.cli.status import GONE, NOT_MOUNTED, SERVING, UNKNOWN
from uringfs.client import Ring

WITHOUT_FUSE = 'mount -t tmpfs none /dev; mknod /dev/null c 1 3; exec "$@"'


def said(*words: object, by: tuple[str, ...] = ()) -> tuple[int, str]:
    """(exit status, both outputs)"""
    command = [*by, *URINGFS, *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=DEADLINE)
    assert "Traceback" not in done.stdout, done.stdout
    return done.returncode, done.stdout


# -- status


def test_of_one_that_serves(directory: Path) -> None:
    with Mount(directory, "--max-rings", "77", "-o", "allow_other") as mount:
        code, text = said("status", directory)
        assert code == SERVING
        assert text.startswith(
            f"{directory}: serving; version {__version__}, pid {mount.pid}, backend {mount.backend}, "
        )
        with Ring(mount / "new", 8):
            ((one),) = json.loads(said("status", "--json", directory)[1])
        assert one["rings"] == 1
        assert one["max_rings"] == 77
        assert one["uptime"] < DEADLINE
        assert (one["mountpoint"], one["status"], one["state"]) == (str(directory), 0, "serving")
        assert said("status", "-q", directory) == (SERVING, "")
        assert said("status", directory, by=AS_NOBODY)[0] == SERVING
        assert f"{directory}: serving" in said("status")[1]


def test_of_one_that_is_another_users(directory: Path) -> None:
    with Mount(directory):
        code, text = said("status", directory, by=AS_NOBODY)
        assert code == UNKNOWN
        assert "no answer (Permission denied)" in text


def test_where_nothing_is_mounted(directory: Path) -> None:
    assert said("status", directory) == (NOT_MOUNTED, f"{directory}: not mounted\n")
    assert said("status", directory / "none")[0] == NOT_MOUNTED
    nowhere = ("unshare", "--mount", "sh", "-ec", 'umount -a -t fuse.uringfs; exec "$@"', "sh")
    assert said("status", by=nowhere) == (NOT_MOUNTED, "uringfs status: nothing is mounted\n")


def test_of_a_daemon_that_is_gone(directory: Path, tmp_path: Path) -> None:
    mount = Mount(directory)
    mount.process.kill()
    mount.process.wait(DEADLINE)
    (tmp_path / "link").symlink_to(directory)
    for path in (directory, tmp_path / "link"):
        code, text = said("status", path)
        assert code == GONE
        assert text.startswith(f"{directory}: the daemon is gone (")
    assert said("umount", tmp_path / "link") == (0, "")
    assert not is_mounted(directory)


@pytest.mark.parametrize("backend", ["passthrough", "pagecache"])
def test_of_a_daemon_that_does_not_answer(directory: Path, backend: str) -> None:
    """Within the time that was given, whatever becomes of the request: the page cache's pager has read it, and it
    cannot be ended. Who reads the output to its end does not wait for it, either."""
    with Mount(directory, "--backend", backend) as mount:
        mount.process.send_signal(signal.SIGSTOP)
        try:
            code, text = said("status", "--timeout", "0.3", directory)
        finally:
            mount.process.send_signal(signal.SIGCONT)
        assert (code, text) == (UNKNOWN, f"{directory}: no answer (within 0.3 s)\n")
        assert said("status", "-q", directory) == (SERVING, "")


@pytest.mark.parametrize("seconds", ["0", "-1", "x", "nan"])
def test_a_wrong_timeout(seconds: str) -> None:
    assert said("status", "--timeout", seconds)[0] == 2


# -- umount


def test_umount_waits_for_the_end(directory: Path) -> None:
    mount = Mount(directory)
    try:
        assert said("umount", directory) == (0, "")
        assert mount.process.poll() == 0
        assert not is_mounted(directory)
        assert said("umount", directory) == (
            NOT_MOUNTED,
            f"uringfs umount: {directory}: no uringfs is mounted there\n",
        )
    finally:
        mount.stop()


def test_umount_of_one_in_use(directory: Path) -> None:
    mount = Mount(directory)
    try:
        fd = os.open(mount / "new", os.O_RDWR)
        code, text = said("umount", directory)
        assert code == 1
        assert "in use" in text
        assert is_mounted(directory)
        assert said("umount", "--lazy", directory) == (0, "")
        assert not is_mounted(directory)
        assert mount.process.poll() is None
        os.close(fd)
        assert mount.process.wait(DEADLINE) == 0
    finally:
        mount.stop()


def test_umount_by_another_user(directory: Path) -> None:
    with Mount(directory, "-o", "allow_other"):
        code, text = said("umount", directory, by=AS_NOBODY)
        assert code == 1
        assert text.count("\n") == 1
        assert is_mounted(directory)


# -- doctor


def findings(*by: str) -> tuple[int, dict[str, dict[str, Any]]]:
    code, text = said("doctor", "--json", by=by)
    told = json.loads(text)
    assert told["ok"] is (code == 0)
    assert [line.split()[0] for line in said("doctor", by=by)[1].splitlines() if not line.startswith(" ")] == [
        one["state"] for one in told["checks"]
    ]
    return code, {one["check"]: one for one in told["checks"]}


def test_a_sound_machine() -> None:
    """This one: it runs the rest of the tests."""
    code, checks = findings()
    assert code == 0
    assert checks["a ring"]["found"] == "a NOP on a mount of its own: 0"
    assert all(one["advice"] for one in checks.values() if one["state"] == "note")


@pytest.mark.parametrize(
    ("by", "check", "advice"),
    [
        (("setarch", "--uname-2.6"), "kernel", "6.6"),
        (("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"), "capabilities", "SYS_ADMIN"),
        (
            (
                "unshare",
                "--mount",
                "sh",
                "-ec",
                'mount -t tmpfs none /dev; mknod /dev/null c 1 3; exec "$@"',
                "sh",
            ),
            "/dev/fuse",
            "modprobe",
        ),
    ],
    ids=["kernel", "capability", "device"],
)
def test_a_machine_that_lacks(by: tuple[str, ...], check: str, advice: str) -> None:
    code, checks = findings(*by)
    assert code == 1
    assert checks[check]["state"] == "wrong"
    assert advice in checks[check]["advice"]
    assert "a ring" not in checks


def test_notes_do_not_make_it_unsound() -> None:
    code, checks = findings("unshare", "-Urm")
    assert (code, checks["user namespace"]["state"]) == (0, "note")
    assert "pagecache" in checks["user namespace"]["advice"]
    code, checks = findings("prlimit", "--nofile=1024:1024")
    assert code == 0
    assert (checks["descriptors"]["state"], checks["descriptors"]["found"]) == ("note", "at most 1024")
    code, checks = findings("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace")
    assert checks["capabilities"]["state"] == "note"


def test_where_io_uring_is_refused() -> None:
    """Under a filter that is nobody's: the trap library's, without a mount."""
    library = said("config", "--library")[1].strip()
    env = {**os.environ, "LD_PRELOAD": library, "URINGFS_TRAP_MOUNT": "/none"}
    command = [*URINGFS, "doctor", "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    found = {one["check"]: one["found"] for one in json.loads(done.stdout)["checks"]}
    assert found["the kernel's io_uring"].startswith("not there, or refused by a seccomp profile")
