"""Linux AIO's poll of one file: it keeps the wake-up's mask (aio_poll_wake()), though the event is over by the
time anybody looks. Arming it may block, where the file's poll asks somebody: for threads."""

import os

from uringfs.host.events.aio import IOCB_CMD_POLL, AioContext


class AioPoll:
    """One poll of one file at a time. Not for several threads at once."""

    def __init__(self) -> None:
        """What AioContext() raises."""
        self._aio = AioContext()
        self._completed = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.armed = False

    def fileno(self) -> int:
        """Readable once it has completed."""
        return self._completed

    def arm(self, fd: int, events: int) -> None:
        """Until the first wake-up for these events of poll(2), or at once if one of them holds. EINVAL: such a
        file cannot be polled so."""
        self._aio.submit(IOCB_CMD_POLL, fd, events, self._completed)
        self.armed = True

    def take(self, wait: bool = False) -> int:
        """The mask of a wake-up there has been; else 0."""
        mask = self._aio.completion(wait) if self.armed else None
        if mask is None:
            return 0
        self.armed = False
        return max(mask, 0)

    def disarm(self) -> None:
        """What happens from now on counts no more."""
        if self.armed:
            self._aio.cancel()
            self.take(wait=True)

    def close(self) -> None:
        self._aio.close()
        os.close(self._completed)
