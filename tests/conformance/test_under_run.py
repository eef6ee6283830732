"""The conformance programs as unmodified ones: the kernel's own system calls, under `uringfs run`'s launcher.

With its options some families alone, unless URINGFS_EVERY_WAY is set: then each behaviour by each of them."""

import os
from pathlib import Path

import pytest
from checking import Checker, Kernel

from tests.support.conformance import BEHAVIOURS, run
from tests.support.mounting import Mount
from uringfs.cli.run import Switch, environment, library

SAMPLE = ("cancel", "links", "readv_file", "sendrecv")
"""Families in which the lane performs requests, hands some to workers, and leaves some to the daemon."""
OTHER_WAYS = [
    (switch, family, behaviour)
    for switch in (Switch.NO_LANE, Switch.NO_PATCH, Switch.NO_WORKERS)
    for family, behaviour in BEHAVIOURS
    if family in SAMPLE or "URINGFS_EVERY_WAY" in os.environ
]


@pytest.mark.parametrize(("family", "behaviour"), BEHAVIOURS, ids=lambda part: part)
def test_behaviour(
    programs: Path, uringfs: Mount, checker: Checker, kernel: Kernel, family: str, behaviour: str
) -> None:
    env = environment(str(uringfs.path), library())
    done = run(programs / family, behaviour, None, env=env)
    checker.ours(family, behaviour, "uringfs run", done, kernel)


@pytest.mark.parametrize(
    ("switch", "family", "behaviour"), OTHER_WAYS, ids=lambda part: getattr(part, "name", part)
)
def test_by_another_way(
    programs: Path, uringfs: Mount, checker: Checker, kernel: Kernel, switch: Switch, family: str, behaviour: str
) -> None:
    env = environment(str(uringfs.path), library(), {switch})
    done = run(programs / family, behaviour, None, env=env)
    checker.ours(family, behaviour, f"uringfs run, {switch.name}", done, kernel)
