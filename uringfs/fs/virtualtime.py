"""Which processes a mount's clocks wait for before they jump, and which of its requests (host/events/jumps.py)."""

from collections.abc import Iterator

from uringfs.engine.context import Context
from uringfs.engine.request import Request
from uringfs.errors import UringError
from uringfs.fs.filesystem import RingFs


class VirtualTime:
    """What one program waits for: a process, what it has started, and every other client of the mount."""

    def __init__(self, pid: int, fs: RingFs) -> None:
        """From now on no client performs requests itself."""
        self._pid = pid
        self._fs = fs
        fs.tctx.lanes = False

    def processes(self) -> Iterator[int]:
        yield self._pid
        yield from self._fs.tctx.clients()

    def quiet(self) -> bool:
        """False while a request pends that comes to its end because real time passes, or has not been begun though
        it could be."""
        return all(map(_quiet, [context for _, context in self._fs.rings()]))


def _quiet(context: Context) -> bool:
    if context.poller is not None and context.ring.sq.pending():
        return False
    return not any(map(_timed, context.pending_requests()))


def _timed(request: Request) -> bool:
    try:
        return request.target is not None and request.target.timed()
    except (OSError, UringError):  # it is being closed
        return True
