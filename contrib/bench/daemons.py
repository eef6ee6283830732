"""The processes of a benchmark run: pinned, under a time limit, and gone afterwards whatever happened."""

import contextlib
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

START_SECONDS = 20.0
STOP_SECONDS = 5.0
MOVE_SECONDS = 1.0  # a sandbox has started its first program by then


class Unavailable(Exception):
    """A column cannot run here; the text says why."""


@contextlib.contextmanager
def pinned(cpus: Sequence[int]) -> Iterator[None]:
    """Children started inside inherit the CPUs, their later threads too."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def is_mounted(mountpoint: Path) -> bool:
    """From the mount table: asking the filesystem itself could wait for a daemon that hangs."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        return any(line.split()[4] == str(mountpoint) for line in table)


def unmount(mountpoint: Path) -> None:
    command = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-uz"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run([*command, str(mountpoint)], timeout=STOP_SECONDS, capture_output=True, check=False)


def stop(process: subprocess.Popen[str]) -> None:
    """SIGTERM, then SIGKILL. A process that outlives both waits for a daemon that is yet to be ended."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)


def wait_mounted(process: subprocess.Popen[str], mountpoint: Path, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_mounted(mountpoint):
        if process.poll() is not None:
            raise Unavailable(f"the daemon ended with {process.returncode}: {last_line(log.read_text())}")
        if time.monotonic() > deadline:
            raise Unavailable(f"not mounted after {START_SECONDS:.0f} s: {last_line(log.read_text())}")
        time.sleep(0.02)


@contextlib.contextmanager
def daemon(command: Sequence[str], cpus: Sequence[int]) -> Iterator[Path]:
    """Run `command MOUNTPOINT` pinned to the CPUs; the mountpoint, once it is mounted."""
    with tempfile.TemporaryDirectory(prefix="uringfs-bench-") as scratch:
        mountpoint = Path(scratch).resolve() / "mnt"
        mountpoint.mkdir()
        log = Path(scratch, "log")
        with open(log, "w") as sink, pinned(cpus):
            process = subprocess.Popen(
                [*command, str(mountpoint)], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, text=True
            )
        try:
            wait_mounted(process, mountpoint, log)
            yield mountpoint
        finally:
            stop(process)
            if is_mounted(mountpoint):
                unmount(mountpoint)


def status(pid: int | str) -> dict[str, str]:
    """/proc/PID/status; empty once the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def descends(pid: int, root: int) -> bool:
    while pid > 1 and pid != root:
        pid = int(status(pid).get("PPid", "0"))
    return pid == root


def move_traced(root: int, cpu: int) -> None:
    """Pin those of root's descendants that are under ptrace(2), every thread; their children inherit it."""
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if status(pid).get("TracerPid", "0") == "0" or not descends(pid, root):
            continue
        for task in entry.glob("task/*"):
            with contextlib.suppress(OSError):
                os.sched_setaffinity(int(task.name), [cpu])


def keep_moving(process: subprocess.Popen[str], cpu: int, quit_: threading.Event) -> None:
    deadline = time.monotonic() + MOVE_SECONDS
    while not quit_.wait(0.02) and process.poll() is None and time.monotonic() < deadline:
        move_traced(process.pid, cpu)


def client(
    command: Sequence[str], cpus: Sequence[int], seconds: float, traced_cpu: int | None = None
) -> tuple[str, str]:
    """Run to the end or to the time limit; what it printed until then, and why it ended early if so.

    traced_cpu: the CPU of whatever the command runs under ptrace(2), which is its client and it the daemon.
    """
    with pinned(cpus):
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    quit_ = threading.Event()
    if traced_cpu is not None:
        threading.Thread(target=keep_moving, args=(process, traced_cpu, quit_), daemon=True).start()
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        stop(process)
        try:
            out, err = process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            out, err = "", ""
        return out, f"timeout after {seconds:.0f} s: {last_line(err)}"
    except BaseException:
        stop(process)
        raise
    finally:
        quit_.set()
    return out, last_line(err) if process.returncode else ""
