"""How a daemon starts and ends: closed descriptors, wrong words, many at once, signals."""

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.support.command import MOUNT, assert_serves, receiver, said, unmount
from tests.support.mounting import DEADLINE, ROOT, URINGFS, Mount, is_mounted, open_directory, until
from uringfs.cli.mount import Exit
from uringfs.fs.fuse.session import ENDING

CLOSED = [closed for size in range(4) for closed in itertools.combinations((0, 1, 2), size)]


def without(closed: tuple[int, ...], *command: str) -> list[str]:
    """The command, started with those descriptors closed."""
    return ["sh", "-c", 'exec "$@" ' + " ".join(f"{fd}>&-" for fd in closed), "sh", *command]


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


NAMED = [number for number in ENDING if number < signal.SIGRTMIN]
REALTIME = [signal.SIGRTMIN, signal.SIGRTMIN + 1, signal.SIGRTMAX - 1, signal.SIGRTMAX]
HARMLESS = "HUP PIPE CHLD CONT URG WINCH XFSZ".split()
FAULTS = "ILL TRAP ABRT BUS FPE SEGV SYS".split()
STOPPING = "STOP TSTP TTIN TTOU".split()


def test_each_signal_has_its_place() -> None:
    """The others are faults of its own, what stops it, what is harmless, and SIGKILL."""
    others = {signal.Signals[f"SIG{name}"] for name in [*HARMLESS, *FAULTS, *STOPPING, "KILL"]}
    assert set(ENDING) | others == signal.valid_signals()
    assert not set(ENDING) & others


def test_harmless_signals(directory: Path) -> None:
    with Mount(directory) as mount:
        for name in HARMLESS:
            mount.process.send_signal(signal.Signals[f"SIG{name}"])
            assert_serves(directory)


@pytest.mark.parametrize("number", [*NAMED, *REALTIME], ids=str)
def test_signals_unmount(directory: Path, number: int) -> None:
    mount = Mount(directory)
    try:
        mount.process.send_signal(number)
        assert mount.process.wait(DEADLINE) == 0, mount.log()
        assert not is_mounted(directory)
        assert re.search(r"SIG[A-Z0-9+]+: unmounting", mount.log())
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


def test_ctrl_c_while_a_daemon_starts(directory: Path, tmp_path: Path) -> None:
    """It has a session of its own by then: without whom started it, it does not stay."""
    log = tmp_path / "log"
    command = [*MOUNT, str(directory), "--daemon", "--log-file", str(log)]
    for number in range(0, 40, 4):
        log.unlink(missing_ok=True)
        with subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True) as start:
            until(partial(_has_begun, start, number), "its start", DEADLINE)
            os.killpg(start.pid, signal.SIGINT)
            assert start.wait(DEADLINE) in (0, 1, -signal.SIGINT)  # 1: Python itself was starting
        if start.returncode == 0:
            unmount(directory)
        until(lambda: not is_mounted(directory), "the mount to go")
        until(lambda: not _processes_with(str(log)), "the daemon to go")
        assert not log.exists() or "Traceback" not in log.read_text()


def _processes_with(word: str) -> list[int]:
    """Processes with that word in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if word.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def _has_begun(run: "subprocess.Popen[str]", ticks: int) -> bool:
    """True if the program has used so much CPU time, or has got as far as it goes."""
    if run.poll() is not None:
        return True
    return Path(f"/proc/{run.pid}/comm").read_text() == "sleep\n" or _ticks(run.pid) >= ticks or _waits(run.pid)


def _waits(pid: int) -> bool:
    """For its daemon, in a read(2) of a pipe."""
    return "pipe_read" in Path(f"/proc/{pid}/wchan").read_text()


def _ticks(pid: int) -> int:
    """Hundredths of a second of CPU time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])
