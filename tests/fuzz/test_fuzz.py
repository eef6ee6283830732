"""A short run of the fuzzer, always the same programs. tests/fuzz/run.py runs as many as you like."""

import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.fuzz.compare import ALL, WAYS, Comparison, Statistics, build
from tests.support.mounting import Mount
from tests.support.oracle import kernel_has_io_uring

PROGRAMS = 300
BY_EACH_WAY = 150
FSYNC = 3
SUCCEEDED = 35
"""At least so many opcodes have succeeded."""
UNSETTLED = 30
"""At most one in so many, by each way, may show two things on the kernel itself, or differ once, not again: on two
busy CPUs the order of side.c's armed events does in 15 to 19 of 450 programs by all ways."""


@pytest.fixture(scope="module")
def mount() -> Iterator[Mount]:
    build()
    with tempfile.TemporaryDirectory(prefix="uringfs-fuzz-") as directory, Mount(Path(directory) / "mnt") as mount:
        yield mount


def compared(comparison: Comparison, programs: int, capsys: pytest.CaptureFixture[str]) -> Statistics:
    """No difference in the first programs."""
    if not kernel_has_io_uring():
        for backend in comparison.ours.values():
            traces = backend.range(0, programs)
            assert len(traces) == programs
            assert all(trace.endswith("status 0x0\n") for trace in traces.values())
        pytest.skip("the kernel's io_uring is switched off here: programs ran, traces were not compared")
    differences = list(islice(comparison.programs(0, programs), 3))
    with capsys.disabled():
        print(f"\n{', '.join(comparison.ours)}: {comparison.statistics}")
    assert not differences, "\n".join(map(str, differences))
    assert comparison.statistics.programs == programs
    most = programs * len(comparison.ours) // UNSETTLED
    assert len(comparison.unsettled | comparison.once) <= most, (comparison.unsettled, comparison.once)
    return comparison.statistics


@pytest.mark.timeout(300)
def test_programs_are_the_same_on_both(mount: Mount, capsys: pytest.CaptureFixture[str]) -> None:
    statistics = compared(Comparison(mount.path), PROGRAMS, capsys)
    assert min(statistics.opcodes.values()) > 0
    assert len(statistics.succeeded) >= SUCCEEDED


@pytest.mark.timeout(300)
def test_whichever_way_they_come(mount: Mount, capsys: pytest.CaptureFixture[str]) -> None:
    compared(Comparison(mount.path, list(WAYS)[1:]), BY_EACH_WAY, capsys)


@pytest.mark.skipif(not kernel_has_io_uring(), reason="nothing to compare with")
def test_a_wrong_result_is_found_and_shrunk(mount: Mount) -> None:
    """One opcode is wrong, where the harness reads the CQEs; what is left of the program still shows it."""
    comparison = Comparison(mount.path, lie=FSYNC)
    difference = next(comparison.programs(0, PROGRAMS))
    assert "op 3 " in difference.text
    assert difference.keep.bit_count() < ALL.bit_count()
    assert f"--seed {difference.seed} --keep {difference.keep:x}" in str(difference)
