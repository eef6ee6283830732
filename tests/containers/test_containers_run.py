"""The launcher's library in a container: the profile refuses io_uring, the trap wins over it."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from container import INSIDE, Container

from tests.support.probe import build
from uringfs.cli.run import library

PRELOAD = "/lib/uringfs-trap.so"


@pytest.fixture
def dynamic(rootfs: Callable[[str], Path]) -> Path:
    """A root file system with the dynamic probe, its libc and the library."""
    root = rootfs("run")
    program = build(root / "bin/run_probe")
    (root / "lib").mkdir(exist_ok=True)
    shutil.copy(library(), root / PRELOAD.lstrip("/"))
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for path in re.findall(r"(/\S+) \(0x", listed):
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return root


def run(root: Path, mount: Path, behaviour: str, *env: str, user: str) -> tuple[int, str, str]:
    with Container(root, mount, "/bin/busybox", "env", *env, "/bin/run_probe", behaviour, user=user) as container:
        return container.finish()


@pytest.mark.parametrize("user", ["0:0", "1000:1000"], ids=["root", "user"])
@pytest.mark.parametrize(
    "behaviour",
    ["one_nop", "exec_without_our_environment", "a_handler_enters_while_the_program_waits", "the_descriptor"],
)
def test_programs_that_the_profile_refuses(dynamic: Path, mount: Path, behaviour: str, user: str) -> None:
    status, _, err = run(dynamic, mount, "one_nop", user=user)
    assert status == 1
    assert "Function not implemented" in err or "Operation not permitted" in err
    env = [f"LD_PRELOAD={PRELOAD}", f"URINGFS_TRAP_MOUNT={INSIDE}"]
    status, out, err = run(dynamic, mount, behaviour, *env, user=user)
    assert status == 0, out + err
