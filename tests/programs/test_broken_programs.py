"""Unmodified programs under faults: fio notices what is done to its data, qemu-img what is not written."""

import errno
import json
import os
import random
import re
import subprocess
from pathlib import Path

import pytest

from tests.programs.test_qemu_img import blockdev
from tests.support.mounting import Mount
from tests.support.programs import TIMEOUT, on
from uringfs.client.faults import Faults
from uringfs.testing import programs

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


WRITTEN = 256
"""Requests of either kind, of 4 KiB."""
READS, EITHER = {"reads": WRITTEN}, (0, EILSEQ)
KINDS: dict[str, tuple[int | tuple[int, ...], dict[str, int]]] = {
    "%write:path=*/data:error=EIO:when=100": (errno.EIO, {"reads": 0}),
    "%write:path=*/data:error=ENOSPC:after:when=100": (errno.ENOSPC, {"reads": 0}),
    "%write:path=*/data:retval=4096:when=100": (EILSEQ, {}),  # claims to be written
    "%write:path=*/data:short=1000:when=100": (EITHER, {"writes": WRITTEN + 1}),  # fio 3.33 writes the rest wrong
    "%read:path=*/data:short=1000:when=100": (0, {"reads": WRITTEN + 1}),
    "%write:path=*/data:torn=512:when=100": (EILSEQ, {}),
    "%write:path=*/data:misdirect=+4096:when=100": (EILSEQ, {}),
    "%write:path=*/data:corrupt=1:when=100": (EILSEQ, {}),
    "%write:path=*/data:delay_enter=20ms:times=1": (0, READS),
    "%write:path=*/data:delay_exit=exp(1ms):times=20": (0, READS),
    "%write:path=*/data:hold:when=2:expires=5s": (0, READS),
    "%write:path=*/data:reorder=4": (0, READS),
    "%write:path=*/data:stall=100ms:when=100": (0, READS),
    "%write:path=*/data:overflow:when=100": (0, READS),
    "enter:error=EINTR:when=5": (0, READS),
    "enter:error=EAGAIN:when=5": (0, READS),
    "enter:error=EBUSY:when=5": (0, READS),
    "enter:short=1:times=3": (0, READS),
    "setup:error=ENOMEM": (errno.ENOMEM, {"writes": 0}),
    "setup:error=EPERM": (errno.EPERM, {"writes": 0}),
    "%write:path=*/data:unsynced": (0, READS),
}
"""Rule -> fio's error, and how many reads and writes there were."""


def job_under(rule: str, mode: str, mount: Mount, directory: Path) -> tuple[programs.Ran, dict[str, int]]:
    """fio's verify job, and what it says of it."""
    command = ("fio", "--output-format=json", "--section=verify", JOB)
    env = {**os.environ, "IODEPTH": "8"}
    ran = programs.run(mount.path, command, [rule], seed=1, mode=mode, cwd=directory, env=env)
    job = json.loads(ran.stdout[ran.stdout.index("{") :])["jobs"][0]
    found = {"error": job["error"], "reads": job["read"]["total_ios"], "writes": job["write"]["total_ios"]}
    return ran, found


@pytest.mark.parametrize("mode", ["trap", "notify"])
@pytest.mark.parametrize("rule", KINDS)
def test_fio_under_each_kind(rule: str, mode: str, mount: Mount, tmp_path: Path) -> None:
    """As far as fio has such requests: it cancels none, and none of its are multishots or select buffers."""
    wanted, counts = KINDS[rule]
    ran, job = job_under(rule, mode, mount, tmp_path)
    assert ran.injected >= 1, ran
    assert job["error"] in (wanted if isinstance(wanted, tuple) else (wanted,)), ran
    assert ran.returncode == bool(job["error"]), ran
    assert counts.items() <= job.items(), ran
    if "unsynced" in rule:  # what it had read back is lost when it has ended
        assert not (tmp_path / "data").read_bytes().strip(b"\0")


@pytest.mark.parametrize("mode", ["trap", "notify"])
def test_fio_is_killed(mode: str, mount: Mount, tmp_path: Path) -> None:
    ran, job = job_under("%write:path=*/data:signal=KILL:when=100", mode, mount, tmp_path)
    assert "got signal=9" in ran.stderr
    assert (ran.injected, job["reads"]) == (1, 0)


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
