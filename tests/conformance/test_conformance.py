"""One suite, two backends: every behaviour passes on the kernel and on uringfs, with equal traces.

A behaviour is a TEST() of a C program here and runs in a process of its own. Where the kernel's
io_uring is switched off its side is left out (and test_the_kernel_is_the_oracle says so); the
behaviours' own expectations still hold uringfs to what the kernel did when they were written.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.mounting import Mount

HERE = Path(__file__).parent
TIMEOUT = 60.0
PASSED, FAILED, SKIPPED = 0, 1, 77


def declared() -> dict[str, list[str]]:
    """family -> behaviours, from the sources: collecting needs no compiler."""
    families = {}
    for source in sorted(HERE.glob("*.c")):
        names = re.findall(r"^TEST\((\w+)\)", source.read_text(), re.MULTILINE)
        if names:
            families[source.stem] = names
    return families


FAMILIES = declared()
BEHAVIOURS = [(family, name) for family, names in FAMILIES.items() for name in names]


def run(program: Path, behaviour: str, mount: Path | None) -> subprocess.CompletedProcess[str]:
    """mount None: the kernel."""
    env = {key: value for key, value in os.environ.items() if key != "URINGFS_DIR"}
    if mount is not None:
        env["URINGFS_DIR"] = str(mount)
    return subprocess.run(
        [program, behaviour],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


def report(where: str, done: subprocess.CompletedProcess[str]) -> str:
    return f"on {where}: exit {done.returncode}\n{done.stderr}--- trace\n{done.stdout}"


def compare(
    where: str, ours: subprocess.CompletedProcess[str], kernel: subprocess.CompletedProcess[str] | None
) -> None:
    """A kernel that has not what is tested is no oracle: the behaviour's own expectations hold uringfs."""
    if kernel is not None and kernel.returncode == SKIPPED:
        if ours.returncode == SKIPPED:
            pytest.skip(kernel.stderr.strip())
        kernel = None
    assert kernel is None or kernel.returncode == PASSED, report("the kernel", kernel)
    assert ours.returncode == PASSED, report(where, ours)
    if kernel is not None:
        assert ours.stdout == kernel.stdout


@pytest.mark.parametrize(("family", "behaviour"), BEHAVIOURS, ids=lambda part: part)
def test_behaviour(programs: Path, uringfs: Mount, oracle: bool, family: str, behaviour: str) -> None:
    ours = run(programs / family, behaviour, uringfs.path)
    kernel = run(programs / family, behaviour, None) if oracle else None
    compare("uringfs", ours, kernel)


@pytest.mark.parametrize(("family", "behaviour"), BEHAVIOURS, ids=lambda part: part)
def test_absence_is_noticed(programs: Path, tmp_path: Path, family: str, behaviour: str) -> None:
    """Where there is no ring at all, every behaviour fails: none passes for want of looking."""
    done = run(programs / family, behaviour, tmp_path / "nothing")
    assert done.returncode == FAILED, report("nothing", done)


def test_the_kernel_is_the_oracle(oracle: bool) -> None:
    if not oracle:
        pytest.skip("the kernel's io_uring is switched off here: traces were not compared")


@pytest.mark.parametrize("family", FAMILIES)
def test_programs_hold_what_the_sources_declare(programs: Path, family: str) -> None:
    listed = subprocess.run([programs / family, "--list"], capture_output=True, text=True, check=True)
    assert listed.stdout.split() == FAMILIES[family]
    assert len(set(FAMILIES[family])) == len(FAMILIES[family])


def test_an_unknown_behaviour_is_an_error(programs: Path) -> None:
    assert run(programs / "nop", "no_such_behaviour", None).returncode == 2
