"""The register opcodes, written out literally, and their dispatch (io_uring/register.c:
__io_uring_register()). What is not here answers EINVAL, as a kernel without it."""

import errno
from collections.abc import Callable
from typing import NamedTuple

from uringfs.errors import UringError
from uringfs.host.base import Caller, File
from uringfs.ops.context import RingContext
from uringfs.register import buffers, files, probe
from uringfs.register.clock import register_clock
from uringfs.register.eventfd import register_eventfd, register_eventfd_async, unregister_eventfd
from uringfs.register.iowq import register_iowq_aff, register_iowq_max_workers, unregister_iowq_aff
from uringfs.register.pbuf import pbuf_status, register_pbuf_ring, unregister_pbuf_ring
from uringfs.register.personality import register_personality, unregister_personality
from uringfs.register.query import query
from uringfs.register.region import register_mem_region
from uringfs.register.registration import Registration
from uringfs.register.resize import resize_rings
from uringfs.register.restrictions import register_restrictions
from uringfs.register.ringfds import register_ring_fds, unregister_ring_fds
from uringfs.register.send_msg_ring import send_msg_ring, sync_msg_ring
from uringfs.register.sync_cancel import sync_cancel
from uringfs.ring.support import SUPPORTED

IORING_REGISTER_USE_REGISTERED_RING = 1 << 31
Handler = Callable[[Registration], int]


class Row(NamedTuple):
    """One row of the table. support and note are as of an opcode (ops/request.py)."""

    name: str
    handler: Handler
    support: str = "full"
    note: str = ""


def _bare(handler: Handler) -> Handler:
    """For opcodes that take neither arg nor nr_args."""

    def checked(call: Registration) -> int:
        call.need_nothing()
        return handler(call)

    return checked


def _not_built(call: Registration) -> int:
    """What a kernel without CONFIG_NET_RX_BUSY_POLL or CONFIG_IO_URING_ZCRX answers."""
    call.need_one()
    raise UringError(errno.EOPNOTSUPP)


def _absent(call: Registration) -> int:
    """What a kernel before it answers."""
    raise UringError(errno.EINVAL, f"register opcode {call.opcode} is not supported")


def _query(call: Registration) -> int:
    return query_blind(call.caller, call.arg, call.nr_args)


def query_blind(caller: Caller, arg: int, nr_args: int) -> int:
    """IORING_REGISTER_QUERY, which needs no ring."""
    last = max(code for code, row in REGISTER.items() if row.support in SUPPORTED)
    return query(caller.memory, arg, nr_args, last + 1)


def _enable_rings(call: Registration) -> int:
    call.ring.enable(call.caller)
    return 0


PINS = "nothing is pinned: the memory has to stay mapped"
KEPT = "checked and kept; the daemon's threads serve all rings"

