"""A behaviour leaves nothing behind, however it ends."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support.conformance import FAILED, run


def test_a_behaviour_that_fails(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no ring, and ends with the directory that it has made: in TMPDIR, which run() removes."""
    nothing = tmp_path / "nothing"
    env = {**os.environ, "URINGFS_DIR": str(nothing), "TMPDIR": str(tmp_path)}
    subprocess.run([programs / "names", "rename_moves"], env=env, stderr=subprocess.DEVNULL)
    (left,) = tmp_path.iterdir()
    shutil.rmtree(left)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert run(programs / "names", "rename_moves", nothing).returncode == FAILED
    assert list(tmp_path.iterdir()) == []
