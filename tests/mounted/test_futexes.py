"""FUTEX_WAIT and FUTEX_WAITV of a program under `uringfs run` sleep in the kernel's own queues: futex(2) wakes and
counts them. The kernel's io_uring prints the same."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted.test_run import run
from tests.support.mounting import Mount, open_directory
from tests.support.oracle import kernel_has_io_uring
from uringfs.abi.constants import IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_SINGLE_ISSUER

SOURCE = Path(__file__).with_name("futex_probe.c")
ONE = "woke 1\n{}: 0\n"
EXPECTED = {
    "futex": "woke 0\n" + "".join(ONE.format(n) for n in (1, 2, 3)),
    "word": "2: -62\n" + ONE.format(1) + "3: -11\n",
    "ring": "4: 2\n1: 0\n2: 0\n5: 1\n3: 0\n",
    "vector": "".join(f"woke 1\n1: {n}\n" for n in (2, 1, 0)) + "woke 0\n",
    "cancelled": "2: 1\n1: -125\nwoke 0\n4: 1\n3: -125\nwoke 0\n",
    "shared": "status 0\n1: 0\n",
    "closed": "nobody\n",
    "rights": "1: 0\n" + ONE.format(2),
    "many": "0: 0\n" * 100,
    "queued": "woke 1\n2: 1\n1: 0\n",
}
"""What the probe prints, by its mode."""
SETUP_FLAGS = (0, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)


@pytest.fixture(scope="module")
def probe() -> Iterator[Path]:
    with open_directory() as directory:
        subprocess.run(["gcc", "-O2", "-pthread", "-o", str(directory / "probe"), str(SOURCE)], check=True)
        yield directory / "probe"


@pytest.mark.parametrize("flags", SETUP_FLAGS, ids=hex)
@pytest.mark.parametrize("mode", EXPECTED)
def test_under_run(probe: Path, mount: Mount, mode: str, flags: int) -> None:
    done = run("--mount", mount.path, "--", probe, mode, hex(flags))
    assert (done.returncode, done.stderr, done.stdout) == (0, "", EXPECTED[mode])


@pytest.mark.skipif(not kernel_has_io_uring(), reason="no io_uring in this kernel to compare with")
@pytest.mark.parametrize("mode", EXPECTED)
def test_the_kernel_prints_that(probe: Path, mode: str) -> None:
    done = subprocess.run([probe, mode, "0"], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", EXPECTED[mode])


def test_without_threads_of_ours(probe: Path, mount: Mount) -> None:
    """The daemon looks at the words."""
    done = run("--mount", mount.path, "--no-workers", "--", probe, "many", "0")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", EXPECTED["many"])
