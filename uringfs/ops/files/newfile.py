"""New descriptors, and the closing of old ones. docs/descriptors.md says which way applies when.

Direct descriptors (sqe->file_index) go into the ring's own table. A descriptor of the caller's table can be
made or closed by nobody but the caller: an enter with URINGFS_ENTER_FETCHES says that it will, and the CQE
is posted once it has. Without that the request ends with EOPNOTSUPP, before it does anything.
"""

import errno
import itertools

from uringfs.abi.numbers import U32
from uringfs.clientwork.delivery import PATIENCE, Delivery
from uringfs.engine.locks import TicketLock
from uringfs.engine.request import Holds, Request, RingContext
from uringfs.engine.resources import Node
from uringfs.errors import UringError
from uringfs.host.files.closing import close_fd
from uringfs.host.protocols import File

IORING_FILE_INDEX_ALLOC = U32


def file_lock(request: Request) -> TicketLock:
    """The request's lock at what new descriptors go into, as the kernel performs it inline: taken when it is
    issued."""
    context = request.context
    if request.sqe.file_index:
        request.holds = Holds.SLOTS
        return context.locks.ask(("slots", id(context)))
    return context.locks.ask(("descriptors", request.caller.process))


async def deliver(
    request: Request,
    fd: int,
    cloexec: bool = False,
    delivery: Delivery | None = None,
    lock: TicketLock | None = None,
) -> int:
    """The CQE's res of a request that has made fd, which is ours and is taken over: its slot's number or 0
    (direct), its number in the caller's table, or -errno. cloexec is for the latter.

    delivery: begun before the request did anything, for a client that does not fetch to find nothing done;
    and for its enter to know that there will be something to fetch.
    """
    if request.sqe.file_index:
        return await _deliver_fixed(request, fd, lock)
    if delivery is None:
        try:
            delivery = request.context.deliveries.begin(request.caller)
        except UringError:
            close_fd(fd)
            raise
    with delivery:
        return await delivery.new(fd, cloexec, lock)


async def _deliver_fixed(request: Request, fd: int, lock: TicketLock | None) -> int:
    if lock is None:
        return install_fixed(request.context, fd, request.sqe.file_index)
    try:
        await lock.acquire(PATIENCE)
    except BaseException:
        close_fd(fd)
        raise
    try:
        return install_fixed(request.context, fd, request.sqe.file_index)
    finally:
        lock.release()


def install_fixed(context: RingContext, fd: int, file_slot: int) -> int:
    """__io_fixed_fd_install() of our descriptor, which is taken over: 0, or the slot if one was to be found.
    ENFILE, ENXIO, EINVAL, EBADF."""
    file = context.host.adopt(fd)
    try:
        return install_file(context, file, file_slot)
    except UringError:
        file.close()
        raise


def install_file(context: RingContext, file: File, file_slot: int) -> int:
    """install_fixed() of a File, which stays the caller's if it fails (io_install_fixed_file())."""
    alloc = file_slot == IORING_FILE_INDEX_ALLOC
    index = _free_slot(context) if alloc else file_slot - 1
    table = context.resources.files
    if file.inode:
        raise UringError(errno.EBADF, "a ring cannot be registered in a ring")
    if not table.nodes:
        raise UringError(errno.ENXIO, "no files are registered")
    if index >= len(table.nodes):
        raise UringError(errno.EINVAL, f"slot {index} of {len(table.nodes)}")
    table.put(index, Node(file, _close))
    context.resources.file_alloc_hint = index + 1
    return index if alloc else 0


def _close(file: File) -> None:
    file.close()


def _free_slot(context: RingContext) -> int:
    """io_file_bitmap_get(). ENFILE."""
    resources = context.resources
    nodes = resources.files.nodes or []
    first, end = resources.file_alloc_range
    end = min(end, len(nodes))
    hint = resources.file_alloc_hint
    for index in itertools.chain(range(max(hint, first), end), range(first, min(hint, end))):
        if nodes[index] is None:
            return index
    raise UringError(errno.ENFILE, "no slot is free")


def remove_fixed(context: RingContext, index: int) -> int:
    """io_fixed_fd_remove(). ENXIO, EINVAL, EBADF."""
    table = context.resources.files
    if not table.nodes:
        raise UringError(errno.ENXIO, "no files are registered")
    if index >= len(table.nodes):
        raise UringError(errno.EINVAL, f"slot {index} of {len(table.nodes)}")
    if table.nodes[index] is None:
        raise UringError(errno.EBADF, f"no file is registered at {index}")
    table.put(index, None)
    context.resources.file_alloc_hint = index
    return 0
