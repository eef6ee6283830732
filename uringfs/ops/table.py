"""The opcode table, written out literally. docs/opcodes.md and IORING_REGISTER_PROBE are made from it.

Dispatch is total: an opcode that is not here is handled by `unknown`, which answers what a kernel
without it answers.
"""

import errno

from uringfs.abi.constants import IORING_OP_NOP, IORING_OP_READV
from uringfs.errors import UringError
from uringfs.ops import nop, rw
from uringfs.ops.request import Op, Pending, Request


def _unknown_prep(request: Request) -> None:
    """io_init_req() of a kernel whose IORING_OP_LAST is below the opcode"""
    raise UringError(errno.EINVAL, f"opcode {request.sqe.opcode} is not supported")


def _unknown_issue(request: Request) -> int | Pending:
    raise UringError(errno.EINVAL)


UNKNOWN = Op(-1, "UNKNOWN", _unknown_prep, _unknown_issue, "refused")

_TABLE = (
    Op(IORING_OP_NOP, "NOP", nop.prep, nop.issue, "partial", "NOP_INJECT_RESULT and NOP_TW of the NOP flags"),
    Op(IORING_OP_READV, "READV", rw.prep_readv, rw.issue_readv, "full", ioprio=True, buffer_select=True),
)

OPS: dict[int, Op] = {op.number: op for op in _TABLE}


def lookup(opcode: int) -> Op:
    """The row of an opcode, or UNKNOWN."""
    return OPS.get(opcode, UNKNOWN)
