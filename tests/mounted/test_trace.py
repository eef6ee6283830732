"""Traces of a real mount: who may see what, what is lost, and the command's formats."""

import ctypes
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import tracefile
from tests.support.mounting import URINGFS, Mount, until
from uringfs.client import Register, Ring, nop, prep
from uringfs.watch.follow import Follower
from uringfs.watch.jsonlines import SCHEMA
from uringfs.watch.record import Record, RecordKind
from uringfs.watch.strace import Lines

DEADLINE = 30.0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(b"0123456789" * 100)
    return path


def records(follower: Follower, count: int, *kinds: RecordKind) -> list[Record]:
    """As many of these kinds; AssertionError if they do not come."""
    found: list[Record] = []

    def enough() -> bool:
        found.extend(one for one in follower.read() if one.kind in (kinds or (RecordKind.REQUEST,)))
        return len(found) >= count

    until(enough, f"{count} events")
    return found


def read_file(ring: Ring, path: Path) -> None:
    with open(path, "rb") as file:
        buffer = bytearray(100)
        ring.queue(prep.read(file.fileno(), buffer, off=0, user_data=7))
        ring.submit(wait=1)
        assert [cqe.res for cqe in ring.reap()] == [100]


def register_files(ring: Ring) -> None:
    fds = (ctypes.c_int * 2)(0, 1)
    ring.register(Register.FILES, ctypes.addressof(fds), 2)


