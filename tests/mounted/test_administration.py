"""The daemon as administrators expect it: how it starts, what it says to whom, what signals do."""

import errno
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.support.mounting import DEADLINE, ROOT, URINGFS, Mount, is_mounted, open_directory, until
from uringfs.cli.mount import Exit
from uringfs.client import Ring, nop
from uringfs.fs.session import ENDING

MOUNT = (*URINGFS, "mount")
CLOSED = [closed for size in range(4) for closed in itertools.combinations((0, 1, 2), size)]


def said(*command: str, **options: object) -> tuple[int, str]:
    """(exit status, both outputs) of a command that must end by itself, without a traceback."""
    given: dict[str, object] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(command, timeout=DEADLINE, **(given | options))  # type: ignore[call-overload]
    assert "Traceback" not in (done.stdout or ""), done.stdout
    return done.returncode, done.stdout or ""


def without(closed: tuple[int, ...], *command: str) -> list[str]:
    """The command, started with those descriptors closed."""
    return ["sh", "-c", 'exec "$@" ' + " ".join(f"{fd}>&-" for fd in closed), "sh", *command]


def assert_serves(directory: Path) -> None:
    with Ring(directory / "new", 4) as ring:
        ring.queue(nop(7))
        assert ring.submit(wait=1) == 1
        assert [cqe.user_data for cqe in ring.reap()] == [7]


def unmount(directory: Path) -> None:
    subprocess.run(["umount", str(directory)], check=True, timeout=DEADLINE)


# -- descriptors


@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_a_daemon_without_standard_descriptors(directory: Path, tmp_path: Path, closed: tuple[int, ...]) -> None:
    log = tmp_path / "log"
    command = without(closed, *MOUNT, str(directory), "--daemon", "--log-file", str(log))
    assert subprocess.run(command, timeout=DEADLINE).returncode == 0
    assert_serves(directory)
    unmount(directory)
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_a_mount_in_the_foreground_without_standard_descriptors(directory: Path, closed: tuple[int, ...]) -> None:
    with subprocess.Popen(without(closed, *MOUNT, str(directory))) as daemon:
        try:
            until(lambda: is_mounted(directory) or daemon.poll() is not None, "the mount")
            assert_serves(directory)
        finally:
            daemon.terminate()
        assert daemon.wait(DEADLINE) == 0
    assert not is_mounted(directory)


@pytest.mark.parametrize("closed", CLOSED, ids=str)
@pytest.mark.parametrize("mode", ["trap", "notify"])
def test_run_without_standard_descriptors(tmp_path: Path, closed: tuple[int, ...], mode: str) -> None:
    """The program runs, and finds them closed."""
    found = tmp_path / "found"
    script = f'for fd in 0 1 2; do if [ -e /proc/$$/fd/$fd ]; then set -- "$@" $fd; fi; done; echo "$*" >{found}'
    command = without(closed, *URINGFS, "run", "--mode", mode, "--", "sh", "-c", script)
    assert subprocess.run(command, timeout=DEADLINE, stdin=subprocess.DEVNULL).returncode == 0
    assert found.read_text().split() == [str(fd) for fd in (0, 1, 2) if fd not in closed]


@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_listen_without_standard_descriptors(tmp_path: Path, closed: tuple[int, ...]) -> None:
    path = tmp_path / "socket"
    command = without(closed, *URINGFS, "listen", "--socket", str(path))
    with receiver(tmp_path / "notify") as sock:
        env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with subprocess.Popen(command, env=env) as listener:
            assert sock.recv(4096).startswith(b"READY=1")
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
            listener.terminate()
            assert listener.wait(DEADLINE) == 0
    assert not path.exists()


def test_a_standard_output_that_takes_nothing() -> None:
    for words in (["opcodes"], ["--help"], ["mount", "--help"], ["--version"]):
        for redirect, status in ((">/dev/full", 1), (">&-", 1)):
            script = f'"$@" 2>&1 {redirect}'.replace("2>&1", "2>&3")
            code, text = said("sh", "-c", f"{{ {script}; }} 3>&1", "sh", *URINGFS, *words)
            assert (code, text.count("\n")) == (status, 1), text
            assert text.startswith("uringfs: standard output: ")
        code, text = said("bash", "-c", '"$@" | true; exit ${PIPESTATUS[0]}', "bash", *URINGFS, *words)
        assert code in (0, 141)  # 0: written before true(1) ended
        assert text == ""


# -- usage


@pytest.mark.parametrize(
    "words", ["mount --nope x", "mount x y", "listen --nope --socket x", "opcodes x", "run -x y"]
)
def test_a_wrong_word_shows_the_usage_of_its_command(words: str) -> None:
    code, text = said(*URINGFS, *words.split())
    assert code == 2
    assert text.startswith(f"usage: uringfs {words.split()[0]} ")


@pytest.mark.parametrize(
    "words",
    [
        *(["--max-rings", number] for number in ("-1", "1.5", "1e3", "", "9" * 30)),
        *(["--log-level", ""], ["--log-file", ""], ["--log-file", "/"], ["--log-file", "/dev/null/x"]),
        *(["--pid-file", ""], ["--pid-file", "/"], ["--pid-file", "/dev/null/x"], ["--pid-file", "/dev/full"]),
        *(["-o", option] for option in ("max_read=x", "=", "ro", "fd=99", "user_id=x", "\udcff", "a\nb")),
        *(["--log-file", "\udcff/x"], ["--backend", "\udcff"], ["\udcff"]),
    ],
    ids=repr,
)
def test_no_wrong_word_is_a_traceback(directory: Path, words: list[str]) -> None:
    code, text = said(*MOUNT, str(directory), *words, errors="surrogateescape")
    assert code in (2, *Exit), text
    assert code != 0
    assert not is_mounted(directory)


