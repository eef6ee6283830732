"""Program: a thread is the same until it executes another program or exits. Each way of telling alone."""

import errno
import os
import threading
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from tests.support.others import Stepper
from uringfs import native
from uringfs.host.process import program
from uringfs.host.process.program import LocalProgram, ProgramMemory, Programs


@pytest.fixture
def stepper() -> Iterator[Stepper]:
    stepper = Stepper()
    yield stepper
    stepper.close()


@pytest.fixture(params=["watched", "compared"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "compared":

        def refused(tid: int) -> None:
            raise OSError(errno.EACCES, "perf_event_paranoid")

        monkeypatch.setattr(native, "ExecWatch", refused)
    return str(request.param)


def test_exec_ends_it(way: str, stepper: Stepper) -> None:
    before = LocalProgram(stepper.pid)
    assert before.same()
    process = before.process
    stepper.exec()
    assert not before.same()
    assert not before.exited()
    after = LocalProgram(stepper.pid)
    assert after.same()
    assert after.process != process
    assert after.group == before.group == stepper.pid


async def test_who_waits_for_the_end_is_told_of_an_exec(
    way: str, stepper: Stepper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "LOOK", 0.001)
    before = LocalProgram(stepper.pid)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(before.ended)
            nursery.start_soon(before.ended)
            await trio.testing.wait_all_tasks_blocked()
            stepper.exec()


async def test_who_waits_for_the_end_is_told_of_an_exit(way: str) -> None:
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait, args=(30,))
    thread.start()
    assert thread.native_id is not None
    its = LocalProgram(thread.native_id)
    assert its.same()
    assert its.process == LocalProgram(os.getpid()).process
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(its.ended)
            await trio.testing.wait_all_tasks_blocked()
            leave.set()
    assert its.exited()
    assert not its.same()
    thread.join()


def test_memory_is_that_of_one_program(way: str, stepper: Stepper) -> None:
    memory = ProgramMemory(LocalProgram(stepper.pid))
    address = id(memory)  # this is a child's copy, which has it at the same place
    assert memory.read(address, 8)
    stepper.exec()
    assert memory.gone()
    assert memory.gather([(address, 8)]) == b""
    assert memory.scatter(b"x", [(address, 1)]) == 0
    assert memory.writable([(address, 1)]) == 0


def test_the_programs_that_are_kept_are_looked_at(stepper: Stepper) -> None:
    programs = Programs()
    before = programs.of(stepper.pid)
    assert programs.of(stepper.pid) is before
    stepper.exec()
    after = programs.of(stepper.pid)
    assert after is not before
    assert after.same()


def test_no_more_are_kept_than_so_many(monkeypatch: pytest.MonkeyPatch, stepper: Stepper) -> None:
    monkeypatch.setattr(program, "MOST", 1)
    programs = Programs()
    first = programs.of(os.getpid())
    fd = first.fileno()
    programs.of(stepper.pid)
    assert programs.of(os.getpid()) is first  # somebody refers to it: it is the one there is
    programs.of(stepper.pid)
    del first
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_thread_that_is_gone() -> None:
    with pytest.raises(OSError, match="No such process"):
        LocalProgram(1 << 22)


def test_a_watch_is_a_descriptor_and_a_mapping_that_go_with_it() -> None:
    def open_now() -> tuple[int, int]:
        with open("/proc/self/maps") as maps:
            return len(os.listdir("/proc/self/fd")), maps.read().count("perf_event")

    before = open_now()
    watch = native.ExecWatch(os.getpid())
    assert not watch.ended()
    assert not os.get_inheritable(watch.fileno())
    assert open_now() == (before[0] + 1, before[1] + 1)
    del watch
    assert open_now() == before
    for tid in (0, -1, 1 << 22):
        with pytest.raises(OSError, match="No such process"):
            native.ExecWatch(tid)
