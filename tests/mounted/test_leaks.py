"""Thousands of rings come and go; the daemon's descriptors, mappings, memory and inodes do not pile up."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.held import Held, maps
from tests.support.mounting import Mount, until
from uringfs.abi.constants import IORING_OP_POLL_ADD
from uringfs.abi.events import EPOLLIN
from uringfs.client import Ring, nop

CYCLES = 10_000
WARM_UP = 500
RSS_SLACK = 4 << 20  # bytes: allocator noise; 10,000 leaked objects of 500 bytes would show


def rss(mount: Mount) -> int:
    return int(Path(f"/proc/{mount.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def assert_same_after(mount: Mount, work: Callable[[], None]) -> None:
    def settled() -> bool:
        # The kernel keeps the last entry of `new` it looked up until the next, and so one bare inode.
        return os.statvfs(mount.path).f_ffree >= 4095 and "memfd:" not in maps(mount)

    until(settled, "the first rings to be freed")
    before, memory = Held.by(mount), rss(mount)
    work()
    # Less, if what was left of the first rings had not been collected yet
    until(lambda: Held.by(mount).within(before), f"as before: {before}")
    assert rss(mount) - memory < RSS_SLACK


@pytest.mark.parametrize("which", ["named", "new"])
def test_ten_thousand_rings(mount: Mount, name: str, which: str) -> None:
    def cycle(count: int) -> None:
        for _ in range(count):
            with Ring(mount / (name if which == "named" else "new"), 8):
                pass
            if which == "named":
                os.unlink(mount / name)

    cycle(WARM_UP)
    assert_same_after(mount, lambda: cycle(CYCLES))


def test_pending_reads_and_dead_clients_leave_nothing(mount: Mount, name: str) -> None:
    """A pipe read pends at each close: the duplicate descriptor and the pinned memory go with it."""
    receive, send = os.pipe()

    def cycle(count: int) -> None:
        for _ in range(count):
            with Ring(mount / "new", 8) as ring:
                for user_data in range(4):
                    ring.readv(receive, [bytearray(8)], user_data=user_data)
                ring.queue(nop(9))
                assert ring.submit(wait=1) == 5

    try:
        cycle(50)
        assert_same_after(mount, lambda: cycle(500))
    finally:
        os.close(receive)
        os.close(send)


def test_many_polls_of_one_file_cost_one_descriptor(mount: Mount) -> None:
    """Nobody takes all of the daemon's by polling."""
    receive, send = os.pipe()
    with Ring(mount / "new", 512) as ring:
        before = Held.by(mount).descriptors
        for user_data in range(300):
            ring.queue(nop(user_data)._replace(opcode=IORING_OP_POLL_ADD, fd=receive, rw_flags=EPOLLIN))
            assert ring.submit() == 1
        assert Held.by(mount).descriptors < before + 30
        os.write(send, b"x")
        assert sorted(ring.wait().user_data for _ in range(300)) == list(range(300))
    os.close(receive)
    os.close(send)
