"""Sync, space, advice and splice over the fake host: which call is made, and what becomes of its result."""

import errno

import pytest
import trio

from tests.fakehost.files import Description, RegularFile, Sink, Stream
from tests.unit.support import Bench, nop
from uringfs.abi.constants import IOSQE_CQE_SKIP_SUCCESS, IOSQE_IO_LINK
from uringfs.abi.structs import Sqe
from uringfs.host.files.calls import Fadvise, Fallocate, Fsync, Ftruncate, Splice, SyncFileRange, Tee
from uringfs.host.protocols import INFINITY

FSYNC, SYNC_FILE_RANGE, FALLOCATE, FADVISE, MADVISE, SPLICE, TEE, FTRUNCATE = 3, 8, 17, 24, 25, 30, 33, 55
LINK = IOSQE_IO_LINK
LAST = (1 << 64) - 1


async def result(bench: Bench, *sqes: Sqe) -> list[tuple[int, int]]:
    await bench.submit(*sqes)
    await trio.testing.wait_all_tasks_blocked()
    return bench.client.results()


@pytest.fixture
def file(bench: Bench) -> Description:
    bench.thread.fds[3] = file = RegularFile(b"")
    bench.thread.fds[4] = RegularFile(b"", refused=errno.EINVAL)
    return file


@pytest.mark.parametrize(
    ("opcode", "fields", "call"),
    [
        (FSYNC, {}, Fsync(False)),
        (FSYNC, {"rw_flags": 1, "off": 5, "len": 9}, Fsync(True)),
        (SYNC_FILE_RANGE, {"off": LAST, "len": 9, "rw_flags": 7}, SyncFileRange(-1, 9, 7)),
        (FALLOCATE, {"off": 1, "addr": LAST, "len": 1 << 31}, Fallocate(-(1 << 31), 1, -1, INFINITY)),
        (FTRUNCATE, {"off": 1 << 63}, Ftruncate(-(1 << 63), INFINITY)),
        (FADVISE, {"off": 1, "len": 2, "rw_flags": 3}, Fadvise(1, 2, 3)),
        (FADVISE, {"addr": 1 << 40, "len": 2, "rw_flags": 0xFFFFFFFF}, Fadvise(0, 1 << 40, -1)),
    ],
)
async def test_the_call_that_is_made(
    bench: Bench, file: Description, opcode: int, fields: dict[str, int], call: object
) -> None:
    assert await result(bench, Sqe(opcode, fd=3, user_data=1, **fields)) == [(1, 0)]
    assert file.calls == [call]
    assert file.opens == 0


@pytest.mark.parametrize(
    ("opcode", "fields"),
    [
        *((FSYNC, {name: 1}) for name in ("addr", "buf_index", "file_index", "ioprio")),
        (FSYNC, {"rw_flags": 2}),
        (FSYNC, {"off": LAST}),
        *((SYNC_FILE_RANGE, {name: 1}) for name in ("addr", "buf_index", "file_index")),
        *((FALLOCATE, {name: 1}) for name in ("rw_flags", "buf_index", "file_index")),
        *((FTRUNCATE, {name: 1}) for name in ("rw_flags", "addr", "len", "buf_index", "file_index", "addr3")),
        *((FADVISE, {name: 1}) for name in ("buf_index", "file_index")),
        *((MADVISE, {name: 1}) for name in ("buf_index", "file_index")),
        (SPLICE, {"rw_flags": 16}),
        (TEE, {"off": 1}),
        (TEE, {"addr": 1}),
    ],
)
async def test_fields_that_must_be_zero_end_the_submission(
    bench: Bench, file: Description, opcode: int, fields: dict[str, int]
) -> None:
    assert await bench.submit(Sqe(opcode, fd=3, user_data=1, **fields), nop(2)) == 1
    assert bench.client.results() == [(1, -errno.EINVAL)]
    assert file.calls == []


@pytest.mark.parametrize(
    ("opcode", "expected"),
    [(FSYNC, errno.EINVAL), (SYNC_FILE_RANGE, errno.ESPIPE), (FALLOCATE, errno.ENODEV), (FTRUNCATE, errno.EINVAL)],
)
async def test_a_file_of_our_own_mount_is_left_alone(
    bench: Bench, file: Description, opcode: int, expected: int
) -> None:
    assert await result(bench, Sqe(opcode, fd=4, user_data=1)) == [(1, -expected)]
    assert bench.thread.fds[4].calls == []


async def test_advice_on_a_file_of_our_own_mount_is_checked(bench: Bench, file: Description) -> None:
    fine, wrong = Sqe(FADVISE, fd=4, user_data=1), Sqe(FADVISE, fd=4, user_data=2, rw_flags=77)
    assert await result(bench, fine, wrong) == [(1, 0), (2, -errno.EINVAL)]


@pytest.mark.parametrize("opcode", [FSYNC, SYNC_FILE_RANGE, FALLOCATE, FTRUNCATE])
async def test_a_failed_call_breaks_no_link(bench: Bench, file: Description, opcode: int) -> None:
    file.error = errno.EIO
    assert await result(bench, Sqe(opcode, LINK, fd=3, user_data=1), nop(2)) == [(1, -errno.EIO), (2, 0)]
    skip = LINK | IOSQE_CQE_SKIP_SUCCESS
    assert await result(bench, Sqe(opcode, skip, fd=3, user_data=1), nop(2)) == [(2, 0)]


