"""Credentials: a thread of ours acts with them, and is itself again afterwards; whom an opener admits. As root."""

import errno
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounting import DEADLINE, ROOT
from tests.support.others import Other, other
from uringfs.errors import UringError
from uringfs.host.identity.credentials import (
    CAP_SETGID,
    CAP_SETUID,
    Credentials,
    Namespace,
    StatusIds,
    dumpable,
    home,
    own,
)

FIELDS = ("Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapInh")
CHOWN = 1 << 0


def mine(fields: tuple[str, ...] = FIELDS) -> dict[str, list[str]]:
    """This thread's, as /proc has them."""
    lines = Path(f"/proc/self/task/{threading.get_native_id()}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines) if name in fields}


def of(
    uid: int = 1000,
    gid: int = 1000,
    groups: tuple[int, ...] = (7, 1000),
    effective: int = 0,
    *,
    permitted: int | None = None,
    uids: tuple[int, int, int, int] | None = None,
    gids: tuple[int, int, int, int] | None = None,
    namespace: Namespace | None = None,
) -> Credentials:
    return Credentials(
        StatusIds(*(uids or (uid,) * 4)),
        StatusIds(*(gids or (gid,) * 4)),
        groups,
        effective if permitted is None else permitted,
        effective,
        namespace or Namespace(home()),
    )


NOBODY = of(65534, 65533, (7, 65533))


def test_the_thread_has_their_rights_within_and_its_own_after() -> None:
    before = mine()
    with NOBODY.acting():
        within = mine()
        assert within["Uid"][3] == "65534"
        assert within["Gid"][3] == "65533"
        assert within["Groups"] == ["7", "65533"]
        assert int(within["CapEff"][0], 16) == 0
        # real and saved stay root: nobody may send us a signal, nor change our priority as the effective one
        assert (within["Uid"][0], within["Uid"][2]) == (before["Uid"][0], before["Uid"][2])
        assert within["Uid"][1] not in ("0", "65534")
    assert mine() == before


def test_what_a_call_takes_besides_is_kept() -> None:
    with NOBODY.acting(keeping=1 << CAP_SETUID):
        assert int(mine()["CapEff"][0], 16) == 1 << CAP_SETUID


def test_root_with_fewer_capabilities_has_no_others() -> None:
    before = mine()
    with of(0, 0, (), CHOWN).acting():
        within = mine()
        assert int(within["CapEff"][0], 16) == CHOWN
        assert within["Uid"] == ["0"] * 4
    assert mine() == before


def test_the_capabilities_of_another_user_namespace_count_for_nothing() -> None:
    with of(0, 0, (), (1 << 41) - 1, namespace=Namespace(1)).acting():
        assert int(mine()["CapEff"][0], 16) == 0


def test_whoever_may_do_all_that_we_may_is_not_acted_for() -> None:
    before = mine()
    with own().acting():
        assert mine() == before


def test_an_error_within_puts_it_back_too() -> None:
    before = mine()
    with pytest.raises(ZeroDivisionError), NOBODY.acting():
        raise ZeroDivisionError
    assert mine() == before


def test_other_threads_notice_nothing() -> None:
    entered, leave = threading.Event(), threading.Event()

    def act() -> None:
        with NOBODY.acting():
            entered.set()
            leave.wait(10)

    before, thread = mine(), threading.Thread(target=act)
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
    with NOBODY.acting(), pytest.raises(PermissionError):
        secret.read_text()
    secret.chmod(0o640)
    os.chown(secret, 0, 7)
    with NOBODY.acting():
        assert secret.read_text() == "x"


def test_those_of_a_thread_are_read_from_proc() -> None:
    found = Credentials.of(threading.get_native_id())
    assert found == own()
    assert (found.uid.fs, found.gid.fs, found.groups) == (os.geteuid(), os.getegid(), tuple(os.getgroups()))
    assert found.effective == int(mine()["CapEff"][0], 16)
    with pytest.raises(UringError) as caught:
        Credentials.of(1 << 30)
    assert caught.value.errno == errno.ESRCH


def test_those_of_another_process() -> None:
    with other(Other(uid=12345, gid=12346, groups=(3, 9))) as pid:
        found = Credentials.of(pid)
    assert found == of(12345, 12346, (3, 9))
    assert found.settled
    assert not found.unlimited


def test_there_may_be_many_groups() -> None:
    """More than the first read(2) of their status has."""
    groups = tuple(range(1_000_000, 1_010_000))
    with other(Other(uid=12345, gid=12346, groups=groups)) as pid:
        assert Credentials.of(pid).groups == groups


def test_a_user_namespace_is_known_by_its_maker_and_its_ids() -> None:
    with other(Other(uid=12345, gid=12346, unshares=True)) as pid:
        found = Credentials.of(pid)
    assert found.foreign
    assert found.effective
    assert not found.can(CAP_SETUID)
    assert (found.namespace.parent, found.namespace.owner) == (home(), 12345)
    assert found.namespace.uids == (range(12345, 12346),)


def test_dumpable() -> None:
    with other(Other(uid=12345, gid=12345)) as pid:
        assert dumpable(pid)
    with other(Other(uid=12345, gid=12345, hides=True)) as pid:
        assert not dumpable(pid)


USER = of()


def inner(uid: int, gid: int) -> Credentials:
    return of(uid, gid, (), 0xFF, namespace=INNER)


CONTAINER_ROOT = of(0, 0, (), 1 << CAP_SETUID | 1 << CAP_SETGID | 1)
INNER = Namespace(99, home(), 1000, (range(1000, 1001), range(100000, 165536)), (range(1000, 1001),))


@pytest.mark.parametrize(
    ("opener", "writer", "admitted"),
    [
        pytest.param(USER, USER, True, id="itself"),
        pytest.param(USER, of(0, 0, (), 1), False, id="root"),
        pytest.param(USER, of(1001), False, id="another user"),
        pytest.param(USER, of(uids=(1000, 0, 0, 0)), False, id="set-user-ID"),
        pytest.param(USER, of(uids=(1000, 1000, 0, 1000)), False, id="set-user-ID that has put it aside"),
        pytest.param(USER, of(gids=(1000, 42, 42, 42)), False, id="set-group-ID"),
        pytest.param(USER, of(gids=(1000, 1000, 42, 1000)), False, id="set-group-ID that has put it aside"),
        pytest.param(USER, of(groups=(7, 42, 1000)), False, id="another group"),
        pytest.param(USER, of(groups=(1000,)), True, id="fewer groups"),
        pytest.param(USER, of(effective=2), False, id="file capabilities"),
        pytest.param(USER, of(permitted=2), False, id="file capabilities that it has put aside"),
        pytest.param(of(uids=(1000, 5, 5, 5)), of(uids=(1000, 5, 5, 5)), True, id="a set-user-ID program"),
        pytest.param(of(uids=(1000, 5, 5, 5)), of(), True, id="that drops its rights"),
        pytest.param(
            of(uids=(1000, 1000, 0, 1000)), of(0, 0, (7, 1000), 1), False, id="that takes back what it put aside"
        ),
        pytest.param(of(uids=(1000, 1000, 0, 1000)), of(uids=(1000, 0, 0, 0)), False, id="as user alone"),
        pytest.param(own(), USER, True, id="root that becomes a user"),
        pytest.param(CONTAINER_ROOT, of(33, 33, (33,)), True, id="root of a container that becomes a user"),
        pytest.param(CONTAINER_ROOT, own(), False, id="root of a container, and root"),
        pytest.param(of(effective=2), USER, True, id="a program that drops its capabilities"),
        pytest.param(USER, of(effective=7, namespace=INNER), True, id="in a user namespace of its own"),
        pytest.param(
            of(1001), of(1001, effective=7, namespace=INNER), False, id="in the user namespace of another user"
        ),
        pytest.param(inner(1000, 1000), own(), False, id="root there, and root"),
        pytest.param(inner(1000, 1000), inner(100033, 1000), True, id="an id that it has"),
        pytest.param(inner(1000, 1000), inner(0, 1000), False, id="an id that came from outside"),
    ],
)
def test_whom_an_opener_admits(opener: Credentials, writer: Credentials, admitted: bool) -> None:
    assert opener.admits(writer) is admitted


def test_where_few_users_are_known() -> None:
    """A user namespace with the ids 0 to 65535, as a rootless container has: nobody is the last of them."""
    code = (
        f"import re, sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from uringfs import native\n"
        "def say(): print(*re.findall(r'\\nUid:\\t(.*)', open('/proc/thread-self/status').read()))\n"
        "for user in (1234, 65535):\n"
        " native.act_as(user, 1234, b'', 0, False); say(); native.act_own(); say()\n"
    )
    command = ["unshare", "--user", "sh", "-c", 'echo; read line; exec "$@"', "sh", sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{child.pid}/{name}").write_text("0 0 65536")
        out, _ = child.communicate("\n", timeout=DEADLINE)
    root = ["0"] * 4
    assert [line.split() for line in out.splitlines()] == [
        ["0", "65535", "0", "1234"],
        root,
        ["0", "65534", "0", "65535"],
        root,
    ]
