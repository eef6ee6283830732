"""What is written in the launcher (C, for --mode trap) and in the daemon (Python, for --mode notify) is equal.
The tables of ring descriptors are the third such thing: test_ring_tables.py.
"""

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.mounting import ROOT
from uringfs.abi import seccomp as abi
from uringfs.abi.machine import ARM, MACHINE, TASK_SIZE_MAX
from uringfs.cli import notify
from uringfs.fs.supervised.supervisor import trace_line
from uringfs.host.protocols import Notification

U64 = st.integers(0, (1 << 64) - 1)
NUMBERS = st.one_of(
    U64, st.integers(0, 1 << 12), st.sampled_from([1 << 31, 1 << 32, (1 << 32) - 1, (1 << 64) - 1])
)
CALLS = st.tuples(
    st.integers(1, 1 << 22),
    st.sampled_from([abi.NR_IO_URING_SETUP, abi.NR_IO_URING_ENTER, abi.NR_IO_URING_REGISTER]),
    st.tuples(*[NUMBERS] * 6),
    st.integers(-4095, 1 << 31),
)


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("launcher") / "twice"
    source = Path(__file__).parent / "twice.c"
    subprocess.run(["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o", built, source], check=True)
    return built


def said(program: Path, calls: str = "") -> list[str]:
    done = subprocess.run([program], input=calls, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


def test_the_filter(launcher: Path) -> None:
    code, probe = said(launcher)
    assert bytes.fromhex(code) == b"".join(notify.program(MACHINE))
    assert probe == f"{abi.PROBE_ARG:x} {abi.PROBE_ANSWER:x}"


def test_where_user_memory_ends() -> None:
    header = (ROOT / "contrib/lane/rw.h").read_text()
    arm, x86 = re.findall(r"^#define LANE_TASK_SIZE_MAX (\w+)ULL$", header, re.MULTILINE)
    assert int(arm if ARM else x86, 16) == TASK_SIZE_MAX


@settings(max_examples=20, deadline=None)
@given(calls=st.lists(CALLS, min_size=1, max_size=50))
def test_the_line_of_a_call(launcher: Path, calls: list[tuple[int, int, tuple[int, ...], int]]) -> None:
    asked = "".join(f"{tid} {nr} {' '.join(map(str, args))} {result}\n" for tid, nr, args, result in calls)
    ours = [trace_line(Notification(0, tid, nr, 0, 0, args), result).decode() for tid, nr, args, result in calls]
    assert said(launcher, asked)[2:] == [line.rstrip("\n") for line in ours]
