"""IORING_REGISTER_QUERY (io_uring/query.c): what is supported, as numbers and bit sets."""

import errno
from struct import Struct

from uringfs.abi.constants import SQE_VALID_FLAGS
from uringfs.abi.kernels import Kernel
from uringfs.errors import UringError
from uringfs.host.protocols import Memory
from uringfs.ops.table import ops_of
from uringfs.ring import support

HDR = Struct("<QQIIi12s")  # struct io_uring_query_hdr: next_entry, query_data, query_op, size, result, resv[3]
# struct io_uring_query_opcode: nr_request_opcodes, nr_register_opcodes, feature_flags, ring_setup_flags,
# enter_flags, sqe_flags, nr_query_opcodes, pad
OPCODE = Struct("<IIQQQQII")
IO_MAX_QUERY_ENTRIES = 1000
NR_QUERY_OPCODES = 1
MAX_CLEARED = 1 << 16  # bytes; a client that says it has more gets no more


def query(memory: Memory, address: int, nr_args: int, nr_register_opcodes: int, kernel: Kernel) -> int:
    """io_query(): a list of entries, each answered in place."""
    if nr_args:
        raise UringError(errno.EINVAL)
    answer = OPCODE.pack(
        1 + max(op.number for op in ops_of(kernel) if op.support in support.SUPPORTED),
        nr_register_opcodes,
        support.mask(support.FEATURES) & kernel.features,
        support.mask(support.SETUP_FLAGS) & kernel.setup_flags,
        support.mask(support.ENTER_FLAGS) & kernel.enter_flags,
        SQE_VALID_FLAGS & kernel.sqe_flags,
        NR_QUERY_OPCODES,
        0,
    )
    for _ in range(IO_MAX_QUERY_ENTRIES):
        if not address:
            return 0
        address = _entry(memory, address, answer)
    raise UringError(errno.ERANGE, "too many entries")


def _entry(memory: Memory, address: int, answer: bytes) -> int:
    """io_handle_query_entry(): the next entry's address. EFAULT."""
    following, data, opcode, size, result, resv = HDR.unpack(memory.read(address, HDR.size))
    filled = b""
    if opcode >= NR_QUERY_OPCODES:
        code = -errno.EOPNOTSUPP
    elif any(resv) or result or not size:
        code = -errno.EINVAL
    else:
        memory.read(data, min(size, OPCODE.size))
        code, filled = 0, answer[:size]
    # copy_struct_to_user(): what is not filled is cleared
    memory.write(data, filled.ljust(min(size, MAX_CLEARED), b"\0"))
    memory.write(address, HDR.pack(following, data, opcode, len(filled), code, resv))
    return int(following)
