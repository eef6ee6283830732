"""The conformance programs as unmodified ones: the kernel's own system calls, under `uringfs run`'s launcher."""

from pathlib import Path

import pytest
from checking import Checker, Kernel

from tests.support.conformance import BEHAVIOURS, run
from tests.support.mounting import Mount
from uringfs.cli.run import environment, library


@pytest.mark.parametrize(("family", "behaviour"), BEHAVIOURS, ids=lambda part: part)
def test_behaviour(
    programs: Path, uringfs: Mount, checker: Checker, kernel: Kernel, family: str, behaviour: str
) -> None:
    env = environment(str(uringfs.path), library())
    done = run(programs / family, behaviour, None, env=env)
    checker.ours(family, behaviour, "uringfs run", done, kernel)
