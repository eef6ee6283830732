"""The daemon as administrators expect it: whom it tells what, pid file, mount(8), bounds per user."""

import errno
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.command import MOUNT, assert_serves, receiver, said, unmount
from tests.support.mounting import DEADLINE, ROOT, URINGFS, Mount, is_mounted, open_directory
from uringfs.cli.mount import Exit
from uringfs.client import Ring

# -- whom it tells


def test_sd_notify(directory: Path, tmp_path: Path) -> None:
    with receiver(tmp_path / "notify") as sock:
        env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with subprocess.Popen([*MOUNT, str(directory)], env=env, stderr=subprocess.DEVNULL) as daemon:
            ready = sock.recv(4096).decode().splitlines()
            assert ready[:2] == ["READY=1", f"MAINPID={daemon.pid}"]
            assert_serves(directory)
            daemon.send_signal(signal.SIGHUP)
            assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", sock.recv(4096).decode())
            assert sock.recv(4096) == b"READY=1"
            daemon.terminate()
            assert sock.recv(4096) == b"STOPPING=1"
            assert daemon.wait(DEADLINE) == 0


def test_sd_notify_by_an_abstract_address_and_by_listen(tmp_path: Path) -> None:
    with receiver(f"\0uringfs-{os.getpid()}") as sock:
        env = {**os.environ, "NOTIFY_SOCKET": f"@uringfs-{os.getpid()}"}
        command = [*URINGFS, "listen", "--socket", str(tmp_path / "socket")]
        with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as listener:
            assert sock.recv(4096).startswith(b"READY=1\nSTATUS=listening")  # none by its private mount before
            listener.send_signal(signal.SIGHUP)
            listener.terminate()
            assert listener.wait(DEADLINE) == 0


def test_a_socket_unit_of_listen(tmp_path: Path) -> None:
    """The service manager has bound it (sd_listen_fds(3)): who came before is served, and the socket stays."""
    path = tmp_path / "listener"
    given = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&$0'
    with socket.socket(socket.AF_UNIX) as bound, socket.socket(socket.AF_UNIX) as early:
        bound.bind(str(path))
        bound.listen()
        early.connect(str(path))
        early.shutdown(socket.SHUT_WR)
        command = ["bash", "-c", given, str(bound.fileno()), *URINGFS, "listen"]
        with subprocess.Popen(command, pass_fds=[bound.fileno()], stderr=subprocess.PIPE, text=True) as listener:
            assert listener.stderr is not None
            assert f"{path}: listening" in listener.stderr.readline()
            assert "a connection that brought no container" in listener.stderr.readline()
            listener.terminate()
            assert listener.wait(DEADLINE) == 0
    assert path.exists()
    code, text = said(*URINGFS, "listen")
    assert code == 2
    assert "--socket PATH" in text


def test_a_notify_socket_that_is_gone(directory: Path, tmp_path: Path) -> None:
    env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "none")}
    words = ["--daemon", "--log-file", str(tmp_path / "log")]
    assert said(*MOUNT, str(directory), *words, env=env) == (0, "")
    unmount(directory)


def test_a_daemon_logs_to_syslog(directory: Path, tmp_path: Path) -> None:
    with receiver(tmp_path / "log") as sock:
        command = [
            *("unshare", "--mount", "--propagation", "private", "sh", "-ec"),
            "mount -t tmpfs none /dev; mknod -m 666 /dev/fuse c 10 229; mknod -m 666 /dev/null c 1 3; "
            f'ln -s {tmp_path}/log /dev/log; "$@"; umount {directory}',
            *("sh", *MOUNT, str(directory), "--daemon"),
        ]
        assert said(*command) == (0, "")
        line = sock.recv(4096).decode()
        # daemon.info
        assert re.fullmatch(rf"<30>uringfs\[\d+\]: INFO \S+: {directory}: serving rings; .*", line), line


def test_a_daemon_without_syslog_says_so(directory: Path) -> None:
    command = [
        *("unshare", "--mount", "--propagation", "private", "sh", "-ec"),
        "mount -t tmpfs none /dev; mknod -m 666 /dev/fuse c 10 229; mknod -m 666 /dev/null c 1 3; "
        f'"$@"; umount {directory}',
        *("sh", *MOUNT, str(directory), "--daemon"),
    ]
    code, text = said(*command)
    assert code == 0
    assert re.fullmatch(r"uringfs: /dev/log: .*--log-file FILE\)\n", text)


