"""Waiting enters on a mount: who is killed, ends or is interrupted in one, and who goes on meanwhile."""

import errno
import mmap
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from tests.support.calls import fails
from tests.support.children import DEADLINE, Child, in_child
from tests.support.mounting import BACKEND, Mount, until
from uringfs.client import Ring, nop


def number(ring: Ring, name: str) -> int:
    """One of the ring's counters."""
    return int(os.getxattr(ring.fd, f"user.uring.{name}"))


def until_waiting(ring: Ring, count: int = 1) -> None:
    until(lambda: number(ring, "waiting") == count, f"{count} enters to wait")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture
def ring(mount: Mount, name: str) -> Iterator[Ring]:
    """A named ring, set up."""
    with Ring(mount / name, 4) as ring:
        yield ring


@contextmanager
def a_waiter(ring: Ring, ends_by: int = 0) -> Iterator[Child]:
    """A child that waits for a completion of the ring; if it gets one, it goes."""

    def wait(_: Child) -> None:
        ring.enter(0, 1)

    with in_child(wait, ends_by=[ends_by]) as child:
        until_waiting(ring)
        yield child


# -- kill, exit, exec, close


def test_sigkill_of_a_waiter(mount: Mount, ring: Ring) -> None:
    for _ in range(20):
        with a_waiter(ring, -signal.SIGKILL) as child:
            child.kill()
            child.wait()
        until_waiting(ring, 0)


def test_sigkill_of_a_waiter_with_a_pending_read(mount: Mount, ring: Ring, pipe: tuple[int, int]) -> None:
    """The read is cancelled with its process, as io_uring_files_cancel() does; the pipe loses nothing."""

    def wait(_: Child) -> None:
        ring.readv(pipe[0], [bytearray(8)], user_data=6)
        ring.submit(wait=1)

    with in_child(wait, ends_by=[-signal.SIGKILL]) as child:
        until_waiting(ring)
        assert number(ring, "pending") == 1
        child.kill()
    until(lambda: number(ring, "pending") == 0, "the read to be cancelled")
    assert [(cqe.user_data, cqe.res) for cqe in ring.reap()] == [(6, -errno.ECANCELED)]
    os.write(pipe[1], b"kept")
    os.set_blocking(pipe[0], False)
    assert os.read(pipe[0], 8) == b"kept"


def test_a_client_that_exits_with_a_pending_read(mount: Mount, ring: Ring, pipe: tuple[int, int]) -> None:
    def go(_: Child) -> None:
        ring.readv(pipe[0], [bytearray(8)], user_data=6)
        assert ring.submit() == 1

    with in_child(go):
        pass
    until(lambda: number(ring, "pending") == 0, "the read to be cancelled")
    os.write(pipe[1], b"kept")
    os.set_blocking(pipe[0], False)
    assert os.read(pipe[0], 8) == b"kept"


def test_a_client_that_becomes_another_program(mount: Mount, ring: Ring, pipe: tuple[int, int]) -> None:
    """After exec(2) its memory is another's: a read that pends must neither store there nor eat the data."""
    page = mmap.mmap(-1, 4096)

    def go(child: Child) -> None:
        ring.readv(pipe[0], [page], user_data=6)
        assert ring.submit() == 1
        child.tell()
        os.dup2(child.ends[0], 0)
        os.execv("/usr/bin/head", ["head", "-c1"])

    with in_child(go) as child:
        child.expect()
        until(lambda: Path(f"/proc/{child.pid}/comm").read_bytes().strip() == b"head", "the exec")
        os.write(pipe[1], b"kept")
        until(lambda: ring.ready() == 1, "the read to end")
        (cqe,) = ring.reap()
        assert cqe.res in (-errno.ECANCELED, -errno.EFAULT)
        os.set_blocking(pipe[0], False)
        assert os.read(pipe[0], 8) == b"kept"
        child.tell()


