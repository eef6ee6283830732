"""A mount that every user may use, the static probe, and root filesystems for containers."""

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import container
import image as images
import pytest
from release import NEXT, RELEASED

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.mounting import Mount

HERE = Path(__file__).parent


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    """Absent tools are a failure: a tier that was left out would look like one that passed."""
    missing = container.missing_tools()
    if missing:
        pytest.fail(f"the container tests need: apt-get install --no-install-recommends {' '.join(missing)}")


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    with Mount(tmp_path_factory.mktemp("containers") / "mnt", "-o", "allow_other") as mount:
        yield mount


@pytest.fixture
def mount(daemon: Mount) -> Iterator[Path]:
    """Where rings are. Behind the test the daemon serves, complains of nothing and holds no named ring."""
    yield daemon.path
    assert daemon.process.poll() is None, daemon.log()
    for ring in daemon.path.iterdir():
        ring.unlink()
    complaints = [line for line in daemon.log().splitlines() if " INFO " not in line]
    assert complaints == []


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the static programs are."""
    out = tmp_path_factory.mktemp("programs")
    done = subprocess.run(["make", "-s", "-C", HERE, f"OUT={out}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="session")
def probe(programs: Path) -> Path:
    """probe.c"""
    return programs / "probe"


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that everybody may search, the root of a user namespace, too; it goes with the test."""
    with tempfile.TemporaryDirectory(prefix="uringfs-containers-") as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


@pytest.fixture
def rootfs(scratch: Path, probe: Path) -> Callable[[str], Path]:
    """Makes a root filesystem whose /etc/only-here has the given line."""
    numbers = itertools.count()
    return lambda only_here: container.make_rootfs(scratch / f"root{next(numbers)}", probe, only_here)


@pytest.fixture(scope="session", params=RELEASED[:2], ids=lambda release: release.suite)
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of the image of contrib/oci/Containerfile. Building one takes a minute: nothing else shows that it
    can be, and that the package installs where nothing but Debian is."""
    with images.built(request.param, tmp_path_factory.mktemp("image")) as name:
        yield name


@pytest.fixture(scope="session")
def next_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of NEXT, with what two tests need of it: unpacking packages takes as long as they do."""
    packages = f"{images.IN_BASE},{images.TO_BUILD},postgresql"
    with NEXT.unpacked(tmp_path_factory.mktemp("next"), packages, "apt") as root:
        yield root