def test_the_journal_gets_priorities(directory: Path) -> None:
    receive, send = os.pipe()
    status = os.fstat(send)
    env = {**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    with subprocess.Popen([*MOUNT, str(directory)], env=env, stderr=send) as daemon:
        os.close(send)
        with open(receive) as lines:
            assert lines.readline().startswith("<6>INFO uringfs.fs.fuse.session: ")
        daemon.terminate()
        assert daemon.wait(DEADLINE) == 0


def test_a_full_disk_for_the_log(directory: Path) -> None:
    """It serves nevertheless, and ends as ever."""
    words = ["--log-level", "debug", "--log-file", "/dev/full"]
    with Mount(directory, *words, ready=lambda: is_mounted(directory)) as mount:
        assert_serves(directory)
        mount.process.send_signal(signal.SIGHUP)
        assert_serves(directory)
        assert mount.log().count("lines are lost") >= 1
        assert "Traceback" not in mount.log()


def test_few_descriptors_are_said(directory: Path) -> None:
    few = ("prlimit", "--nofile=512:512")
    with Mount(directory, command=few) as mount:
        assert "RLIMIT_NOFILE allows 512 descriptors, enough for 256 rings of 65536" in mount.log()
    with Mount(directory, "--max-rings", "256", command=few) as mount:
        assert "RLIMIT_NOFILE" not in mount.log()


# -- the pid file


def test_pid_file(directory: Path, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("1\nwhat a dead daemon left\n")
    with Mount(directory, "--pid-file", str(path)) as mount:
        assert path.read_text() == f"{mount.pid}\n"
        with open_directory() as other:
            code, text = said(*MOUNT, str(other), "--pid-file", str(path))
            assert (code, "a daemon that runs has it" in text) == (Exit.FAILED, True)
        assert path.read_text() == f"{mount.pid}\n"
    assert not path.exists()


def test_pid_file_on_a_full_disk(directory: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    script = f'mount -t tmpfs -o size=4k none {full}; cat /dev/zero >{full}/all 2>/dev/null || true; exec "$@"'
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", *MOUNT]
    code, text = said(*command, str(directory), "--pid-file", str(full / "pid"))
    assert code == Exit.FAILED
    assert text.count("\n") == 1
    assert "No space left on device" in text
    assert not is_mounted(directory)


# -- mount(8)


@contextmanager
def helper(directory: Path) -> Iterator[list[str]]:
    """A command prefix under which mount(8) finds our helper: in a mount namespace with an /sbin of its own."""
    sbin = directory.with_name("sbin")
    sbin.mkdir()
    program = sbin / "mount.fuse.uringfs"
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from uringfs.__main__ import mount_helper"
    program.write_text(f"#!{sys.executable}\n{code}; sys.exit(mount_helper())\n")
    program.chmod(0o755)
    script = 'mount --bind "$0" /sbin; shift 0; exec "$@"'
    yield ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, str(sbin)]


def test_mount_by_mount(directory: Path, tmp_path: Path) -> None:
    """As root, by type and by fstab; x-systemd.* and the like do not come to libfuse."""
    log = tmp_path / "log"
    options = f"rw,_netdev,nofail,x-systemd.device-timeout=5,allow_other,max_rings=77,log_file={log}"
    fstab = tmp_path / "fstab"
    fstab.write_text(f"rings {directory} fuse.uringfs {options} 0 0\n")
    check = f'stat -f -c %c {directory}; grep -o "rings {directory} fuse.uringfs" /proc/mounts; umount {directory}'
    with helper(directory) as prefix:
        for words in (f"-t fuse.uringfs -o {options} rings {directory}", f"-T {fstab} {directory}"):
            code, text = said(*prefix, "sh", "-ec", f"/bin/mount {words}; {check}")
            assert (code, text.split("\n")[:2]) == (0, ["77", f"rings {directory} fuse.uringfs"]), text
    assert log.read_text().count("serving rings") == 2


def test_what_the_helper_answers(directory: Path, tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from uringfs.__main__ import mount_helper"
    program = [sys.executable, "-c", f"{code}; sys.exit(mount_helper())"]
    assert said(*program, "none", str(tmp_path / "none"))[0] == 32
    assert said(*program, "none", str(directory), "-o", "ro")[0] == 32
    assert said(*program, "none", str(directory), "-o", "max_rings=x")[0] == 1
    assert said(*program, "none")[0] == 1
    assert said(*program, "none", str(directory), "-f", "-o", "rw")[0] == 0
    assert not is_mounted(directory)


# -- users


def as_user(uid: str) -> list[str]:
    """A command prefix: as that user; the checkout may lie in root's home."""
    identity = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    return [*identity, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]


def test_a_user_has_no_more_than_its_share(directory: Path) -> None:
    """Rings of another user and of root do not count; what is closed is free again."""
    words = ["-o", "allow_other", "--max-rings-per-user", "3", "--max-memory-per-user", "1M"]
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from uringfs.client import Ring\n"
        f"def ring(entries):\n try: return Ring({str(directory / 'new')!r}, entries)\n"
        " except OSError as error: return error.errno\n"
        "def free():\n while isinstance(found := ring(8), int): pass\n return found\n"  # RELEASE comes late
        "for _ in range(3):\n rings = [free() for _ in range(3)]\n"
        " print(ring(8))\n for one in rings: one.close()\n"
        "free().close()\n"
        "while (found := ring(16384)) == 122: pass\n"
        "print(found)\n"
    )
    with Mount(directory, *words) as mount:
        rings = [Ring(mount / "new", 16384) for _ in range(5)]
        for user in ("12340", "12341"):
            command = [*as_user(user), sys.executable, "-c", code]
            assert said(*command) == (0, f"{errno.EDQUOT}\n" * 3 + f"{errno.ENOMEM}\n")
        assert mount.log().count("user 12340 has all 3 rings") == 1
        for ring in rings:
            ring.close()
