"""assumed(): one thread acts as the caller, and is itself again afterwards. As root."""

import errno
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from uringfs.host.credentials import Credentials, assumed

FIELDS = ("Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapInh")


def mine(fields: tuple[str, ...] = FIELDS) -> dict[str, list[str]]:
    """This thread's, as /proc has them."""
    lines = Path(f"/proc/self/task/{threading.get_native_id()}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines) if name in fields}


NOBODY = Credentials(65534, 65533, (7, 65533), 0)


def test_the_thread_has_their_rights_within_and_its_own_after() -> None:
    before = mine()
    with assumed(NOBODY):
        within = mine()
        assert within["Uid"][3] == "65534"
        assert within["Gid"][3] == "65533"
        assert within["Groups"] == ["7", "65533"]
        assert int(within["CapEff"][0], 16) == 0
        assert within["Uid"][:3] == before["Uid"][:3]
    assert mine() == before


def test_an_error_within_puts_it_back_too() -> None:
    before = mine()
    with pytest.raises(ZeroDivisionError), assumed(NOBODY):
        raise ZeroDivisionError
    assert mine() == before


def test_other_threads_notice_nothing() -> None:
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with assumed(NOBODY):
            entered.set()
            leave.wait(10)

    before, thread = mine(), threading.Thread(target=other)
    thread.start()
    assert entered.wait(10)
    assert mine() == before
    leave.set()
    thread.join()


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that all may enter: pytest's own are their maker's alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_files_are_opened_with_their_rights(folder: Path) -> None:
    secret = folder / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    with assumed(NOBODY), pytest.raises(PermissionError):
        secret.read_text()
    secret.chmod(0o640)
    os.chown(secret, 0, 7)
    with assumed(NOBODY):
        assert secret.read_text() == "x"


def test_those_of_a_thread_are_read_from_proc() -> None:
    found = Credentials.of(threading.get_native_id())
    assert (found.uid, found.gid, found.groups) == (os.geteuid(), os.getegid(), tuple(os.getgroups()))
    assert found.capabilities == int(mine()["CapEff"][0], 16)
    with pytest.raises(OSError) as caught:  # noqa: PT011
        Credentials.of(1 << 30)
    assert caught.value.errno in (errno.ENOENT, errno.ESRCH)
