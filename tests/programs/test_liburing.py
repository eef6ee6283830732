"""liburing's own test programs, of the distribution's source package, unmodified: the kernel's passes are ours."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.programs.liburing import source
from tests.programs.liburing.expected import EXPECTED, UNSTEADY, of_version
from tests.programs.liburing.trial import programs, trial
from tests.programs.liburing.verdicts import complaints, score, summary, table
from tests.support.held import Held, maps
from tests.support.mounting import Mount, until
from uringfs.host.process.program import MOST as PROGRAMS

MANY = 100  # fewer that pass on the kernel, and it is not io_uring that was tried
GOAL = 0.95
OF_A_PROGRAM = 4  # descriptors of each that is kept: pidfd, perf event, mem, maps
HELPERS = 32  # descriptors: sockets of helper processes, epoll instances, timers


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    with Mount(tmp_path_factory.mktemp("liburing") / "mnt", "-o", "allow_other") as mount:
        yield mount


def links(mount: Mount) -> list[str]:
    """What the daemon's descriptors are."""
    found = []
    for entry in Path(f"/proc/{mount.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            found.append(os.readlink(entry))
    return found


def nothing_left(mount: Mount, before: Held) -> bool:
    """No ring and no client's file. The kernel keeps the last `new` it looked up, the daemon its helpers."""
    now, here = Held.by(mount), links(mount)
    of_clients = [link for link in here if link.startswith(("pipe:", "/memfd:", "/proc/")) or "liburing-" in link]
    return (
        not of_clients
        and now.mappings == 0
        and now.free_inodes >= before.free_inodes - 1
        and len(here) <= before.descriptors + OF_A_PROGRAM * PROGRAMS + HELPERS
    )


@pytest.mark.timeout(900)
def test_the_suite(mount: Mount, capsys: pytest.CaptureFixture[str]) -> None:
    """One daemon for all of them: it lives, complains of nothing and holds nothing afterwards."""
    until(lambda: "memfd:" not in maps(mount), "no ring yet")
    before = Held.by(mount)
    lines = trial(programs(), mount)
    with capsys.disabled():
        print(f"\nliburing {source.version()}: {summary(lines)}")
    fails, races = (of_version(names, source.version()) for names in (EXPECTED, UNSTEADY))
    found = complaints(lines, fails, races)
    assert not found, "\n".join([*found, table(lines)])
    passed, compared = score(lines)
    assert compared >= MANY, table(lines)
    assert passed >= GOAL * compared, table(lines)
    mount.assert_clean_log()
    until(
        lambda: nothing_left(mount, before),
        lambda: f"nothing left of {before}: {Held.by(mount)}, {links(mount)}",
        60,
    )
