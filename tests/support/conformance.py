"""The conformance suite's programs: which behaviours there are, and one of them run.

A behaviour is a TEST() of a C program in tests/conformance and runs in a process of its own."""

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tests.support.mounting import ROOT
from tests.support.temporary import temporary

SOURCES = ROOT / "tests/conformance"
TIMEOUT = 60.0  # seconds
PASSED, FAILED, SKIPPED = 0, 1, 77

Done = subprocess.CompletedProcess[str]


def declared() -> dict[str, list[str]]:
    """family -> behaviours, from the sources: collecting needs no compiler."""
    families = {}
    for source in sorted(SOURCES.glob("*.c")):
        names = re.findall(r"^TEST\((\w+)\)", source.read_text(), re.MULTILINE)
        if names:
            families[source.stem] = names
    return families


FAMILIES = declared()
BEHAVIOURS = [(family, name) for family, names in FAMILIES.items() for name in names]


def build(*variables: str) -> Path:
    """The directory of the programs, which are made. variables: of the Makefile, NAME=VALUE."""
    out = dict(variable.split("=", 1) for variable in variables).get("OUT", "out")
    done = subprocess.run(["make", "-C", str(SOURCES), "-j2", *variables], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return SOURCES / out


def run(
    program: Path,
    behaviour: str,
    mount: Path | None,
    env: Mapping[bytes, bytes] | None = None,
    preexec: Callable[[Path], None] | None = None,
) -> Done:
    """mount None: io_uring's own system calls, which are the kernel's unless env or preexec sees to them. preexec:
    called in the new process with the directory of its temporary files."""
    env = {key: value for key, value in (env or os.environb).items() if key != b"URINGFS_DIR"}
    if mount is not None:
        env[b"URINGFS_DIR"] = os.fsencode(mount)
    with temporary(env) as env:
        return subprocess.run(
            [program, behaviour],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            preexec_fn=None if preexec is None else partial(preexec, Path(os.fsdecode(env[b"TMPDIR"]))),
        )


def report(where: str, done: Done) -> str:
    return f"on {where}: exit {done.returncode}\n{done.stderr}--- trace\n{done.stdout}"
