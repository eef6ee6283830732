"""Processes of other users, for tests of what the daemon knows of them. As root."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

CLONE_NEWUSER = 0x10000000
PR_SET_DUMPABLE = 4
PARKED = "import os; os.write(1, b'r'); os.read(0, 1)"
HIDING = f"import ctypes; ctypes.CDLL(None).prctl({PR_SET_DUMPABLE}, 0, 0, 0, 0); {PARKED}"
_libc = ctypes.CDLL(None, use_errno=True)


class Other(NamedTuple):
    """What the process makes of itself."""

    uid: int = 0
    gid: int = 0
    groups: Sequence[int] = ()
    unshares: bool = False
    """Into a user namespace of its own, as root there."""
    hides: bool = False
    """PR_SET_DUMPABLE"""

    def become(self) -> None:
        os.setgroups(self.groups)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        # Changed ids have hidden it: what a program that is executed, and may be read, has not
        _libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        if self.unshares:
            if _libc.unshare(CLONE_NEWUSER):
                raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWUSER)")
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"0 {self.uid} 1")
            _write("/proc/self/gid_map", f"0 {self.gid} 1")
        if self.hides:
            _libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _write(path: str, data: str) -> None:
    with open(path, "w") as file:
        file.write(data)


@contextmanager
def other(who: Other, act: Callable[[], None] = lambda: None) -> Iterator[int]:
    """The pid of one that has become that, and done act, and waits; killed at the end."""
    ready, began = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            who.become()
            act()
            os.write(began, b"r")
            signal.pause()
        finally:
            os._exit(1)
    os.close(began)
    try:
        assert os.read(ready, 1) == b"r", "it did not become that"
        yield pid
    finally:
        os.close(ready)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


class Stepper:
    """A process of ours that goes on to execute another program when it is told to."""

    def __init__(self, act: Callable[[], None] = lambda: None, then: str = PARKED) -> None:
        """act: what it does first. then: what it executes, in Python."""
        self._ready, began = os.pipe()
        begin, self._go = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            act()
            os.write(began, b"r")
            os.read(begin, 1)
            os.dup2(begin, 0)
            os.dup2(began, 1)
            python = os.path.realpath(sys.executable)  # for any user: a checkout may be root's alone
            os.execv(python, [python, "-I", "-S", "-c", then])
        os.close(began)
        os.close(begin)
        os.read(self._ready, 1)

    def exec(self) -> None:
        """Back once the next program runs."""
        os.write(self._go, b"g")
        assert os.read(self._ready, 1) == b"r"

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._ready)
        os.close(self._go)
