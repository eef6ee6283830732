"""A trace shows data, paths and addresses: nobody sees by it what nobody could have seen without."""

import ctypes
import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from attack import PR_SET_DUMPABLE, SECRETS_GROUP, USER, Arena, become

from tests.support.calls import answer
from tests.support.children import Child, in_child
from uringfs.client import Ring, nop, prep
from uringfs.client.faults import Faults
from uringfs.fs.watching import MOST_READERS
from uringfs.watch.follow import Follower
from uringfs.watch.record import RecordKind

LAST = 99
STRANGER = USER + 1


def watcher(arena: Arena, uid: int, said: Path) -> Callable[[Child], None]:
    """Notes the user_data of all requests that this user is shown, up to LAST."""

    def watch(parent: Child) -> None:
        if uid:
            become(uid, uid)
        seen: list[int] = []
        with Follower([str(arena.mount.path)], "") as follower:
            parent.tell()
            while LAST not in seen:
                seen += [
                    one.sqe.user_data
                    for one in follower.read()
                    if one.kind in (RecordKind.REQUEST, RecordKind.CQE)
                ]
        said.write_text(json.dumps(seen))

    return watch


def submits(arena: Arena, user_data: int, prepare: Callable[[], None]) -> None:
    def submit(parent: Child) -> None:
        prepare()
        with Ring(arena.mount / "new", 4) as ring:
            ring.queue(nop(user_data))
            ring.submit(wait=1)

    with in_child(submit):
        pass


def in_a_group() -> None:
    become(USER, USER, [SECRETS_GROUP])


HIDES = """
import ctypes, sys
sys.path.insert(0, sys.argv[1])
from uringfs.client import Ring, nop
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
with Ring(sys.argv[2], 4) as ring:
    ring.queue(nop(1))
    ring.submit(wait=1)
"""


def as_root() -> None:
    pass


def own() -> None:
    become(USER, USER)


def stranger() -> None:
    become(STRANGER, STRANGER)


def setuid_of_the_users() -> None:
    """Effective ids are the user's, the real and saved ones root's: what it could be again."""
    os.setresgid(-1, USER, -1)
    os.setgroups([])
    os.setresuid(-1, USER, -1)
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


OTHERS = (as_root, stranger, in_a_group, setuid_of_the_users)


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: other.__name__)
def test_a_user_sees_its_own_and_nobody_elses(arena: Arena, scratch: Path, other: Callable[[], None]) -> None:
    said = scratch / "seen"
    with in_child(watcher(arena, USER, said)) as child:
        child.expect()
        submits(arena, 1, other)
        submits(arena, 2, own)
        submits(arena, LAST, own)
    assert json.loads(said.read_text()) == [2, LAST]


def test_memory_that_a_program_hides_stays_hidden(arena: Arena, scratch: Path) -> None:
    said, root = scratch / "seen", str(Path(__file__).parents[2])
    with in_child(watcher(arena, USER, said)) as child:
        child.expect()
        command = [sys.executable, "-c", HIDES, root, arena.mount / "new"]
        subprocess.run(command, user=USER, group=USER, extra_groups=[], check=True, timeout=60)
        submits(arena, LAST, own)
    assert json.loads(said.read_text()) == [LAST]


def test_root_sees_all(arena: Arena, scratch: Path) -> None:
    said = scratch / "seen"
    with in_child(watcher(arena, 0, said)) as child:
        child.expect()
        for number, other in enumerate((*OTHERS, own)):
            submits(arena, number, other)
        submits(arena, LAST, as_root)
    assert json.loads(said.read_text()) == [*range(len(OTHERS) + 1), LAST]


def test_anothers_program_in_ones_own_ring(arena: Arena, scratch: Path) -> None:
    """It enters a ring that the user has set up: what it reads is still its own."""
    said, secret = scratch / "seen", (arena.directory / "secret").read_bytes()
    with in_child(watcher(arena, USER, said)) as child:
        child.expect()

        path = arena.mount / "shared"
        path.touch()
        path.chmod(0o666)

        def set_up(parent: Child) -> None:
            become(USER, USER)
            path.write_text("setup 4")

        with in_child(set_up):
            pass
        with Ring(path, entries=None) as ring, open(arena.directory / "secret", "rb") as file:
            buffer = bytearray(64)
            ring.queue(prep.read(file.fileno(), buffer, off=0, user_data=1))
            ring.submit(wait=1)
            assert buffer.startswith(secret)
        submits(arena, LAST, own)
    assert json.loads(said.read_text()) == [LAST]


