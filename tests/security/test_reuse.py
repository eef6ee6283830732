"""A process submits and dies, and a privileged program gets its id: what was submitted is not for that one. The
daemon is stopped meanwhile, as a busy one would be, so that it learns of the death when all that has happened.

In the daemon's own PID namespace: whoever has the id again in another is somebody else to it anyway.
"""

import os
import signal
from pathlib import Path

import pytest
import thief as thieves
from attack import CHANNELS, Arena, become
from thief import Pipes, Want, descriptor, memory, path, pipes

from tests.support.children import Child, in_child
from tests.support.mounting import until
from uringfs.client import Ring

LAST = Path("/proc/sys/kernel/ns_last_pid")


def forked_as(pid: int) -> int | None:
    """fork(2), as far as nobody else has forked meanwhile: 0, that id, or None."""
    LAST.write_text(str(pid - 1))
    child = os.fork()
    if child == 0 and os.getpid() != pid:
        os._exit(0)
    if child not in (0, pid):
        os.waitpid(child, 0)
    return child if child in (0, pid) else None


def be_victim(arena: Arena, ends: Pipes) -> None:
    become()
    words = [arena.directory / "secret", ends.ready[1], ends.go[0]]
    os.close(ends.go[1])
    os.execv(arena.directory / "holder.setuid", ["holder", *map(str, words)])


def become_victim(arena: Arena, pid: int, ends: Pipes) -> None:
    """A privileged program with that id."""
    found: list[int] = []

    def tried() -> bool:
        child = forked_as(pid)
        if child == 0:
            be_victim(arena, ends)
        found.extend([child] if child else [])
        return bool(found)

    until(tried, f"the id {pid} for a program of ours")
    assert os.read(ends.ready[0], 1) == b"."


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("polled", [False, True], ids=["linked", "polled"])
@pytest.mark.parametrize("want", [descriptor, memory, path])
def test_the_id_of_a_submitter(arena: Arena, want: Want, polled: bool, channel: str) -> None:
    def theft(test: Child) -> None:
        ends = pipes()

        def steal(parent: Child) -> None:
            thieves.run(arena.mount.path, arena.directory, ends, want, polled, channel, parent)

        with in_child(steal) as thief:
            pid = int.from_bytes(thief.hear(4), "little")
            test.tell()
            test.expect()  # the daemon is stopped
            thief.tell()
            thief.expect()  # the submitter is dead
            become_victim(arena, pid, ends)
            thief.tell()
            thief.expect()  # the trigger is pulled
            test.tell()
        os.close(ends.go[1])
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    Ring(arena.mount / "new", 1).close()  # the kernel asks once whether a close is to be announced
    with in_child(theft) as child:
        child.expect()
        arena.mount.process.send_signal(signal.SIGSTOP)
        try:
            os.waitpid(arena.mount.pid, os.WUNTRACED)
            child.tell()
            child.expect()
        finally:
            arena.mount.process.send_signal(signal.SIGCONT)
