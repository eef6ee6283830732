"""Commands where something is not as everywhere else: no /proc, no room for temporary files, few processes. Each
says so in one line, and ends with its own failure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mounting import DEADLINE, URINGFS

FAILED, RUN_FAILED = 1, 125
OF_PROGRAMS = (("run",), ("record", "-o", "/dev/null"), ("explore", "--runs", "1"))
"""Commands that run a program, with a mount of its own."""
OTHERS = {
    **{(name,): FAILED for name in ("doctor", "ls", "status", "top")},
    ("mount", "/mnt"): FAILED,
    ("show", "1"): FAILED,
    ("trace", "--all"): FAILED,
    ("umount", "/mnt"): FAILED,
    ("inject", "--list"): FAILED,
    ("listen", "--socket", "/none", "--mount", "/mnt"): RUN_FAILED,
}
NO_PROC = ("unshare", "--mount", "sh", "-c", 'umount -l /proc; exec "$@"', "sh")
NO_ROOM = ("unshare", "--mount", "sh", "-c", 'mount -o bind,ro / /; mount -o bind,ro /tmp /tmp; exec "$@"', "sh")
USER = ("setpriv", "--reuid=54321", "--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override")


def said(*command: str, status: int) -> str:
    """The one line it says, behind which seed it has taken."""
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=2 * DEADLINE, check=False)
    lines = [line for line in done.stderr.splitlines() if " --seed " not in line]
    assert (done.returncode, len(lines)) == (status, 1), done.stderr
    assert lines[0].startswith("uringfs")
    return lines[0]


@pytest.mark.parametrize("command", OTHERS, ids="-".join)
def test_without_proc(command: tuple[str, ...]) -> None:
    assert "/proc" in said(*NO_PROC, *URINGFS, *command, status=OTHERS[command])


@pytest.mark.parametrize("place", ["", "/", "/dev/null/x", "/none/x"])
def test_a_recording_that_cannot_be_saved(place: str, tmp_path: Path) -> None:
    """It is known before the program runs."""
    said(*URINGFS, "record", "-o", place, "--", "touch", str(tmp_path / "ran"), status=RUN_FAILED)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("command", "status"), [("opcodes", FAILED), ("nri", RUN_FAILED)])
def test_in_a_checkout_that_nobody_has_built(command: str, status: int) -> None:
    """-S: a Python that sees nothing of what is installed."""
    line = said(sys.executable, "-S", *URINGFS[1:], command, status=status)
    assert line.endswith(": No module named 'trio': make base, or pip install uringfs")


@pytest.mark.parametrize("command", OF_PROGRAMS, ids=lambda words: words[0])
def test_a_program_without_proc(command: tuple[str, ...]) -> None:
    assert "/proc" in said(*NO_PROC, *URINGFS, *command, "--", "true", status=RUN_FAILED)


@pytest.mark.parametrize("command", OF_PROGRAMS, ids=lambda words: words[0])
def test_without_room_for_temporary_files(command: tuple[str, ...]) -> None:
    line = said(*NO_ROOM, *URINGFS, *command, "--", "true", status=RUN_FAILED)
    assert "No usable temporary directory" in line
    assert "None" not in line


@pytest.mark.parametrize("processes", range(1, 3))
def test_with_few_processes(processes: int, tmp_path: Path) -> None:
    """The minder of its mount, or its child, cannot be started: nothing is left."""
    limited = (*USER, "prlimit", f"--nproc={processes}", "env", f"TMPDIR={tmp_path}")
    line = said(*limited, *URINGFS, "run", "--", "true", status=RUN_FAILED)
    assert os.strerror(11) in line
    assert list(tmp_path.iterdir()) == []