def test_cat(mount: Mount, data: Path) -> None:
    """Nothing but a shell is needed."""
    with subprocess.Popen(["cat", mount / ".trace"], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        try:
            line = b""
            with Ring(mount / "new", 4) as ring:
                end = time.monotonic() + DEADLINE
                while b"READ(" not in line and time.monotonic() < end:
                    read_file(ring, data)
                    line = cat.stdout.readline() if select.select([cat.stdout], [], [], 0.05)[0] else b""
        finally:
            cat.terminate()
    number = line.partition(b"(")[2].partition(b"<")[0].decode()
    shown = f'READ({number}<{data}>, "01234567890123456789012345678901"..., 100, 0) = 100 <'
    assert line.startswith(shown.encode())
    assert line.endswith(b"> inline\n")


def test_one_ring_of_two(mount: Mount) -> None:
    with Ring(mount / "new", 4) as one, Ring(mount / "new", 4) as other:
        number = os.fstat(one.fileno()).st_ino
        with Follower([str(mount.path)], f"ring={number}") as follower:
            for ring, user_data in ((other, 1), (one, 2), (other, 3), (one, 4)):
                ring.queue(nop(user_data))
                ring.submit(wait=1)
            found = records(follower, 2)
    assert [record.sqe.user_data for record in found] == [2, 4]
    assert {record.ring for record in found} == {number}
    assert {record.pid for record in found} == {os.getpid()}


def test_setup_and_register(mount: Mount) -> None:
    with Follower([str(mount.path)], f"pid={os.getpid()}") as follower, Ring(mount / "new", 4) as ring:
        register_files(ring)
        (setup, register) = records(follower, 2, RecordKind.SETUP, RecordKind.REGISTER)
    assert setup.kind == RecordKind.SETUP
    assert setup.sqe.len == 4
    assert register.kind == RecordKind.REGISTER
    assert register.res == 0
    assert "io_uring_register(IORING_REGISTER_FILES, [0, 1], 2) = 0" in Lines().line(register)


def test_a_poll_wakes_the_reader(mount: Mount) -> None:
    fd = os.open(mount / ".trace", os.O_RDWR | os.O_NONBLOCK)
    try:
        with pytest.raises(BlockingIOError):
            os.read(fd, 100)
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        assert poll.poll(0) == []
        with Ring(mount / "new", 4) as ring:
            ring.queue(nop(1))
            ring.submit(wait=1)
            assert poll.poll(DEADLINE * 1000) == [(fd, select.POLLIN)]
        assert os.read(fd, 1 << 20)
    finally:
        os.close(fd)


def test_words_that_are_none(mount: Mount) -> None:
    fd = os.open(mount / ".trace", os.O_RDWR)
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            os.write(fd, b"rings=1")
    finally:
        os.close(fd)
    with open(mount / ".trace", "wb", 0) as writer, pytest.raises(OSError, match="Invalid argument"):
        writer.write(b"ring=1")


def test_it_belongs_to_the_mount(mount: Mount) -> None:
    for name in (".trace", ".rings", ".metrics"):
        with pytest.raises(PermissionError):
            os.unlink(mount / name)
        with pytest.raises(PermissionError):
            os.rename(mount / name, mount / "other")
        assert name not in os.listdir(mount.path)


class Traced:
    """`uringfs trace` beside the test, with a file for its output."""

    def __init__(self, output: Path, *words: str) -> None:
        self.output = output
        command = [*URINGFS, "trace", "-o", str(output), *words]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def stop(self) -> str:
        self.process.terminate()
        _, said = self.process.communicate(timeout=DEADLINE)
        assert self.process.returncode == 0, said
        return said


@pytest.fixture
def ring(mount: Mount) -> Iterator[Ring]:
    with Ring(mount / "new", 8) as one:
        yield one


def sees(traced: Traced, ring: Ring, mark: str) -> None:
    """Submit until the output has it: watching has begun."""

    def marked() -> bool:
        ring.queue(nop(4711))
        ring.submit(wait=1)
        ring.reap()
        return traced.output.exists() and mark in traced.output.read_text()

    until(marked, "the trace to begin")


def test_attached_to_a_ring_by_its_descriptor(mount: Mount, ring: Ring, data: Path, tmp_path: Path) -> None:
    where = f"/proc/{os.getpid()}/fd/{ring.fileno()}"
    traced = Traced(tmp_path / "out", where, "-u", "-t", "--mount", str(mount.path))
    sees(traced, ring, "NOP() = 0")
    read_file(ring, data)
    until(lambda: "READ(" in traced.output.read_text(), "the line")
    traced.stop()
    line = next(line for line in traced.output.read_text().splitlines() if "READ(" in line)
    assert line.endswith("inline user_data=0x7")
    assert line[2] == line[5] == ":"


def test_the_schema_holds(mount: Mount, ring: Ring, data: Path, tmp_path: Path) -> None:
    traced = Traced(tmp_path / "out", str(os.getpid()), "--format", "json", "--mount", str(mount.path))
    sees(traced, ring, '"event":"reaped"')
    read_file(ring, data)
    register_files(ring)
    ring.queue(nop(1))  # by which it is seen that the CQE of the read has been taken
    ring.submit(wait=1)
    with Ring(mount / "new", 4):
        pass
    until(lambda: '"closed"' in traced.output.read_text(), "the ring's end")
    traced.stop()
    events = [json.loads(line) for line in traced.output.read_text().splitlines()]
    kinds = {event["event"] for event in events}
    assert kinds >= {"request", "setup", "register", "reaped", "closed"}
    for event in events:
        assert_fits(event)
    reaped = [number for event in events if event["event"] == "reaped" for number in event["ids"]]
    done = [event["id"] for event in events if event["event"] == "request" and event["op"] == "READ"]
    assert set(done) <= set(reaped)


TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "string": (str,),
    "boolean": (bool,),
    "object": (dict,),
    "list of strings": (list,),
    "list of integers": (list,),
    "null": (type(None),),
}


def assert_fits(event: dict[str, Any]) -> None:
    fields = SCHEMA[event["event"]]
    assert set(event) == {"event", *fields}
    for name, meaning in fields.items():
        allowed = [kind for word in meaning.partition(":")[0].split(" or ") for kind in TYPES[word]]
        assert type(event[name]) in allowed, (name, event[name])


