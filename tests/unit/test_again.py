""".ci/again: what it runs once more, and what it says of that. pytest is a script that notes how it was called."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.mounting import ROOT

PYTEST = """#!/bin/sh
echo "$@" >>calls
test "$(wc -l <calls)" != "$(cat fails)"
"""


class Checkout:
    def __init__(self, path: Path) -> None:
        self.path = path
        (path / ".ci").mkdir()
        (path / ".venv/bin").mkdir(parents=True)
        shutil.copy(ROOT / ".ci/again", path / ".ci/again")
        script = path / ".venv/bin/pytest"
        script.write_text(PYTEST)
        script.chmod(0o755)
        self.fails(0)

    def fails(self, time: int) -> None:
        """pytest fails that time. 0: never."""
        (self.path / "fails").write_text(str(time))

    def ran(self, status: int, *failed: str) -> None:
        """What a run of all tests leaves in pytest's cache."""
        for name, value in ("uringfs/exitstatus", status), ("cache/lastfailed", dict.fromkeys(failed, True)):
            file = self.path / ".pytest_cache/v" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(value))

    def again(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.path / ".ci/again"], capture_output=True, text=True, check=False)

    def calls(self) -> list[str]:
        calls = self.path / "calls"
        return calls.read_text().splitlines() if calls.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_what_passes_ten_times_is_said_to_be_unsteady(checkout: Checkout) -> None:
    checkout.ran(1, "tests/a.py::one[x y]", "tests/b.py::two")
    ended = checkout.again()
    assert ended.returncode == 0
    assert checkout.calls() == ["tests/a.py::one[x y] tests/b.py::two"] * 10
    assert "UNSTEADY: tests/a.py::one[x y] failed once among all" in ended.stdout
    assert "UNSTEADY: tests/b.py::two failed once among all" in ended.stdout


@pytest.mark.parametrize("time", [1, 10])
def test_what_fails_once_more_is_a_failure(checkout: Checkout, time: int) -> None:
    checkout.ran(1, "tests/a.py::one")
    checkout.fails(time)
    assert checkout.again().returncode == 1
    assert len(checkout.calls()) == time


def test_three_are_too_many(checkout: Checkout) -> None:
    checkout.ran(1, "a", "b", "c")
    assert checkout.again().returncode == 1
    assert not checkout.calls()


def test_a_run_that_did_not_come_to_its_end(checkout: Checkout) -> None:
    """Interrupted (2), an error of pytest (3), or never begun."""
    assert checkout.again().returncode == 1
    for status in 0, 2, 3:
        checkout.ran(status, "a")
        assert checkout.again().returncode == 1
    assert not checkout.calls()