async def test_but_advice_and_a_bad_descriptor_do(bench: Bench, file: Description) -> None:
    file.error = errno.EIO
    cancelled = (2, -errno.ECANCELED)
    assert await result(bench, Sqe(FADVISE, LINK, fd=3, user_data=1), nop(2)) == [(1, -errno.EIO), cancelled]
    assert await result(bench, Sqe(FSYNC, LINK, fd=99, user_data=1), nop(2)) == [(1, -errno.EBADF), cancelled]


async def test_limits_are_the_callers(bench: Bench, file: Description) -> None:
    bench.thread.fsize = 1000
    await result(bench, Sqe(FALLOCATE, fd=3, addr=1), Sqe(FTRUNCATE, fd=3))
    assert sorted(call.limit for call in file.calls) == [1000, 1000]


async def test_madvise_of_the_callers_memory(bench: Bench) -> None:
    narrow = Sqe(MADVISE, fd=-1, addr=0x5000, len=9, rw_flags=4, user_data=1)
    wide = Sqe(MADVISE, fd=-1, addr=0x5000, off=1 << 40, len=9, rw_flags=0xFFFFFFFF, user_data=2)
    assert sorted(await result(bench, narrow, wide)) == [(1, 0), (2, 0)]
    assert sorted(bench.thread.advice) == [(0x5000, 9, 4), (0x5000, 1 << 40, -1)]


class Ends:
    """A pipe to move from, one to move to."""

    def __init__(self, bench: Bench) -> None:
        self.source, self.out = Stream(), Sink(10)
        bench.thread.fds.update({3: self.source, 4: self.out, 5: RegularFile(b"")})


@pytest.fixture
def ends(bench: Bench) -> Ends:
    return Ends(bench)


def splice(length: int, flags: int = 0, **fields: int) -> Sqe:
    return Sqe(SPLICE, flags, fd=4, file_index=3, off=LAST, addr=LAST, len=length, user_data=1, **fields)


async def test_splice_asks_for_what_the_sqe_says(bench: Bench, ends: Ends) -> None:
    ends.out.result = 7
    assert await result(bench, splice(7, rw_flags=5)) == [(1, 7)]
    (call,) = ends.out.calls
    assert isinstance(call, Splice)
    assert (call.offset_in, call.offset_out, call.length, call.flags) == (-1, -1, 7, 5)
    assert (ends.source.opens, ends.out.opens) == (0, 0)


async def test_a_short_splice_breaks_its_link(bench: Bench, ends: Ends) -> None:
    ends.out.result = 6
    assert await result(bench, splice(7, LINK), nop(2)) == [(1, 6), (2, -errno.ECANCELED)]


async def test_splice_waits_for_data_and_again_for_room(bench: Bench, ends: Ends) -> None:
    ends.out.error = errno.EAGAIN
    ends.out.data += b"0123456789"
    ends.out.result = 7
    assert await result(bench, splice(7)) == []
    ends.source.feed(b"x")
    await trio.testing.wait_all_tasks_blocked()
    assert bench.client.results() == []
    ends.out.error = 0
    ends.out.drain()
    await bench.enter(0, wait=1)
    assert bench.client.results() == [(1, 7)]


@pytest.mark.parametrize("opcode", [SPLICE, TEE])
async def test_a_waiting_splice_is_cancelled(bench: Bench, ends: Ends, opcode: int) -> None:
    ends.out.error = errno.EAGAIN
    await bench.submit(Sqe(opcode, fd=4, file_index=3, len=5, user_data=1))
    await trio.testing.wait_all_tasks_blocked()
    (request,) = bench.context.pending_requests()
    bench.context.cancel(request)
    await bench.enter(0, wait=1)
    assert bench.client.results() == [(1, -errno.ECANCELED)]
    assert (ends.source.opens, ends.out.opens) == (0, 0)


async def test_nonblocking_splices_do_not_wait(bench: Bench, ends: Ends) -> None:
    ends.out.error = errno.EAGAIN
    assert await result(bench, splice(7, rw_flags=2)) == [(1, -errno.EAGAIN)]
    ends.source.nonblock = True
    assert await result(bench, splice(7)) == [(1, -errno.EAGAIN)]


async def test_splice_of_nothing_and_of_no_file(bench: Bench, ends: Ends) -> None:
    assert await result(bench, splice(0)) == [(1, 0)]
    assert await result(bench, splice(0)._replace(file_index=99)) == [(1, -errno.EBADF)]
    assert await result(bench, splice(1)._replace(fd=3)) == [(1, -errno.EBADF)]
    assert await result(bench, splice(1)._replace(file_index=0xFFFFFFFF)) == [(1, -errno.EBADF)]
    assert await result(bench, splice(1, rw_flags=1 << 31)) == [(1, -errno.EBADF)]


async def test_tee(bench: Bench, ends: Ends) -> None:
    ends.out.result = 5
    assert await result(bench, Sqe(TEE, fd=4, file_index=3, len=5, user_data=1)) == [(1, 5)]
    (call,) = ends.out.calls
    assert isinstance(call, Tee)
    assert call.length == 5
