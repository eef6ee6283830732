"""The register opcodes, written out literally, and their dispatch (io_uring/register.c:
__io_uring_register()). What is not here answers EINVAL, as a kernel without it."""

import errno
from collections.abc import Callable
from typing import NamedTuple

from uringfs.abi import constants as abi
from uringfs.abi.kernels import CURRENT, REGISTERED_RING_SINCE, Kernel
from uringfs.engine.request import RingContext
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, File
from uringfs.register import buffers, files, probe
from uringfs.register.clock import register_clock
from uringfs.register.eventfd import register_eventfd, register_eventfd_async, unregister_eventfd
from uringfs.register.iowq import register_iowq_aff, register_iowq_max_workers, unregister_iowq_aff
from uringfs.register.pbuf import pbuf_status, register_pbuf_ring, unregister_pbuf_ring
from uringfs.register.personality import register_personality, unregister_personality
from uringfs.register.query import query
from uringfs.register.region import register_mem_region
from uringfs.register.registration import RegisterCall
from uringfs.register.resize import resize_rings
from uringfs.register.restrictions import register_restrictions
from uringfs.register.ringfds import register_ring_fds, unregister_ring_fds
from uringfs.register.send_msg_ring import send_msg_ring, sync_msg_ring
from uringfs.register.sync_cancel import sync_cancel
from uringfs.ring.support import SUPPORTED

Handler = Callable[[RegisterCall], int]


class RegisterRow(NamedTuple):
    """One row of the table. support and note are as of an opcode (engine/request.py)."""

    handler: Handler
    support: str = "full"
    note: str = ""


def _bare(handler: Handler) -> Handler:
    """For opcodes that take neither arg nor nr_args."""

    def checked(call: RegisterCall) -> int:
        call.need_nothing()
        return handler(call)

    return checked


def _not_built(call: RegisterCall) -> int:
    """What a kernel without CONFIG_NET_RX_BUSY_POLL or CONFIG_IO_URING_ZCRX answers."""
    call.need_one()
    raise UringError(errno.EOPNOTSUPP)


def _absent(call: RegisterCall) -> int:
    """What a kernel before it answers."""
    raise UringError(errno.EINVAL, f"register opcode {call.opcode} is not supported")


def _query(call: RegisterCall) -> int:
    return query_blind(call.caller, call.arg, call.nr_args, call.ring.ring.geometry.kernel)


def query_blind(caller: Caller, arg: int, nr_args: int, kernel: Kernel = CURRENT) -> int:
    """IORING_REGISTER_QUERY, which needs no ring. EINVAL of a kernel without it."""
    check_opcode(abi.IORING_REGISTER_QUERY, kernel)
    return query(caller.memory, arg, nr_args, _register_last(kernel), kernel)


def _register_last(kernel: Kernel) -> int:
    """IORING_REGISTER_LAST of a kernel that has what we support."""
    return 1 + max(code for code in kernel.register if REGISTER[code].support in SUPPORTED)


def _restrictions(call: RegisterCall) -> int:
    return register_restrictions(call, _register_last(call.ring.ring.geometry.kernel))


def _enable_rings(call: RegisterCall) -> int:
    call.ring.enable(call.caller)
    return 0


PINS = "nothing is pinned: the memory has to stay mapped"
WHOLE = "with root, directory and namespaces"
MAPPED = "with IOU_PBUF_RING_MMAP 64 KiB for each group"
KEPT = "checked and kept; the daemon's threads serve all rings"

