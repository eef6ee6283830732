"""The table of what which kernel has: against this machine's, and against what liburing's man pages say."""

import ctypes
import errno
import os
from collections.abc import Iterator

import pytest

from uringfs.abi import kernels
from uringfs.abi.constants import (
    ENTER_FLAGS,
    FEATURES,
    OPCODES,
    REGISTER_OPCODES,
    SETUP_FLAGS,
    SQE_FLAGS,
)
from uringfs.abi.kernels import CURRENT, LATEST, RELEASES, Kernel, kernel
from uringfs.abi.structs import PARAMS, PARAMS_SIZE, Params

SETUP, ENTER, REGISTER = 425, 426, 427
TABLES = [
    (kernels.OPCODES_SINCE, OPCODES),
    (kernels.SETUP_FLAGS_SINCE, SETUP_FLAGS),
    (kernels.FEATURES_SINCE, FEATURES),
    (kernels.REGISTER_SINCE, REGISTER_OPCODES),
    (kernels.ENTER_FLAGS_SINCE, ENTER_FLAGS),
    (kernels.SQE_FLAGS_SINCE, SQE_FLAGS),
]


@pytest.mark.parametrize(("since", "names"), TABLES)
def test_everything_came_once(since: dict[kernels.Version, str], names: list[str]) -> None:
    assert sorted(name for words in since.values() for name in words.split()) == sorted(names)
    assert list(since) == sorted(since)


def test_opcodes_and_codes_come_in_their_order() -> None:
    for version in RELEASES:
        of = kernel("{}.{}".format(*version))
        assert of.opcodes == set(range(len(of.opcodes)))
        reserved = {REGISTER_OPCODES.index("REGISTER_ZCRX_IFQ")}  # its number was, two releases before it came
        assert set(range(max(of.register) + 1)) - of.register <= reserved


def test_the_current_one_has_all() -> None:
    assert CURRENT.opcodes == set(range(len(OPCODES)))
    assert (CURRENT.setup_flags, CURRENT.features) == ((1 << len(SETUP_FLAGS)) - 1, (1 << len(FEATURES)) - 1)
    assert str(CURRENT) == "current"
    assert kernel("current") is CURRENT


@pytest.mark.parametrize("text", ["5.10", "5.10.0-8-amd64", "5.10.234", "5.10.0"])
def test_versions(text: str) -> None:
    assert kernel(text) is kernel("5.10")
    assert str(kernel(text)) == "5.10"


