"""uringfs record, replay and explore, with an unmodified program (docs/determinism.md)."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RULES = ("--inject=WRITE:error=EIO:probability=10%", "--inject=WRITE:short=2:probability=10%")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explored") / "explored"
    source = ROOT / "tests/mounted/explored.c"
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", path, source], check=True)
    return path


def uringfs(*words: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "uringfs", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def recorded(program: Path, tmp_path: Path, name: str, seed: int) -> dict[str, object]:
    ran = uringfs("record", "-o", tmp_path / name, "--seed", seed, *RULES, "--", program, tmp_path / "data")
    assert ran.returncode in (0, 3), ran.stderr
    found: dict[str, object] = json.loads((tmp_path / name).read_text())
    assert found["status"] == ran.returncode
    return found


def test_a_recording_is_repeated(program: Path, tmp_path: Path) -> None:
    first = recorded(program, tmp_path, "one", 3)
    assert recorded(program, tmp_path, "two", 3) == first
    assert first["hits"] != [[], []]
    ran = uringfs("replay", tmp_path / "one")
    assert (ran.returncode, ran.stderr) == (first["status"], "")


def test_another_way_is_told(program: Path, tmp_path: Path) -> None:
    recording = recorded(program, tmp_path, "one", 3)
    recording["trace"][1] = [0, "READ", 1]  # type: ignore[index]
    (tmp_path / "one").write_text(json.dumps(recording))
    ran = uringfs("replay", tmp_path / "one")
    assert ran.returncode == 124
    assert "another way: completion 2 is WRITE = 4 (ring 0), and was READ = 1 (ring 0)" in ran.stderr


def test_a_failure_is_shrunk(program: Path, tmp_path: Path) -> None:
    """Two faults are needed, one of each rule; what is printed repeats it."""
    failure = tmp_path / "failure"
    options = ("--seed", 1, "--runs", 30, "--jobs", 2, "-o", failure, *RULES)
    ran = uringfs("explore", *options, "--", program, tmp_path / "data")
    assert ran.returncode == 1, ran.stderr
    assert "shrunk to 2:" in ran.stdout
    assert [len(hits) for hits in json.loads(failure.read_text())["hits"]] == [1, 1]
    assert re.search(rf"^uringfs replay {failure} -- {program} ", ran.stdout, re.MULTILINE)
    assert uringfs("replay", failure, "--", program, tmp_path / "data").returncode == 3


def test_nothing_fails(program: Path, tmp_path: Path) -> None:
    ran = uringfs("explore", "--runs", 2, "-o", tmp_path / "failure", "--", program, tmp_path / "data")
    assert (ran.returncode, ran.stdout) == (0, "2 runs, none failed\n")
    assert not (tmp_path / "failure").exists()


def test_no_program(tmp_path: Path) -> None:
    ran = uringfs("explore", "--seed", 1, "--runs", 1, "--", "/nonexistent")
    assert ran.returncode == 127
    assert "/nonexistent" in ran.stderr