# fmt: off
REGISTER: dict[int, RegisterRow] = {
    abi.IORING_REGISTER_BUFFERS: RegisterRow(buffers.register_buffers, "partial", PINS),
    abi.IORING_UNREGISTER_BUFFERS: RegisterRow(_bare(buffers.unregister_buffers)),
    abi.IORING_REGISTER_FILES: RegisterRow(files.register_files),
    abi.IORING_UNREGISTER_FILES: RegisterRow(_bare(files.unregister_files)),
    abi.IORING_REGISTER_EVENTFD: RegisterRow(register_eventfd),
    abi.IORING_UNREGISTER_EVENTFD: RegisterRow(_bare(unregister_eventfd)),
    abi.IORING_REGISTER_FILES_UPDATE: RegisterRow(files.update_files),
    abi.IORING_REGISTER_EVENTFD_ASYNC: RegisterRow(register_eventfd_async),
    abi.IORING_REGISTER_PROBE: RegisterRow(probe.probe),
    abi.IORING_REGISTER_PERSONALITY: RegisterRow(_bare(register_personality), "full", WHOLE),
    abi.IORING_UNREGISTER_PERSONALITY: RegisterRow(unregister_personality),
    abi.IORING_REGISTER_RESTRICTIONS: RegisterRow(_restrictions),
    abi.IORING_REGISTER_ENABLE_RINGS: RegisterRow(_bare(_enable_rings)),
    abi.IORING_REGISTER_FILES2: RegisterRow(files.register_files2),
    abi.IORING_REGISTER_FILES_UPDATE2: RegisterRow(files.update_files2),
    abi.IORING_REGISTER_BUFFERS2: RegisterRow(buffers.register_buffers2, "partial", PINS),
    abi.IORING_REGISTER_BUFFERS_UPDATE: RegisterRow(buffers.update_buffers, "partial", PINS),
    abi.IORING_REGISTER_IOWQ_AFF: RegisterRow(register_iowq_aff, "partial", KEPT),
    abi.IORING_UNREGISTER_IOWQ_AFF: RegisterRow(_bare(unregister_iowq_aff), "partial", KEPT),
    abi.IORING_REGISTER_IOWQ_MAX_WORKERS: RegisterRow(register_iowq_max_workers, "partial", KEPT),
    abi.IORING_REGISTER_RING_FDS: RegisterRow(register_ring_fds, "full", "the ring is still named by its file"),
    abi.IORING_UNREGISTER_RING_FDS: RegisterRow(unregister_ring_fds),
    abi.IORING_REGISTER_PBUF_RING: RegisterRow(register_pbuf_ring, "full", MAPPED),
    abi.IORING_UNREGISTER_PBUF_RING: RegisterRow(unregister_pbuf_ring),
    abi.IORING_REGISTER_SYNC_CANCEL: RegisterRow(sync_cancel, "full", "never EALREADY"),
    abi.IORING_REGISTER_FILE_ALLOC_RANGE: RegisterRow(files.file_alloc_range),
    abi.IORING_REGISTER_PBUF_STATUS: RegisterRow(pbuf_status),
    abi.IORING_REGISTER_NAPI: RegisterRow(_not_built, "refused", "no busy polling"),
    abi.IORING_UNREGISTER_NAPI: RegisterRow(_not_built, "refused", "no busy polling"),
    abi.IORING_REGISTER_CLOCK: RegisterRow(register_clock),
    abi.IORING_REGISTER_CLONE_BUFFERS: RegisterRow(buffers.clone_buffers),
    abi.IORING_REGISTER_SEND_MSG_RING: RegisterRow(send_msg_ring, "full", "on any ring file of the mount"),
    abi.IORING_REGISTER_ZCRX_IFQ: RegisterRow(_not_built, "refused", "no zcrx"),
    abi.IORING_REGISTER_RESIZE_RINGS: RegisterRow(resize_rings, "full", "the rings keep their pages"),
    abi.IORING_REGISTER_MEM_REGION: RegisterRow(register_mem_region, "full", "of the ring's own at most 1.5 GiB"),
    abi.IORING_REGISTER_QUERY: RegisterRow(_query),
    abi.IORING_REGISTER_ZCRX_CTRL: RegisterRow(_absent, "none", "no zcrx"),
    abi.IORING_REGISTER_BPF_FILTER: RegisterRow(_absent, "none", "no BPF"),
}
# fmt: on


def register(ring: RingContext, caller: Caller, opcode: int, arg: int, nr_args: int) -> int:
    """io_uring_register(2) on a ring. EINVAL for an unknown opcode, and what its handler raises."""
    if not ring.hooks:
        return _register(ring, caller, opcode, arg, nr_args)
    res = -errno.EIO
    try:
        res = _register(ring, caller, opcode, arg, nr_args)
    except UringError as error:
        res = -error.errno
        raise
    finally:
        ring.hooks.call("io_uring_register", ring.ring, caller, opcode, arg, nr_args, res)
    return res


def _register(ring: RingContext, caller: Caller, opcode: int, arg: int, nr_args: int) -> int:
    kernel = ring.ring.geometry.kernel
    if opcode & abi.IORING_REGISTER_USE_REGISTERED_RING:
        if not kernel.since(REGISTERED_RING_SINCE):
            raise UringError(errno.EINVAL, "the kernel is too old for registered rings")
        ring.check_registered(caller)
        opcode &= ~abi.IORING_REGISTER_USE_REGISTERED_RING
    if ring.hooks and ring.hooks.breaker is not None:
        ring.hooks.breaker.call("register", caller, ring.ring.number, ring.ring.owner[1])
    row = _row(opcode, kernel)
    if opcode == abi.IORING_REGISTER_SEND_MSG_RING:
        return register_blind(ring.ring_of, caller, opcode, arg, nr_args, kernel)  # the ring is but its carrier
    ring.check_submitter(caller)
    restrictions = ring.resources.restrictions
    if restrictions is not None and not ring.disabled and opcode not in restrictions.register_ops:
        raise UringError(errno.EACCES, f"register opcode {opcode} is restricted")
    ring.resources.changes()  # of requests, before those of this call
    try:
        return row.handler(RegisterCall(ring, caller, opcode, arg, nr_args))
    finally:
        ring.resources.changes()


def register_blind(
    ring_of: Callable[[File], RingContext | None],
    caller: Caller,
    opcode: int,
    arg: int,
    nr_args: int,
    kernel: Kernel = CURRENT,
) -> int:
    """io_uring_register_blind(): io_uring_register(2) on descriptor -1."""
    check_opcode(opcode, kernel)
    match opcode:
        case abi.IORING_REGISTER_SEND_MSG_RING:
            return sync_msg_ring(caller, arg, nr_args, ring_of)
        case abi.IORING_REGISTER_QUERY:
            return query_blind(caller, arg, nr_args, kernel)
    raise UringError(errno.EINVAL, f"register opcode {opcode} needs a ring")


def check_opcode(opcode: int, kernel: Kernel = CURRENT) -> None:
    """EINVAL for one that is not there: before a ring is looked for."""
    _row(opcode, kernel)


def _row(opcode: int, kernel: Kernel) -> RegisterRow:
    row = REGISTER.get(opcode)
    if row is None or row.support == "none" or opcode not in kernel.register:
        raise UringError(errno.EINVAL, f"register opcode {opcode} is not supported")
    return row
