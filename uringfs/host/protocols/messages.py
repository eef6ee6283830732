"""What comes from processes beside control writes: notifications of their system calls, messages of agents."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Channel(Protocol):
    """One end of a socketpair(2) both of whose ends are a client's. Errors are what the system call has."""

    def send(self, data: bytes, fds: Sequence[int]) -> bool:
        """One message, with duplicates of our descriptors (SCM_RIGHTS), now. False: there is no room()."""

    async def room(self) -> None:
        """Wait for it."""

    async def receive(self, size: int) -> bytes:
        """The next message; empty at the end."""

    def received(self, size: int) -> bytes:
        """The next message, if it is there; else empty."""

    def close(self) -> None:
        """Shut the connection: the other end finds its end, whoever holds it."""


class Notification(NamedTuple):
    """struct seccomp_notif"""

    id: int
    tid: int
    nr: int
    arch: int
    pointer: int
    """The address of the instruction behind the call."""
    args: tuple[int, ...]
