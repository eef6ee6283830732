"""The suite while somebody watches: a reader of .trace changes nothing that a program can see."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from checking import Checker, Kernel

from tests.support.conformance import BEHAVIOURS, run
from tests.support.mounting import Mount


@pytest.fixture(scope="module")
def watched(daemon: Mount) -> Iterator[None]:
    """All events are read, raw, until the last test has run."""
    with open(daemon.path / ".trace", "r+b", 0) as trace:
        trace.write(b"format=raw data=4096\n")
        with subprocess.Popen(["cat"], stdin=trace, stdout=subprocess.DEVNULL) as reader:
            yield
            reader.terminate()


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize(("family", "behaviour"), BEHAVIOURS, ids=lambda part: part)
def test_behaviour(
    programs: Path, uringfs: Mount, checker: Checker, kernel: Kernel, family: str, behaviour: str
) -> None:
    done = run(programs / family, behaviour, uringfs.path)
    checker.ours(family, behaviour, "uringfs, watched", done, kernel)