def test_exec_of_a_process_whose_other_thread_waits(mount: Mount, name: str) -> None:
    """The last descriptor of a private ring is gone with it: the inode goes, the daemon does not."""

    def go(child: Child) -> None:
        ring = Ring(mount / name, 4)
        os.unlink(mount / name)
        threading.Thread(target=lambda: ring.enter(0, 1), daemon=True).start()
        until_waiting(ring)
        os.execv("/bin/true", ["true"])

    before = os.statvfs(mount.path).f_ffree
    with in_child(go):
        pass
    until(lambda: os.statvfs(mount.path).f_ffree >= before, "the ring to be freed")


def test_close_while_a_thread_waits(mount: Mount) -> None:
    """The wait holds the file, so it goes on; only exit ends it. What it leaves: nothing."""

    def go(child: Child) -> None:
        ring = Ring(mount / "new", 4)
        threading.Thread(target=lambda: ring.enter(0, 1), daemon=True).start()
        until_waiting(ring)
        os.close(ring.fd)
        child.tell()

    before = os.statvfs(mount.path).f_ffree
    with in_child(go) as child:
        child.expect()
    until(lambda: os.statvfs(mount.path).f_ffree >= before, "the ring to be freed")


def test_closing_the_last_descriptor_cancels_a_read(mount: Mount, pipe: tuple[int, int]) -> None:
    """The daemon's duplicate of the pipe goes: the writer gets EPIPE, not a reader that is nobody."""
    receive, send = os.pipe()
    buffer = bytearray(8)  # kept: until the release is seen, a byte may still be read into it
    ring = Ring(mount / "new", 4)
    ring.readv(receive, [buffer], user_data=1)
    ring.submit()
    os.close(receive)
    ring.close()

    def broken() -> bool:
        try:
            os.write(send, b"x")
        except BrokenPipeError:
            return True
        return False

    until(broken, "the pipe to have no reader")
    os.close(send)


# -- signals


def test_eintr_from_the_python_client(ring: Ring) -> None:
    seen: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        seen.append(number)

    def poke() -> None:
        until_waiting(ring)
        signal.pthread_kill(main, signal.SIGUSR1)

    main = threading.get_ident()
    before = signal.signal(signal.SIGUSR1, handler)
    thread = threading.Thread(target=poke)
    try:
        thread.start()
        fails(errno.EINTR, ring.enter, 0, 1)
        assert seen == [signal.SIGUSR1]
        assert number(ring, "waiting") == 0
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert signal.SIGUSR1 not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


parked = pytest.mark.skipif(BACKEND == "pagecache", reason="no text request waits long: docs/differences.md")


@parked
def test_a_text_enter_is_interrupted(mount: Mount, name: str) -> None:
    """Ctrl-C on `echo enter wait=1 > ring`: the write fails with EINTR, or the shell dies of it."""
    with Ring(mount / name, 4) as ring:

        def text(child: Child) -> None:
            signal.signal(signal.SIGUSR1, lambda *_: child.tell(b"!"))
            fd = os.open(mount / name, os.O_WRONLY)
            # os.write repeats after EINTR (PEP 475), so it waits a second time
            os.write(fd, b"enter wait=1\n")

        with in_child(text) as child:
            until_waiting(ring)
            child.kill(signal.SIGUSR1)
            child.expect(b"!")
            until_waiting(ring)
            ring.queue(nop())
            ring.submit()
        ring.reap()
        # who runs the tests in the background may have it ignored
        command = ["env", "--default-signal=INT", "sh", "-c", f"echo enter wait=1 > {mount / name}"]
        with subprocess.Popen(command) as shell:
            until_waiting(ring)
            shell.send_signal(signal.SIGINT)
            assert shell.wait(DEADLINE) in (-signal.SIGINT, 128 + signal.SIGINT)
        until_waiting(ring, 0)
    assert b"EINTR" in (mount / name).read_bytes()


# -- nobody else is held up


