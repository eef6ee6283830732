"""The pytest plugin, as whoever tests a program of theirs uses it: pytest runs in a process of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.mounting import ROOT, open_directory


class Outcome(NamedTuple):
    status: int
    said: str

    def count(self, outcome: str) -> int:
        found = re.search(rf"(\d+) {outcome}", self.said.splitlines()[-1])
        return int(found[1]) if found else 0


@pytest.fixture(scope="module")
def program() -> Iterator[Path]:
    with open_directory() as directory:
        path = directory / "faulty"
        subprocess.run(["cc", "-O2", "-o", path, ROOT / "tests/mounted/faulty.c"], check=True)
        yield path


def pytest_of(tmp_path: Path, program: Path, source: str, *options: str) -> Outcome:
    (tmp_path / "test_it.py").write_text(f"import errno, os, pytest\nPROGRAM = {str(program)!r}\n{source}")
    (tmp_path / "file").write_bytes(bytes(64))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:trio",
        "-rA",
        *options,
        "test_it.py",
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100)
    return Outcome(done.returncode, done.stdout + done.stderr)


MATRIX = """
@pytest.mark.uringfs_matrix("WRITE:error=EIO", "WRITE:short=3", ["WRITE:delay_exit=1ms", "READ:error=EIO"],
                            no_fault=True)
def test_it(uringfs_run, uringfs_case):
    ran = uringfs_run(PROGRAM, "file", "write:8:0").check()
    res = int(ran.stdout.split(":")[1])
    wanted = {(): 8, ("WRITE:error=EIO",): -errno.EIO, ("WRITE:short=3",): 3}
    assert res == wanted.get(uringfs_case.rules, 8)
    assert ran.injected == bool(uringfs_case.rules)
"""


def test_a_matrix_of_faults(tmp_path: Path, program: Path) -> None:
    done = pytest_of(tmp_path, program, MATRIX)
    assert (done.status, done.count("passed")) == (0, 4), done.said
    assert "PASSED test_it.py::test_it[WRITE:short=3]" in done.said
    assert "PASSED test_it.py::test_it[WRITE:delay_exit=1ms+READ:error=EIO]" in done.said
    assert "PASSED test_it.py::test_it[no-fault]" in done.said


def test_workers_have_mounts_of_their_own(tmp_path: Path, program: Path) -> None:
    done = pytest_of(tmp_path, program, MATRIX, "-n", "2")
    assert (done.status, done.count("passed")) == (0, 4), done.said


def test_kernels_and_seeds(tmp_path: Path, program: Path) -> None:
    source = """
    @pytest.mark.uringfs_matrix("NOP:reorder=8", kernels=["5.5", "6.1"], seeds=2)
    def test_it(uringfs_run):
        ran = uringfs_run(PROGRAM, "file", "nops:8", "write:8:0").check()
        print(ran.stdout)
    """
    source = source.replace("\n    ", "\n")
    done = [pytest_of(tmp_path, program, source, "--uringfs-seed", "7") for _ in range(2)]
    assert done[0].count("passed") == 4, done[0].said
    assert "test_it[NOP:reorder=8-linux-5.5-seed1]" in done[0].said
    orders = [re.findall(r"^(?:\d:0 ){8}$", one.said, re.MULTILINE) for one in done]
    assert orders[0] == orders[1]
    assert len(set(orders[0])) == 2  # the seeds'
    assert done[0].said.count("1:-22 ") == 2  # WRITE is younger than 5.5


def test_rings_and_faults_of_the_test_itself(tmp_path: Path, program: Path) -> None:
    source = """
from uringfs.client import nop

def results(ring, count):
    for number in range(count):
        ring.queue(nop(number))
    ring.submit(wait=count)
    return [cqe.res for cqe in ring.reap()]

def test_faults(uringfs_ring, uringfs_faults):
    with uringfs_faults.injected("NOP:retval=9:when=2") as rule:
        assert results(uringfs_ring, 3) == [0, 9, 0]
    assert rule.injected == 1
    assert results(uringfs_ring, 3) == [0, 0, 0]

@pytest.mark.uringfs_matrix("NOP:retval=5")
def test_matrix(uringfs_ring):
    assert results(uringfs_ring, 2) == [5, 5]

def test_kernel(uringfs_mount, uringfs_as_kernel):
    from uringfs.client import Ring
    uringfs_as_kernel("5.18")
    with pytest.raises(OSError):
        Ring(uringfs_mount / "new", 8, flags=1 << 10)

def test_it_was_for_that_test(uringfs_mount, uringfs_faults):
    from uringfs.client import Ring
    with Ring(uringfs_mount / "new", 8, flags=1 << 10):
        assert uringfs_faults.rules() == []

def test_a_program_that_fails(uringfs_run):
    ran = uringfs_run(PROGRAM, "file", "write:8:0", rules=["WRITE:signal=KILL"])
    assert ran.returncode == -9
    with pytest.raises(AssertionError, match="ended with -9"):
        ran.check()
    assert (ran.injected, ran.rules[0]["matched"]) == (1, 1)
    assert uringfs_run("false").returncode == 1
