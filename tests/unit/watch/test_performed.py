"""Events of requests that native code performs (engine/inline.py): the same as of those that the engine does."""

import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from tests.unit.support import Here, TakingMemory, nop
from uringfs import native
from uringfs.abi import constants as abi
from uringfs.abi.constants import IOSQE_CQE_SKIP_SUCCESS, IOSQE_IO_HARDLINK, IOSQE_IO_LINK
from uringfs.abi.events import EPOLLIN
from uringfs.abi.structs import IOVEC, Sqe
from uringfs.engine.request import Request
from uringfs.watch import filters
from uringfs.watch.record import Record, RecordKind, each
from uringfs.watch.subscription import Subscription
from uringfs.watch.tracer import Tracer
from uringfs.watch.viewer import OpenerViewer

PAGES = 64
FAILS = {"rw_flags": abi.IORING_NOP_INJECT_RESULT, "len": (-5) & 0xFFFFFFFF}
SKIP = IOSQE_CQE_SKIP_SUCCESS


class Counting(Tracer):
    """Counts the requests that the engine performs."""

    count = 0

    def io_uring_submit_req(self, request: Request) -> None:
        self.count += 1
        super().io_uring_submit_req(request)


class Watched(Here):
    def __init__(self, nursery: trio.Nursery, wanted: str) -> None:
        super().__init__(nursery)
        self.tracer = Counting(self.tctx)
        self.reader = Subscription(OpenerViewer(os.getuid(), self.host.opener(os.getpid())), lambda: None)
        self.reader.set_filter(filters.parse(f"format=raw {wanted}", filters.Filter()))
        self.tracer.add(self.reader)

    def events(self) -> list[Record]:
        return [record for record in each(self.reader.take(1 << 20)) if record.kind == RecordKind.REQUEST]


class Taking(Watched):
    memory = TakingMemory


class Scene:
    """What requests are about: a file of a mount that is known, a pipe with something in it, memory."""

    def __init__(self, directory: Path) -> None:
        self.memory = ctypes.create_string_buffer(4096)
        self.address = ctypes.addressof(self.memory)
        (directory / "file").write_bytes(bytes(range(256)))
        self.file = os.open(directory / "file", os.O_RDONLY)
        self.pipe = os.pipe()
        os.write(self.pipe[1], b"something")
        native.know_mount(native.fd_identity(self.file)[4])

    def close(self) -> None:
        for fd in (self.file, *self.pipe):
            os.close(fd)

    def vector(self, *lengths: int) -> tuple[int, int]:
        """(address, count) of one whose buffers follow each other."""
        at, entries = self.address + 1024, b""
        for length in lengths:
            entries += IOVEC.pack(at, length)
            at += length
        self.memory[512 : 512 + len(entries)] = entries  # type: ignore[assignment]
        return self.address + 512, len(lengths)

    def read(self, length: int, **fields: int) -> Sqe:
        return Sqe(abi.IORING_OP_READ, fd=self.file, addr=self.address, len=length, **fields)

    def readv(self, *lengths: int) -> Sqe:
        address, count = self.vector(*lengths)
        return Sqe(abi.IORING_OP_READV, fd=self.file, addr=address, len=count, off=40)

    def write(self, length: int, **fields: int) -> Sqe:
        self.memory[:8] = b"written "  # type: ignore[assignment]
        return Sqe(abi.IORING_OP_WRITE, fd=self.pipe[1], addr=self.address, len=length, **fields)

    def writev(self, *lengths: int) -> Sqe:
        address, count = self.vector(*lengths)
        self.memory[1024:1032] = b"gathered"  # type: ignore[assignment]
        return Sqe(abi.IORING_OP_WRITEV, fd=self.pipe[1], addr=address, len=count)

    def poll(self) -> Sqe:
        return Sqe(abi.IORING_OP_POLL_ADD, fd=self.pipe[0], rw_flags=EPOLLIN)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    native.know_mount(0)
    scene.close()


