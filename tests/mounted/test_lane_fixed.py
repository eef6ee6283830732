"""Registered files and buffers in the lane: the same as by the kernel, and by the daemon, but in the program."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted.test_run import run
from tests.support.mounting import BACKEND, Mount
from tests.support.probe import with_and_without_header

SOURCE = Path(__file__).with_name("fixed_probe.c")
INLINE = 9
"""Requests of the probe that succeed, on a file and with a buffer that its own process has registered."""

pytestmark = pytest.mark.skipif(BACKEND == "pagecache", reason="no lane in programs there: docs/lane.md")


@pytest.fixture(scope="module")
def probe() -> Iterator[Path]:
    with with_and_without_header(SOURCE) as directory:
        yield directory


@pytest.fixture(scope="module")
def expected(probe: Path) -> str:
    """What the kernel makes of it."""
    return subprocess.run([probe / "probe"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("options", "taken"), [([], INLINE), (["--no-lane"], 0)])
def test_under_run(probe: Path, mount: Mount, expected: str, options: list[str], taken: int) -> None:
    done = run(*options, "--mount", mount.path, "--", probe / "probe", "count")
    assert (done.returncode, done.stdout, done.stderr.strip()) == (0, expected, str(taken))


def test_in_a_program(probe: Path, mount: Mount, expected: str) -> None:
    done = subprocess.run([probe / "with_header", mount.path / "new"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr.strip()) == (expected, str(INLINE))
