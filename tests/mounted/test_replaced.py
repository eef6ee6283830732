"""A ring whose memory or descriptor is taken away between two calls, under `uringfs run`: as on the kernel."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted.test_run import run
from tests.support.mounting import Mount, open_directory

SOURCE = Path(__file__).with_name("replaced_probe.c")


@pytest.fixture(scope="module")
def probe() -> Iterator[Path]:
    with open_directory() as directory:
        built = directory / "probe"
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", built, SOURCE], check=True)
        yield built


@pytest.mark.parametrize("options", [[], ["--no-patch"], ["--no-lane"]], ids=["lane", "no-patch", "no-lane"])
def test_as_on_the_kernel(probe: Path, mount: Mount, options: list[str]) -> None:
    expected = subprocess.run([probe], capture_output=True, text=True, check=True).stdout
    done = run(*options, "--mount", mount.path, "--", probe)
    assert (done.returncode, done.stdout) == (0, expected), done.stderr
