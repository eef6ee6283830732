"""Programs under `uringfs run` whose io_uring_enter(2) is no trap: contrib/launcher/patch.c."""

import platform
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted.test_run import run
from tests.support.mounting import DEADLINE, ROOT, Mount
from tests.support.oracle import kernel_has_io_uring

SOURCE = ROOT / "tests/mounted/patch_probe.c"
CASES = re.findall(r"CASE\((?!name)(\w+)\)", SOURCE.read_text())
pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86-64 is patched")


@pytest.fixture(scope="module")
def patch_probe() -> Iterator[Path]:
    harness = ROOT / "tests/conformance"
    with tempfile.TemporaryDirectory(prefix="uringfs-patch-") as directory:
        made = Path(directory, "patch_probe")
        flags = [
            "-std=gnu11",
            "-O1",
            "-g",
            "-Wall",
            "-Wextra",
            "-D_GNU_SOURCE",
            f"-I{ROOT / 'contrib'}",
            "-pthread",
        ]
        objects = [Path(directory, "harness.o"), Path(directory, "harness_ring.o")]
        commands = (
            ["cc", *flags, "-Dmain=behaviours", "-c", "-o", objects[0], harness / "harness.c"],
            ["cc", *flags, "-c", "-o", objects[1], harness / "harness_ring.c"],
            ["cc", *flags, "-rdynamic", "-o", made, SOURCE, *objects],
        )
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        yield made


def test_there_are_cases() -> None:
    assert len(CASES) == 11


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("options", [[], ["--no-patch"], ["--no-lane"]], ids=["patched", "no-patch", "no-lane"])
def test_as_on_the_kernel(patch_probe: Path, mount: Mount, case: str, options: list[str]) -> None:
    done = run("--mount", mount.path, *options, "--", patch_probe, case, int(not options))
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


@pytest.mark.skipif(not kernel_has_io_uring(), reason="there is no io_uring to compare with")
@pytest.mark.parametrize("case", CASES)
def test_the_kernel_itself(patch_probe: Path, case: str) -> None:
    done = subprocess.run([patch_probe, case, "0"], capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")