async def seen(kind: type[Watched], batches: list[list[Sqe]], wanted: str) -> tuple[list[Record], int]:
    """Events of these submissions, and how many requests the engine has performed."""
    async with trio.open_nursery() as nursery:
        bench = kind(nursery, wanted)
        for batch in batches:
            await bench.submit(*batch)
            bench.client.reap()
        nursery.cancel_scope.cancel()
    return bench.events(), bench.tracer.count


def same(record: Record) -> Record:
    """Without times."""
    return record._replace(queued=0, taken=0, issued=bool(record.issued), completed=0)


SCENES: dict[str, Callable[[Scene], list[list[Sqe]]]] = {
    "alone": lambda s: [[nop(1 << 63), nop(2, SKIP), nop(3, **FAILS)], [nop(4)]],
    "failed and skipped": lambda s: [[nop(1, SKIP, **FAILS)], [nop(2)]],
    "a chain": lambda s: [[nop(1), nop(2, IOSQE_IO_LINK), nop(3, IOSQE_IO_HARDLINK), nop(4)], [nop(5)]],
    "a chain that breaks": lambda s: [[nop(1, IOSQE_IO_LINK, **FAILS), nop(2, IOSQE_IO_LINK), nop(3)]],
    "one that goes on": lambda s: [[nop(1, IOSQE_IO_HARDLINK, **FAILS), nop(2, SKIP)]],
    "reads": lambda s: [[s.read(8), s.read(100, off=200, user_data=2), s.read(40), s.read(9, off=256)]],
    "vectors read": lambda s: [[s.readv(0, 5, 9), s.poll()], [s.readv(250)]],
    "writes": lambda s: [[s.write(8), s.write(1), s.write(40)], [s.writev(0, 3, 5)]],
    "no file": lambda s: [[s.read(8)._replace(fd=99), s.write(8)._replace(fd=-1), s.write(40)._replace(fd=99)]],
    "ready": lambda s: [[s.poll(), s.poll()], [s.poll()]],
    "mixed": lambda s: [
        [nop(1), Sqe(abi.IORING_OP_SOCKET, fd=99), nop(2), s.read(5, flags=IOSQE_IO_LINK), nop(3)]
    ],
}
WANTED = ("", "data=0", "data=3", "trace=NOP", "trace=%read,%write", "status=failed")
OTHERS = {"mixed"}
"""Scenes in which some are the engine's."""


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("name", SCENES)
async def test_the_same_events(name: str, wanted: str, scene: Scene) -> None:
    expected, by_engine = await seen(Watched, SCENES[name](scene), wanted)
    found, others = await seen(Taking, SCENES[name](scene), wanted)
    assert list(map(same, found)) == list(map(same, expected))
    assert by_engine == sum(map(len, SCENES[name](scene)))
    assert others == 0 or name in OTHERS
    assert found or wanted


@pytest.mark.parametrize("name", ["alone", "a chain", "reads", "mixed"])
async def test_times(name: str, scene: Scene) -> None:
    found, _ = await seen(Taking, SCENES[name](scene), "")
    before = 0
    for record in found:
        assert before <= record.taken <= record.completed
        assert 0 < record.queued <= record.taken
        assert record.issued in (0, record.taken) or record.issued >= record.taken
        before = record.completed


async def test_what_does_not_fit_is_counted(nursery: trio.Nursery) -> None:
    bench = Taking(nursery, "")
    while not bench.reader.total_lost:
        await bench.submit(*[nop(1)] * 8)
        bench.client.reap()
    records = list(each(bench.reader.take(1 << 30)))
    await bench.submit(nop(2))
    records += each(bench.reader.take(1 << 30))
    assert bench.tracer.count == 0
    assert sum(record.id for record in records if record.kind == RecordKind.LOST) == bench.reader.total_lost
    assert records[-1].sqe.user_data == 2


async def test_who_is_not_watched_has_no_events(nursery: trio.Nursery) -> None:
    bench = Taking(nursery, "pid=1")
    await bench.submit(nop(1))
    assert (bench.events(), bench.tracer.count) == ([], 0)
