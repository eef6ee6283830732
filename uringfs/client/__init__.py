"""A ring on a mount, from Python: what contrib/uringfs.h and liburing are for C. docs/python.md shows it.

    with Ring("/mnt/uring/new", 8) as ring:
        ring.queue(prep.read(fd, buffer, 0, user_data=42))
        ring.submit(wait=1)
        print(ring.reap())                     # [Cqe(user_data=42, res=512, flags=0)]

Failures are OSError with the errno of the system call that is mimicked. One thread uses a Ring at a
time; several threads or processes may each have a Ring on one named file. Needs neither pyfuse3 nor libfuse3; trio
only for uringfs.client.trio_ring.
"""

from uringfs.abi.constants import IORING_OP_NOP
from uringfs.abi.numbers import U32
from uringfs.abi.structs import Cqe, Params, Sqe
from uringfs.client import prep
from uringfs.client.calls import check, enter, hand_over, open_ring, register, setup
from uringfs.client.enums import (
    AcceptFlag,
    CancelFlag,
    CqeFlag,
    EnterFlag,
    Feature,
    MsgRingFlag,
    NopFlag,
    Op,
    PollFlag,
    Register,
    RwFlag,
    SetupFlag,
    SqeFlag,
    TimeoutFlag,
)
from uringfs.client.fetching import CAN, fetch
from uringfs.client.request import (
    CURRENT_POSITION,
    BigCqe,
    Msghdr,
    Request,
    more,
    result,
    sockaddr,
)
from uringfs.client.ring import Ring

__all__ = [
    "CAN",
    "CURRENT_POSITION",
    "U32",
    "AcceptFlag",
    "BigCqe",
    "CancelFlag",
    "Cqe",
    "CqeFlag",
    "EnterFlag",
    "Feature",
    "MsgRingFlag",
    "Msghdr",
    "NopFlag",
    "Op",
    "Params",
    "PollFlag",
    "Register",
    "Request",
    "Ring",
    "RwFlag",
    "SetupFlag",
    "Sqe",
    "SqeFlag",
    "TimeoutFlag",
    "check",
    "enter",
    "fetch",
    "hand_over",
    "more",
    "nop",
    "open_ring",
    "prep",
    "register",
    "result",
    "setup",
    "sockaddr",
]


def nop(user_data: int = 0, flags: int = 0) -> Sqe:
    """A NOP as a plain SQE; prep.nop() makes a Request."""
    return Sqe(IORING_OP_NOP, flags, fd=-1, user_data=user_data)
