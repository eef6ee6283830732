"""The processes by which the daemon looks up a caller's paths: while one acts it is that caller and nothing else,
it has nothing that the caller could take, and it has been nobody else before."""

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attack import SECRETS_GROUP, USER, Arena, become

from tests.support.calls import answer
from tests.support.children import Child, in_child
from tests.support.mounting import until
from tests.support.paths import actors
from uringfs.abi.constants import IOSQE_ASYNC, OPCODES
from uringfs.abi.structs import Sqe
from uringfs.client import Ring

AT_FDCWD, OPENAT = -100, OPCODES.index("OPENAT")
OPENING = ("wait_for_partner", "fifo_open")
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
SYS_PIDFD_GETFD = 438
OTHER = USER + 1


def opening(arena: Arena) -> list[int]:
    """The daemon's children that wait for somebody to open the other end of a FIFO."""
    found = []
    for pid in actors(arena.mount):
        try:
            if Path(f"/proc/{pid}/wchan").read_text() in OPENING:
                found.append(pid)
        except OSError:  # it has ended
            continue
    return found


@contextmanager
def helper_of(
    arena: Arena, fifo: Path, identity: Callable[[], None], look: Callable[[int], None] = lambda pid: None
) -> Iterator[int]:
    """The process that opens a FIFO for somebody. look() is called with its id there, in the caller's process."""

    def caller(child: Child) -> None:
        identity()
        ring = Ring(arena.mount / "new", 4)
        path = ctypes.create_string_buffer(os.fsencode(fifo))
        slots = (ctypes.c_int32 * 1)(-1)
        ring.register(2, ctypes.addressof(slots), 1)
        ring.queue(Sqe(OPENAT, IOSQE_ASYNC, fd=AT_FDCWD, addr=ctypes.addressof(path), file_index=1))
        ring.submit()
        child.tell()
        look(int.from_bytes(child.hear(4), "little"))
        child.tell()
        assert ring.wait().res == 0

    with in_child(caller) as child:
        child.expect()
        until(lambda: opening(arena), "a helper to open the FIFO")
        [pid] = opening(arena)
        child.tell(pid.to_bytes(4, "little"))
        child.expect()
        yield pid
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))


@pytest.fixture
def fifo(scratch: Path) -> Path:
    path = scratch / "fifo"
    os.mkfifo(path)
    path.chmod(0o666)
    return path


def status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def test_it_has_the_callers_rights_alone(arena: Arena, fifo: Path) -> None:
    """No real, saved or permitted ones to come back to."""
    with helper_of(arena, fifo, lambda: become(groups=[SECRETS_GROUP])) as pid:
        fields = status(pid)
    assert fields["Uid"] == 4 * [str(USER)]
    assert fields["Gid"] == 4 * [str(USER)]
    assert fields["Groups"] == [str(SECRETS_GROUP)]
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(fields[name][0], 16) == 0, name


def test_the_caller_takes_nothing_from_it(arena: Arena, fifo: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def refused(result: int) -> None:
        assert result < 0
        assert ctypes.get_errno() == errno.EPERM

    def look(pid: int) -> None:
        for name in ("mem", "environ", "maps", "auxv", "syscall"):
            assert answer(lambda name=name: os.open(f"/proc/{pid}/{name}", os.O_RDONLY)) == errno.EACCES, name
        for name in ("fd", "fdinfo", "map_files"):
            code = answer(lambda name=name: os.listdir(f"/proc/{pid}/{name}"))
            assert code in (errno.EACCES, errno.EPERM), name
        for name in ("root", "cwd", "exe"):
            assert answer(lambda name=name: os.readlink(f"/proc/{pid}/{name}")) == errno.EACCES, name
        refused(libc.ptrace(PTRACE_ATTACH, pid, None, None))
        refused(libc.ptrace(PTRACE_SEIZE, pid, None, None))
        pidfd = os.pidfd_open(pid)
        refused(libc.syscall(SYS_PIDFD_GETFD, pidfd, 0, 0))

    with helper_of(arena, fifo, become, look):
        pass


def test_it_has_no_descriptors_of_others(arena: Arena, fifo: Path) -> None:
    """No FUSE device, no ring memory, nobody's processes."""
    with helper_of(arena, fifo, become) as pid:
        held = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    assert [name for name in held if "fuse" in name or "memfd" in name or "pidfd" in name or "uring" in name] == []


@pytest.mark.parametrize("later", [(OTHER, OTHER), (USER, OTHER), (0, 0)], ids=["user", "group", "root"])
def test_it_has_been_nobody_else(arena: Arena, fifo: Path, later: tuple[int, int]) -> None:
    with helper_of(arena, fifo, become) as first:
        pass
    with helper_of(arena, fifo, lambda: become(*later)) as second:
        pass
    assert first != second