def test_the_list_of_rings(arena: Arena) -> None:
    with Ring(arena.mount / "new", 4) as ring:
        number = os.fstat(ring.fileno()).st_ino

        def look(parent: Child) -> None:
            become(USER, USER)
            with Ring(arena.mount / "new", 4) as mine:
                mine_number = os.fstat(mine.fileno()).st_ino
                fd = os.open(arena.mount / ".rings", os.O_RDWR)
                listed = {json.loads(line)["ring"] for line in os.read(fd, 1 << 20).splitlines()}
                assert mine_number in listed  # beside those of this user that are being closed
                assert number not in listed
                os.write(fd, f"ring={number}".encode())
                assert os.pread(fd, 1 << 20, 0) == b""

        with in_child(look):
            pass
        with open(arena.mount / ".rings", "rb", 0) as rings:
            assert number in {json.loads(line)["ring"] for line in rings.read(1 << 20).splitlines()}


def test_readers_are_bounded(arena: Arena) -> None:
    """Each costs the calls of all users something. One that is closed makes room; others', and root's, are not
    counted."""

    def reads(parent: Child) -> None:
        become(USER, USER)
        opened = [os.open(arena.mount / ".trace", os.O_RDWR) for _ in range(MOST_READERS)]
        assert answer(lambda: os.open(arena.mount / ".trace", os.O_RDWR)) == errno.EMFILE
        parent.tell()
        parent.expect()
        os.close(opened.pop())
        end = time.monotonic() + 60
        while answer(lambda: os.open(arena.mount / ".trace", os.O_RDWR)):  # a close is told behind it
            assert time.monotonic() < end

    def stranger_reads(parent: Child) -> None:
        stranger()
        os.close(os.open(arena.mount / ".trace", os.O_RDWR))

    with in_child(reads) as child:
        child.expect()
        with in_child(stranger_reads):
            pass
        os.close(os.open(arena.mount / ".trace", os.O_RDWR))
        child.tell()


def file_of_request(arena: Arena, number: int) -> object:
    fd = os.open(arena.mount / ".rings", os.O_RDWR)
    os.write(fd, f"ring={number}".encode())
    [ring] = [json.loads(line) for line in os.pread(fd, 1 << 20, 0).splitlines()]
    [request] = ring["requests"]
    return request["file"]


def test_the_list_names_no_file_of_others(arena: Arena) -> None:
    """Root waits for what it has open, in a ring that the user has set up. The user sees that it waits."""
    hidden = arena.directory / "hidden"
    hidden.mkdir(mode=0o700)
    os.mkfifo(hidden / "pipe")

    def look(parent: Child) -> None:
        become(USER, USER)
        path = arena.mount / "waited"
        path.write_text("setup 4")
        path.chmod(0o666)
        parent.tell()
        parent.expect()
        assert file_of_request(arena, path.stat().st_ino) is None

    try:
        with in_child(look) as child:
            child.expect()
            with Ring(arena.mount / "waited", entries=None) as ring:
                ring.queue(prep.read(os.open(hidden / "pipe", os.O_RDWR), bytearray(8), off=0, user_data=1))
                ring.submit()
                assert file_of_request(arena, os.fstat(ring.fileno()).st_ino) == str(hidden / "pipe")
                child.tell()
                child.wait()
    finally:
        shutil.rmtree(hidden)


@pytest.mark.parametrize("rule", ["", "READ:corrupt=1"])
def test_the_list_names_ones_own_files(arena: Arena, rule: str) -> None:
    def look(parent: Child) -> None:
        become(USER, USER)
        if rule:
            Faults(arena.mount.path).inject(f"{rule}:pid={os.getpid()}")
        with Ring(arena.mount / "new", 4) as ring:
            read, _ = os.pipe()
            ring.queue(prep.read(read, bytearray(8), off=0, user_data=1))
            ring.submit()
            assert str(file_of_request(arena, os.fstat(ring.fileno()).st_ino)).startswith("pipe:")

    with in_child(look):
        pass


def test_the_metrics_are_whose_the_mode_says(arena: Arena) -> None:
    metrics = arena.mount / ".metrics"

    def refused(parent: Child) -> None:
        become(USER, USER)
        for what in (lambda: os.open(metrics, os.O_RDONLY), lambda: os.chmod(metrics, 0o444)):
            with pytest.raises(PermissionError):
                what()

    def allowed(parent: Child) -> None:
        become(USER, USER)
        assert "uringfs_rings" in metrics.read_text()

    with in_child(refused):
        pass
    os.chmod(metrics, 0o444)
    try:
        with in_child(allowed):
            pass
    finally:
        os.chmod(metrics, 0o400)


def test_a_filter_gives_no_right(arena: Arena, scratch: Path) -> None:
    """Naming another's ring or process shows nothing of it."""
    with Ring(arena.mount / "new", 4) as ring:
        number = os.fstat(ring.fileno()).st_ino

        def look(parent: Child) -> None:
            become(USER, USER)
            with Follower([str(arena.mount.path)], f"ring={number} pid={os.getppid()}") as follower:
                parent.tell()
                parent.expect()
                assert follower.read() == []

        with in_child(look) as child:
            child.expect()
            ring.queue(nop(1))
            ring.submit(wait=1)
            child.tell()
