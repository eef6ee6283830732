"""One daemon serves most tests of this directory; each test leaves it answering and its log clean."""

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.mounting import Mount, is_mounted, open_directory
from tests.support.paths import open_tree
from uringfs.client import Ring, nop

_serial = count()


@pytest.fixture(scope="session")
def shared_mount() -> Iterator[Mount]:
    """allow_other, so that tests may act as other users."""
    with (
        open_directory() as directory,
        Mount(directory / "mnt", "-o", "allow_other", "--max-rings", "4096") as mount,
    ):
        yield mount


@pytest.fixture
def directory() -> Iterator[Path]:
    """An empty directory to mount on; a mount that a failing test leaves there is taken away."""
    with open_directory() as parent:
        path = parent / "mnt"
        path.mkdir()
        yield path
        while is_mounted(path):
            subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture
def mount(shared_mount: Mount) -> Iterator[Mount]:
    """The shared daemon. Behind the test a ring works, no file is left, the log is clean."""
    yield shared_mount
    assert_works(shared_mount)
    for name in os.listdir(shared_mount.path):
        os.unlink(shared_mount / name)
    shared_mount.assert_clean_log()


@pytest.fixture
def tree() -> Iterator[Path]:
    """Files of several owners."""
    with open_tree() as path:
        yield path


@pytest.fixture
def name() -> str:
    """A file name nobody else uses."""
    return f"ring{next(_serial)}"


def assert_works(mount: Mount) -> None:
    """A ring of our own takes a NOP through and back."""
    with Ring(mount / "new", 4) as ring:
        ring.queue(nop(4711))
        assert ring.submit(wait=1) == 1
        assert [cqe.user_data for cqe in ring.reap()] == [4711]