def test_a_waiting_enter_holds_up_nobody(mount: Mount, name: str) -> None:
    """The wait is in a poll: no lock of the file is held by it."""
    path = mount / name
    env = {**os.environ, "r": str(path)}

    def shell(script: str) -> str:
        done = subprocess.run(
            ["sh", "-ec", script], env=env, capture_output=True, text=True, timeout=DEADLINE, check=True
        )
        return done.stdout

    with Ring(path, 4, cq_entries=16) as ring:

        def wait(_: Child) -> None:
            ring.enter(0, 3)

        with in_child(wait):
            until_waiting(ring)
            shell("echo nop user_data=1 > $r")
            shell("echo nop user_data=2 >> $r")
            assert "Waiting:\t1" in shell("cat $r")
            shell("chmod 600 $r; chown 1 $r; touch $r; mv $r ${r}x; mv ${r}x $r; truncate -s 0 $r; ls -l $r")
            shell("chown 0 $r")
            shell("echo enter > $r")
            assert number(ring, "waiting") == 1  # two of three
            with Ring(path, None, params=ring.raw_params) as other:
                assert other.ready() == 2
            shell("rm $r")
            assert number(ring, "waiting") == 1
            ring.queue(nop(3))
            ring.submit()
        assert [cqe.user_data for cqe in ring.reap()] == [1, 2, 3]


def test_many_waiters_wake_each_at_its_own_count(mount: Mount) -> None:
    """More waiting enters than pyfuse3 serves requests by default (99)."""
    with Ring(mount / "new", 64, cq_entries=256) as ring:
        done: list[int] = []
        lock = threading.Lock()

        def wait(count: int) -> None:
            ring.enter(0, count)
            with lock:
                done.append(count)

        threads = [threading.Thread(target=wait, args=(count,)) for count in range(1, 121)]
        for thread in threads:
            thread.start()
        until_waiting(ring, 120)
        for count in range(1, 121):
            ring.queue(nop(count))
            ring.submit()
            until(lambda: len(done) == count, f"waiter {count} to wake")  # noqa: B023
            assert number(ring, "waiting") == 120 - count
        for thread in threads:
            thread.join(DEADLINE)
        assert done == list(range(1, 121))


def test_a_slow_read_on_one_ring_delays_no_other(mount: Mount, ring: Ring, pipe: tuple[int, int]) -> None:
    data = bytearray(3)
    ring.readv(pipe[0], [data], user_data=1)
    ring.submit()
    with Ring(mount / "new", 4) as other:
        for i in range(100):
            other.queue(nop(i))
            assert other.submit(wait=1) == 1
            assert [cqe.user_data for cqe in other.reap()] == [i]
    ring.queue(nop(2))
    ring.submit(wait=1)
    assert [cqe.user_data for cqe in ring.reap()] == [2]
    os.write(pipe[1], b"abc")
    assert ring.wait() == (1, 3, 0)
    assert data == b"abc"


def test_concurrent_enters_lose_nothing(mount: Mount) -> None:
    """Eight processes on one ring, each with SQEs of its own through the text door: all complete once."""
    with Ring(mount / "shared", 4096, cq_entries=8192) as ring:

        def work(child: Child) -> None:
            fd = os.open(mount / "shared", os.O_WRONLY)
            for _ in range(100):
                os.write(fd, b"nop user_data=%d\nenter\n" % child.pid)

        managers = [in_child(work) for _ in range(8)]
        children = [manager.__enter__() for manager in managers]
        for manager in managers:
            manager.__exit__(None, None, None)
        found = [cqe.user_data for cqe in ring.reap()]
        assert sorted(found) == sorted(child.pid for child in children for _ in range(100))


@parked
def test_what_a_parked_text_enter_does_not_hold_up(mount: Mount, name: str) -> None:
    """It is a write, and holds the file's lock as a reader: other readers of it pass."""
    with Ring(mount / name, 4) as ring:
        with subprocess.Popen(["sh", "-c", f"echo enter wait=1 > {mount / name}"]) as shell:
            until_waiting(ring)
            assert b"Waiting:\t1" in (mount / name).read_bytes()
            assert os.stat(mount / name).st_nlink == 1
            ring.queue(nop(1))
            assert ring.submit() == 1  # another write
            assert shell.wait(DEADLINE) == 0
        assert [cqe.user_data for cqe in ring.reap()] == [1]
