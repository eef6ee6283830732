"""Writes that are lost at the end of who has made them (the word `unsynced`): put back by way of the writer's own
open file alone, and with its rights."""

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from attack import USER, Arena, become

from tests.support.children import Child, in_child
from tests.support.mounting import until
from uringfs.client import Ring, prep
from uringfs.client.faults import Faults

OLD, NEW = b"old data", b"NEW DATA"


def written(arena: Arena, fd: int, uid: int = USER, then: Callable[[], None] = lambda: None) -> str:
    """Have a process of that user write NEW at 0 to this descriptor, and end; what the list says of the rule.
    then: what happens while it lives."""
    faults = Faults(arena.mount.path)

    def process(child: Child) -> None:
        become(uid, uid)
        with Ring(arena.mount / "new", 4) as ring:
            ring.queue(prep.write(fd, NEW, 0))
            ring.submit(wait=1)
            child.tell(ring.reap()[0].res.to_bytes(4, "little", signed=True))
            child.expect()

    with faults.injected("WRITE:unsynced") as rule:
        with in_child(process) as child:
            assert int.from_bytes(child.hear(4), "little", signed=True) == len(NEW)
            then()
            child.tell()
            child.wait()
        until(lambda: not rule.unsynced, "what was written to be lost")
        return faults.listing()


@pytest.fixture
def file(scratch: Path) -> Path:
    """The user's."""
    path = scratch / "file"
    path.write_bytes(OLD)
    os.chown(path, USER, USER)
    return path


def test_what_is_lost(arena: Arena, file: Path) -> None:
    seen: list[bytes] = []
    with open(file, "r+b") as opened:
        written(arena, opened.fileno(), then=lambda: seen.append(file.read_bytes()))
    assert (seen, file.read_bytes()) == ([NEW], OLD)


def test_a_file_that_takes_its_name_stays_as_it_is(arena: Arena, file: Path) -> None:
    """A link to what the user may not write, put there while the daemon holds what it is to put back."""
    secret = file.with_name("secret")
    secret.write_bytes(b"of root's")

    def swap() -> None:
        file.rename(file.with_name("away"))
        file.symlink_to(secret)

    with open(file, "r+b") as opened:
        written(arena, opened.fileno(), then=swap)
    assert secret.read_bytes() == b"of root's"
    assert file.with_name("away").read_bytes() == OLD


def test_a_descriptor_for_writing_reads_nothing(arena: Arena, file: Path) -> None:
    """Not even for a user who might open the file for reading: the daemon opens nothing."""
    with open(os.open(file, os.O_WRONLY), "wb") as opened:
        said = written(arena, opened.fileno())
    assert "cannot lose: not open for reading" in said
    assert file.read_bytes() == NEW


def test_a_descriptor_for_writing_may_grow_a_file(arena: Arena, file: Path) -> None:
    file.write_bytes(b"")
    with open(os.open(file, os.O_WRONLY), "wb") as opened:
        said = written(arena, opened.fileno())
    assert "cannot lose" not in said
    assert file.read_bytes() == b""


@pytest.mark.parametrize(
    ("flags", "why"),
    [(os.O_APPEND, "open with O_APPEND"), (os.O_DIRECT, "open with O_DIRECT")],
    ids=["append", "direct"],
)
def test_how_it_may_not_be_open(arena: Arena, file: Path, flags: int, why: str) -> None:
    """An O_DIRECT that the file system does not know is none."""
    before = file.read_bytes()
    try:
        fd = os.open(file, os.O_RDWR | flags)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return
    with open(fd, "r+b", buffering=0):
        if flags == os.O_DIRECT:
            assert why in refused(arena, fd)
        else:
            assert why in written(arena, fd)
            assert file.read_bytes() == before + NEW


def refused(arena: Arena, fd: int) -> str:
    """What the list says, whatever comes of the write."""
    faults = Faults(arena.mount.path)
    with faults.injected("WRITE:unsynced"), Ring(arena.mount / "new", 4) as ring:
        ring.queue(prep.write(fd, NEW, 0))
        ring.submit(wait=1)
        return faults.listing()


def test_told_to_append_since(arena: Arena, file: Path) -> None:
    """A pwrite(2) would append now."""
    with open(file, "r+b") as opened:

        def told() -> None:
            fcntl.fcntl(opened, fcntl.F_SETFL, os.O_APPEND)

        said = written(arena, opened.fileno(), then=told)
    assert "could not be put back" in said
    assert file.read_bytes() == NEW


def test_procfs_is_no_disk(arena: Arena) -> None:
    """Where a write does something, and to put back what was read would do it once more."""
    path = "/proc/self/comm"
    with open(path, "r+b", buffering=0) as opened:
        before = Path(path).read_bytes()
        assert "cannot lose: not a regular file of a file system on a disk" in refused(arena, opened.fileno())
        os.write(opened.fileno(), before.strip())


def test_put_back_with_the_writers_rights(arena: Arena, file: Path) -> None:
    """A write by who has no CAP_FSETID takes the set-user-ID bit off; so does what puts its data back."""
    with open(file, "r+b") as opened:
        written(arena, opened.fileno(), then=lambda: os.chmod(file, 0o4755))
    assert file.read_bytes() == OLD
    assert not os.stat(file).st_mode & stat.S_ISUID


def test_anothers_rule_is_not_about_it(arena: Arena, file: Path) -> None:
    def process(child: Child) -> None:
        become(USER + 1, USER + 1)
        with Faults(arena.mount.path).injected("WRITE:unsynced"):
            child.tell()
            child.expect()

    with in_child(process) as other, open(file, "r+b") as opened:
        other.expect()

        def act(child: Child) -> None:
            become()
            with Ring(arena.mount / "new", 4) as ring:
                ring.queue(prep.write(opened.fileno(), NEW, 0))
                ring.submit(wait=1)

        with in_child(act) as child:
            child.wait()
        assert "nothing has matched" in Faults(arena.mount.path).listing()
        other.tell()
        other.wait()
    assert file.read_bytes() == NEW
