"""Victims with rights, an ordinary user who attacks them, a root daemon that both may use, and the kernel to
compare with."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from attack import CAPABILITY, SECRET, SECRETS_GROUP, USER, Arena, as_user

from tests.support.mounting import Mount, open_directory
from tests.support.oracle import kernel_has_io_uring
from uringfs.cli.run import library

HERE = Path(__file__).parent
VICTIMS = ("holder", "deputy", "copier", "rights", "drops")


def build(out: Path, *variables: str) -> None:
    done = subprocess.run(["make", "-C", HERE, "-j2", f"OUT={out}", *variables], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def give_rights(directory: Path) -> None:
    """victim.plain, .setuid, .setgid and .caps of each."""
    for name in VICTIMS:
        (directory / name).rename(directory / f"{name}.plain")
        for kind in ("setuid", "setgid", "caps"):
            shutil.copy(directory / f"{name}.plain", directory / f"{name}.{kind}")
        os.chown(directory / f"{name}.setgid", 0, SECRETS_GROUP)
        (directory / f"{name}.setuid").chmod(0o4755)
        (directory / f"{name}.setgid").chmod(0o2755)
        subprocess.run(["setcap", CAPABILITY, directory / f"{name}.caps"], check=True)


def put_secret(directory: Path) -> None:
    path = directory / "secret"
    path.write_text(SECRET)
    os.chown(path, 0, SECRETS_GROUP)
    path.chmod(0o640)


def assert_armed(directory: Path) -> None:
    """Where the bits do not count (a file system mounted nosuid, no xattrs) each attack would fail for that."""
    for kind, status in (("plain", 1), ("setuid", 0), ("setgid", 0), ("caps", 0)):
        done = subprocess.run([*as_user(), directory / f"rights.{kind}", directory / "secret"])
        assert done.returncode == status, f"{directory}: a {kind} program has not the rights it should have"


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
    """Behind the test the daemon serves, complains of nothing, and nothing of root's has been made."""
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
