"""uringfs run --virtual-time: hours pass while the program waits, and none while it has something to do."""

import errno
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted.test_run import run
from tests.support.mounting import ROOT, Mount, open_directory

SOURCE = ROOT / "tests/mounted/jumps.c"
ETIME, ECANCELED = -errno.ETIME, -errno.ECANCELED
READ = f"1: 1\n2: {ECANCELED}\n"
SAID = {
    "a_timeout": f"1: {ETIME}\n",
    "timeouts_in_their_order": f"1: {ETIME}\n2: {ETIME}\n3: {ETIME}\n",
    "a_linked_timeout": f"2: {ETIME}\n1: {ECANCELED}\n",
    "a_wait": f"{ETIME}\n",
    "a_minimum_wait": "1\n1\n",
    "other_threads_that_wait_hold_nothing_up": f"1: {ETIME}\n",
    "a_thread_sleeps": READ,
    "a_thread_computes": READ,
    "a_child_sleeps": READ,
    "a_timerfd": f"1: 8\n2: {ECANCELED}\n",
    "an_absolute_timeout_behind_a_jump": f"3: {ETIME}\n1: 1\n2: {ETIME}\n",
}


@pytest.fixture(scope="module")
def program() -> Iterator[Path]:
    with open_directory() as directory:
        harness = ROOT / "tests/conformance"
        flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-D_GNU_SOURCE", f"-I{ROOT / 'contrib'}", "-pthread"]
        sources = [SOURCE, harness / "harness.c", harness / "harness_ring.c"]
        subprocess.run(["cc", *flags, "-o", directory / "jumps", *sources], check=True)
        yield directory / "jumps"


def test_all_behaviours_are_run() -> None:
    assert set(re.findall(r"^TEST\((\w+)\)", SOURCE.read_text(), re.MULTILINE)) == set(SAID)


@pytest.mark.parametrize("mode", ["trap", "notify"])
@pytest.mark.parametrize("behaviour", SAID)
def test_a_program(program: Path, behaviour: str, mode: str) -> None:
    done = run("--virtual-time", "--mode", mode, "--", program, behaviour)
    assert (done.returncode, done.stdout, done.stderr) == (0, SAID[behaviour], "")


def test_injected_delays_are_in_virtual_time(program: Path) -> None:
    rule = "TIMEOUT:delay_enter=1h:delay_exit=exp(3600s)"
    done = run("--virtual-time", "--seed", 1, "--inject", rule.replace("1h", "3600s"), "--", program, "a_timeout")
    assert (done.returncode, done.stdout, done.stderr) == (0, SAID["a_timeout"], "")


def test_a_recording_is_replayed_in_virtual_time(program: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "uringfs"]
    path = tmp_path / "recording"
    words = ["record", "--virtual-time", "-o", path, "--seed", 1, "--", program, "timeouts_in_their_order"]
    done = subprocess.run([*command, *map(str, words)], capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stdout) == (0, SAID["timeouts_in_their_order"])
    assert json.loads(path.read_text())["virtual_time"] is True
    done = subprocess.run([*command, "replay", path], capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stdout) == (0, SAID["timeouts_in_their_order"])


def test_not_of_a_mount_of_others(program: Path, mount: Mount) -> None:
    done = run("--mount", mount.path, "--virtual-time", "--", program, "a_timeout")
    assert done.returncode == 2
    assert "not with --mount" in done.stderr
