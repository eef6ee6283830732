"""Unmodified programs under faults: fio notices what is done to its data, qemu-img what is not written."""

import json
import random
import re
import subprocess
from pathlib import Path

import pytest

from tests.programs.test_qemu_img import blockdev
from tests.support.mounting import Mount
from tests.support.programs import TIMEOUT, on
from uringfs.client.faults import Faults

JOB = Path(__file__).with_name("fio.job")
EILSEQ = 84  # fio's error where a block is not what was written


def fio(mount: Mount, directory: Path) -> tuple[int, dict[str, int], str]:
    """Exit status of its verify job; error and reads of the job, and what it says of it."""
    command = ["fio", "--output-format=json", "--section=verify", JOB]
    env = {**on(mount), b"IODEPTH": b"8"}
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, timeout=TIMEOUT)
    job = json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]
    return done.returncode, {"error": job["error"], "reads": job["read"]["total_ios"]}, done.stdout + done.stderr


@pytest.mark.parametrize("rule", ["%write:path=*/data:corrupt=1:when=100", "%read:path=*/data:corrupt=1:when=100",
                                  "%write:path=*/data:torn=512:when=100",
                                  "%write:path=*/data:misdirect=+4096:when=100"])  # fmt: skip
def test_fio_notices(rule: str, mount: Mount, tmp_path: Path) -> None:
    with Faults(mount.path).injected(rule) as injected:
        status, job, said = fio(mount, tmp_path)
        assert injected.injected == 1, said
    assert (status, job["error"]) == (1, EILSEQ), said
    assert re.search("verify: bad|verify failed", said), said


def test_fio_notices_nothing_where_nothing_matches(mount: Mount, tmp_path: Path) -> None:
    with Faults(mount.path).injected("all:path=*/nowhere:corrupt=1") as rule:
        status, job, said = fio(mount, tmp_path)
        assert rule.injected == 0
    assert (status, job) == (0, {"error": 0, "reads": 256}), said


@pytest.mark.parametrize("rule", ["%write:short=4096", "%write:short=1000:times=1", "%write:torn=4096:times=1"])
def test_qemu_img_convert_under_short_writes(rule: str, mount: Mount, tmp_path: Path) -> None:
    """QEMU 7.2 takes a short write for a full disk, and says so; others may write the rest. What is written and
    said to be whole, torn, it cannot know of: only who compares finds that."""
    data = random.Random(4711).randbytes(512 << 10)
    (tmp_path / "disk.raw").write_bytes(data)
    (tmp_path / "copy.raw").write_bytes(bytes(len(data)))
    images = (blockdev("raw", name, "off") for name in ("disk.raw", "copy.raw"))
    command = ["qemu-img", "convert", "--image-opts", "--target-image-opts", "-n", *images]
    with Faults(mount.path).injected(rule) as injected:
        done = subprocess.run(
            command, cwd=tmp_path, env=on(mount), capture_output=True, text=True, timeout=TIMEOUT
        )
        assert injected.injected >= 1
    same = (tmp_path / "copy.raw").read_bytes() == data
    if "torn" in rule:
        assert (done.returncode, same) == (0, False), done.stderr[-4000:]
    elif done.returncode:
        assert "No space left on device" in done.stderr
    else:
        assert same, done.stderr[-4000:]