# fmt: off
REGISTER: dict[int, Row] = {
    0: Row("REGISTER_BUFFERS", buffers.register_buffers, "partial", PINS),
    1: Row("UNREGISTER_BUFFERS", _bare(buffers.unregister_buffers)),
    2: Row("REGISTER_FILES", files.register_files),
    3: Row("UNREGISTER_FILES", _bare(files.unregister_files)),
    4: Row("REGISTER_EVENTFD", register_eventfd),
    5: Row("UNREGISTER_EVENTFD", _bare(unregister_eventfd)),
    6: Row("REGISTER_FILES_UPDATE", files.update_files),
    7: Row("REGISTER_EVENTFD_ASYNC", register_eventfd_async),
    8: Row("REGISTER_PROBE", probe.probe),
    9: Row("REGISTER_PERSONALITY", _bare(register_personality), "full", "with root, directory and namespaces"),
    10: Row("UNREGISTER_PERSONALITY", unregister_personality),
    11: Row("REGISTER_RESTRICTIONS", register_restrictions),
    12: Row("REGISTER_ENABLE_RINGS", _bare(_enable_rings)),
    13: Row("REGISTER_FILES2", files.register_files2),
    14: Row("REGISTER_FILES_UPDATE2", files.update_files2),
    15: Row("REGISTER_BUFFERS2", buffers.register_buffers2, "partial", PINS),
    16: Row("REGISTER_BUFFERS_UPDATE", buffers.update_buffers, "partial", PINS),
    17: Row("REGISTER_IOWQ_AFF", register_iowq_aff, "partial", KEPT),
    18: Row("UNREGISTER_IOWQ_AFF", _bare(unregister_iowq_aff), "partial", KEPT),
    19: Row("REGISTER_IOWQ_MAX_WORKERS", register_iowq_max_workers, "partial", KEPT),
    20: Row("REGISTER_RING_FDS", register_ring_fds, "full", "the ring is still named by its file"),
    21: Row("UNREGISTER_RING_FDS", unregister_ring_fds),
    22: Row("REGISTER_PBUF_RING", register_pbuf_ring, "full", "with IOU_PBUF_RING_MMAP 64 KiB for each group"),
    23: Row("UNREGISTER_PBUF_RING", unregister_pbuf_ring),
    24: Row("REGISTER_SYNC_CANCEL", sync_cancel, "full", "never EALREADY"),
    25: Row("REGISTER_FILE_ALLOC_RANGE", files.file_alloc_range),
    26: Row("REGISTER_PBUF_STATUS", pbuf_status),
    27: Row("REGISTER_NAPI", _not_built, "refused", "no busy polling"),
    28: Row("UNREGISTER_NAPI", _not_built, "refused", "no busy polling"),
    29: Row("REGISTER_CLOCK", register_clock),
    30: Row("REGISTER_CLONE_BUFFERS", buffers.clone_buffers),
    31: Row("REGISTER_SEND_MSG_RING", send_msg_ring, "full", "on any ring file of the mount"),
    32: Row("REGISTER_ZCRX_IFQ", _not_built, "refused", "no zcrx"),
    33: Row("REGISTER_RESIZE_RINGS", resize_rings, "full", "the rings keep their pages"),
    34: Row("REGISTER_MEM_REGION", register_mem_region, "full", "of the ring's own at most 1.5 GiB"),
    35: Row("REGISTER_QUERY", _query),
    36: Row("REGISTER_ZCRX_CTRL", _absent, "none", "no zcrx"),
    37: Row("REGISTER_BPF_FILTER", _absent, "none", "no BPF"),
}
# fmt: on


def register(ring: RingContext, caller: Caller, opcode: int, arg: int, nr_args: int) -> int:
    """io_uring_register(2) on a ring. EINVAL for an unknown opcode, and what its handler raises."""
    if opcode & IORING_REGISTER_USE_REGISTERED_RING:
        ring.check_registered(caller)
        opcode &= ~IORING_REGISTER_USE_REGISTERED_RING
    row = _row(opcode)
    ring.check_submitter(caller)
    restrictions = ring.resources.restrictions
    if restrictions is not None and not ring.disabled and opcode not in restrictions.register_ops:
        raise UringError(errno.EACCES, f"register opcode {opcode} is restricted")
    return row.handler(Registration(ring, caller, opcode, arg, nr_args))


def register_blind(
    ring_of: Callable[[File], RingContext | None], caller: Caller, opcode: int, arg: int, nr_args: int
) -> int:
    """io_uring_register_blind(): io_uring_register(2) on descriptor -1."""
    match _row(opcode).name:
        case "REGISTER_SEND_MSG_RING":
            return sync_msg_ring(caller, arg, nr_args, ring_of)
        case "REGISTER_QUERY":
            return query_blind(caller, arg, nr_args)
    raise UringError(errno.EINVAL, f"register opcode {opcode} needs a ring")


def check_opcode(opcode: int) -> None:
    """EINVAL for one that is not there: before a ring is looked for."""
    _row(opcode)


def _row(opcode: int) -> Row:
    row = REGISTER.get(opcode)
    if row is None or row.support == "none":
        raise UringError(errno.EINVAL, f"register opcode {opcode} is not supported")
    return row
