"""A daemon's signals at its end: in a process of its own, which they would end."""

import subprocess
import sys

import pytest

ENDS = """
import os
import time

import trio

from uringfs import native
from uringfs.fs.fuse.session import receive_signals

async def main():
    with receive_signals():
        native.close_soon(os.open("/dev/null", os.O_RDONLY))  # begins a timer of 1 ms

trio.run(main)
until = time.monotonic() + 0.05
while time.monotonic() < until:
    pass
"""


@pytest.mark.parametrize("time", range(3))
def test_a_timer_that_still_runs_does_not_end_it(time: int) -> None:
    done = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
