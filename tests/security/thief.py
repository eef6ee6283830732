"""Whose id is to come to a privileged program: an ordinary user's process with a child that submits.
By trap it is executed, with the launcher preloaded: `thief.py MOUNT DIRECTORY WANT POLLED ENDS PIPES`."""

import ctypes
import errno
import json
import mmap
import os
import select
import signal
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from attack import CONTROL, NOTIFY, PATH_AT, SECRET, TRAP, VICTIM_FD, VICTIM_PAGE, become, hold_harmless

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
from uringfs.cli.run import environment
from uringfs.client import Ring
from uringfs.client.mapping import Queues

LIBC = ctypes.CDLL(None, use_errno=True)
PIDFD_GETFD = 438

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


WANTS: dict[str, Want] = {want.__name__: want for want in (descriptor, memory, path)}


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


class Thief(NamedTuple):
    """An ordinary user's process, and a child of it that submits."""

    mount: Path
    directory: Path
    ends: Pipes
    want: Want
    polled: bool
    channel: str
    loot: Loot

    @property
    def calls(self) -> bool:
        """Its requests come by system calls."""
        return self.channel != CONTROL

    def make_ring(self) -> Ring:
        flags = IORING_SETUP_SQPOLL if self.polled else 0
        ring = CalledRing.set_up(8, flags) if self.calls else Ring(self.mount / "reused", 8, flags=flags)
        assert os.fstat(ring.fd).st_dev == os.stat(self.mount).st_dev, "it is the kernel's"
        return ring

    def take_ring(self, child: Child) -> Ring:
        """The submitter's, for this process."""
        params, fd = child.hear(PARAMS_SIZE), int.from_bytes(child.hear(4), "little")
        if not self.calls:
            return Ring(self.mount / "reused", None, params=params)
        pidfd = os.pidfd_open(child.pid)
        return CalledRing(made(LIBC.syscall(PIDFD_GETFD, pidfd, fd, 0)), params)

    def submit(self, child: Child) -> None:
        hold_harmless(self.directory / "secret")
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
        if self.channel == NOTIFY:
            notify.supervise(str(self.mount))
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


def run(mount: Path, directory: Path, ends: Pipes, want: Want, polled: bool, channel: str, init: Child) -> None:
    """The thief is this process, by trap as another program."""
    if channel != TRAP:
        Thief(mount, directory, ends, want, polled, channel, Loot()).run(init)
        return
    for fd in init.ends:
        os.set_inheritable(fd, True)
    env = environment(str(mount), str(directory / "trap.so"))
    env[b"PYTHONPATH"] = os.fsencode(os.pathsep.join(sys.path))
    words = [mount, directory, want.__name__, int(polled), json.dumps(init.ends), json.dumps(ends)]
    os.execve(sys.executable, [sys.executable, __file__, *map(str, words)], env)


def main() -> None:
    mount, directory, want, polled, init, ends = sys.argv[1:]
    thief = Thief(
        Path(mount), Path(directory), Pipes(*json.loads(ends)), WANTS[want], bool(int(polled)), TRAP, Loot()
    )
    thief.run(Child(os.getpid(), *json.loads(init)))


if __name__ == "__main__":
    main()