def test_an_empty_word_is_no_mountpoint() -> None:
    assert said(*MOUNT, "")[0] == Exit.NO_MOUNTPOINT


# -- one place


def test_of_many_mounts_at_once_one_wins(directory: Path, tmp_path: Path) -> None:
    """Half of them through a symlink; all but one say so, and exactly one mount is there."""
    link = tmp_path / "link"
    link.symlink_to(directory)

    def mount(number: int) -> tuple[int, str]:
        place = link if number % 2 else directory
        return said(*MOUNT, str(place), "--daemon", "--log-file", str(tmp_path / "log"))

    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(mount, range(20)))
    assert sorted(code for code, _ in results) == [0] + [Exit.ALREADY_MOUNTED] * 19
    assert all(f"umount {directory}" in text for code, text in results if code), results
    assert_serves(directory)
    unmount(directory)
    assert not is_mounted(directory)


def test_a_symlink_to_what_is_mounted(directory: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(directory)
    with Mount(directory):
        assert said(*MOUNT, str(link))[0] == Exit.ALREADY_MOUNTED
    dead = Mount(directory)
    dead.process.kill()
    dead.process.wait(DEADLINE)
    assert said(*MOUNT, str(link), "--daemon", "--log-file", str(tmp_path / "log"))[0] == 0
    assert_serves(link)
    unmount(directory)
    assert not is_mounted(directory)


def test_auto_unmount(directory: Path) -> None:
    """A daemon that is killed leaves no mount behind."""
    with Mount(directory, "-o", "auto_unmount") as mount:
        assert_serves(directory)
    mount = Mount(directory, "-o", "auto_unmount")
    mount.process.kill()
    mount.process.wait(DEADLINE)
    until(lambda: not is_mounted(directory), "the mount to go")


# -- signals


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
def test_signals_unmount(directory: Path, number: signal.Signals) -> None:
    mount = Mount(directory)
    try:
        mount.process.send_signal(number)
        assert mount.process.wait(DEADLINE) == 0, mount.log()
        assert not is_mounted(directory)
        assert f"{signal.Signals(number).name}: unmounting" in mount.log()
        mount.assert_clean_log()
    finally:
        mount.stop()


def test_sighup_opens_the_log_anew(directory: Path, tmp_path: Path) -> None:
    log, old = tmp_path / "log", tmp_path / "log.1"
    pid = tmp_path / "pid"
    words = ["--daemon", "--log-file", str(log), "--pid-file", str(pid)]
    assert said(*MOUNT, str(directory), *words) == (0, "")
    log.rename(old)
    os.kill(int(pid.read_text()), signal.SIGHUP)
    until(lambda: log.exists() and "SIGHUP" in log.read_text(), "the new log")
    log.unlink()
    log.mkdir()  # it cannot be opened: the daemon goes on
    os.kill(int(pid.read_text()), signal.SIGHUP)
    assert_serves(directory)
    unmount(directory)
    until(lambda: not pid.exists(), "the pid file to go")


def test_sighup_while_it_starts(directory: Path) -> None:
    """Hang up again and again until it serves. As by nohup(1): until its own code runs nothing else can help."""
    ignoring = ["sh", "-c", 'trap "" HUP; echo ignored; exec "$@"', "sh"]
    command = [*ignoring, *MOUNT, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"ignored\n"
        while not is_mounted(directory):
            assert daemon.poll() is None
            daemon.send_signal(signal.SIGHUP)
        assert_serves(directory)
        daemon.send_signal(signal.SIGHUP)
        assert_serves(directory)
        daemon.terminate()
        assert daemon.wait(DEADLINE) == 0


def test_ctrl_c_while_it_starts() -> None:
    """At moments all over the start, from where our code begins: no traceback, nothing left behind."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import uringfs.__main__ as m; m.end_by_interrupt()"
    command = [sys.executable, "-c", f"{code}; print('begun', flush=True); sys.exit(m.main())", "run", "--"]
    with open_directory() as home:
        for number in range(12):
            with subprocess.Popen(
                [*command, "sh", "-c", "echo started; exec sleep 60"],
                env={**os.environ, "TMPDIR": str(home)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            ) as run:
                assert run.stdout is not None
                assert run.stdout.readline() == "begun\n"
                until(partial(_has_begun, run, _ticks(run.pid) + number), "its start")
                os.killpg(run.pid, signal.SIGINT)
                assert run.communicate(timeout=DEADLINE)[0] in ("", "started\n")
                assert run.returncode == -signal.SIGINT
        until(lambda: not os.listdir(home), "private instances to go")


def _has_begun(run: subprocess.Popen[str], ticks: int) -> bool:
    is_program = Path(f"/proc/{run.pid}/comm").read_text() == "sleep\n"
    return run.poll() is not None or is_program or _ticks(run.pid) >= ticks


def _ticks(pid: int) -> int:
    """Hundredths of a second of CPU time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


# -- whom it tells


@contextmanager
def receiver(path: Path | str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(DEADLINE)
        yield sock


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
            assert lines.readline().startswith("<6>INFO uringfs.fs.session: ")
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
    """Another user's and root's rings are none of it; what is closed is free again."""
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
