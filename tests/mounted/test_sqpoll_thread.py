"""The thread that polls a ring with IORING_SETUP_SQPOLL, in a program under `uringfs run`: what that sees of it,
and whose rights it has. The kernel, with a thread of its own, prints the same."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted.test_run import run
from tests.support.mounting import BACKEND, Mount, open_directory
from tests.support.oracle import kernel_has_io_uring

SOURCE = Path(__file__).with_name("sqpoll_probe.c")
MODES = ("a-thread", "transfers", "forks", "threads", "filters", "execs")

pytestmark = pytest.mark.skipif(BACKEND == "pagecache", reason="no lane in programs there: docs/lane.md")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="it becomes another user")


@pytest.fixture(scope="module")
def probe() -> Iterator[Path]:
    with open_directory() as directory:
        subprocess.run(["gcc", "-O2", "-pthread", "-o", str(directory / "probe"), str(SOURCE)], check=True)
        yield directory


def printed(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def expected(probe: Path, mode: str) -> str:
    """By the kernel, where it has io_uring."""
    if not kernel_has_io_uring():
        pytest.skip("no io_uring in this kernel to compare with")
    command = [probe / "probe", mode, probe]
    return printed(subprocess.run(command, capture_output=True, text=True, timeout=240, check=False))


def ours(probe: Path, mount: Mount, mode: str, *options: str) -> str:
    return printed(run(*options, "--mount", mount.path, "--", probe / "probe", mode, probe, timeout=240))


@pytest.mark.parametrize("mode", MODES)
def test_as_the_kernel(probe: Path, mount: Mount, mode: str) -> None:
    assert ours(probe, mount, mode) == expected(probe, mode)


@as_root
@pytest.mark.parametrize("mode", ["libc", "raw"])
def test_rights(probe: Path, mount: Mount, mode: str) -> None:
    """A request has those of who has set the ring up, as they were then. No thread in the program keeps them."""
    assert ours(probe, mount, mode) == expected(probe, mode)


def test_a_process_that_is_killed(probe: Path, mount: Mount) -> None:
    """Whoever shares its ring finds each request that was taken completed once, and is told that nobody polls."""
    assert ours(probe, mount, "killed") == "none is lost\n"


@as_root
def test_no_thread_is_to_be_had(probe: Path, mount: Mount) -> None:
    """RLIMIT_NPROC: the daemon polls."""
    assert ours(probe, mount, "limit") == "0\n"


def test_it_performs_what_it_finds(probe: Path, mount: Mount) -> None:
    """Nearly all of them: the daemon has the lane now and then."""
    assert int(ours(probe, mount, "counts")) > 900


@pytest.mark.parametrize("option", ["--no-lane", "--no-workers"])
def test_switched_off(probe: Path, mount: Mount, option: str) -> None:
    assert ours(probe, mount, "counts", option) == "0"
