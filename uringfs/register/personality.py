"""Registered credentials (io_uring/register.c): sqe->personality names them."""

import errno

from uringfs.errors import UringError
from uringfs.register.registration import RegisterCall

USHRT_MAX = 0xFFFF


def register_personality(call: RegisterCall) -> int:
    """io_register_personality(): an id from 1 on, taken in turn."""
    resources = call.resources
    for step in range(USHRT_MAX):
        number = (resources.next_personality - 1 + step) % USHRT_MAX + 1
        if number not in resources.personalities:
            resources.personalities[number] = call.caller.credentials()
            resources.next_personality = number % USHRT_MAX + 1
            return number
    raise UringError(errno.EBUSY)


def unregister_personality(call: RegisterCall) -> int:
    """io_unregister_personality(): nr_args is the id."""
    if call.arg or call.resources.personalities.pop(call.nr_args, None) is None:
        raise UringError(errno.EINVAL, f"personality {call.nr_args} is not registered")
    return 0
