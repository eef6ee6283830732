"""Code of a test that runs in a forked child, in step with the test by one-byte messages."""

import faulthandler
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

DEADLINE = 30.0


class Child:
    """One end of the conversation: the parent's or the child's."""

    def __init__(self, pid: int, receive: int, send: int) -> None:
        self.pid = pid
        self.ends = self._receive, self._send = receive, send
        self.status: int | None = None
        """As waitstatus_to_exitcode, once it has ended."""

    def tell(self, word: bytes = b".") -> None:
        os.write(self._send, word)

    def hear(self, size: int) -> bytes:
        """Read so many bytes."""
        got = b""
        while len(got) < size:
            ready, _, _ = select.select([self._receive], [], [], DEADLINE)
            assert ready, f"only {got!r} within {DEADLINE} s"
            piece = os.read(self._receive, size - len(got))
            assert piece, f"the other side ended, and has said no more than {got!r}"
            got += piece
        return got

    def expect(self, word: bytes = b".") -> None:
        got = self.hear(len(word))
        assert got == word, got

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit status, -N for signal N; it must end within the deadline."""
        if self.status is None:
            pidfd = os.pidfd_open(self.pid)
            try:
                ready, _, _ = select.select([pidfd], [], [], DEADLINE)
                assert ready, f"child {self.pid} does not end"
                self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            finally:
                os.close(pidfd)
        return self.status

    def sleeps_in(self, *functions: str) -> bool:
        """The child's main thread sleeps in one of these kernel functions (/proc/PID/wchan)."""
        with open(f"/proc/{self.pid}/wchan") as wchan:
            return wchan.read() in functions


@contextmanager
def in_child(code: Callable[[Child], None], ends_by: Sequence[int] = (0,)) -> Iterator[Child]:
    """Fork and run code there. At the end of the block it must end, with one of those statuses."""
    to_child, to_parent = os.pipe(), os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        faulthandler.disable()  # a signal may be what the test wants
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # a test runner's timeout is not the child's
        try:
            os.close(to_child[1])
            os.close(to_parent[0])
            code(Child(os.getpid(), to_child[0], to_parent[1]))
            status = 0
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(status)
    os.close(to_child[0])
    os.close(to_parent[1])
    child = Child(pid, to_parent[0], to_child[1])
    try:
        yield child
        assert child.wait() in ends_by, f"the child ended with {child.status}"
    finally:
        if child.status is None:
            with suppress(ProcessLookupError):
                child.kill()
            child.wait()
        os.close(to_parent[0])
        os.close(to_child[1])
