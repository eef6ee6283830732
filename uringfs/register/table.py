"""The register opcodes, written out literally, and their dispatch (io_uring/register.c:
__io_uring_register()). What is not here answers EINVAL, as a kernel without it."""

import errno
from collections.abc import Callable

from uringfs.errors import UringError
from uringfs.host.base import Caller
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
from uringfs.register.send_msg_ring import send_msg_ring
from uringfs.register.sync_cancel import sync_cancel
from uringfs.ring.geometry import SUPPORTED_ENTER_FLAGS

IORING_REGISTER_USE_REGISTERED_RING = 1 << 31
Handler = Callable[[Registration], int]


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


def _query(call: Registration) -> int:
    return query(call, max(REGISTER) + 1, SUPPORTED_ENTER_FLAGS)


def _enable_rings(call: Registration) -> int:
    call.ring.enable(call.caller)
    return 0


# fmt: off
REGISTER: dict[int, tuple[str, Handler]] = {
    0: ("REGISTER_BUFFERS", buffers.register_buffers),
    1: ("UNREGISTER_BUFFERS", _bare(buffers.unregister_buffers)),
    2: ("REGISTER_FILES", files.register_files),
    3: ("UNREGISTER_FILES", _bare(files.unregister_files)),
    4: ("REGISTER_EVENTFD", register_eventfd),
    5: ("UNREGISTER_EVENTFD", _bare(unregister_eventfd)),
    6: ("REGISTER_FILES_UPDATE", files.update_files),
    7: ("REGISTER_EVENTFD_ASYNC", register_eventfd_async),
    8: ("REGISTER_PROBE", probe.probe),
    9: ("REGISTER_PERSONALITY", _bare(register_personality)),
    10: ("UNREGISTER_PERSONALITY", unregister_personality),
    11: ("REGISTER_RESTRICTIONS", register_restrictions),
    12: ("REGISTER_ENABLE_RINGS", _bare(_enable_rings)),
    13: ("REGISTER_FILES2", files.register_files2),
    14: ("REGISTER_FILES_UPDATE2", files.update_files2),
    15: ("REGISTER_BUFFERS2", buffers.register_buffers2),
    16: ("REGISTER_BUFFERS_UPDATE", buffers.update_buffers),
    17: ("REGISTER_IOWQ_AFF", register_iowq_aff),
    18: ("UNREGISTER_IOWQ_AFF", _bare(unregister_iowq_aff)),
    19: ("REGISTER_IOWQ_MAX_WORKERS", register_iowq_max_workers),
    20: ("REGISTER_RING_FDS", register_ring_fds),
    21: ("UNREGISTER_RING_FDS", unregister_ring_fds),
    22: ("REGISTER_PBUF_RING", register_pbuf_ring),
    23: ("UNREGISTER_PBUF_RING", unregister_pbuf_ring),
    24: ("REGISTER_SYNC_CANCEL", sync_cancel),
    25: ("REGISTER_FILE_ALLOC_RANGE", files.file_alloc_range),
    26: ("REGISTER_PBUF_STATUS", pbuf_status),
    27: ("REGISTER_NAPI", _not_built),
    28: ("UNREGISTER_NAPI", _not_built),
    29: ("REGISTER_CLOCK", register_clock),
    30: ("REGISTER_CLONE_BUFFERS", buffers.clone_buffers),
    31: ("REGISTER_SEND_MSG_RING", send_msg_ring),
    32: ("REGISTER_ZCRX_IFQ", _not_built),
    33: ("REGISTER_RESIZE_RINGS", resize_rings),
    34: ("REGISTER_MEM_REGION", register_mem_region),
    35: ("REGISTER_QUERY", _query),
}
# fmt: on


def register(ring: RingContext, caller: Caller, opcode: int, arg: int, nr_args: int) -> int:
    """io_uring_register(2) on a ring. EINVAL for an unknown opcode, and what its handler raises."""
    if opcode & IORING_REGISTER_USE_REGISTERED_RING:
        ring.check_registered(caller)
        opcode &= ~IORING_REGISTER_USE_REGISTERED_RING
    row = REGISTER.get(opcode)
    if row is None:
        raise UringError(errno.EINVAL, f"register opcode {opcode} is not supported")
    ring.check_submitter(caller)
    restrictions = ring.resources.restrictions
    if restrictions is not None and not ring.disabled and opcode not in restrictions.register_ops:
        raise UringError(errno.EACCES, f"register opcode {opcode} is restricted")
    return row[1](Registration(ring, caller, opcode, arg, nr_args))
