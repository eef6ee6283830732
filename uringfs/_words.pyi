"""Words of shared memory (native/words.c), in a module of their own: a client needs no libfuse."""

from types import TracebackType
from typing import Self, final

from typing_extensions import Buffer

@final
class Words:
    """The 32-bit words of a writable buffer, with the memory order of liburing's barrier.h.

    Offsets are bytes. IndexError: no whole word there; ValueError: not a multiple of 4, or released;
    values wrap to 32 bits, as __u32 does. The buffer is held exported until `release()` (or the end of a
    `with` block): an mmap cannot be closed before, BufferError.
    """

    def __new__(cls, buffer: Buffer, /) -> Self: ...
    def load(self, offset: int, /) -> int:
        """smp_load_acquire."""
    def store(self, offset: int, value: int, /) -> None:
        """smp_store_release."""
    def fetch_or(self, offset: int, value: int, /) -> int:
        """The value before; sequentially consistent."""
    def fetch_and(self, offset: int, value: int, /) -> int:
        """The value before; sequentially consistent."""
    def fence(self) -> None:
        """smp_mb(): what was stored before is seen before anything is loaded behind."""
    def wake(self, offset: int, /) -> int:
        """FUTEX_WAKE: how many slept on the word, in any process."""
    def read(self, offset: int, size: int, /) -> bytes:
        """A copy of size bytes at any offset, without an order of its own. IndexError: not all are there."""
    def write(self, offset: int, data: Buffer, /) -> None:
        """Copy data in. IndexError: there is no room for all of it, and nothing is stored."""
    def release(self) -> None:
        """Give the buffer back. May be called again."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self, typ: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None: ...
    def __len__(self) -> int:
        """The number of whole words; 0 when released."""