"""
    done = pytest_of(tmp_path, program, source)
    assert (done.status, done.count("passed")) == (0, 5), done.said


def test_a_failure_shows_the_rules(tmp_path: Path, program: Path) -> None:
    source = """
@pytest.mark.uringfs_matrix("WRITE:error=EIO")
def test_it(uringfs_run):
    uringfs_run(PROGRAM, "file", "write:8:0")
    assert False
"""
    done = pytest_of(tmp_path, program, source, "--uringfs-seed", "11")
    assert done.count("failed") == 1
    assert "uringfs: --uringfs-seed 11" in done.said
    assert re.search(r"WRITE:error=EIO:pid=\d+:seed=11\tinjected 1 of 1 that match", done.said), done.said


def test_the_trace_of_a_test(tmp_path: Path, program: Path) -> None:
    source = """
from uringfs.client import nop
def test_it(uringfs_trace, uringfs_run, uringfs_ring):
    uringfs_run(PROGRAM, "file", "write:8:0", rules=["WRITE:short=3"])
    [write] = uringfs_trace.requests("WRITE")
    assert (write["res"], write["data"], write["injected"]) == (3, "B" * 8, True)
    assert write["file"] == os.path.realpath("file")
    assert any(line.startswith("io_uring_setup(") for line in uringfs_trace.lines())
    uringfs_trace.clear()
    uringfs_ring.queue(nop(7))
    uringfs_ring.submit(wait=1)
    assert [event["user_data"] for event in uringfs_trace.requests()] == [7]
def test_another(uringfs_trace):
    assert uringfs_trace.lines() == []
"""
    done = pytest_of(tmp_path, program, source)
    assert (done.status, done.count("passed")) == (0, 2), done.said


FAILS = """
def test_it(uringfs_run):
    uringfs_run(PROGRAM, "file", "write:8:0", *["nops:8"] * 10, rules=["WRITE:error=EIO"])
    assert False
"""


def test_a_failure_shows_the_trace_around_it(tmp_path: Path, program: Path) -> None:
    said = pytest_of(tmp_path, program, FAILS).said
    assert re.search(
        r"^/.*/faulty file .* ended with 0\n  WRITE:error=EIO.*: injected 1 of 1", said, re.MULTILINE
    ), said
    trace = said.partition("uringfs trace")[2]
    assert re.search(r'WRITE\(\d+<\S+/file>, "BBBBBBBB", 8, 0\) = -EIO .*\(INJECTED\)', trace), said
    assert re.search(r"^\.\.\. \d+ more$", trace, re.MULTILINE), said
    assert 30 <= trace.count("NOP() = 0") < 60, said


def test_without_a_trace(tmp_path: Path, program: Path) -> None:
    said = pytest_of(tmp_path, program, FAILS, "--uringfs-no-trace").said
    assert "1 failed" in said
    assert "uringfs trace" not in said


def test_a_wrong_matrix(tmp_path: Path, program: Path) -> None:
    source = """
@pytest.mark.uringfs_matrix("WRITE:eror=EIO")
def test_it(uringfs_run):
    pass
"""
    done = pytest_of(tmp_path, program, source)
    assert done.status != 0
    assert "column 7: 'eror' is no word of a rule (perhaps 'error')" in done.said


def test_nothing_is_mounted_for_those_who_do_not_ask(tmp_path: Path, program: Path) -> None:
    source = """
def test_it():
    assert "uringfs-pytest-" not in open("/proc/self/mountinfo").read().replace(os.getcwd(), "")
    import sys
    assert "trio" not in sys.modules and "pyfuse3" not in sys.modules
"""
    done = pytest_of(tmp_path, program, source)
    assert (done.status, done.count("passed")) == (0, 1), done.said


def test_nothing_is_left_of_a_session_that_is_killed(tmp_path: Path, program: Path) -> None:
    source = """
import signal
def test_it(uringfs_mount):
    print(uringfs_mount, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = pytest_of(tmp_path, program, source, "-s")
    mount = re.search(r"/\S*uringfs-pytest-\S+/mnt", done.said)
    assert mount is not None, done.said
    gone(mount[0])


def gone(mount: str) -> None:
    from tests.support.mounting import is_mounted, until

    until(lambda: not is_mounted(Path(mount)), "the daemon to end")


def test_temporary_files_in_a_deep_place(tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its path is longer than a socket's may be (108 bytes), and has blanks."""
    deep = tmp_path / "a b" / ("deep" * 30)
    deep.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(deep))
    outcome = pytest_of(tmp_path, program, "def test_it(uringfs_mount):\n    assert uringfs_mount.is_dir()\n")
    assert outcome.status == 0, outcome.said
    assert list(deep.iterdir()) == []
