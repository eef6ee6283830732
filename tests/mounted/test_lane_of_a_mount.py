"""The daemon's side of the lane on a mount, with a scripted client: attach, rights, turns, kicks, deaths, a client
that scribbles."""

import errno
import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.support.calls import answer, fails
from tests.support.children import Child, in_child
from tests.support.lane import Lane, attach, kick
from tests.support.mounting import Mount, until
from tests.unit.laneclient import Pass, run
from uringfs.abi import lane as abi
from uringfs.abi.constants import IORING_SETUP_SINGLE_ISSUER, IORING_SETUP_SQPOLL, IOSQE_IO_DRAIN
from uringfs.abi.structs import OFFSETS, SQ_OFF
from uringfs.client import Ring, nop

ENTRIES = 8


@pytest.fixture
def ring(mount: Mount, name: str) -> Iterator[Ring]:
    with Ring(mount / name, ENTRIES) as ring:
        yield ring


@pytest.fixture
def lane(ring: Ring) -> Iterator[Lane]:
    with Lane(ring) as lane:
        yield lane


def status(ring: Ring) -> dict[str, str]:
    """What `cat` shows."""
    with open(f"/proc/self/fd/{ring.fd}") as file:
        return dict(line.rstrip().split(":\t", 1) for line in file if ":\t" in line)


def number(ring: Ring, name: str) -> int:
    return int(os.getxattr(ring.fd, f"user.uring.{name}"))


def tell(ring: Ring, command: str) -> None:
    os.write(ring.fd, command.encode())


# -- attach, and who may


def test_the_answer(ring: Ring) -> None:
    got = attach(ring.fd)
    assert got._replace(sq_array=0, flags=0) == abi.LaneAnswer(1, 1, 0, ENTRIES, 2 * ENTRIES, 0, 1)
    assert got.sq_array == OFFSETS.unpack_from(ring.raw_params, SQ_OFF)[6]
    assert attach(ring.fd) == got


def test_a_newer_client_gets_what_both_know(ring: Ring) -> None:
    assert attach(ring.fd, version=7).version == abi.URINGFS_LANE_VERSION


def test_an_answer_for_which_there_is_little_room(ring: Ring) -> None:
    assert attach(ring.fd, room=8) == abi.LaneAnswer(1, 1, 0, 0, 0, 0, 0)


def test_errors_of_attach(mount: Mount, ring: Ring) -> None:
    fails(errno.EINVAL, attach, ring.fd, version=0)
    fd = os.open(mount / "new", os.O_RDWR)
    fails(errno.EBADFD, attach, fd)
    os.close(fd)
    with Ring(mount / "new", 4, flags=IORING_SETUP_SQPOLL) as polled:
        fails(errno.EOPNOTSUPP, attach, polled.fd)


def test_another_user_has_no_lane_on_a_ring_that_it_may_use(mount: Mount, ring: Ring, name: str) -> None:
    os.chmod(mount / name, 0o666)

    def try_it(_: Child) -> None:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        with Ring(mount / name, None) as shared:
            fails(errno.EOPNOTSUPP, attach, shared.fd)
            shared.queue(nop(5))
            assert shared.submit(wait=1) == 1

    with in_child(try_it):
        pass


def test_of_a_single_issuer_no_other_thread_attaches(mount: Mount) -> None:
    with Ring(mount / "new", 4, flags=IORING_SETUP_SINGLE_ISSUER) as ring:
        answers: list[int] = []
        thread = threading.Thread(target=lambda: answers.append(answer(lambda: attach(ring.fd))))
        thread.start()
        thread.join()
        assert answers == [errno.EEXIST]
        assert attach(ring.fd).holder == 1


# -- turns


def test_a_client_and_the_daemon_take_turns(ring: Ring, lane: Lane) -> None:
    for first in range(0, 900, 3):
        for n in range(3):
            ring.queue(nop(first + n))
        assert run(lane.enter(1)) == Pass(1)
        assert ring.enter(1) == 1
        assert run(lane.enter(1)) == Pass(1)
        assert [cqe.user_data for cqe in ring.reap()] == [first, first + 1, first + 2]
    assert (number(ring, "submitted"), number(ring, "completed"), number(ring, "lane_submitted")) == (
        900,
        900,
        600,
    )
    shown = status(ring)
    assert shown["Submitted"] == shown["Completed"] == "900"
    assert (shown["Lane"], shown["LaneTaken"], shown["Enters"]) == ("on", "600", "900")


def test_who_waits_is_told_by_a_kick(ring: Ring, lane: Lane) -> None:
    waiter = threading.Thread(target=ring.enter, args=(0, 1))
    waiter.start()
    until(lambda: lane.attention & abi.URINGFS_LANE_WAITER, "somebody to wait")
    ring.queue(nop(1))
    assert run(lane.enter(1)) == Pass(1, kick=True)
    kick(ring.fd)
    waiter.join(10)
    assert not waiter.is_alive()
    assert number(ring, "enters") == 2


def test_an_enter_behind_a_client_in_the_lane(ring: Ring, lane: Lane) -> None:
    ring.queue(nop(1))
    steps = lane.lock()
    while next(steps) != "has it":
        pass
    entered: list[int] = []
    thread = threading.Thread(target=lambda: entered.append(ring.submit()))
    thread.start()
    until(lambda: lane.load(abi.LANE_DAEMON), "the daemon to want it")
    lane.store(abi.LANE_LOCK, 0)
    kick(ring.fd)
    thread.join(10)
    assert entered == [1]
    assert not lane.load(abi.LANE_DAEMON)


