"""A process submits and dies, and a privileged program gets its id: what was submitted is not for that one. The
daemon is stopped meanwhile, as a busy one would be, so that it learns of the death when all that has happened."""

import ctypes
import errno
import mmap
import os
import select
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from attack import CONTROL, NOTIFY, PATH_AT, SECRET, VICTIM_FD, VICTIM_PAGE, Arena, become, hold_harmless

from tests.support.calls import answer
from tests.support.children import Child, in_child
from tests.support.paths import must
from uringfs.abi.constants import (
    IORING_ENTER_GETEVENTS,
    IORING_SETUP_SQPOLL,
    IOSQE_FIXED_FILE,
    IOSQE_IO_LINK,
    OPCODES,
)
from uringfs.abi.seccomp import NR_IO_URING_SETUP
from uringfs.abi.structs import PARAMS, PARAMS_SIZE, Params, Sqe
from uringfs.cli import notify
from uringfs.client import Ring
from uringfs.client.mapping import Queues

LIBC = ctypes.CDLL(None, use_errno=True)
PIDFD_GETFD = 438

CLONE_NEWPID = 0x20000000
CURRENT = (1 << 64) - 1
REGISTER_BUFFERS, REGISTER_FILES = 0, 2
SQ_WAKEUP = 1 << 1
POLLIN, AT_FDCWD = 1, -100


class Pipes(NamedTuple):
    """Under the same numbers in all the processes."""

    trigger: tuple[int, int]
    loot: tuple[int, int]
    ready: tuple[int, int]
    go: tuple[int, int]


def pipes() -> Pipes:
    made = Pipes(os.pipe(), os.pipe(), os.pipe(), os.pipe())
    for fd in (fd for pair in made for fd in pair):
        os.set_inheritable(fd, True)
    return made


class Loot:
    """Memory of the thief's."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, 4096)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))


Want = Callable[[Loot, Pipes], Sqe]


def descriptor(loot: Loot, _: Pipes) -> Sqe:
    return Sqe(OPCODES.index("READ_FIXED"), fd=VICTIM_FD, addr=loot.address, len=64, user_data=2)


def memory(_: Loot, ends: Pipes) -> Sqe:
    return Sqe(OPCODES.index("WRITE"), fd=ends.loot[1], off=CURRENT, addr=VICTIM_PAGE, len=64, user_data=2)


def path(_: Loot, __: Pipes) -> Sqe:
    return Sqe(OPCODES.index("OPENAT"), fd=AT_FDCWD, addr=VICTIM_PAGE + PATH_AT, file_index=1, user_data=2)


def behind_trigger(ends: Pipes) -> Sqe:
    return Sqe(OPCODES.index("POLL_ADD"), IOSQE_IO_LINK, fd=ends.trigger[0], rw_flags=POLLIN, user_data=1)


def made(result: int) -> int:
    must(result)
    return result


class CalledRing(Ring):
    """A ring by the system calls, of a process whose calls the daemon answers."""

    def __init__(self, fd: int, params: bytes) -> None:
        self.path, self.fd, self.raw_params = "", fd, params
        self._can, self._held, self._unreaped, self._epoll = 0, {}, Counter(), None
        self._queues = Queues(fd, params)

    @classmethod
    def set_up(cls, entries: int, flags: int) -> "CalledRing":
        params = ctypes.create_string_buffer(PARAMS.pack(*Params(flags=flags)), PARAMS_SIZE)
        fd = made(LIBC.syscall(NR_IO_URING_SETUP, entries, params))
        return cls(fd, params.raw)

    def enter(self, to_submit: int, min_complete: int = 0, flags: int = 0, arg: int = 0) -> int:
        flags |= IORING_ENTER_GETEVENTS if min_complete else 0
        taken = made(LIBC.syscall(NR_IO_URING_SETUP + 1, self.fd, to_submit, min_complete, flags, None, 0))
        self._open.taken(taken)
        return taken

    def register(self, opcode: int, arg: int = 0, nr_args: int = 0) -> int:
        return made(LIBC.syscall(NR_IO_URING_SETUP + 2, self.fd, opcode, ctypes.c_void_p(arg), nr_args))


class Thief:
    """An ordinary user's process, and a child of it that submits."""

    def __init__(self, arena: Arena, ends: Pipes, want: Want, polled: bool, channel: str) -> None:
        self.arena, self.ends, self.want, self.polled = arena, ends, want, polled
        self.supervised = channel == NOTIFY
        self.loot = Loot()

    def make_ring(self) -> Ring:
        flags = IORING_SETUP_SQPOLL if self.polled else 0
        return (
            CalledRing.set_up(8, flags) if self.supervised else Ring(self.arena.mount / "reused", 8, flags=flags)
        )

    def take_ring(self, child: Child) -> Ring:
        """The submitter's, for this process."""
        params, fd = child.hear(PARAMS_SIZE), int.from_bytes(child.hear(4), "little")
        if not self.supervised:
            return Ring(self.arena.mount / "reused", None, params=params)
        pidfd = os.pidfd_open(child.pid)
        return CalledRing(made(LIBC.syscall(PIDFD_GETFD, pidfd, fd, 0)), params)

    def submit(self, child: Child) -> None:
        hold_harmless(self.arena.directory / "secret")
        ring = self.make_ring()
        child.tell(ring.raw_params + ring.fd.to_bytes(4, "little"))
        child.expect()
        if not self.polled:
            ring.queue(behind_trigger(self.ends))
            ring.queue(self.want(self.loot, self.ends))
            assert ring.submit() == 2
        child.tell()
        signal.pause()

    def register(self, ring: Ring) -> None:
        vector = (ctypes.c_uint64 * 2)(self.loot.address, 4096)
        ring.register(REGISTER_BUFFERS, ctypes.addressof(vector), 1)
        slots = (ctypes.c_int32 * 1)(-1)
        ring.register(REGISTER_FILES, ctypes.addressof(slots), 1)

    def run(self, init: Child) -> None:
        become()
        if self.supervised:
            notify.supervise(str(self.arena.mount.path))
        with in_child(self.submit, ends_by=(-signal.SIGKILL,)) as child:
            ring = self.take_ring(child)
            self.register(ring)
            child.tell()
            child.expect()
            init.tell(child.pid.to_bytes(4, "little"))
            init.expect()
            child.kill()
            child.wait()
            init.tell()
        init.expect()
        self.pull_the_trigger(ring)
        init.tell()
        self.collect(ring)
        assert self.stolen(ring).find(SECRET.strip().encode()) < 0, "the secret"

    def pull_the_trigger(self, ring: Ring) -> None:
        """Without any call that the daemon would have to answer."""
        if self.polled:
            ring.queue(self.want(self.loot, self.ends))
        else:
            os.write(self.ends.trigger[1], b".")

    def collect(self, ring: Ring) -> None:
        if not self.polled:
            assert {ring.wait().user_data, ring.wait().user_data} == {1, 2}
            return
        poll = select.poll()
        poll.register(ring.fd, select.POLLIN)
        while not ring.ready():
            code = answer(lambda: ring.enter(1, flags=SQ_WAKEUP))
            if code:
                assert code == errno.EOWNERDEAD
                return
            poll.poll(1)

    def stolen(self, ring: Ring) -> bytes:
        found = bytes(self.loot.memory)
        os.set_blocking(self.ends.loot[0], False)
        with suppress(BlockingIOError):
            found += os.read(self.ends.loot[0], 64)
        if self.want is path and not self.polled:
            ring.queue(Sqe(OPCODES.index("READ_FIXED"), IOSQE_FIXED_FILE, addr=self.loot.address, len=64))
            ring.submit(wait=1)
        return found + bytes(self.loot.memory)


