"""What threads are asleep in, as /proc/TID/syscall says; and real processes, of which one may go on by itself."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from uringfs.abi.machine import NR
from uringfs.host.process.asleep import asleep, waits

NULL, SOME, REST = "0x0", "0x7ffe10", "0x7ffe00 0x7f00"
PROGRAM = """
import os, select, sys, threading, time
def nothing():
    os.read(os.pipe()[0], 1)
def limited():
    time.sleep(1000)
def polls():
    select.poll().poll(1000000)
def computes():
    while True: pass
for name in sys.argv[1:]:
    if name == "child":
        if os.fork() == 0: limited()
    else:
        threading.Thread(target=globals()[name]).start()
print(flush=True)
nothing()
"""


def syscall(name: str, *arguments: str) -> str:
    return f"{NR[name]} {' '.join([*arguments, *[NULL] * (6 - len(arguments))])} {REST}"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (syscall("futex", SOME, "0x189", NULL, NULL), True),
        (syscall("futex", SOME, "0x189", NULL, SOME), False),
        (syscall("epoll_pwait", "0x3", SOME, "0x1", "0xffffffff"), True),
        (syscall("epoll_pwait", "0x3", SOME, "0x1", "0xffffffffffffffff"), True),
        (syscall("epoll_pwait", "0x3", SOME, "0x1", "0x0"), False),
        (syscall("ppoll", SOME, "0x1", NULL), True),
        (syscall("ppoll", SOME, "0x1", SOME), False),
        (syscall("pselect6", "0x1", SOME, NULL, NULL, NULL), True),
        (syscall("pselect6", "0x1", SOME, NULL, NULL, SOME), False),
        (syscall("clock_nanosleep"), False),
        (syscall("restart_syscall"), False),
        ("426 0x4 0x1 0x1 0x1 0x0 0x8 0x7ffe00 0x7f00", True),
        ("-1 0x7ffe00 0x7f00", False),
        ("running", False),
    ],
)
def test_what_a_thread_is_asleep_in(said: str, expected: bool) -> None:
    assert waits("S", said) is expected
    assert waits("R", said) is False


def test_only_a_supervised_enter_may_be_in_a_sleep_that_no_signal_ends() -> None:
    assert waits("D", "426 0x4 0x1 0x1 0x1 0x0 0x8 0x7ffe00 0x7f00")
    assert not waits("D", "74 0x4 0x0 0x0 0x0 0x0 0x0 0x7ffe00 0x7f00")


@pytest.fixture
def started(request: pytest.FixtureRequest) -> Iterator[int]:
    command = [sys.executable, "-c", PROGRAM, *request.param]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        os.killpg(process.pid, 9)


def until_asleep(pid: int) -> None:
    deadline = time.monotonic() + 60
    while asleep([pid]) is None:
        assert time.monotonic() < deadline
        os.sched_yield()


@pytest.mark.parametrize("started", [(), ("nothing",), ("nothing", "nothing")], indirect=True)
def test_all_wait(started: int) -> None:
    until_asleep(started)
    seen = asleep([started, started])
    assert seen is not None
    assert asleep([started]) == seen


@pytest.mark.parametrize("started", [("limited",), ("polls",), ("computes",), ("nothing", "child")], indirect=True)
def test_one_may_go_on(started: int) -> None:
    for _ in range(200):
        assert asleep([started]) is None


@pytest.mark.parametrize("started", [()], indirect=True)
def test_who_has_run_meanwhile_is_seen(started: int) -> None:
    until_asleep(started)
    before = asleep([started])
    os.kill(started, 19)
    os.kill(started, 18)
    until_asleep(started)
    assert asleep([started]) != before


def test_nobody_is_not_asleep() -> None:
    assert asleep([]) is None
    assert asleep([os.getpid()]) is None
