"""PIPE (io_uring/openclose.c)."""

import errno
import os
from struct import Struct

from uringfs.clientwork.delivery import PATIENCE
from uringfs.engine.request import Outcome, Request
from uringfs.errors import UringError
from uringfs.ops.files.newfile import IORING_FILE_INDEX_ALLOC, file_lock, install_fixed, remove_fixed

FDS = Struct("<ii")
O_NOTIFICATION_PIPE = os.O_EXCL
PIPE_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK | os.O_DIRECT | O_NOTIFICATION_PIPE


def prep(request: Request) -> None:
    """io_pipe_prep()"""
    sqe = request.sqe
    if sqe.fd or sqe.off or sqe.addr3:
        raise UringError(errno.EINVAL)
    if sqe.pipe_flags & ~PIPE_FLAGS:
        raise UringError(errno.EINVAL, f"pipe_flags {sqe.pipe_flags:#x}")


def issue(request: Request) -> Outcome:
    """io_pipe()"""
    sqe = request.sqe
    if sqe.file_index:
        return _fixed(request)
    memory = request.caller.memory
    delivery = request.context.deliveries.begin(request.caller)
    lock = file_lock(request)

    async def deliver() -> int:
        await lock.acquire(PATIENCE)
        reader, writer = _pipe(request)
        cloexec = bool(sqe.pipe_flags & os.O_CLOEXEC)
        with delivery:
            try:
                first = await delivery.new(reader, cloexec)
            except BaseException:
                os.close(writer)
                raise
            if first < 0:
                os.close(writer)
                return first
            second = await delivery.new(writer, cloexec, lock)
            try:
                if second >= 0:
                    memory.write(sqe.addr, FDS.pack(first, second))
                    return 0
            except UringError:
                await delivery.close(second)
                second = -errno.EFAULT
            await delivery.close(first)
        return second

    return deliver


def _pipe(request: Request) -> tuple[int, int]:
    """create_pipe_files(): of the caller's user and group, and without our share of all pipes' memory."""
    try:
        with request.caller.rights():
            return os.pipe2(request.sqe.pipe_flags | os.O_CLOEXEC)
    except OSError as error:
        raise UringError.of(error) from error


def _fixed(request: Request) -> int:
    """io_pipe_fixed(): two slots to be found, or the one given and the next."""
    sqe, context = request.sqe, request.context
    reader, writer = _pipe(request)
    if sqe.pipe_flags & os.O_CLOEXEC:
        os.close(reader)
        os.close(writer)
        raise UringError(errno.EINVAL, "a registered file has no close-on-exec flag")
    alloc = sqe.file_index == IORING_FILE_INDEX_ALLOC
    try:
        first = install_fixed(context, reader, sqe.file_index)
    except UringError:
        os.close(writer)
        raise
    slots = [first if alloc else sqe.file_index - 1]
    try:
        second = install_fixed(context, writer, sqe.file_index if alloc else sqe.file_index + 1)
        slots.append(second if alloc else sqe.file_index)
        request.caller.memory.write(sqe.addr, FDS.pack(*slots))
    except UringError:
        for slot in slots:
            remove_fixed(context, slot)
        raise
    return 0