def become_victim(arena: Arena, pid: int, ends: Pipes) -> int:
    """A privileged program with that id."""
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
    child = os.fork()
    if child == 0:
        become()
        words = [arena.directory / "secret", ends.ready[1], ends.go[0]]
        os.close(ends.go[1])
        os.execv(arena.directory / "holder.setuid", ["holder", *map(str, words)])
    assert child == pid
    assert os.read(ends.ready[0], 1) == b"."
    return child


def init_of_namespace(test: Child, arena: Arena, want: Want, polled: bool, channel: str) -> None:
    ends = pipes()
    with in_child(Thief(arena, ends, want, polled, channel).run) as thief:
        pid = int.from_bytes(thief.hear(4), "little")
        test.tell()
        test.expect()  # the daemon is stopped
        thief.tell()
        thief.expect()  # the submitter is dead
        victim = become_victim(arena, pid, ends)
        thief.tell()
        thief.expect()  # the trigger is pulled
        test.tell()
    os.close(ends.go[1])
    assert os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1]) == 0


@pytest.mark.parametrize("channel", [CONTROL, NOTIFY])
@pytest.mark.parametrize("polled", [False, True], ids=["linked", "polled"])
@pytest.mark.parametrize("want", [descriptor, memory, path])
def test_the_id_of_a_submitter(arena: Arena, want: Want, polled: bool, channel: str) -> None:
    def outer(test: Child) -> None:
        must(LIBC.unshare(CLONE_NEWPID))
        with in_child(lambda _: init_of_namespace(test, arena, want, polled, channel)):
            pass

    Ring(arena.mount / "new", 1).close()  # the kernel asks once whether a close is to be announced
    with in_child(outer) as child:
        child.expect()
        arena.mount.process.send_signal(signal.SIGSTOP)
        try:
            os.waitpid(arena.mount.pid, os.WUNTRACED)
            child.tell()
            child.expect()
        finally:
            arena.mount.process.send_signal(signal.SIGCONT)
