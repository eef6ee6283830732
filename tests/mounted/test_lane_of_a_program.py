"""The client's side of the lane: under `uringfs run`, and in a program with URINGFS_LANE and uringfs.h."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted.test_run import run
from tests.support.mounting import BACKEND, Mount, open_directory

SOURCE = Path(__file__).with_name("lane_probe.c")
ALL = 1 + 2 + 3 + 4 + 5 + 2 + 1
AS_GOOD_AS_ALL = range(ALL - 1, ALL + 1)
"""The last comes when another process has ended, which the daemon, with the lane, may be looking at."""

pytestmark = pytest.mark.skipif(BACKEND == "pagecache", reason="no lane in programs there: docs/lane.md")


@pytest.fixture(scope="module")
def probe() -> Iterator[Path]:
    with open_directory() as directory:
        for name, flags in (("probe", []), ("with_header", ["-DURINGFS_LANE"])):
            subprocess.run(["gcc", "-O2", *flags, "-o", str(directory / name), str(SOURCE)], check=True)
        yield directory


@pytest.mark.parametrize(("options", "taken"), [([], AS_GOOD_AS_ALL), (["--no-lane"], range(1))])
def test_under_run(probe: Path, mount: Mount, options: list[str], taken: range) -> None:
    done = run(*options, "--mount", mount.path, "--", probe / "probe")
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout.strip() or 0) in taken


def test_in_a_program(probe: Path, mount: Mount) -> None:
    done = subprocess.run([probe / "with_header", mount.path / "new"], capture_output=True, text=True, check=True)
    assert int(done.stdout) in AS_GOOD_AS_ALL
