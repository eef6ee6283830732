"""Rings of others: text is for a ring's owner, whoever else its mode admits."""

import ctypes
import errno
import os
import subprocess
from pathlib import Path

import pytest
from attack import USER, Arena, as_user, become

from tests.support.calls import answer
from tests.support.children import Child, in_child
from uringfs.abi.constants import OPCODES
from uringfs.abi.structs import Sqe
from uringfs.client import Ring, nop

OTHER = USER + 1
AF_PACKET, SOCK_RAW = 17, 3
REGISTER_FILES = 2
WRITERS = {"another user": OTHER, "root": 0}


@pytest.fixture
def shared(arena: Arena) -> Path:
    """A ring file of the user's that everybody may write to."""
    path = arena.mount / "shared"
    script = f"touch {path}; chmod 666 {path}; echo 'setup 8' > {path}"
    subprocess.run([*as_user(), "sh", "-c", script], check=True)
    return path


def written(path: Path, text: str, uid: int = USER) -> int:
    """errno of who writes that."""

    def writer(child: Child) -> None:
        if uid:
            become(uid, uid)
        code = answer(lambda: os.write(os.open(path, os.O_WRONLY), text.encode()))
        child.tell(code.to_bytes(1, "little"))

    with in_child(writer) as child:
        return child.hear(1)[0]


@pytest.mark.parametrize("who", WRITERS)
@pytest.mark.parametrize(
    "text", ["readv path=/etc/hostname len=4", "fsync fd=0", "sqe op=NOP", "enter", "enter 1", "enter wait=1"]
)
def test_text_that_names_a_path_or_is_executed(shared: Path, text: str, who: str) -> None:
    assert written(shared, "nop user_data=1") == 0
    assert written(shared, text, WRITERS[who]) == errno.EACCES
    assert written(shared, text) == 0


@pytest.mark.parametrize("who", WRITERS)
def test_what_others_have_queued_is_not_executed(arena: Arena, who: str) -> None:
    """`echo enter` of root's would make a raw socket for whoever has put that into the queue."""
    path = arena.mount / "shared"

    def owner(child: Child) -> None:
        become()
        os.umask(0)
        ring = Ring(path, 8)
        slots = (ctypes.c_int32 * 1)(-1)
        ring.register(REGISTER_FILES, ctypes.addressof(slots), 1)
        ring.queue(Sqe(OPCODES.index("SOCKET"), fd=AF_PACKET, off=SOCK_RAW, file_index=1))
        child.tell()
        child.expect()
        assert [cqe.res for cqe in ring.reap() if cqe.res >= 0] == [], "a raw socket"

    with in_child(owner) as child:
        child.expect()
        status = written(path, "enter", WRITERS[who])
        child.tell()
    assert status == errno.EACCES


def test_who_may_write_enters_with_rights_of_its_own(arena: Arena, shared: Path) -> None:
    """By binary messages, as a ring that another process has been given."""
    secret = arena.directory / "secret"

    def other(_: Child) -> None:
        become(OTHER, OTHER)
        with Ring(arena.mount / "new", 8) as own:
            params = own.raw_params
        ring = Ring(shared, None, params=params)
        ring.queue(nop(5))
        assert ring.submit(wait=1) == 1
        assert [cqe.user_data for cqe in ring.reap()] == [5]
        with pytest.raises(PermissionError):
            secret.read_bytes()

    with in_child(other):
        pass


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o444])
def test_who_may_not_write_does_not(arena: Arena, mode: int) -> None:
    path = arena.mount / "private"
    subprocess.run([*as_user(), "sh", "-c", f"touch {path}; chmod {mode:o} {path}"], check=True)
    for text in ("setup 8", "enter"):
        assert written(path, text, OTHER) == errno.EACCES
