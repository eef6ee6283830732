"""Changes of a ring's registered files (io_uring/rsrc.c): FILES_UPDATE, and what IORING_REGISTER_FILES_UPDATE
shares with it."""

import errno
from collections.abc import Callable
from struct import Struct

from uringfs.abi.constants import IOSQE_FIXED_FILE
from uringfs.abi.numbers import U32
from uringfs.engine.request import Pending, Request
from uringfs.engine.resources import Node, Resources, as_many_as_work
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, File
from uringfs.ops.files.newfile import IORING_FILE_INDEX_ALLOC, install_file

IORING_REGISTER_FILES_SKIP = -2
FD = Struct("<i")
TAG = Struct("<Q")


def registrable(caller: Caller, fd: int) -> File:
    """EBADF, for a ring too: it could keep itself alive."""
    file = caller.file(fd)
    if file.refused:
        file.close()
        raise UringError(errno.EBADF, "a ring cannot be registered in a ring")
    return file


def close_file(file: File) -> None:
    file.close()


def tag_at(caller: Caller, tags: int, index: int) -> int:
    return int(TAG.unpack(caller.memory.read(tags + TAG.size * index, TAG.size))[0]) if tags else 0


def update_files(
    resources: Resources,
    caller: Caller,
    offset: int,
    data: int,
    nr: int,
    tags: int,
    post_tag: Callable[[int], None] | None,
) -> int:
    """__io_sqe_files_update(): how many slots were done; an error only if none was."""
    table = resources.files

    def change(number: int) -> None:
        tag = tag_at(caller, tags, number)
        (fd,) = FD.unpack(caller.memory.read(data + FD.size * number, FD.size))
        if fd in (IORING_REGISTER_FILES_SKIP, -1) and tag:
            raise UringError(errno.EINVAL)
        if fd == IORING_REGISTER_FILES_SKIP:
            return
        slot = offset + number
        if table.node(slot) is not None:
            table.put(slot, None)
            resources.file_alloc_hint = slot
        if fd != -1:
            table.put(slot, Node(registrable(caller, fd), close_file, tag, post_tag))
            resources.file_alloc_hint = slot + 1

    return table.update("files", offset, nr, change)


def prep_files_update(request: Request) -> None:
    """io_files_update_prep()"""
    sqe = request.sqe
    if request.flags & IOSQE_FIXED_FILE or sqe.rw_flags or sqe.file_index or not sqe.len:
        raise UringError(errno.EINVAL)


def issue_files_update(request: Request) -> int | Pending:
    """io_files_update()"""
    sqe = request.sqe
    offset = sqe.off & U32
    if offset == IORING_FILE_INDEX_ALLOC:
        return _install_all(request)
    resources = request.context.resources
    return update_files(resources, request.caller, offset, sqe.addr, sqe.len, 0, None)


def _install_all(request: Request) -> int:
    """io_files_update_with_index_alloc(): each descriptor in the list becomes the index of its slot."""
    context, caller, sqe = request.context, request.caller, request.sqe
    if not context.resources.files.nodes:
        raise UringError(errno.ENXIO, "no files are registered")
    return as_many_as_work(sqe.len, lambda number: _install(request, caller, sqe.addr + FD.size * number))


def _install(request: Request, caller: Caller, address: int) -> None:
    (fd,) = FD.unpack(caller.memory.read(address, FD.size))
    file = registrable(caller, fd)
    try:
        index = install_file(request.context, file, IORING_FILE_INDEX_ALLOC)
    except UringError:
        file.close()
        raise
    try:
        caller.memory.write(address, FD.pack(index))
    except UringError:
        request.context.resources.files.put(index, None)
        raise
