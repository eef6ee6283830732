"""contrib/examples/kvlog: its pytest file finds each of its bugs, and none where they are mended."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mounting import ROOT

EXAMPLES = ROOT / "contrib" / "examples"
LONG = 240  # seconds; one of the tests waits for half a minute


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with kvlog, kvlog-fixed and their tests; it is nobody's rootdir."""
    directory = tmp_path_factory.mktemp("kvlog")
    for name in ("kvlog.c", "Makefile", "test_kvlog.py"):
        (directory / name).write_bytes((EXAMPLES / name).read_bytes())
    subprocess.run(["make", "-C", str(directory), "kvlog", "kvlog-fixed"], check=True, stdout=subprocess.DEVNULL)
    return directory


def pytest_of(programs: Path, program: str, delay: str) -> tuple[dict[str, str], str]:
    """Outcome by test, without what is in brackets; and all it said."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:trio", "-v", "test_kvlog.py"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "KVLOG": f"./{program}", "DELAY": delay}
    done = subprocess.run(command, cwd=programs, env=env, capture_output=True, text=True, timeout=LONG)
    found = re.findall(r"^test_kvlog\.py::(\w+).* (PASSED|FAILED|ERROR)", done.stdout, re.MULTILINE)
    outcomes: dict[str, str] = {}
    for name, outcome in found:
        outcomes[name] = "PASSED" if outcome == "PASSED" == outcomes.get(name, "PASSED") else "FAILED"
    return outcomes, done.stdout + done.stderr


BUGS = {
    "test_a_short_write": "a record is damaged",
    "test_a_completion_that_finds_the_queue_full": "timed out after 30 seconds",
    "test_the_power_fails": r"assert \[('a=1')?\] == \['a=1', 'b=2'\]",
    "test_killed_when_the_second_record_is_synced": r"AssertionError: assert 'a=1' in \[\]",
    "test_an_older_kernel": "kvlog: io_uring: Invalid argument",
}


@pytest.mark.timeout(LONG)
def test_each_bug_is_found(programs: Path) -> None:
    # The delay is longer than the rest of the program takes, however slow the machine
    outcomes, said = pytest_of(programs, "kvlog", delay="60s")
    assert outcomes == {"test_what_is_stored_is_there": "PASSED", **dict.fromkeys(BUGS, "FAILED")}, said
    for words in BUGS.values():
        assert re.search(words, said), said


@pytest.mark.timeout(LONG)
def test_none_is_left(programs: Path) -> None:
    outcomes, said = pytest_of(programs, "kvlog-fixed", delay="100ms")
    assert outcomes == dict.fromkeys(["test_what_is_stored_is_there", *BUGS], "PASSED"), said