def test_a_drain_waits_for_what_a_client_performs(ring: Ring, lane: Lane) -> None:
    ring.queue(nop(1))
    place = run(lane.begin_outside())
    assert status(ring)["LaneUnderWay"] == "1"
    ring.queue(nop(2, flags=IOSQE_IO_DRAIN))
    assert ring.submit() == 1
    assert ring.reap() == []
    assert run(lane.end_outside(place)).kick
    kick(ring.fd)
    assert [cqe.user_data for cqe in ring.reap()] == [1, 2]
    assert status(ring)["LaneUnderWay"] == "0"


# -- the switch


def test_switched_off_and_on_by_text(ring: Ring, lane: Lane) -> None:
    ring.queue(nop(1))
    tell(ring, "lane off\n")
    assert status(ring)["Lane"] == "off OFF"
    assert number(ring, "lane") == 0
    assert run(lane.enter(1)) == Pass()
    tell(ring, "lane on\n")
    assert number(ring, "lane") == 1
    assert run(lane.enter(1)) == Pass(1)


def test_text_requests_keep_clients_out(ring: Ring, lane: Lane) -> None:
    tell(ring, "readv path=/etc/hostname len=4 user_data=9\n")
    ring.queue(nop(1))
    assert run(lane.enter(2)) == Pass()
    assert ring.enter(2, 2) == 2
    assert sorted(cqe.user_data for cqe in ring.reap()) == [1, 9]
    ring.queue(nop(2))
    assert run(lane.enter(1)) == Pass(1)


# -- deaths


def test_a_client_that_is_killed_at_every_step(mount: Mount, name: str) -> None:
    """A client of another process on the same ring dies: nothing is lost, nothing comes twice."""
    with Ring(mount / name, ENTRIES) as ring, Lane(ring) as lane:
        for step in range(17):

            def die(child: Child, step: int = step) -> None:
                with Ring(mount / name, None) as mine, Lane(mine) as theirs:
                    assert theirs.number != lane.number
                    steps = theirs.enter(2)
                    for _ in range(step + 1):
                        next(steps, None)
                    child.tell()
                    signal.pause()

            ring.queue(nop(100 * step + 1))
            ring.queue(nop(100 * step + 2))
            with in_child(die, ends_by=[-signal.SIGKILL]) as child:
                child.expect()
                child.kill()
            until(
                lambda: number(ring, "sq_ready") in (0, 1, 2) and status(ring)["LaneProcesses"] == "1", "its end"
            )
            left = number(ring, "sq_ready")
            assert ring.enter(left, 0) == left
            cqes = ring.reap()
            assert [cqe.user_data for cqe in cqes] == [100 * step + 1, 100 * step + 2], step
            assert {cqe.res for cqe in cqes} <= {0, -errno.ECANCELED}


def test_exec_ends_the_part_that_a_process_takes(mount: Mount, ring: Ring, lane: Lane, name: str) -> None:
    def go(child: Child) -> None:
        with Ring(mount / name, None) as mine, Lane(mine) as theirs:
            steps = theirs.lock()
            while next(steps) != "has it":
                pass
            child.tell()
            child.expect()
            os.dup2(child.ends[0], 0)
            os.execv("/usr/bin/head", ["head", "-c1"])

    with in_child(go) as child:
        child.expect()
        assert lane.load(abi.LANE_LOCK) == 2
        child.tell()
        ring.queue(nop(1))
        assert ring.submit(wait=1) == 1
        until(lambda: status(ring)["LaneProcesses"] == "1", "the exec")
        child.tell()


# -- hostile


def test_scribbling_harms_that_ring_only(mount: Mount, name: str) -> None:
    """A process stores arbitrary words in the page of its ring while another of its threads enters: the daemon
    goes on, another ring is exact. Killed, it leaves nothing."""

    def go(child: Child) -> None:
        with Ring(mount / name, ENTRIES) as ring, Lane(ring) as lane:
            threading.Thread(target=enter_again_and_again, args=(ring,), daemon=True).start()
            child.tell()
            scribble(lane)

    with (
        in_child(go, ends_by=[-signal.SIGKILL]) as child,
        Ring(mount / "new", 64) as other,
        Lane(other) as exact,
    ):
        child.expect()
        for first in range(0, 4000, 4):
            for n in range(4):
                other.queue(nop(first + n))
            assert run(exact.enter(2)) == Pass(2)
            assert other.enter(2) == 2
            assert [cqe.user_data for cqe in other.reap()] == [first + n for n in range(4)]
        child.kill()
    with open(mount / name) as file:
        assert "State" not in file.read()


def scribble(lane: Lane) -> None:
    chance = random.Random(4711)
    while True:
        offset = 4 * chance.randrange(abi.URINGFS_LANE_SIZE // 4)
        lane.store(offset, chance.choice([0, 1, 2, 0xFFFFFFFF, chance.getrandbits(32)]))


def enter_again_and_again(ring: Ring) -> None:
    while True:
        with suppress(BlockingIOError):
            for n in range(4):
                ring.queue(nop(n, flags=IOSQE_IO_DRAIN if n == 3 else 0))
        kick(ring.fd)
        with suppress(OSError):
            ring.enter(4)
        ring.reap()
