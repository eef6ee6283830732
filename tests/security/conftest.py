"""Victims with rights, an ordinary user who attacks them, a root daemon that both may use, and the kernel to
compare with."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from attack import SECRET, USER, Arena
from victims import assert_armed, build, give_rights, put_secret

from tests.support.mounting import Mount, open_directory
from tests.support.oracle import kernel_has_io_uring
from uringfs.cli.run import library


@pytest.fixture(scope="session")
def directory() -> Iterator[Path]:
    """Below a directory of root's that everybody may search: programs, victims, the secret, our library."""
    with open_directory() as path:
        build(path)
        put_secret(path)
        shutil.copy(library(), path / "trap.so")
        give_rights(path)
        assert_armed(path)
        yield path


@pytest.fixture(scope="session")
def daemon() -> Iterator[Mount]:
    with open_directory() as path, Mount(path / "mnt", "-o", "allow_other") as mount:
        yield mount


@pytest.fixture
def arena(daemon: Mount, directory: Path) -> Iterator[Arena]:
    """After the test the daemon serves, complains of nothing, and nothing of root's has been made."""
    yield Arena(daemon, directory)
    assert daemon.process.poll() is None, f"the daemon ended: {daemon.log()}"
    for name in os.listdir(daemon.path):
        os.unlink(daemon / name)
    made = directory / "secret.made"
    if made.exists():
        made.rmdir()
    if (directory / "secret").read_text() != SECRET:
        put_secret(directory)
    daemon.assert_clean_log()


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory of the user's."""
    with open_directory() as path:
        os.chown(path, USER, USER)
        yield path


@pytest.fixture(scope="session")
def oracle() -> bool:
    return kernel_has_io_uring()
