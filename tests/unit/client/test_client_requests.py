"""What the builders make: fields as in struct io_uring_sqe, buffers that stay."""

import ctypes
import gc
import pickle
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from uringfs.abi.constants import IORING_OP_LAST, IORING_OP_NOP128, OPCODES
from uringfs.client import (
    BigCqe,
    Cqe,
    CqeFlag,
    Msghdr,
    Op,
    Register,
    Request,
    SetupFlag,
    enums,
    more,
    prep,
    result,
)
from uringfs.client.request import U64, sockaddr

ROOT = Path(__file__).parents[3]


def at(address: int, size: int) -> bytes:
    return ctypes.string_at(address, size)


def test_the_stub_says_what_the_tables_make() -> None:
    """To make it anew: python -c 'from uringfs.client import enums; print(enums.stub(), end="")'"""
    assert (ROOT / "uringfs/client/enums.pyi").read_text() == enums.stub()


def test_enums_have_the_headers_names_and_numbers() -> None:
    assert [op.name for op in Op] == OPCODES
    assert (Op.READ, Op.NOP128, Register.FILES2, Register.UNREGISTER_FILES) == (22, IORING_OP_NOP128, 13, 3)
    assert (SetupFlag.SQE128, CqeFlag.MORE, CqeFlag.F_32) == (1 << 10, 2, 1 << 15)
    assert pickle.loads(pickle.dumps(Op.READ)) is Op.READ


def test_every_opcode_has_a_builder() -> None:
    assert len(Op) == IORING_OP_LAST
    assert [op.name for op in Op if op.name.lower() not in prep.__all__] == []


SAMPLES: dict[str, tuple[object, ...]] = {
    **dict.fromkeys(("NOP", "NOP128"), ()),
    **dict.fromkeys(("READV", "WRITEV"), (3, [bytearray(2)])),
    **dict.fromkeys(("READV_FIXED", "WRITEV_FIXED"), (3, [bytearray(2)], 1)),
    **dict.fromkeys(("READ", "WRITE", "SEND", "RECV", "SEND_ZC"), (3, bytearray(2))),
    **dict.fromkeys(("READ_FIXED", "WRITE_FIXED"), (3, bytearray(2), 1)),
    **dict.fromkeys(("FSYNC", "ACCEPT", "RECV_ZC", "CLOSE", "FIXED_FD_INSTALL"), (3,)),
    **dict.fromkeys(("POLL_ADD", "LISTEN", "SHUTDOWN", "READ_MULTISHOT", "FTRUNCATE", "REMOVE_BUFFERS"), (3, 1)),
    **dict.fromkeys(("POLL_REMOVE", "TIMEOUT_REMOVE", "ASYNC_CANCEL"), (7,)),
    **dict.fromkeys(("TIMEOUT", "LINK_TIMEOUT"), (1.5,)),
    **dict.fromkeys(("SENDMSG", "RECVMSG", "SENDMSG_ZC"), (3, Msghdr([bytearray(2)]))),
    **dict.fromkeys(("CONNECT", "BIND"), (3, b"\2\0addr")),
    **dict.fromkeys(("OPENAT", "OPENAT2", "UNLINKAT", "MKDIRAT"), ("/x",)),
    **dict.fromkeys(("RENAMEAT", "SYMLINKAT", "LINKAT"), ("/x", "/y")),
    **dict.fromkeys(("SPLICE", "TEE"), (3, 4, 5)),
    **dict.fromkeys(("FSETXATTR", "FGETXATTR"), (3, "user.x", bytearray(2))),
    **dict.fromkeys(("SETXATTR", "GETXATTR"), ("/x", "user.x", bytearray(2))),
    **dict.fromkeys(("URING_CMD", "URING_CMD128"), (1, 3, b"command")),
    **dict.fromkeys(("FUTEX_WAIT", "FUTEX_WAKE"), (bytearray(4), 1)),
    "FUTEX_WAITV": ([(bytearray(4), 1)],),
    "SYNC_FILE_RANGE": (3, 4, 5),
    "FALLOCATE": (3, 0, 4, 5),
    "FADVISE": (3, 0, 4, 5),
    "MADVISE": (bytearray(4), 5),
    "FILES_UPDATE": ([3, -1],),
    "STATX": ("/x", bytearray(256)),
    "EPOLL_CTL": (3, 4, 1),
    "EPOLL_WAIT": (3, bytearray(96)),
    "PROVIDE_BUFFERS": (bytearray(8), 4, 2, 1),
    "MSG_RING": (3, 4, 5),
    "SOCKET": (socket.AF_INET, socket.SOCK_STREAM),
    "WAITID": (0, 0, 4),
    "PIPE": (bytearray(8),),
}


@pytest.mark.parametrize("op", list(Op), ids=lambda op: op.name)
def test_a_builder_makes_its_opcode_with_what_all_have(op: Op) -> None:
    build = getattr(prep, op.name.lower())
    request = build(*SAMPLES[op.name], user_data=U64, flags=4, personality=2)
    sqe = request.sqe
    assert (sqe.opcode, sqe.user_data, sqe.personality) == (op, U64, 2)
    assert sqe.flags & 4
    assert repr(request).startswith(f"<Request {op.name} ")


