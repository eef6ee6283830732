"""The register opcodes, written out literally, and their dispatch (io_uring/register.c:
__io_uring_register()). What is not here answers EINVAL, as a kernel without it."""

import errno
from collections.abc import Callable

from uringfs.errors import UringError
from uringfs.host.base import Caller
from uringfs.ops.context import RingContext
from uringfs.register import files, probe
from uringfs.register.pbuf import pbuf_status, register_pbuf_ring, unregister_pbuf_ring
from uringfs.register.registration import Registration

Handler = Callable[[Registration], int]


def _bare(handler: Handler) -> Handler:
    """For opcodes that take neither arg nor nr_args."""

    def checked(call: Registration) -> int:
        call.need_nothing()
        return handler(call)

    return checked


def _enable_rings(call: Registration) -> int:
    call.ring.enable(call.caller)
    return 0


# fmt: off
REGISTER: dict[int, tuple[str, Handler]] = {
    2: ("REGISTER_FILES", files.register_files),
    3: ("UNREGISTER_FILES", _bare(files.unregister_files)),
    6: ("REGISTER_FILES_UPDATE", files.update_files),
    8: ("REGISTER_PROBE", probe.probe),
    12: ("REGISTER_ENABLE_RINGS", _bare(_enable_rings)),
    13: ("REGISTER_FILES2", files.register_files2),
    14: ("REGISTER_FILES_UPDATE2", files.update_files2),
    22: ("REGISTER_PBUF_RING", register_pbuf_ring),
    23: ("UNREGISTER_PBUF_RING", unregister_pbuf_ring),
    25: ("REGISTER_FILE_ALLOC_RANGE", files.file_alloc_range),
    26: ("REGISTER_PBUF_STATUS", pbuf_status),
}
# fmt: on


def register(ring: RingContext, caller: Caller, opcode: int, arg: int, nr_args: int) -> int:
    """io_uring_register(2) on a ring. EINVAL for an unknown opcode, and what its handler raises."""
    row = REGISTER.get(opcode)
    if row is None:
        raise UringError(errno.EINVAL, f"register opcode {opcode} is not supported")
    ring.check_submitter(caller)
    return row[1](Registration(ring, caller, opcode, arg, nr_args))
