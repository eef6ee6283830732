"""New descriptors, and closed ones, in the tables of supervised programs (docs/descriptors.md): put there while a
call of the process is being answered."""

import errno
from collections import deque

from uringfs.abi.control import URINGFS_DESCRIPTOR_CLOEXEC, URINGFS_DESCRIPTOR_CLOSE
from uringfs.clientwork.deliveries import MAX_BATCH, Deliveries
from uringfs.clientwork.delivery import Report, Wanted
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, Host, Listener, Notification


class Placing:
    """Places descriptors for the programs of one listener.

    Nobody but a process itself can free a number of its table; but another file under it closes the one there was.
    CLOSE leaves a blank one, which answers as if there were none and gives way to the next new descriptor.
    """

    def __init__(self, host: Host, listener: Listener) -> None:
        self._host = host
        self._listener = listener
        self._blanks: dict[int, set[int]] = {}
        """By process: numbers that were left blank."""

    async def deliver(self, call: Notification, deliveries: Deliveries, caller: Caller) -> None:
        """What requests of that process want, as far as they are ready. EINTR: the call has ended."""
        while deliveries.any() and deliveries.needs_fetch(caller.process):
            taken = await deliveries.take(caller.process, MAX_BATCH)
            left = deque(taken)
            try:
                while left:
                    wanted = deliveries.wanted(left[0])
                    if wanted is not None:
                        result = await self._place(call, caller, wanted)
                        if result == -errno.ENOENT:
                            raise UringError(errno.EINTR, "interrupted by a signal, or killed")
                        left[0].end(Report(result))
                    left.popleft()
            finally:
                deliveries.put_back(left)
            await deliveries.completed(taken)

    async def _place(self, call: Notification, caller: Caller, wanted: Wanted) -> int:
        """The descriptor's number, 0 for a close, or -errno."""
        if wanted.what & URINGFS_DESCRIPTOR_CLOSE:
            return await self._close(call, caller, wanted.number)
        at = self._lowest_blank(caller)
        cloexec = bool(wanted.what & URINGFS_DESCRIPTOR_CLOEXEC)
        return await self._listener.install(call.id, wanted.number, cloexec=cloexec, at=at)

    async def _close(self, call: Notification, caller: Caller, fd: int) -> int:
        if self._is_blank(caller, fd) is not False:
            return -errno.EBADF
        result = await self._listener.install(call.id, self._listener.blank(), cloexec=True, at=fd)
        if result < 0:
            return result
        if caller.group not in self._blanks:
            self._blanks = {group: numbers for group, numbers in self._blanks.items() if self._lives(group)}
            self._blanks[caller.group] = set()
        self._blanks[caller.group].add(fd)
        return 0

    def _lives(self, group: int) -> bool:
        try:
            return not self._host.status(group).ended
        except UringError:
            return False

    def _lowest_blank(self, caller: Caller) -> int | None:
        """The lowest blank that the process has not closed, or put another file over, itself."""
        numbers = self._blanks.get(caller.group, set())
        while numbers:
            number = min(numbers)
            numbers.remove(number)
            if self._is_blank(caller, number):
                return number
        return None

    def _is_blank(self, caller: Caller, fd: int) -> bool | None:
        """None: it is not open."""
        try:
            file = caller.file(fd)
        except UringError:
            return None
        try:
            return self._listener.is_blank(file)
        finally:
            file.close()
