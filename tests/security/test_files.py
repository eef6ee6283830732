"""Files read by read(2) and by the ring are equal: all of procfs, and of sysfs what is not about single devices,
that open to an ordinary user. Many look at who reads, and not only at who has opened them."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import pytest
from attack import Arena, become

from tests.support.children import Child, in_child
from tests.support.mounting import Mount
from uringfs.client import Ring

SIZE = 4096
TRIES = 5
WALKED = (
    "/proc/sys",
    "/proc/fs",
    "/proc/irq",
    "/proc/bus",
    "/proc/driver",
    "/proc/sysvipc",
    "/sys/kernel",
    "/sys/module",
    "/sys/fs",
    "/sys/power",
    "/sys/class",
    "/sys/firmware",
    "/sys/hypervisor",
    "/sys/devices/system",
    "/sys/devices/virtual",
    "/sys/devices/pci0000:00",
)
BLOCKS = {"/proc/kmsg", "/proc/self/mem"}
"""They wait, or are the memory of who reads."""


class Outcome(NamedTuple):
    """What reading the first bytes of a file comes to."""

    code: int
    data: bytes

    def known(self) -> bytes:
        """Without what is zero in the eyes of who may not see it."""
        return self.data.translate(None, b"0 \t\n\0")


Judge = Callable[[Outcome, Outcome, Outcome], bool]
"""Is it right what the ring said, between two reads?"""


def files(top: str) -> Iterator[str]:
    """In order, whatever opens or not; no links."""
    for directory, names, others in os.walk(top):
        names.sort()
        for name in sorted(others):
            path = os.path.join(directory, name)
            if not os.path.islink(path) and path not in BLOCKS:
                yield path


def natively(fd: int) -> Outcome:
    """Read on behind a short read, as io_read() does."""
    data = b""
    try:
        while len(data) < SIZE and (piece := os.pread(fd, SIZE - len(data), len(data))):
            data += piece
    except OSError as error:
        return Outcome(0 if data else error.errno or 0, data)
    return Outcome(0, data)


def by_ring(ring: Ring, fd: int) -> Outcome:
    buffer = bytearray(SIZE)
    ring.readv(fd, [buffer], 0)
    ring.submit(wait=1)
    result = ring.wait().res
    return Outcome(-result, b"") if result < 0 else Outcome(0, bytes(buffer[:result]))


def equal(before: Outcome, ours: Outcome, after: Outcome) -> bool:
    """What does not read the same twice is compared by its error."""
    return ours in (before, after) or (before != after and ours.code in (before.code, after.code))


def no_more(before: Outcome, ours: Outcome, after: Outcome) -> bool:
    """What a process does while it is looked at is different each time; what is hidden stays hidden."""
    if ours.code or (not before.code and before.known()) or (not after.code and after.known()):
        return True
    return before.code == after.code == 0 and not ours.known()


def hides_addresses(before: Outcome, ours: Outcome, after: Outcome) -> bool:
    """proc/PID/stat: the fields 26 to 30 and 35."""
    return addresses(ours) in (addresses(before), addresses(after))


def addresses(stat: Outcome) -> list[bytes]:
    fields = stat.data.rpartition(b")")[2].split()
    if len(fields) <= 32:
        return []
    hidden = fields[23] == b"1"  # who sees the addresses may see that it waits, which it does by the ring
    return [*fields[23:28], *fields[32:33][: 1 if hidden else 0]]


def moves(before: Outcome, ours: Outcome, after: Outcome) -> bool:
    """What counts open files and processes counts those that read it, too."""
    return ours.code == after.code and (ours.data.strip() == b"") == (after.data.strip() == b"")


DONE = b"!"
MOVING = ("/file-nr", "/inode-nr", "/inode-state", "/dentry-state", "/ns_last_pid", "/loadavg", "/pty/nr")


def difference(ring: Ring, path: str, judge: Judge) -> str | None:
    """What differs, each time, or nothing. None: it does not open."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        for _ in range(TRIES):
            before, ours, after = natively(fd), by_ring(ring, fd), natively(fd)
            if judge(before, ours, after):
                return ""
    finally:
        os.close(fd)
    return f"{path}: errno {after.code} {after.data[:200]!r} natively, {ours.code} {ours.data[:200]!r} by the ring"


def compare(child: Child, mount: Mount, paths: Iterable[str], of_process: bool = False) -> None:
    """child: that of in_reader()."""
    become()

    def judge_of(path: str) -> Judge:
        if of_process and path.endswith("/stat"):
            return hides_addresses
        return no_more if of_process else equal

    with Ring(mount / "new", 8) as ring:
        found = []
        for path in paths:
            found.append(difference(ring, path, moves if path.endswith(MOVING) else judge_of(path)))
            child.tell()
    assert not any(found), "\n".join(filter(None, found))
    assert "" in found, "nothing there opens: nothing was compared"


def in_reader(code: Callable[[Child], None]) -> None:
    """It tells of each file: a busy machine takes its time for thousands."""

    def reader(child: Child) -> None:
        code(child)
        child.tell(DONE)

    with in_child(reader) as child:
        while child.hear(1) != DONE:
            pass


@pytest.mark.parametrize("top", [top for top in WALKED if any(files(top))])
def test_below(arena: Arena, top: str) -> None:
    in_reader(lambda child: compare(child, arena.mount, files(top)))


def test_the_top_of_procfs(arena: Arena) -> None:
    tops = [entry.path for entry in os.scandir("/proc") if entry.is_file(follow_symlinks=False)]
    in_reader(lambda child: compare(child, arena.mount, sorted(set(tops) - BLOCKS)))


def test_processes(arena: Arena) -> None:
    """Root's processes: the first, the daemon; and itself, except what it waits in."""
    for pid in ("1", str(arena.mount.pid)):
        paths = files(f"/proc/{pid}")
        in_reader(lambda child, paths=paths: compare(child, arena.mount, paths, of_process=True))
    own = (path for path in files("/proc/self") if not path.endswith("/wchan"))
    in_reader(lambda child: compare(child, arena.mount, own, of_process=True))
