"""uringfs_attach(): a second program maps a ring by its name."""

import errno
import subprocess
from pathlib import Path

import pytest

from tests.support.mounting import DEADLINE, ROOT, Mount
from uringfs.client import Ring, SetupFlag


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "attach"
    strict = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'contrib'}"]
    subprocess.run(["cc", *strict, "-o", path, ROOT / "tests/mounted/attach.c"], check=True)
    return path


def attach(program: Path, path: Path) -> tuple[int, str]:
    done = subprocess.run([program, path, "77"], capture_output=True, text=True, timeout=DEADLINE, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("flags", [SetupFlag(0), SetupFlag.SQE128])
def test_a_ring_of_another(program: Path, mount: Mount, name: str, flags: SetupFlag) -> None:
    with Ring(mount / name, 4, flags=flags, cq_entries=32) as ring:
        assert attach(program, mount / name) == (0, "4 32 77\n")
        assert [cqe.user_data for cqe in ring.reap()] == [77]


def test_one_that_the_shell_has_set_up(program: Path, mount: Mount, name: str) -> None:
    (mount / name).write_text("setup 2\n")
    assert attach(program, mount / name) == (0, "2 4 77\n")


def test_what_cannot_be_attached_to(program: Path, mount: Mount, name: str, tmp_path: Path) -> None:
    (mount / name).touch()
    assert attach(program, mount / name) == (1, f"{errno.EBADFD}\n")
    (tmp_path / "file").touch()
    assert attach(program, tmp_path / "file") == (1, f"{errno.EOPNOTSUPP}\n")
