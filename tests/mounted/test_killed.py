"""Who shares a ring and is killed amid a call: the others go on, and each request has one completion."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted.test_run import run
from tests.support.mounting import BACKEND, Mount
from tests.support.probe import with_and_without_header

SOURCE = Path(__file__).with_name("killed_probe.c")
ROUNDS, SEED = "40", "17"

pytestmark = pytest.mark.skipif(BACKEND == "pagecache", reason="no lane in programs there: docs/lane.md")


@pytest.fixture(scope="module")
def probe() -> Iterator[Path]:
    with with_and_without_header(SOURCE) as directory:
        yield directory


@pytest.mark.parametrize("options", [[], ["--no-lane"]])
def test_under_run(probe: Path, mount: Mount, options: list[str]) -> None:
    done = run(*options, "--mount", mount.path, "--", probe / "probe", ROUNDS, SEED)
    assert done.returncode == 0, done.stderr


def test_in_a_program(probe: Path, mount: Mount) -> None:
    command = [probe / "with_header", ROUNDS, SEED, mount.path / "new"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_by_the_kernel(probe: Path) -> None:
    done = subprocess.run([probe / "probe", ROUNDS, SEED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
