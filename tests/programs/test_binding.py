"""PyPI's liburing binding, unmodified: a program of it on the kernel and under `uringfs run`."""

import platform
import sys
from pathlib import Path

import pytest

from tests.support.mounting import Mount
from tests.support.programs import SIDES, both

PROGRAM = Path(__file__).with_name("binding.py")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="liburing's only wheels are for x86-64")
def test_the_same_output(mount: Mount, tmp_path: Path) -> None:
    done = both(mount, tmp_path, sys.executable, PROGRAM)
    assert done.ours == done.kernel
    assert "bytearray(b'hi... bye!')\n" in done.kernel
    assert done.calls.enter > 10
    for side in SIDES:
        assert (tmp_path / side / "moved").read_bytes() == b"hi... bye!" + bytes(4086) + b"one two three"
