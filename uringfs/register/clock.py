"""IORING_REGISTER_CLOCK (io_uring/register.c): the clock of waiting enters."""

import errno
import time
from struct import Struct

from uringfs.errors import UringError
from uringfs.register.registration import RegisterCall

CLOCK_REGISTER = Struct("<I12s")  # struct io_uring_clock_register: clockid, resv[3]


def register_clock(call: RegisterCall) -> int:
    if not call.arg or call.nr_args:
        raise UringError(errno.EINVAL)
    clock, resv = CLOCK_REGISTER.unpack(call.read(CLOCK_REGISTER.size))
    if any(resv) or clock not in (time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME):
        raise UringError(errno.EINVAL, f"clock {clock}")
    call.ring.ring.clock = clock
    return 0
