"""The client's side of the lane: under `uringfs run`, and in a program with URINGFS_LANE and uringfs.h."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted.test_run import run
from tests.support.mounting import BACKEND, Mount
from tests.support.probe import with_and_without_header

SOURCE = Path(__file__).with_name("lane_probe.c")
ALL = 1 + 2 + 3 + 4 + 5 + 2 + 1
TAKEN = (ALL - 1, ALL)
"""The last may come just when the daemon has the lane, for what a process that has ended may have left."""

pytestmark = pytest.mark.skipif(BACKEND == "pagecache", reason="no lane in programs there: docs/lane.md")


@pytest.fixture(scope="module")
def probe() -> Iterator[Path]:
    with with_and_without_header(SOURCE) as directory:
        yield directory


@pytest.mark.parametrize(("options", "taken"), [([], TAKEN), (["--no-lane"], (0,))])
def test_under_run(probe: Path, mount: Mount, options: list[str], taken: tuple[int, ...]) -> None:
    done = run(*options, "--mount", mount.path, "--", probe / "probe")
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) in taken


def test_in_a_program(probe: Path, mount: Mount) -> None:
    done = subprocess.run([probe / "with_header", mount.path / "new"], capture_output=True, text=True, check=True)
    assert int(done.stdout) in TAKEN
