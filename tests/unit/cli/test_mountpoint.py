"""What a mountpoint is called: symlinks resolved without asking what is mounted there."""

import os
from pathlib import Path

import pytest

from uringfs.cli import mountpoint


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "to_b").symlink_to(tmp_path / "a" / "b")
    (tmp_path / "to_a").symlink_to("a")
    (tmp_path / "twice").symlink_to("to_a/../to_b")
    (tmp_path / "nowhere").symlink_to("none/x")
    (tmp_path / "round").symlink_to("round")
    monkeypatch.chdir(tmp_path)


PATHS = "a a/ ./a/b// to_b to_a/b twice to_b/.. . .. / // a/none nowhere none/x"


@pytest.mark.parametrize("path", PATHS.split())
def test_as_realpath(path: str) -> None:
    assert mountpoint.place(path) == os.path.realpath(path)
    assert mountpoint.place(os.path.join(os.getcwd(), path)) == os.path.realpath(path)


def test_a_circle_ends() -> None:
    assert mountpoint.place("round").endswith("/round")
