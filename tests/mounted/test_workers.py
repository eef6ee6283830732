"""Threads that perform requests in a program under `uringfs run`: what it sees of them, and the rights they have.
The kernel, with threads of its own, prints the same."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted.test_run import run
from tests.support.mounting import BACKEND, Mount, open_directory
from tests.support.oracle import kernel_has_io_uring
from uringfs.abi.constants import IORING_SETUP_CQE32, IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_SINGLE_ISSUER

SOURCE = Path(__file__).with_name("workers_probe.c")
MODES = (
    "nothing",
    "some",
    "direct",
    "fault",
    "left-alone",
    "most",
    "limits",
    "affinity",
    "cancels",
    "forks",
    "threads",
    "signals",
    "execs",
    "stuck",
    "spawns",
    "high",
)
PRIVILEGED = ("libc", "raw", "direct-meanwhile", "capabilities", "landlock", "namespaces")
SETUP_FLAGS = (0, IORING_SETUP_CQE32, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)

pytestmark = pytest.mark.skipif(BACKEND == "pagecache", reason="no lane in programs there: docs/lane.md")


@pytest.fixture(scope="module")
def probe() -> Iterator[Path]:
    with open_directory() as directory:
        subprocess.run(["gcc", "-O2", "-pthread", "-o", str(directory / "probe"), str(SOURCE)], check=True)
        (directory / "file").touch()
        yield directory


def printed(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def expected(probe: Path, mode: str, flags: int) -> str:
    """By the kernel, where it has io_uring."""
    if not kernel_has_io_uring():
        pytest.skip("no io_uring in this kernel to compare with")
    command = [probe / "probe", mode, probe / "file", hex(flags)]
    return printed(subprocess.run(command, capture_output=True, text=True, timeout=120, check=False))


@pytest.mark.parametrize("flags", SETUP_FLAGS, ids=hex)
@pytest.mark.parametrize("mode", MODES)
def test_as_the_kernel(probe: Path, mount: Mount, mode: str, flags: int) -> None:
    if mode in ("forks", "threads", "limits", "affinity") and flags & IORING_SETUP_SINGLE_ISSUER:
        flags = 0
    done = run("--mount", mount.path, "--", probe / "probe", mode, probe / "file", hex(flags))
    assert printed(done) == expected(probe, mode, flags)


def test_memory_that_ends_before_a_direct_transfer(probe: Path, mount: Mount) -> None:
    done = run("--mount", mount.path, "--no-lane", "--", probe / "probe", "fault", probe / "file")
    assert printed(done) == expected(probe, "fault", 0)


def test_overlapping_direct_writes_come_in_their_order(probe: Path, mount: Mount) -> None:
    """Which the kernel does not promise: the device may have them in another."""
    done = run("--mount", mount.path, "--", probe / "probe", "ordered", probe / "file")
    assert printed(done) == "in order\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="it drops root's rights")
@pytest.mark.parametrize("mode", PRIVILEGED)
def test_rights(probe: Path, mount: Mount, mode: str) -> None:
    """A worker has the rights of whom it was cloned from, and does not outlive them; what was under way when they
    changed ends well."""
    done = run("--mount", mount.path, "--", probe / "probe", mode, probe / "file")
    assert printed(done) == expected(probe, mode, 0)


def test_a_process_that_is_killed(probe: Path, mount: Mount) -> None:
    """Whoever shares its ring finds a CQE for each request that was taken."""
    done = run("--mount", mount.path, "--", probe / "probe", "killed", probe / "file")
    assert printed(done) == "none is lost\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="it becomes another user")
def test_no_thread_is_to_be_had(probe: Path, mount: Mount) -> None:
    """RLIMIT_NPROC: the daemon performs them."""
    done = run("--mount", mount.path, "--", probe / "probe", "limit", probe / "file")
    assert printed(done) == "0\n"


def test_switched_off(probe: Path, mount: Mount) -> None:
    done = run("--no-workers", "--mount", mount.path, "--", probe / "probe", "some", probe / "file")
    assert printed(done) == "workers 0\n"
