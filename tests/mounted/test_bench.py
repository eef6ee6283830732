"""contrib/bench in its quick mode: every row of every column it can run gives figures. No speed is asserted."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.oracle import kernel_has_io_uring

RUN = Path(__file__).parents[2] / "contrib" / "bench" / "run.py"
ROWS = {
    "control write",
    *(f"NOP x{n}" for n in (1, 32, 256, 4096)),
    *(f"{op} 4K x{n}" for op in ("READV", "READ", "WRITE", "READ_FIXED") for n in (1, 32)),
    *(f"{op} x{n}" for op in ("POLL_ADD ready", "POLL_ADD armed", "TIMEOUT") for n in (1, 32)),
    *(f"{op}, {n} pending" for op in ("POLL_ADD", "TIMEOUT") for n in (10, 10000)),
    *("OPENAT x1", "OPENAT x128", "STATX x128", "SEND, RECV, ready"),
    "socketpair ping-pong",
    *(f"NOP x256, ring {n}" for n in (256, 1024, 4096, 16384)),
}


def run(tmp_path: Path, *args: str, **env: str) -> tuple[dict[str, Any], str]:
    report = tmp_path / "bench.json"
    done = subprocess.run(
        [sys.executable, str(RUN), "--quick", "--json", str(report), *args],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, **env},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(report.read_text()), done.stdout


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    return run(tmp_path_factory.mktemp("bench"), "--columns", "kernel,uringfs,floor")


def test_every_row_has_figures(measured: tuple[dict[str, Any], str]) -> None:
    report, _ = measured
    assert report["columns"]["uringfs"] == {"ran": True, "reason": None}
    pinnings = ["same CPU", "across CPUs"][: len(report["cpus"])]
    expected = {("uringfs", pin, row) for pin in pinnings for row in ROWS}
    expected |= {("floor", pin, "control write") for pin in pinnings}
    if kernel_has_io_uring():
        expected |= {("kernel", "same CPU", row) for row in ROWS}
    assert {(r["column"], r["pinning"], r["row"]) for r in report["results"]} == expected
    for result in report["results"]:
        assert result["error"] is None, result
        assert result["ops_per_s"] > 0
        assert result["us_per_enter"] > 0
        assert result["missing_completions"] == 0


def test_figures_fit_together(measured: tuple[dict[str, Any], str]) -> None:
    """With one repetition the two figures of a row are one measurement seen twice."""
    for result in measured[0]["results"]:
        per_enter = result["batch"] or 1
        assert result["ops_per_s"] * result["us_per_enter"] / 1e6 == pytest.approx(per_enter)


def test_aims_are_reported(measured: tuple[dict[str, Any], str]) -> None:
    report, out = measured
    names = {ratio["name"] for ratio in report["ratios"]}
    assert "control write, time: uringfs / floor" in names
    assert "cost per NOP, 16384- / 256-entry ring: uringfs" in names
    assert all(ratio["value"] > 0 and ratio["name"] in out for ratio in report["ratios"])


def test_fio_has_figures(tmp_path: Path) -> None:
    report, out = run(tmp_path, "--columns", "kernel,run")
    if shutil.which("fio") is None:
        assert "fio is not installed" in report["fio"]["reasons"]["run"]
        return
    columns = {("run", pin) for pin in ["same CPU", "across CPUs"][: len(report["cpus"])]}
    if kernel_has_io_uring():
        columns.add(("kernel", "same CPU"))
    results = report["fio"]["results"]
    assert {(r["column"], r["pinning"]) for r in results} == columns
    assert {r["iodepth"] for r in results} == {1, 16, 32, 128}
    assert len(results) == 10 * len(columns)
    assert all(r["error"] is None and r["ops_per_s"] > 0 and r["us"] > 0 and r["row"] in out for r in results)


def test_a_column_that_cannot_run_says_why(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()  # a PATH without runsc
    for tool in ("make", "cc", "pkg-config", "sh", "umount", "fusermount3"):
        found = subprocess.run(["which", tool], capture_output=True, text=True, check=True)
        (tools / tool).symlink_to(found.stdout.strip())
    report, out = run(tmp_path, "--columns", "gVisor,floor", PATH=str(tools))
    assert report["columns"]["gVisor"]["ran"] is False
    assert report["columns"]["floor"]["ran"] is True
    assert {r["column"] for r in report["results"]} == {"floor"}
    assert f"no column gVisor: {report['columns']['gVisor']['reason']}" in out
    assert "runsc" in report["columns"]["gVisor"]["reason"]


def test_gvisor_lacks_opcodes_and_its_cells_say_so(tmp_path: Path) -> None:
    if shutil.which("runsc") is None:
        pytest.skip("runsc is not installed: an optional package")
    report, out = run(tmp_path, "--columns", "gVisor")
    rows = {r["row"]: r["error"] for r in report["results"] if r["pinning"] == "same CPU"}
    assert set(rows) == ROWS
    known = {row for row, error in rows.items() if error is None}
    assert known == {row for row in ROWS if row.startswith(("control", "NOP", "READV"))}
    assert {rows[row] for row in ROWS - known} == {"no such opcode"}
    (cells,) = (line for line in out.splitlines() if line.startswith("TIMEOUT x1 "))
    assert "no such opcode" in cells


def test_nothing_is_left_mounted(measured: tuple[dict[str, Any], str]) -> None:
    assert "uringfs-bench-" not in Path("/proc/self/mountinfo").read_text()
