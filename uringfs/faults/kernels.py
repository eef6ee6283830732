"""Which kernel a caller is to find: that of the mount, or another for some processes (docs/faults.md)."""

import errno
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from uringfs.abi.kernels import CURRENT, Kernel
from uringfs.errors import UringError
from uringfs.faults.given import Lineage, RuleGiver
from uringfs.host.protocols import Caller

MOST_OF_A_USER = 64


class Kernels:
    """All of a mount."""

    def __init__(
        self,
        nursery: trio.Nursery,
        lineage: Lineage,
        ended: Callable[[int], Awaitable[None]],
        default: Kernel = CURRENT,
    ) -> None:
        """ended: waits until a process has."""
        self._nursery = nursery
        self._lineage = lineage
        self._ended = ended
        self._default = default
        self._of: dict[tuple[int, int], tuple[Kernel, RuleGiver]] = {}
        """By process, and user who has said so."""

    def set(self, pid: int, kernel: Kernel, who: RuleGiver) -> None:
        """Set the kernel of the rings that a process, or one that comes from it, sets up from now on, for as long
        as it lives. A user says so for processes of his own. EAGAIN."""
        key = pid, who.uid
        if key not in self._of:
            if sum(uid == who.uid for _, uid in self._of) >= MOST_OF_A_USER:
                raise UringError(errno.EAGAIN, f"user {who.uid} has set the kernel of {MOST_OF_A_USER} processes")
            self._nursery.start_soon(self._forget, key)
        self._of[key] = kernel, who

    async def _forget(self, key: tuple[int, int]) -> None:
        with suppress(UringError):
            await self._ended(key[0])
        del self._of[key]

    def of(self, caller: Caller) -> Kernel:
        """The kernel that the rings imitate which the caller sets up now."""
        if self._of:
            for pid in self._lineage(caller.tid):
                for kernel, who in [of for key, of in self._of.items() if key[0] == pid]:
                    if who.may_break(caller.uid, caller):
                        return kernel
        return self._default
