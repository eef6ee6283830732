"""The door of the engine: whatever an op raises becomes its request's result."""

import errno
import logging
from collections.abc import Callable

from uringfs.engine.request import Outcome, Request
from uringfs.errors import UringError

log = logging.getLogger(__name__)


def perform_now(request: Request, perform: Callable[[Request], Outcome]) -> Outcome:
    """Call an op's issue. A failure is a result, -errno; EFAULT if the thread that submitted it is gone."""
    try:
        if request.orphaned:
            raise UringError(errno.EFAULT, f"thread {request.caller.tid} is gone")
        return perform(request)
    except UringError as error:
        return -error.errno
    except Exception:
        return unforeseen(request)


def unforeseen(request: Request) -> int:
    """What an op raises that is no UringError, while it is being handled: EIO."""
    log.exception("%s failed in the daemon; the request gets EIO", request.op.name)
    return -errno.EIO
