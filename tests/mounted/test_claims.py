"""Calls under `uringfs run` that submit a receive and wait for it in the program (docs/lane.md, "Claims"), and
what may come in between. The kernel prints the same."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted.test_run import run
from tests.mounted.test_workers import printed
from tests.support.mounting import BACKEND, Mount, open_directory
from tests.support.oracle import kernel_has_io_uring
from uringfs.abi.constants import IORING_SETUP_COOP_TASKRUN, IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_SINGLE_ISSUER

SOURCE = Path(__file__).with_name("claims_probe.c")
ALONE = ("interrupted", "interrupted_and_closed", "left", "timed", "pipes", "asks", "received", "shut", "replaced")
BESIDE = (
    "submitted",
    "nop",
    "closed_and_nop",
    "closed_all",
    "cancelled",
    "sync_cancelled",
    "message",
    "child",
    "child_and_data",
    "forked",
)
SINGLE = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN
CASES = [(mode, flags) for mode in ALONE + BESIDE for flags in (0, IORING_SETUP_COOP_TASKRUN)]
CASES += [(mode, SINGLE) for mode in ALONE]

pytestmark = pytest.mark.skipif(BACKEND == "pagecache", reason="no lane in programs there: docs/lane.md")


@pytest.fixture(scope="module")
def probe() -> Iterator[Path]:
    with open_directory() as directory:
        built = directory / "probe"
        subprocess.run(["gcc", "-O2", "-pthread", "-o", str(built), str(SOURCE)], check=True)
        yield built


@pytest.mark.parametrize(("mode", "flags"), CASES)
def test_as_the_kernel(probe: Path, mount: Mount, mode: str, flags: int) -> None:
    if not kernel_has_io_uring():
        pytest.skip("no io_uring in this kernel to compare with")
    command = [probe, mode, hex(flags)]
    expected = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert printed(run("--mount", mount.path, "--", *command)) == printed(expected)


def test_a_process_that_is_killed(probe: Path, mount: Mount) -> None:
    """Whoever shares its ring finds a CQE for each request, and the ring in order. The kernel cancels what waited
    only when there is something to receive."""
    done = run("--mount", mount.path, "--", probe, "killed", "0")
    assert printed(done) == "each once\n"
