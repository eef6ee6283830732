"""io_uring_setup(2)'s arithmetic, also against the kernel of this machine."""

import ctypes
import errno
import os
import struct

import pytest

from uringfs.abi.constants import (
    IORING_FEAT_NODROP,
    IORING_FEAT_SINGLE_MMAP,
    IORING_OFF_SQES,
    IORING_SETUP_CLAMP,
    IORING_SETUP_CQE_MIXED,
    IORING_SETUP_CQSIZE,
    IORING_SETUP_NO_SQARRAY,
    IORING_SETUP_REGISTERED_FD_ONLY,
    IORING_SETUP_SQ_REWIND,
    IORING_SETUP_SQE128,
    IORING_SETUP_SQE_MIXED,
    IORING_SETUP_SQPOLL,
    IORING_SETUP_SUBMIT_ALL,
)
from uringfs.abi.structs import OFFSETS, PARAMS, PARAMS_SIZE, Params
from uringfs.errors import UringError
from uringfs.ring.geometry import SUPPORTED_SETUP_FLAGS, Geometry

CQSIZE, CLAMP, NO_SQARRAY = IORING_SETUP_CQSIZE, IORING_SETUP_CLAMP, IORING_SETUP_NO_SQARRAY
SYS_io_uring_setup = 425  # every architecture's


@pytest.mark.parametrize(
    ("entries", "flags", "asked_cq", "sq", "cq"),
    [
        (1, 0, 0, 1, 2),
        (2, 0, 0, 2, 4),
        (3, 0, 0, 4, 8),
        (8, 0, 999, 8, 16),  # cq_entries is read with CQSIZE alone
        (9, 0, 0, 16, 32),
        (32768, 0, 0, 32768, 65536),
        (32769, CLAMP, 0, 32768, 65536),
        (0xFFFFFFFF, CLAMP, 0, 32768, 65536),
        (8, CQSIZE, 8, 8, 8),
        (5, CQSIZE, 7, 8, 8),
        (1, CQSIZE, 1, 1, 1),
        (8, CQSIZE, 33, 8, 64),
        (8, CQSIZE, 65536, 8, 65536),
        (8, CQSIZE | CLAMP, 65537, 8, 65536),
        (8, CQSIZE | CLAMP, 0xFFFFFFFF, 8, 65536),
    ],
)
def test_sizes_are_powers_of_two(entries: int, flags: int, asked_cq: int, sq: int, cq: int) -> None:
    geometry = Geometry.of(entries, Params(flags=flags, cq_entries=asked_cq))
    assert (geometry.sq_entries, geometry.cq_entries) == (sq, cq)


@pytest.mark.parametrize(
    ("entries", "flags", "asked_cq"),
    [
        (0, 0, 0),
        (0, CLAMP, 0),
        (32769, 0, 0),
        (0xFFFFFFFF, 0, 0),
        (8, CQSIZE, 0),
        (8, CQSIZE, 4),
        (5, CQSIZE, 4),  # compared once rounded
        (8, CQSIZE, 65537),
        (8, CQSIZE | CLAMP, 0),
        (32768, CQSIZE | CLAMP, 16384),
    ],
)
def test_sizes_that_are_refused(entries: int, flags: int, asked_cq: int) -> None:
    with pytest.raises(UringError) as caught:
        Geometry.of(entries, Params(flags=flags, cq_entries=asked_cq))
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("field", ["resv0", "resv1", "resv2"])
def test_reserved_fields_must_be_zero(field: str) -> None:
    with pytest.raises(UringError) as caught:
        Geometry.of(8, Params()._replace(**{field: 1}))
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("bit", [bit for bit in range(32) if not SUPPORTED_SETUP_FLAGS >> bit & 1])
def test_flags_that_are_not_honoured_are_refused(bit: int) -> None:
    with pytest.raises(UringError) as caught:
        Geometry.of(8, Params(flags=1 << bit))
    assert caught.value.errno == errno.EINVAL


def test_the_four_flags_of_the_start_are_honoured() -> None:
    wanted = CQSIZE | CLAMP | NO_SQARRAY | IORING_SETUP_SUBMIT_ALL
    assert SUPPORTED_SETUP_FLAGS & wanted == wanted


