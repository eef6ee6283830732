"""Whether processes wait, all of them, for something that time alone does not bring: what each of their threads is
asleep in, as /proc/TID/syscall says."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

from uringfs.abi.machine import NR
from uringfs.host import procfs

Snapshot = frozenset[tuple[int, int]]
"""(tid, how often it has slept) of each thread. If two are equal, no thread has run in between."""
GONE = ("Z", "X")
SWITCHES = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")

ALWAYS = -1
"""In place of an argument's index: the call has a time limit whatever its arguments are."""
LIMITED = {
    "nanosleep": ALWAYS,
    "clock_nanosleep": ALWAYS,
    "restart_syscall": ALWAYS,
    "poll": 2,
    "epoll_wait": 3,
    "epoll_pwait": 3,
    "select": 4,
    "pselect6": 4,
    "ppoll": 2,
    "epoll_pwait2": 3,
    "futex": 3,
    "futex_waitv": 3,
    "futex_wait": 4,
    "rt_sigtimedwait": 2,
    "semtimedop": 3,
    "mq_timedsend": 4,
    "mq_timedreceive": 4,
    "recvmmsg": 4,
    "io_getevents": 4,
    "io_pgetevents": 4,
}
"""The system calls that may end because time has passed, and the index of the argument that limits each: a struct
timespec's address (NULL: no limit), or milliseconds (below 0: no limit)."""
MILLISECONDS = ("poll", "epoll_wait", "epoll_pwait")
_BY_NUMBER = {NR[name]: argument for name, argument in LIMITED.items() if name in NR}
_MILLISECONDS = frozenset(NR[name] for name in MILLISECONDS if name in NR)


def asleep(processes: Iterable[int]) -> Snapshot | None:
    """Look at all threads of these processes, and of those that they have started and that are still below them.
    None: one of them runs, or sleeps only for so long, or must not be looked at; or there is no thread at all."""
    found: set[tuple[int, int]] = set()
    try:
        for tid in threads(processes):
            fields = procfs.status(tid)
            state = fields["State"][0]
            if state in GONE:
                continue
            if not waits(state, _read(f"/proc/{tid}/syscall")):
                return None
            found.add((tid, sum(int(fields[name][0]) for name in SWITCHES)))
    except OSError:  # it has ended just now, or is not ours to look at
        return None
    return frozenset(found) or None


def waits(state: str, syscall: str) -> bool:
    """True if a thread, by /proc/TID/syscall, sleeps in a system call, and not in one that ends when time has
    passed. A supervised io_uring_enter(2) is killable alone (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV): D."""
    words = syscall.split()
    if state != "S" and not (state == "D" and words[0] == str(NR["io_uring_enter"])):
        return False
    if len(words) < 7:  # running, or -1: in no system call
        return False
    number = int(words[0])
    index = _BY_NUMBER.get(number)
    if index is None:
        return True
    if index == ALWAYS:
        return False
    argument = int(words[1 + index], 16)
    if number in _MILLISECONDS:
        return bool(argument & 0x80000000)
    return argument == 0


def threads(processes: Iterable[int]) -> Iterator[int]:
    """The threads of these processes and of all below them, but for this one's. OSError."""
    left, seen = list(processes), set(map(int, os.listdir("/proc/self/task")))
    while left:
        pid = left.pop()
        if pid in seen:
            continue
        seen.add(pid)
        names: list[str] = []
        with suppress(FileNotFoundError, ProcessLookupError):
            names = os.listdir(f"/proc/{pid}/task")
        for name in names:
            left += map(int, _read(f"/proc/{pid}/task/{name}/children").split())
            yield int(name)


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()
