"""Mounts of the page-cache backend: of root's, and of an ordinary user's in a user namespace."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.mounting import ORDINARY, ROOT, Mount
from tests.support.oracle import kernel_has_io_uring

CONFORMANCE = ROOT / "tests/conformance"


@pytest.fixture(scope="session")
def programs() -> Path:
    done = subprocess.run(["make", "-C", str(CONFORMANCE), "-j2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return CONFORMANCE / "out"


@pytest.fixture(scope="session")
def oracle() -> bool:
    return kernel_has_io_uring()


@pytest.fixture(scope="session")
def ordinary() -> tuple[str, ...]:
    """A prefix that runs a command as an ordinary user who may open /dev/fuse. Where others may not read this tree
    it fails: tests that were left out would look like ones that passed."""
    probe = subprocess.run([*ORDINARY, sys.executable, str(ROOT / "mount.py"), "--help"], capture_output=True)
    if probe.returncode:
        pytest.fail(f"other users cannot run what is in {ROOT}: {probe.stderr.decode()}", pytrace=False)
    return ORDINARY


@pytest.fixture(scope="session")
def roots() -> Iterator[Mount]:
    options = ("--backend", "pagecache", "-o", "allow_other")
    with _directory() as directory, Mount(Path(directory) / "mnt", *options) as mount:
        yield mount


@pytest.fixture(scope="session")
def rootless(ordinary: tuple[str, ...]) -> Iterator[Mount]:
    """By --backend auto: passthrough mounts there, and fails."""
    with _directory() as directory:
        command = (*ordinary, "unshare", "-Urm")
        with Mount(Path(directory) / "mnt", "--backend", "auto", command=command) as mount:
            yield mount


def _directory() -> "tempfile.TemporaryDirectory[str]":
    directory = tempfile.TemporaryDirectory(prefix="uringfs-pagecache-")
    os.chmod(directory.name, 0o755)
    return directory
