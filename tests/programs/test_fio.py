"""Debian's fio, unmodified: the same jobs on the kernel and under `uringfs run`."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.mounting import Mount
from uringfs.cli.run import environment, library

JOB = Path(__file__).with_name("fio.job")
JOBS = [name for name in re.findall(r"^\[(\w+)\]", JOB.read_text(), re.MULTILINE) if name != "global"]
TIMEOUT = 60.0
SETUP = re.compile(r"^\[\d+\] io_uring_setup\(\d+, 0x[0-9a-f]+\) = \d+$", re.MULTILINE)


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    with Mount(tmp_path_factory.mktemp("fio") / "mnt") as mount:
        yield mount


def fio(job: str, iodepth: int, directory: Path, env: dict[bytes, bytes]) -> tuple[list[dict[str, int]], str]:
    """What each job of the section did, and what went to the standard error output."""
    directory.mkdir()
    done = subprocess.run(
        ["fio", "--output-format=json", f"--section={job}", JOB],
        cwd=directory,
        env=env | {b"IODEPTH": b"%d" % iodepth},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    work = [
        {"error": each["error"], "reads": each["read"]["total_ios"], "writes": each["write"]["total_ios"]}
        for each in json.loads(done.stdout)["jobs"]
    ]
    return work, done.stderr


@pytest.mark.parametrize("iodepth", [1, 32, 128])
@pytest.mark.parametrize("job", JOBS)
def test_fio(job: str, iodepth: int, mount: Mount, tmp_path: Path) -> None:
    kernel, silent = fio(job, iodepth, tmp_path / "kernel", dict(os.environb))
    ours, trace = fio(job, iodepth, tmp_path / "uringfs", environment(str(mount.path), library(), trace=True))
    assert not SETUP.search(silent)
    assert len(SETUP.findall(trace)) == len(ours)
    assert ours == kernel
    assert all(each["error"] == 0 and each["reads"] + each["writes"] >= 256 for each in ours)
    mount.assert_clean_log()