@pytest.mark.parametrize(
    ("flags", "entries", "code"),
    [
        (IORING_SETUP_SQE_MIXED | IORING_SETUP_SQE128, 8, errno.EINVAL),
        (IORING_SETUP_SQE_MIXED, 1, errno.EOVERFLOW),
        (IORING_SETUP_CQE_MIXED | CQSIZE, 1, errno.EOVERFLOW),
        (IORING_SETUP_SQ_REWIND, 8, errno.EINVAL),
        (IORING_SETUP_SQ_REWIND | NO_SQARRAY | IORING_SETUP_SQPOLL, 8, errno.EINVAL),
        (IORING_SETUP_REGISTERED_FD_ONLY, 8, errno.EINVAL),
    ],
)
def test_what_does_not_go_together(flags: int, entries: int, code: int) -> None:
    with pytest.raises(UringError) as caught:
        Geometry.of(entries, Params(flags=flags, cq_entries=1))
    assert caught.value.errno == code


def test_the_index_array_stands_behind_the_cqes_on_a_cache_line() -> None:
    geometry = Geometry.of(8, Params())
    assert geometry.sq_array == 64 + 16 * 16 == 320
    assert geometry.rings_size == 320 + 4 * 8
    small = Geometry.of(1, Params(flags=CQSIZE, cq_entries=1))
    assert small.sq_array == 128  # 64 + 16, rounded up


def test_without_an_index_array() -> None:
    geometry = Geometry.of(8, Params(flags=NO_SQARRAY))
    assert geometry.sq_array == 0
    assert geometry.rings_size == 320


def test_the_memory_covers_the_last_sqe() -> None:
    assert Geometry.of(8, Params()).file_size == IORING_OFF_SQES + 8 * 64


def test_nothing_lost_and_one_mapping_are_advertised() -> None:
    features = PARAMS.unpack_from(Geometry.of(8, Params()).params(Params()))[5]
    assert features & IORING_FEAT_NODROP
    assert features & IORING_FEAT_SINGLE_MMAP


def kernel_setup(entries: int, params: Params) -> bytes | int:
    """The params as the kernel fills them in, or its errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(PARAMS.pack(*params), PARAMS_SIZE)
    fd = libc.syscall(SYS_io_uring_setup, entries, buffer)
    if fd < 0:
        return ctypes.get_errno()
    os.close(fd)
    return buffer.raw


@pytest.mark.parametrize("flags", [0, CQSIZE, CQSIZE | CLAMP, NO_SQARRAY, NO_SQARRAY | CQSIZE])
@pytest.mark.parametrize("entries", [0, 1, 7, 8, 100, 4096, 32768, 40000])
@pytest.mark.parametrize("cq", [0, 1, 8, 5000, 70000])
def test_params_are_those_of_the_kernel(entries: int, cq: int, flags: int) -> None:
    """All 120 bytes but the features, of which we have fewer; and the same errors."""
    asked = Params(cq_entries=cq, flags=flags)
    theirs = kernel_setup(entries, asked)
    if isinstance(theirs, int):
        with pytest.raises(UringError) as caught:
            Geometry.of(entries, asked)
        assert caught.value.errno == theirs == errno.EINVAL
        return
    ours = Geometry.of(entries, asked).params(asked)
    assert len(ours) == PARAMS_SIZE
    assert Params._make(PARAMS.unpack_from(ours))._replace(features=0) == Params._make(
        PARAMS.unpack_from(theirs)
    )._replace(features=0)
    # offsets, but for user_addr (the last word) and the index array's where there is none
    for start in (40, 80):
        mine, other = OFFSETS.unpack_from(ours, start), OFFSETS.unpack_from(theirs, start)
        assert mine[:6] == other[:6]
        assert mine[6] == other[6] or (flags & NO_SQARRAY and start == 40)
    our_features, their_features = struct.unpack_from("<I", ours, 20)[0], struct.unpack_from("<I", theirs, 20)[0]
    assert our_features & ~their_features == 0
