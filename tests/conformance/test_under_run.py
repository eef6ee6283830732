"""The same programs as unmodified ones: the kernel's own system calls, under `uringfs run`'s launcher."""

import subprocess
from pathlib import Path

import pytest
from test_conformance import BEHAVIOURS, TIMEOUT, compare, run

from tests.support.mounting import Mount
from uringfs.cli.run import environment, library


@pytest.mark.parametrize(("family", "behaviour"), BEHAVIOURS, ids=lambda part: part)
def test_behaviour(programs: Path, uringfs: Mount, oracle: bool, family: str, behaviour: str) -> None:
    env = environment(str(uringfs.path), library(), trace=False)
    env.pop(b"URINGFS_DIR", None)
    ours = subprocess.run(
        [programs / family, behaviour],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    kernel = run(programs / family, behaviour, None) if oracle else None
    compare("uringfs run", ours, kernel)