def test_fields_are_where_the_kernel_looks_for_them() -> None:
    sqe = prep.read(3, memoryview(bytearray(9))[2:], 5, len=6, rw_flags=8).sqe
    assert (sqe.fd, sqe.off, sqe.len, sqe.rw_flags) == (3, 5, 6, 8)
    sqe = prep.splice(3, 4, 5, splice_off_in=6, off=7, splice_flags=1).sqe
    assert (sqe.fd, sqe.file_index, sqe.addr, sqe.off, sqe.len, sqe.rw_flags) == (4, 3, 6, 7, 5, 1)
    sqe = prep.renameat("a", "b", 2, olddfd=3, newdfd=-100).sqe
    assert (sqe.fd, sqe.len, sqe.rw_flags) == (3, (1 << 32) - 100, 2)
    assert (at(sqe.addr, 2), at(sqe.off, 2)) == (b"a\0", b"b\0")
    sqe = prep.waitid(1, 77, 4).sqe
    assert (sqe.len, sqe.fd, sqe.file_index, sqe.off) == (1, 77, 4, 0)
    sqe = prep.fadvise(3, 1, 1 << 33, 4).sqe
    assert (sqe.off, sqe.addr, sqe.len, sqe.rw_flags) == (1, 1 << 33, 0, 4)
    assert prep.read(3, bytearray(1)).sqe.off == U64


def test_structs() -> None:
    request = prep.timeout(1.25, 3)
    assert at(request.sqe.addr, 16) == struct.pack("<qq", 1, 250_000_000)
    request = prep.openat2("/x", 1, 0o600, 8)
    assert at(request.sqe.off, request.sqe.len) == struct.pack("<QQQ", 1, 0o600, 8)
    data, control = bytearray(5), bytearray(32)
    message = Msghdr([data, bytearray(2)], b"\1\0name", control)
    fields = struct.unpack("<QIIQQQQII", at(prep.sendmsg(3, message).sqe.addr, 56))
    assert (at(fields[0], fields[1]), fields[4], fields[6]) == (b"\1\0name", 2, 32)
    assert struct.unpack("<QQQQ", at(fields[3], 32))[1::2] == (5, 2)


def test_buffers_stay_while_the_request_does() -> None:
    data = bytes([1, 2, 3]) * 1000
    request = prep.write(3, data + b"")
    requests = [prep.openat(f"/name{number}") for number in range(100)]
    gc.collect()
    assert at(request.sqe.addr, request.sqe.len) == data
    names = [ctypes.string_at(each.sqe.addr) for each in requests]
    assert names == [b"/name%d" % number for number in range(100)]
    buffer = bytearray(8)
    keep = prep.read(3, buffer)
    with pytest.raises(BufferError):
        buffer.append(1)
    assert keep.sqe.len == 8


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(TypeError, match="read-only"):
        prep.read(3, b"abc")
    with pytest.raises(TypeError, match="read-only"):
        prep.recvmsg(3, Msghdr([b"abc"]))
    with pytest.raises(TypeError, match="registered"):
        prep.writev_fixed(3, [b"abc"], 0)
    with pytest.raises(ValueError, match="an address needs len="):
        prep.read(3, 4096)
    with pytest.raises(ValueError, match="len 5 is not within the buffer's 4 bytes"):
        prep.read(3, bytearray(4), len=5)
    with pytest.raises(ValueError, match="no address of family"):
        sockaddr(socket.AF_INET, "x")
    with pytest.raises(OSError, match="below 0"):
        prep.timeout(-1)


def test_addresses() -> None:
    assert sockaddr(socket.AF_INET, ("127.0.0.1", 80)) == b"\2\0\0\x50\x7f\0\0\1" + bytes(8)
    assert len(sockaddr(socket.AF_INET6, ("::1", 80))) == 28
    assert sockaddr(socket.AF_UNIX, "/x") == b"\1\0/x\0"
    assert sockaddr(socket.AF_UNIX, "\0x") == b"\1\0\0x"


def test_cqes() -> None:
    big = BigCqe(1, 2, 3, (4, 5))
    assert big == Cqe(1, 2, 3)
    assert repr(big) == "BigCqe(user_data=1, res=2, flags=3, big_cqe=(4, 5))"
    assert result(Cqe(1, 7, 0)) == 7
    with pytest.raises(FileNotFoundError):
        result(Cqe(1, -2, 0))
    assert (more(Cqe(0, 0, 2)), more(Cqe(0, 0, 1))) == (True, False)


def test_requests_are_values() -> None:
    request = prep.nop(user_data=1)
    assert request.with_user_data(5).with_flags(4).sqe._replace(flags=0) == request.sqe._replace(user_data=5)
    assert isinstance(request, Request)


def test_the_client_imports_neither_trio_nor_pyfuse3_nor_libfuse() -> None:
    code = (
        "import sys, uringfs.client, uringfs.client.asyncio_ring\n"
        "bad = {'trio', 'pyfuse3', 'uringfs.native', 'typing_extensions'} & set(sys.modules)\n"
        "assert not bad, bad\n"
        "assert 'libfuse' not in open('/proc/self/maps').read()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
