"""docs/opcodes.md is what the tables say."""

import ctypes
import os
from pathlib import Path

import pytest

from uringfs.abi.constants import ENTER_FLAGS, FEATURES, OPCODES, REGISTER_OPCODES, SETUP_FLAGS
from uringfs.cli.opcodes import document
from uringfs.engine.request import Op
from uringfs.ops.table import OPS, TABLE
from uringfs.register.table import REGISTER, RegisterRow
from uringfs.ring import support

SYS_IO_URING_SETUP, SYS_IO_URING_REGISTER = 425, 427
DOCS = Path(__file__).parents[3] / "docs"


def test_the_document_is_up_to_date() -> None:
    assert (DOCS / "opcodes.md").read_text() == document(), "run: .venv/bin/uringfs opcodes > docs/opcodes.md"


def test_every_opcode_has_its_row() -> None:
    assert [op.number for op in TABLE] == list(range(len(OPCODES)))
    assert [op.name for op in TABLE] == OPCODES


def test_an_opcode_that_is_not_there_has_a_name_too() -> None:
    assert OPS[len(OPCODES)].name == OPS[255].name == "UNKNOWN"


def test_every_register_code_has_its_row() -> None:
    assert list(REGISTER) == list(range(len(REGISTER_OPCODES)))


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (support.SETUP_FLAGS, SETUP_FLAGS),
        (support.FEATURES, FEATURES),
        (support.ENTER_FLAGS, ENTER_FLAGS),
    ],
)
def test_every_flag_has_its_row(flags: tuple[support.Flag, ...], names: list[str]) -> None:
    assert [flag.value for flag in flags] == [1 << bit for bit in range(len(names))]


@pytest.mark.parametrize(
    "rows", [TABLE, tuple(REGISTER.values()), support.SETUP_FLAGS, support.FEATURES, support.ENTER_FLAGS]
)
def test_every_row_says_what_it_supports(rows: tuple[Op | RegisterRow | support.Flag, ...]) -> None:
    assert {row.support for row in rows} <= {"full", "partial", "refused", "none"}
    assert not [row for row in rows if row.support != "full" and not row.note]


def kernel_probe() -> set[int]:
    """The opcodes this machine's kernel says it supports (IORING_REGISTER_PROBE)."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(SYS_IO_URING_SETUP, 1, ctypes.create_string_buffer(120))
    if fd < 0:
        assert "URINGFS_REQUIRE_ORACLE" not in os.environ
        pytest.skip(f"no io_uring in this kernel: {os.strerror(ctypes.get_errno())}")
    try:
        answer = ctypes.create_string_buffer(16 + 8 * 256)
        assert libc.syscall(SYS_IO_URING_REGISTER, fd, 8, answer, 256) == 0
    finally:
        os.close(fd)
    return {op for op in range(answer.raw[1]) if answer.raw[16 + 8 * op + 2] & 1}


def test_what_we_support_the_kernel_supports() -> None:
    kernel = kernel_probe()
    ours = {op.number for op in TABLE if op.support in ("full", "partial")}
    # Linux 6.19 has two opcodes more than 6.18
    assert {OPCODES[number] for number in ours - kernel} <= {"NOP128", "URING_CMD128"}
    assert ours - kernel <= set(range(max(kernel) + 1, len(OPCODES)))
    # What the kernel has and we have not is said so, by name
    assert {OPCODES[number] for number in kernel - ours} <= {"RECV_ZC"}
