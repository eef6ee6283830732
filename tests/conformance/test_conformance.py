"""One suite, two backends: every behaviour passes on uringfs with the kernel's trace, which is in record/.

A behaviour is a TEST() of a C program here and runs in a process of its own. The kernel itself, where its
io_uring is not switched off, is only asked whether the record is still true of it (test_kernel.py)."""

import subprocess
from pathlib import Path

import pytest
from checking import Checker, Kernel

from tests.support import record
from tests.support.conformance import BEHAVIOURS, FAILED, FAMILIES, report, run
from tests.support.mounting import Mount


@pytest.mark.parametrize(("family", "behaviour"), BEHAVIOURS, ids=lambda part: part)
def test_behaviour(
    programs: Path, uringfs: Mount, checker: Checker, kernel: Kernel, family: str, behaviour: str
) -> None:
    done = run(programs / family, behaviour, uringfs.path)
    checker.ours(family, behaviour, "uringfs", done, kernel)


@pytest.mark.parametrize(("family", "behaviour"), BEHAVIOURS, ids=lambda part: part)
def test_absence_is_noticed(programs: Path, tmp_path: Path, family: str, behaviour: str) -> None:
    """Where there is no ring at all, every behaviour fails: none passes for want of looking."""
    done = run(programs / family, behaviour, tmp_path / "nothing")
    assert done.returncode == FAILED, report("nothing", done)


@pytest.mark.parametrize("family", FAMILIES)
def test_programs_hold_what_the_sources_declare(programs: Path, family: str) -> None:
    listed = subprocess.run([programs / family, "--list"], capture_output=True, text=True, check=True)
    assert listed.stdout.split() == FAMILIES[family]
    assert len(set(FAMILIES[family])) == len(FAMILIES[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_record_holds_what_the_sources_declare(family: str) -> None:
    """The record has what the sources declare, and its file is as `make record` writes it."""
    text = record.path(family).read_text()
    recorded = record.parse(text)
    assert list(recorded) == FAMILIES[family], "make record"
    assert text == record.write(family, recorded)


def test_the_record_has_no_other_files() -> None:
    files = {path.name for path in record.DIRECTORY.iterdir()}
    assert files == {record.MADE_OF.name, *(record.path(family).name for family in FAMILIES)}


def test_an_unknown_behaviour_is_an_error(programs: Path) -> None:
    assert run(programs / "nop", "no_such_behaviour", None).returncode == 2
