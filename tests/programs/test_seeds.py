"""A seed is a trace: kvlog, a real program, twice with each of some seeds (by hand: seeds.py, with a thousand)."""

import subprocess
from pathlib import Path

import pytest

from tests.programs.seeds import differing, recorded
from tests.support.mounting import ROOT

SEEDS = range(6)
COMMAND = ("put", "a=1", "b=2", "c=3", "d=4")


@pytest.mark.timeout(600)
def test_a_seed_is_a_trace(tmp_path: Path) -> None:
    program = tmp_path / "kvlog"
    source = ROOT / "contrib/examples/kvlog.c"
    subprocess.run(["cc", "-O2", "-o", program, source, "-luring"], check=True)
    command = [str(program), "{}/log", *COMMAND]
    assert list(differing(SEEDS, command, jobs=2)) == []
    assert len({str(recorded(seed, command)) for seed in SEEDS}) > 1