def test_slices(mount: Mount, ring: Ring, data: Path, tmp_path: Path) -> None:
    traced = Traced(tmp_path / "out", str(os.getpid()), "--format", "perfetto", "--mount", str(mount.path))
    sees(traced, ring, '"NOP"')
    for number in range(8):
        ring.queue(nop(number))
    ring.submit(wait=8)
    ring.reap()
    read_file(ring, data)
    until(lambda: '"READ"' in traced.output.read_text(), "the slice")
    traced.stop()
    events = json.loads(traced.output.read_text())
    tracefile.assert_readable(events)
    slices = [event for event in events if event["ph"] == "X" and event.get("cat") == "request"]
    read = next(event for event in slices if event["name"] == "READ")
    flow = [event["ph"] for event in events if event.get("id") == read["args"]["id"] and "name" in event]
    assert flow == ["s", "t", "f"]
    named = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    assert {(event["pid"], event["tid"]) for event in slices} <= named


def test_a_summary(mount: Mount, ring: Ring, tmp_path: Path) -> None:
    words = ("-c", "--format", "json", "--mount", str(mount.path))
    traced = Traced(tmp_path / "out", str(os.getpid()), *words)
    with Follower([str(mount.path)], "") as follower:
        # Nobody says that it watches: two readers' requests are seen by the metrics.
        until(lambda: readers(mount) >= 2, "the command to watch")
        for _ in range(8):
            ring.queue(nop(1))
        ring.submit(wait=1)
        ring.reap()
        records(follower, 8)
    traced.stop()
    (line,) = traced.output.read_text().splitlines()
    told = json.loads(line)
    assert told["lost"] == 0
    assert told["ops"]["NOP"]["count"] == 8
    assert 0 < told["ops"]["NOP"]["p50_ns"] <= told["ops"]["NOP"]["max_ns"]


def readers(mount: Mount) -> int:
    lines = (mount / ".metrics").read_text().splitlines()
    return int(float(next(line.split()[1] for line in lines if line.startswith("uringfs_trace_readers "))))


@pytest.mark.parametrize("words", [(), ("1", "--all"), ("--all", "-e", "RAED"), ("/etc/hostname",)])
def test_wrong_words(mount: Mount, words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [*URINGFS, "trace", "--mount", mount.path, *words], capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.returncode == 2
    assert done.stderr.startswith("uringfs trace: ")


def run(*words: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [*URINGFS, "run", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **more)


PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[1])
from uringfs.client import Ring, nop
with Ring(sys.argv[2] + "/new", 4) as ring:
    ring.queue(nop(5))
    ring.submit(wait=1)
sys.exit(int(sys.argv[3]))
"""


def test_run_ends_as_the_program(mount: Mount, tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    output = tmp_path / "out"
    program = (sys.executable, "-c", PROGRAM, root, str(mount.path), "3")
    done = run("--mount", mount.path, "--trace", "-o", output, "--", *program)
    assert done.returncode == 3, done.stderr
    lines = output.read_text().splitlines()
    assert sum(line.startswith("NOP() = 0 <") for line in lines) == 1
    assert any(line.startswith("io_uring_setup(4, {flags=0") for line in lines)


def test_run_ends_by_the_same_signal(mount: Mount) -> None:
    done = run("--mount", mount.path, "--trace", "--", "sh", "-c", "kill -9 $$")
    assert done.returncode == -9


def test_run_says_what_no_filter_is(mount: Mount) -> None:
    done = run("--mount", mount.path, "--trace=RAED", "--", "true")
    assert done.returncode == 2
    assert "'RAED'" in done.stderr


def test_a_full_disk(mount: Mount, tmp_path: Path) -> None:
    """Lines are lost, whole ones, and counted; the program goes on."""
    size = 65536
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", small], check=True)
    try:
        many = "    for _ in range(1500): ring.queue(nop(5)); ring.submit()"
        code = PROGRAM.replace("    ring.queue(nop(5))", many)
        root = str(Path(__file__).parents[2])
        program = (sys.executable, "-c", code, root, str(mount.path), "0")
        done = run("--mount", mount.path, "--trace", "-t", "-o", small / "out", "--", *program)
        assert done.returncode == 0, done.stderr
        text = (small / "out").read_text()
    finally:
        subprocess.run(["umount", small], check=True)
    assert "lines were lost" in done.stderr
    assert 0 < len(text) <= size
    assert text.endswith("\n")
    assert all(" = " in line or line.endswith("+++") for line in text.splitlines())