@pytest.mark.parametrize("text", ["", "5", "5.0", "4.19", "5.20", "6.19", "7.0", "x.y", "5.-1", "٥.١٠"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no kernel from 5.1 to 6.18"):
        kernel(text)


# "Available since", as the man pages of liburing 2.9 and later have it
DOCUMENTED = {
    "FEATURES SINGLE_MMAP": "5.4",
    "FEATURES NODROP": "5.5",
    "FEATURES SUBMIT_STABLE": "5.5",
    "FEATURES RW_CUR_POS": "5.6",
    "FEATURES CUR_PERSONALITY": "5.6",
    "FEATURES FAST_POLL": "5.7",
    "FEATURES POLL_32BITS": "5.9",
    "FEATURES SQPOLL_NONFIXED": "5.11",
    "FEATURES NATIVE_WORKERS": "5.12",
    "FEATURES CQE_SKIP": "5.17",
    "SETUP_FLAGS R_DISABLED": "5.10",
    "SETUP_FLAGS SUBMIT_ALL": "5.18",
    "SETUP_FLAGS COOP_TASKRUN": "5.19",
    "SETUP_FLAGS SQE128": "5.19",
    "SETUP_FLAGS SINGLE_ISSUER": "6.0",
    "SETUP_FLAGS DEFER_TASKRUN": "6.1",
    "SETUP_FLAGS NO_MMAP": "6.5",
    "SETUP_FLAGS REGISTERED_FD_ONLY": "6.5",
    "SETUP_FLAGS NO_SQARRAY": "6.6",
    "REGISTER REGISTER_RESTRICTIONS": "5.10",
    "REGISTER REGISTER_IOWQ_AFF": "5.14",
    "REGISTER REGISTER_IOWQ_MAX_WORKERS": "5.15",
    "REGISTER REGISTER_RING_FDS": "5.18",
    "REGISTER REGISTER_PBUF_RING": "5.19",
    "REGISTER REGISTER_SYNC_CANCEL": "6.0",
    "REGISTER REGISTER_FILE_ALLOC_RANGE": "6.0",
    "REGISTER REGISTER_CLONE_BUFFERS": "6.12",
    "ENTER_FLAGS EXT_ARG": "5.11",
    "OPCODES SYNC_FILE_RANGE": "5.2",
    "OPCODES SENDMSG": "5.3",
    "OPCODES RECVMSG": "5.3",
    "OPCODES TIMEOUT": "5.4",
    "OPCODES TIMEOUT_REMOVE": "5.5",
    "OPCODES ACCEPT": "5.5",
    "OPCODES EPOLL_CTL": "5.6",
    "OPCODES SEND": "5.6",
    "OPCODES RECV": "5.6",
}


@pytest.mark.parametrize("what", DOCUMENTED)
def test_as_the_man_pages_say(what: str) -> None:
    table, name = what.split()
    since = getattr(kernels, f"{table}_SINCE")
    version = next(version for version, names in since.items() if name in names.split())
    assert "{}.{}".format(*version) == DOCUMENTED[what]


# -- this machine


@pytest.fixture(scope="module")
def ours() -> Kernel:
    release = os.uname().release
    try:
        return kernel(release)
    except ValueError:
        assert "URINGFS_REQUIRE_ORACLE" not in os.environ
        pytest.skip(f"this kernel is {release}: the table goes to {LATEST}")


libc = ctypes.CDLL(None, use_errno=True)


def call(*words: object) -> int:
    result = int(libc.syscall(*words))
    return -ctypes.get_errno() if result < 0 else result


def setup(flags: int = 0) -> tuple[int, Params]:
    params = ctypes.create_string_buffer(PARAMS.pack(*Params(flags=flags)), PARAMS_SIZE)
    fd = call(SETUP, 4, params)
    return fd, Params._make(PARAMS.unpack(params.raw[: PARAMS.size]))


@pytest.fixture
def ring(ours: Kernel) -> Iterator[int]:
    fd, _ = setup()
    if fd < 0:
        assert "URINGFS_REQUIRE_ORACLE" not in os.environ
        pytest.skip(f"no io_uring in this kernel: {os.strerror(-fd)}")
    yield fd
    os.close(fd)


def test_the_features_of_this_kernel(ours: Kernel, ring: int) -> None:
    fd, params = setup()
    os.close(fd)
    assert params.features == ours.features


def test_the_opcodes_of_this_kernel(ours: Kernel, ring: int) -> None:
    answer = ctypes.create_string_buffer(16 + 8 * 256)
    assert call(REGISTER, ring, 8, answer, 256) == 0
    assert answer.raw[0] == max(ours.opcodes)


def test_the_register_codes_of_this_kernel(ours: Kernel, ring: int) -> None:
    """IORING_REGISTER_QUERY says how many there are."""
    if REGISTER_OPCODES.index("REGISTER_QUERY") not in ours.register:
        pytest.skip("no IORING_REGISTER_QUERY in this kernel")
    answer = ctypes.create_string_buffer(48)
    header = ctypes.create_string_buffer(
        (0).to_bytes(8, "little")
        + ctypes.addressof(answer).to_bytes(8, "little")
        + (0).to_bytes(4, "little")
        + (48).to_bytes(4, "little"),
        40,
    )
    assert call(REGISTER, ring, REGISTER_OPCODES.index("REGISTER_QUERY"), header, 0) == 0
    opcodes, codes = (int.from_bytes(answer.raw[at : at + 4], "little") for at in (0, 4))
    features, flags, enter, sqe = (int.from_bytes(answer.raw[at : at + 8], "little") for at in (8, 16, 24, 32))
    assert (opcodes, codes) == (len(ours.opcodes), len(ours.register))
    assert (features, flags) == (ours.features, ours.setup_flags)
    assert (enter, sqe) == (ours.enter_flags, ours.sqe_flags)


def test_the_enter_flags_of_this_kernel(ours: Kernel, ring: int) -> None:
    unknown = 1 << (ours.enter_flags.bit_length())
    assert call(ENTER, ring, 0, 0, unknown, None, 0) == -errno.EINVAL
