"""A mount that every user may use, the static probe, and root filesystems for containers."""

import itertools
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import container
import pytest

HERE = Path(__file__).parent
TOP = HERE.parents[1]


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    """Absent tools are a failure: a tier that was left out would look like one that passed."""
    missing = container.missing_tools()
    if missing:
        pytest.fail(f"the container tests need: apt-get install --no-install-recommends {' '.join(missing)}")


def mounted(mountpoint: Path) -> bool:
    table = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    return any(line.split()[4] == str(mountpoint) for line in table.splitlines())


@pytest.fixture(scope="session")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Ends with a clean unmount: exit status 0, nothing mounted, no warning in the daemon's log."""
    scratch = tmp_path_factory.mktemp("containers").resolve()
    mountpoint, log = scratch / "mnt", scratch / "log"
    mountpoint.mkdir()
    with open(log, "w") as sink:
        daemon = subprocess.Popen(
            [sys.executable, str(TOP / "mount.py"), str(mountpoint), "-o", "allow_other"],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    try:
        deadline = time.monotonic() + 20
        while not mounted(mountpoint):
            assert daemon.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "not mounted: " + log.read_text()
            time.sleep(0.02)
        yield mountpoint
        daemon.terminate()
        assert daemon.wait(20) == 0, log.read_text()
        assert not mounted(mountpoint)
        complaints = [line for line in log.read_text().splitlines() if " INFO " not in line]
        assert complaints == []
    finally:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()
        if mounted(mountpoint):
            subprocess.run(["umount", "-l", mountpoint], check=True)


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """probe.c, static."""
    out = tmp_path_factory.mktemp("probe")
    done = subprocess.run(
        ["make", "-s", "-C", HERE, f"OUT={out}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "probe"


@pytest.fixture
def rootfs(tmp_path: Path, probe: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a root filesystem whose /etc/only-here has the given line; it goes with the test."""
    numbers = itertools.count()

    def make(only_here: str) -> Path:
        return container.make_rootfs(tmp_path / f"root{next(numbers)}", probe, only_here)

    yield make
    for root in tmp_path.glob("root*"):
        shutil.rmtree(root)
