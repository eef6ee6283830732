"""A private daemon for one process: mounted before the process goes on, taken down when it has ended.

Two processes beside the program, no children of it: the daemon, and a minder that waits for either's end.
"""

import argparse
import os
import select
import shutil
import signal
import stat
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from uringfs.abi.libc import libc
from uringfs.cli import mount, namespaces
from uringfs.cli import mountpoint as points
from uringfs.cli.program import FAILED, RunError

PR_SET_PDEATHSIG = 1
READY = b"\0"
PATIENCE = 10.0  # seconds for the daemon to unmount


def mounted(directory: str | None) -> str:
    """The mountpoint of a mounted one, by default of start(). RunError."""
    if directory is None:
        return start()
    path = os.path.realpath(directory)
    if not points.mounted_here(path):
        raise RunError(FAILED, f"{directory}: no uringfs is mounted there: uringfs mount {directory}")
    if not points.alive(path):
        raise RunError(FAILED, f"{directory}: the daemon of this mount is gone: umount {directory}")
    return path


def start(*options: str) -> str:
    """The mountpoint of one with these options of `uringfs mount`, in service for as long as this process lives,
    whatever it executes. Who may not mount does so in namespaces of this process's own."""
    if not namespaces.may_mount():
        namespaces.enter()
    receive, send = os.pipe()
    me = os.pidfd_open(os.getpid())
    child = os.fork()
    if child == 0:
        _detach_and(lambda: _mind(me, send, options), send)
    os.close(send)
    os.close(me)
    os.waitpid(child, 0)
    with open(receive, "rb", buffering=0) as pipe:
        said = b""
        while not said.endswith(READY) and (piece := pipe.read(4096)):  # the other end stays open as it serves
            said += piece
    if not said.endswith(READY):
        lines = said.decode(errors="replace").strip() or "it ended without a word"
        raise RunError(FAILED, f"cannot mount a ring filesystem: {lines.removeprefix('uringfs: ')}")
    return os.fsdecode(said.removesuffix(READY))


def can_be_preloaded(library: str) -> bool:
    """LD_PRELOAD can name it: between names it has blanks and colons (ld.so(8))."""
    return not set(library) & set(": \t\n")


def reachable(mount: str, library: str) -> str:
    """A private instance's library where whoever the program becomes can read it, as it can the mount, and
    LD_PRELOAD can name it: itself, or a copy that goes with the instance."""
    path = Path(library)
    readable = path.stat().st_mode & stat.S_IROTH and all(d.stat().st_mode & stat.S_IXOTH for d in path.parents)
    if readable and can_be_preloaded(library):
        return library
    copy = shutil.copyfile(path, Path(mount).with_name(path.name))
    copy.chmod(0o755)
    return str(copy)


def _detach_and(action: Callable[[], None], send: int) -> NoReturn:
    """Call action in a grandchild with a session of its own: nobody's child, and out of the terminal's reach. What
    the system refuses goes to `send`."""
    try:
        os.setsid()
        if os.fork() == 0:
            action()
    except OSError as error:
        os.write(send, f"{error.filename or tempfile.tempdir or 'a process'}: {error.strerror}".encode())
    finally:
        os._exit(0)


def _keep_only(*fds: int, output: int) -> None:
    """What the program's callers wait for the end of must not be held open here."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd, instead in ((0, null), (1, output), (2, output)):
        os.dup2(instead, fd)
    low = 3
    for fd in sorted(fds):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))


def _mind(program: int, send: int, options: Sequence[str]) -> None:
    """The minder. What the daemon says until it serves goes to `send`, else the mountpoint and READY. It makes the
    directory itself: whatever ends the program, somebody is there to remove it."""
    os.chdir("/")
    os.umask(0o022)
    directory = Path(tempfile.mkdtemp(prefix="uringfs-run-"))
    os.chmod(directory, 0o755)  # the program may become another user
    mountpoint, log = directory / "mnt", directory / "log"
    mountpoint.mkdir()
    output = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        daemon = os.fork()
    except OSError:
        shutil.rmtree(directory)
        raise
    if daemon == 0:
        try:
            _keep_only(send, output=output)
            os._exit(_serve(str(mountpoint), send, options))
        finally:
            os._exit(FAILED)
    ended = os.pidfd_open(daemon)
    _keep_only(program, send, ended, output=output)
    select.select([program, ended], [], [])
    if select.select([ended], [], [], 0)[0]:
        with suppress(OSError):  # it serves no longer; if it never did, this is why
            os.write(send, log.read_bytes()[-4096:])
    os.close(send)
    _take_down(daemon, ended)
    points.clean_stale(str(mountpoint))
    shutil.rmtree(directory, ignore_errors=True)


def _take_down(daemon: int, ended: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(ended, signal.SIGTERM)
        if not select.select([ended], [], [], PATIENCE)[0]:
            signal.pidfd_send_signal(ended, signal.SIGKILL)
    os.waitpid(daemon, 0)


def _serve(mountpoint: str, send: int, options: Sequence[str]) -> int:
    """The daemon. allow_other: for a program that becomes another user."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    os.environ.pop("NOTIFY_SOCKET", None)  # what is ready is the program's to say
    parser = argparse.ArgumentParser()
    mount.add_arguments(parser)
    args = parser.parse_args([mountpoint, "-o", "allow_other", "--log-level", "warning", *options])

    def ready() -> None:
        with suppress(BrokenPipeError):  # the program has ended: the minder sees to it
            os.write(send, os.fsencode(mountpoint) + READY)
        os.close(send)

    return mount.run(args, ready)
