"""`uringfs ls` and `show`, and `.metrics`, on a real mount."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.mounting import URINGFS, Mount, until
from uringfs.client import Ring, nop, prep


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*URINGFS, *words], capture_output=True, text=True, timeout=60)


def listed(mount: Mount) -> list[dict[str, Any]]:
    done = command("ls", "--json", str(mount.path))
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_ls(mount: Mount, name: str) -> None:
    with Ring(mount / name, 4) as named, Ring(mount / "new", 8) as other:
        named.queue(nop(1))
        named.submit(wait=1)
        read, write = os.pipe()
        other.queue(prep.read(read, bytearray(1), user_data=2))
        other.submit()
        rings = {ring["ring"]: ring for ring in listed(mount)}
        shown = command("ls", str(mount.path))
        first = rings[os.fstat(named.fileno()).st_ino]
        second = rings[os.fstat(other.fileno()).st_ino]
        os.close(write)
        os.close(read)
    assert (first["name"], first["in_flight"], first["completed"], first["sq_entries"]) == (name, 0, 1, 4)
    assert (second["name"], second["in_flight"], second["pid"]) == ("", 1, os.getpid())
    assert first["ops_per_second"] == 0.0
    head, *lines = shown.stdout.splitlines()
    assert head.split()[:4] == ["RING", "USER", "PID", "COMMAND"]
    (line,) = (line for line in lines if line.split()[0] == str(first["ring"]))
    assert line.endswith(str(mount / name))


def test_show(mount: Mount) -> None:
    read, write = os.pipe()
    try:
        with Ring(mount / "new", 8) as ring:
            ring.queue(prep.read(read, bytearray(1), user_data=0x2A))
            ring.submit()
            where = f"/proc/{os.getpid()}/fd/{ring.fileno()}"
            told = json.loads(command("show", "--json", where).stdout)
            number = os.fstat(ring.fileno()).st_ino
            text = command("show", str(number), "--mount", str(mount.path)).stdout
    finally:
        os.close(read)
        os.close(write)
    assert told["ring"] == number
    (request,) = told["requests"]
    assert (request["op"], request["fd"], request["user_data"]) == ("READ", read, 0x2A)
    assert request["file"].startswith("pipe:[")
    assert "requests under way:" in text
    assert " pipe:[" in text


@pytest.mark.parametrize("ring", ["1", "/etc/hostname", "/nowhere"])
def test_no_ring(mount: Mount, ring: str) -> None:
    done = command("show", ring)
    assert done.returncode == 1
    assert done.stderr.startswith("uringfs show: ")


def metrics(mount: Mount) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """By name and labels, as the library's own parser reads them."""
    text = (mount / ".metrics").read_text()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}


def test_metrics(mount: Mount) -> None:
    before = metrics(mount)  # from now on it counts by opcode
    with Ring(mount / "new", 8) as ring:
        for request in (nop(1), nop(2), prep.fsync(99)):
            ring.queue(request)
        ring.submit(wait=3)
        within = metrics(mount)
    until(lambda: metrics(mount)["uringfs_rings", ()] == before["uringfs_rings", ()], "the ring's end")
    after = metrics(mount)
    plain = "uringfs_completed_total", ()
    assert within[plain] - before[plain] == 3
    assert after[plain] == within[plain]  # a ring that is closed counts on
    assert within["uringfs_rings", ()] == before["uringfs_rings", ()] + 1
    good = "uringfs_requests_total", (("op", "NOP"), ("result", "ok"))
    bad = "uringfs_requests_total", (("op", "FSYNC"), ("result", "EBADF"))
    assert within[good] - before.get(good, 0) == 2
    assert within[bad] - before.get(bad, 0) == 1
    name = "uringfs_request_duration_seconds"
    buckets = [
        (float(dict(labels)["le"]), value)
        for (sample, labels), value in after.items()
        if sample == f"{name}_bucket" and ("op", "NOP") in labels
    ]
    assert buckets == sorted(buckets)
    assert [value for _, value in sorted(buckets)] == sorted(value for _, value in buckets)
    assert buckets[-1] == (float("inf"), after[f"{name}_count", (("op", "NOP"),)])
    assert after[f"{name}_sum", (("op", "NOP"),)] > 0


def test_words_of_the_list(mount: Mount) -> None:
    fd = os.open(mount / ".rings", os.O_RDWR)
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            os.write(fd, b"nonsense")
        assert b"what fits: stats ring=NUMBER" in os.read(fd, 4096)
    finally:
        os.close(fd)


def test_files_of_the_mount_are_not_taken_for_rings(directory: Path) -> None:
    """Both are numbered as they are opened."""
    with Mount(directory, "--backend", "pagecache") as mount:
        rings = [Ring(mount / "new", 4) for _ in range(4)]
        for _ in range(20):
            (mount / ".metrics").read_bytes()
        for ring in rings:
            ring.queue(nop(1))
            ring.submit(wait=1)
            assert [cqe.user_data for cqe in ring.reap()] == [1]
            ring.close()
