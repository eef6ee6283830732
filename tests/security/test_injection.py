"""Who may inject: the ring's owner into its own rings, and into programs that have no rights that it has not; root
into all. A rule gains nobody a right."""

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from attack import USER, Arena, as_user, become

from tests.support.calls import answer
from tests.support.children import Child, in_child
from tests.support.mounting import ROOT
from uringfs.abi.constants import IORING_SETUP_SINGLE_ISSUER
from uringfs.client import Ring, nop
from uringfs.client.faults import Faults

OTHER = USER + 1
ALL = "all:retval=4711"


@pytest.fixture
def ring(arena: Arena) -> Path:
    """A ring file of the user's that everybody may use."""
    path = arena.mount / "shared"
    script = f"touch {path}; chmod 666 {path}; echo 'setup 8' > {path}"
    subprocess.run([*as_user(), "sh", "-c", script], check=True)
    return path


def as_who(uid: int, act: Callable[[], int]) -> int:
    """What it returns in a process of that user, 0..65535."""

    def process(child: Child) -> None:
        if uid:
            become(uid, uid)
        child.tell(act().to_bytes(2, "little"))

    with in_child(process) as child:
        return int.from_bytes(child.hear(2), "little")


def result(path: Path) -> Callable[[], int]:
    """Gives the result of a NOP on that ring."""

    def act() -> int:
        with Ring(path, 8) as ring:
            ring.queue(nop(1))
            ring.submit(wait=1)
            return ring.reap()[0].res

    return act


def injected(arena: Arena, uid: int, rule: str = ALL) -> int:
    """errno of that user's rule for all rings."""
    return as_who(uid, lambda: answer(lambda: Faults(arena.mount.path).inject(rule)))


@pytest.fixture(autouse=True)
def no_rules(arena: Arena) -> None:
    Faults(arena.mount.path).clear()


def test_everybody_breaks_his_own(arena: Arena) -> None:
    assert injected(arena, USER) == 0
    assert as_who(USER, result(arena.mount / "new")) == 4711
    Faults(arena.mount.path).clear()


def test_nobody_breaks_anothers(arena: Arena) -> None:
    assert injected(arena, OTHER) == 0
    assert as_who(USER, result(arena.mount / "new")) == 0
    assert as_who(0, result(arena.mount / "new")) == 0
    Faults(arena.mount.path).clear()


def test_root_breaks_all(arena: Arena) -> None:
    assert injected(arena, 0) == 0
    assert as_who(USER, result(arena.mount / "new")) == 4711
    Faults(arena.mount.path).clear()


@pytest.mark.parametrize(("uid", "code"), [(USER, 0), (OTHER, errno.EACCES), (0, 0)])
def test_text_on_a_ring(arena: Arena, ring: Path, uid: int, code: int) -> None:
    line = f"inject {ALL}".encode()
    assert as_who(uid, lambda: answer(lambda: os.write(os.open(ring, os.O_WRONLY), line))) == code
    Faults(arena.mount.path).clear()


def test_others_rules_are_not_seen_or_removed(arena: Arena) -> None:
    assert injected(arena, USER) == 0
    (rule,) = Faults(arena.mount.path).rules()

    def act() -> int:
        faults = Faults(arena.mount.path)
        assert faults.rules() == []
        assert faults.clear() == 0
        return answer(lambda: faults.remove(rule["id"]))

    assert as_who(OTHER, act) == errno.ENOENT
    assert as_who(OTHER, lambda: answer(lambda: Faults(arena.mount.path).release(rule["id"]))) == errno.ENOENT
    assert Faults(arena.mount.path).clear() == 1


def test_who_enters_anothers_ring_is_not_broken_by_its_owner(arena: Arena, ring: Path) -> None:
    """It performs what the owner has queued in its own name, but with the results that there are."""
    assert injected(arena, USER) == 0
    assert injected(arena, USER, f"{ALL}:ring=shared") == 0
    assert as_who(OTHER, enters(ring)) == 0
    assert as_who(0, enters(ring)) == 0
    assert as_who(USER, enters(ring)) == 4711
    Faults(arena.mount.path).clear()


def enters(path: Path) -> Callable[[], int]:
    """The result of a NOP on a ring that is set up."""

    def act() -> int:
        with Ring(path, None) as ring:
            ring.queue(nop(1))
            ring.submit(wait=1)
            return ring.reap()[0].res

    return act


@pytest.mark.parametrize(("mode", "said"), [(0o755, "1:4711 \n"), (0o711, "1:0 \n")])
def test_a_program_that_its_user_may_not_read(arena: Arena, mode: int, said: str) -> None:
    """It may have dropped rights, or keep secrets: who may not trace it may not break it (would_dump())."""
    assert injected(arena, USER) == 0
    program = arena.directory / f"faulty.{mode:o}"
    subprocess.run(["cc", "-DCONTROL", "-o", program, ROOT / "tests/mounted/faulty.c"], check=True)
    program.chmod(mode)
    env = {**os.environ, "RING": str(arena.mount / "new")}
    command = [program, "/dev/zero", "nops:1"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, preexec_fn=become)
    program.unlink()
    assert (done.stdout, done.stderr) == (said, "")
    Faults(arena.mount.path).clear()


@pytest.mark.parametrize("kind", ["setuid", "setgid", "caps"])
def test_a_deputy_gives_no_rules(arena: Arena, kind: str) -> None:
    """A program with more rights that writes to `.control` what its user wants, as its standard error output."""
    deputy, control = arena.directory / f"deputy.{kind}", arena.mount / ".control"
    command = [*as_user(), "sh", "-c", f'"{deputy}" "#\ninject {ALL}\n#" 2>{control}']
    subprocess.run(command, capture_output=True, timeout=60)
    assert Faults(arena.mount.path).rules() == []
    # the same words do something when the user writes them
    subprocess.run([*as_user(), "sh", "-c", f'printf "#\ninject {ALL}\n#" >{control}'], check=True)
    assert Faults(arena.mount.path).clear() == 1


def test_the_kernel_of_ones_own_processes_alone(arena: Arena) -> None:
    """`kernel VERSION pid=N`: root's process finds the mount's, whatever a user says of it; the user's what that
    says."""

    def answers() -> int:
        return answer(lambda: Ring(arena.mount / "new", 4, flags=IORING_SETUP_SINGLE_ISSUER).close())

    def root(child: Child) -> None:
        child.expect()
        assert answers() == 0

    with in_child(root) as other:

        def user(child: Child) -> None:
            become()
            said = os.open(arena.mount / ".control", os.O_RDWR)
            for pid in (os.getpid(), other.pid):
                os.write(said, f"kernel 5.4 pid={pid}".encode())
            assert answers() == errno.EINVAL

        with in_child(user):
            pass
        other.tell()
