"""The interface of ring memory. Nothing above this floor knows which backend is in use."""

from collections.abc import Sequence
from typing import Protocol

from uringfs.native import Taker


class Region(Protocol):
    """Memory beside the queues that a client shares with the daemon (struct io_mapped_region): a piece of the
    ring's, zeroed, for the client to map, or pages of the client's own. Offsets in bytes from its start."""

    def read(self, offset: int, size: int) -> bytes:
        """A copy of size bytes."""

    def write(self, offset: int, data: bytes) -> None:
        """Copy data in."""

    def close(self) -> None:
        """Give the ring's pages back: whoever still uses them, or has them mapped, finds zeros."""


class RingMemory(Protocol):
    """The memory behind one ring file. Offsets are bytes from the file's start, those of mmap(2).

    Client and daemon store to it at the same time, so single words go through load, store and
    fetch_*, which are atomic; read and write copy bytes without an order of their own.
    """

    @property
    def backing_id(self) -> int:
        """What the OPEN reply needs for the kernel to map this memory; 0 if nothing."""

    @property
    def parallel(self) -> bool:
        """The kernel lets control writes to one file run beside each other. Else one that waits holds up the
        others, whose processes cannot even be killed."""

    @property
    def attached(self) -> bool:
        """Stores reach clients. Where it is False, attach() before a client uses the ring."""

    async def attach(self) -> None:
        """Share with clients. Not while a name in the mount's directory is being made. EACCES, EMFILE, ENFILE."""

    def detach(self) -> None:
        """No client has the file open, or mapped, any more; until the next attach() the daemon alone uses it."""

    def grow(self, size: int) -> None:
        """Make the first `size` bytes usable. Called once, before any access. ENOMEM, ENFILE."""

    def hold(self, areas: Sequence[tuple[int, int]]) -> None:
        """Say which areas (offset, size) of the bytes made usable are in use: what is stored there stays.
        ENOMEM."""

    def region(self, offset: int, size: int) -> Region:
        """Make size bytes at offset usable, whole pages both. ENOMEM, also where they overlap another region."""

    def load(self, offset: int, /) -> int:
        """The u32 at offset, with acquire order."""

    def store(self, offset: int, value: int, /) -> None:
        """Set the u32 at offset, with release order."""

    def fetch_or(self, offset: int, bits: int, /) -> int:
        """Set bits in the u32 at offset; the value before."""

    def fetch_and(self, offset: int, bits: int, /) -> int:
        """Keep only bits in the u32 at offset; the value before."""

    def fence(self) -> None:
        """What was stored before is seen before anything is loaded behind (smp_mb())."""

    def wake(self, offset: int, /) -> int:
        """Wake those who sleep on the u32 at offset (futex(2)): how many."""

    def read(self, offset: int, size: int) -> bytes:
        """A copy of size bytes."""

    def write(self, offset: int, data: bytes) -> None:
        """Copy data in."""

    def taker(self, *numbers: int) -> Taker | None:
        """native.Taker of this memory, with these flags, offsets and sizes, until close(). None: what the daemon
        stores into its mapping does not reach clients."""

    def close(self) -> None:
        """Drop the daemon's hold; mappings of clients keep their pages. May be called twice."""


class Backend(Protocol):
    """Makes ring memory; one per mount."""

    name: str
    device: int
    """st_dev of the mount: to be set once it is there."""

    def allocate(self, inode: int) -> RingMemory:
        """Fresh zeroed memory of the file with that inode number, nothing usable yet. ENOMEM, ENFILE, EMFILE."""

    def looked_up(self, name: bytes) -> int | None:
        """The number of the inode that the backend itself is about to open by that name; None for all others."""

    def opens(self, tid: int) -> bool:
        """That thread is one of the backend's own, opening a file: no client."""

    def close(self) -> None:
        """The mount ends: let go of all files on it. The memory stays the daemon's to use."""
