"""What every request may have."""

from typing import TypedDict


class Common(TypedDict, total=False):
    """The fields of struct io_uring_sqe that do not depend on the opcode."""

    user_data: int
    flags: int
    """SqeFlag"""
    ioprio: int
    personality: int


class Buffered(Common, total=False):
    """Arguments of a request that takes provided buffers, with SqeFlag.BUFFER_SELECT."""

    buf_group: int
