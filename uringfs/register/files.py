"""Registered files (io_uring/rsrc.c, filetable.c)."""

import errno
from struct import Struct

from uringfs.abi.numbers import U32
from uringfs.engine.resources import Node
from uringfs.errors import UringError
from uringfs.ops.files import filetable
from uringfs.ops.files.filetable import FD, close_file, registrable, tag_at
from uringfs.register.registration import RegisterCall

IORING_MAX_FIXED_FILES = 1 << 20
IORING_RSRC_REGISTER_SPARSE = 1
RSRC_REGISTER = Struct("<IIQQQ")  # struct io_uring_rsrc_register: nr, flags, resv2, data, tags
RSRC_UPDATE = Struct("<IIQ")  # struct io_uring_rsrc_update: offset, resv, data
RSRC_UPDATE2 = Struct("<IIQQII")  # struct io_uring_rsrc_update2: offset, resv, data, tags, nr, resv2
FILE_INDEX_RANGE = Struct("<IIQ")  # struct io_uring_file_index_range: off, len, resv


def register_files(call: RegisterCall) -> int:
    """io_sqe_files_register() without tags"""
    if not call.arg:
        raise UringError(errno.EFAULT)
    _register(call, call.arg, call.nr_args, 0)
    return 0


def register_files2(call: RegisterCall) -> int:
    """io_register_rsrc()"""
    data, nr, tags = rsrc_register(call)
    _register(call, data, nr, tags)
    return 0


def rsrc_register(call: RegisterCall) -> tuple[int, int, int]:
    """struct io_uring_rsrc_register, whose size is nr_args: (data, nr, tags). EINVAL, EFAULT."""
    if call.nr_args != RSRC_REGISTER.size:
        raise UringError(errno.EINVAL, f"struct io_uring_rsrc_register is {RSRC_REGISTER.size} bytes")
    nr, flags, resv2, data, tags = RSRC_REGISTER.unpack(call.read(RSRC_REGISTER.size))
    if not nr or resv2 or flags & ~IORING_RSRC_REGISTER_SPARSE:
        raise UringError(errno.EINVAL)
    if flags & IORING_RSRC_REGISTER_SPARSE and data:
        raise UringError(errno.EINVAL, "a sparse table takes no data")
    return data, nr, tags


def _register(call: RegisterCall, data: int, nr: int, tags: int) -> None:
    table = call.resources.files
    if table.nodes is not None:
        raise UringError(errno.EBUSY, "files are registered")
    if not nr:
        raise UringError(errno.EINVAL)
    if nr > min(IORING_MAX_FIXED_FILES, call.caller.limit_nofile()):
        raise UringError(errno.EMFILE)
    table.fill([None] * nr)
    call.ring.resources.file_alloc_range = (0, nr)
    call.ring.resources.file_alloc_hint = 0
    try:
        for index in range(nr):
            tag = tag_at(call.caller, tags, index)
            fd = FD.unpack(call.caller.memory.read(data + 4 * index, 4))[0] if data else -1
            if fd == -1:
                if tag:
                    raise UringError(errno.EINVAL, "an empty slot takes no tag")
                continue
            table.put(index, Node(registrable(call.caller, fd), close_file, tag, call.post_tag))
    except UringError:
        for node in call.resources.files.nodes or ():
            if node is not None:
                node.tag = 0  # io_clear_table_tags(): a failed registration posts nothing
        table.clear()
        raise


def unregister_files(call: RegisterCall) -> int:
    """io_sqe_files_unregister()"""
    if call.resources.files.nodes is None:
        raise UringError(errno.ENXIO, "no files are registered")
    call.resources.files.clear()
    return 0


def update_files(call: RegisterCall) -> int:
    """io_register_files_update()"""
    if not call.nr_args:
        raise UringError(errno.EINVAL)
    offset, resv, data = RSRC_UPDATE.unpack(call.read(RSRC_UPDATE.size))
    if resv:
        raise UringError(errno.EINVAL)
    return _update(call, offset, data, 0, call.nr_args)


def update_files2(call: RegisterCall) -> int:
    """io_register_rsrc_update()"""
    offset, data, tags, nr = rsrc_update2(call)
    return _update(call, offset, data, tags, nr)


def rsrc_update2(call: RegisterCall) -> tuple[int, int, int, int]:
    """struct io_uring_rsrc_update2, whose size is nr_args: (offset, data, tags, nr). EINVAL, EFAULT."""
    if call.nr_args != RSRC_UPDATE2.size:
        raise UringError(errno.EINVAL, f"struct io_uring_rsrc_update2 is {RSRC_UPDATE2.size} bytes")
    offset, resv, data, tags, nr, resv2 = RSRC_UPDATE2.unpack(call.read(RSRC_UPDATE2.size))
    if not nr or resv or resv2:
        raise UringError(errno.EINVAL)
    return offset, data, tags, nr


def _update(call: RegisterCall, offset: int, data: int, tags: int, nr: int) -> int:
    return filetable.update_files(call.resources, call.caller, offset, data, nr, tags, call.post_tag)


def file_alloc_range(call: RegisterCall) -> int:
    """io_register_file_alloc_range()"""
    if not call.arg or call.nr_args:
        raise UringError(errno.EINVAL)
    offset, length, resv = FILE_INDEX_RANGE.unpack(call.read(FILE_INDEX_RANGE.size))
    if offset + length > U32:
        raise UringError(errno.EOVERFLOW)
    if resv or offset + length > len(call.resources.files.nodes or ()):
        raise UringError(errno.EINVAL)
    call.resources.file_alloc_range = (offset, offset + length)
    call.resources.file_alloc_hint = offset
    return 0
