"""Builds the programs once; one daemon and, where the kernel has io_uring, one oracle for the session."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from checking import Checker, Kernel

from tests.support import record
from tests.support.conformance import build, run
from tests.support.mounting import Mount
from tests.support.oracle import kernel_has_io_uring


@pytest.fixture(scope="session")
def programs() -> Path:
    return build()


@pytest.fixture(scope="session")
def daemon() -> Iterator[Mount]:
    # Not below pytest's own directory: behaviours of another user must get there, too.
    with tempfile.TemporaryDirectory(prefix="uringfs-conformance-") as directory:
        os.chmod(directory, 0o755)
        with Mount(Path(directory) / "mnt", "-o", "allow_other") as mount:
            yield mount


@pytest.fixture
def uringfs(daemon: Mount) -> Iterator[Mount]:
    """The daemon; whatever the behaviour did to it, it goes on and its log is clean."""
    yield daemon
    assert daemon.process.poll() is None, f"the daemon ended: {daemon.log()}"
    os.statvfs(daemon.path)
    assert not os.listdir(daemon.path)
    daemon.assert_clean_log()


@pytest.fixture(scope="session")
def oracle() -> bool:
    return kernel_has_io_uring()


@pytest.fixture(scope="session")
def checker() -> Checker:
    return Checker(record.read(), record.made_of(), record.Surroundings.here())


@pytest.fixture
def kernel(programs: Path, oracle: bool, request: pytest.FixtureRequest) -> Kernel:
    """Runs the test's behaviour there."""
    family, behaviour = (request.node.callspec.params[name] for name in ("family", "behaviour"))
    return (lambda: run(programs / family, behaviour, None)) if oracle else None
