"""qemu-img, unmodified: its io_uring engine moves disk images on the kernel and under `uringfs run`."""

import hashlib
import random
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.mounting import Mount
from tests.support.programs import SIDES, both

SIZE = 8 << 20


def image(tmp_path: Path) -> bytes:
    """disk.raw for both: data, zeros, data."""
    data = random.Random(4711).randbytes(3 << 20)
    data += bytes(SIZE - 2 * len(data)) + data[::-1]
    for side in SIDES:
        (tmp_path / side).mkdir()
        (tmp_path / side / "disk.raw").write_bytes(data)
    return data


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def blockdev(driver: str, name: str, cache: str = "on") -> str:
    """Image options: the file below is opened with aio=io_uring."""
    return f"driver={driver},file.driver=file,file.filename={name},file.aio=io_uring,file.cache.direct={cache}"


@pytest.mark.parametrize("depth", [1, 64])
@pytest.mark.parametrize("cache", ["none", "writeback"])
@pytest.mark.parametrize("mode", [(), ("-w", "--pattern=165", "--flush-interval=128")], ids=["read", "write"])
def test_bench(mode: tuple[str, ...], cache: str, depth: int, mount: Mount, tmp_path: Path) -> None:
    before = image(tmp_path)
    command = ("qemu-img", "bench", "-i", "io_uring", "-t", cache, "-f", "raw", "-c", 512, "-d", depth, "-s", 8192)
    done = both(mount, tmp_path, *command, *mode, "disk.raw")
    said = [re.sub(r"in [\d.]+ seconds", "", text) for text in (done.kernel, done.ours)]
    assert said[0] == said[1]
    assert "Run completed" in said[1]
    assert done.calls.enter >= 512 // depth
    kernel, ours = (tmp_path / side / "disk.raw" for side in SIDES)
    assert digest(ours) == digest(kernel)
    # 512 requests of 8 KiB, one behind the other
    wanted = before if not mode else b"\xa5" * (512 * 8192) + before[512 * 8192 :]
    assert ours.read_bytes() == wanted


@pytest.mark.parametrize("cache", ["on", "off"], ids=["direct", "cached"])
def test_convert_there_and_back(cache: str, mount: Mount, tmp_path: Path) -> None:
    before = image(tmp_path)
    convert = ("qemu-img", "convert", "--image-opts", "-n", "-W", "-m", 8)
    for side in SIDES:
        for name, form in (("disk.qcow2", "qcow2"), ("back.raw", "raw")):
            subprocess.run(
                ["qemu-img", "create", "-q", "-f", form, name, str(SIZE)], cwd=tmp_path / side, check=True
            )
    there = (blockdev("raw", "disk.raw", cache), blockdev("qcow2", "disk.qcow2", cache))
    back = (blockdev("qcow2", "disk.qcow2", cache), blockdev("raw", "back.raw", cache))
    for source, target in (there, back):
        done = both(mount, tmp_path, *convert, "--target-image-opts", source, target)
        assert done.ours == done.kernel == ""
        assert done.calls.enter > 3
    for side in SIDES:
        assert digest(tmp_path / side / "back.raw") == hashlib.sha256(before).hexdigest()
        subprocess.run(["qemu-img", "check", "-q", "disk.qcow2"], cwd=tmp_path / side, check=True)
