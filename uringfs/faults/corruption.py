"""Data that is not what it was: between a request and its caller's memory stands one that alters bytes on their
way. The caller's own memory is altered by reads alone, as it is with every read."""

import random
from collections.abc import Sequence
from typing import Any, cast

from uringfs.engine.request import Request
from uringfs.faults.values import Range
from uringfs.host.protocols import Caller, Data, Iovec, Memory
from uringfs.ops.rw.iovec import truncated


class Corruption:
    """Which bytes of a transfer, and what they become. A piece that is tried again becomes the same."""

    def __init__(self, which: int | Range, chance: random.Random, iovecs: Sequence[Iovec]) -> None:
        """which: how many of the first piece, or these bytes. iovecs: of the whole transfer, none if not known."""
        self._which = which
        self._seed = chance.getrandbits(64)
        self._iovecs = tuple(iovecs)

    def alter(self, request: Request) -> None:
        """From now on this request's."""
        request.caller = cast(Caller, _Corrupting(request.caller.detached(), self))
        message_memory = getattr(request.data, "memory", None)
        if message_memory is not None:
            request.data.memory = _Memory(message_memory, self)

    def apply(self, data: Data, iovecs: Sequence[Iovec]) -> Data:
        """A copy with other bytes in it."""
        chance = random.Random(self._seed)
        start = self._start(iovecs)
        if isinstance(self._which, Range):
            first, last = max(self._which.first - start, 0), min(self._which.last - start, len(data) - 1)
            places: Sequence[int] = range(first, last + 1)
        else:
            places = chance.sample(range(len(data)), min(self._which, len(data))) if start == 0 else ()
        if not places:
            return data
        altered = bytearray(data)
        for place in places:
            altered[place] ^= chance.randrange(1, 256)
        return bytes(altered)

    def _start(self, iovecs: Sequence[Iovec]) -> int:
        """Where in the transfer a piece begins that lies in these."""
        before = 0
        for address, length in self._iovecs:
            if iovecs and address <= iovecs[0][0] < address + length:
                return before + iovecs[0][0] - address
            before += length
        return 0


class _Corrupting:
    """A caller, but for its memory."""

    def __init__(self, caller: Caller, corruption: Corruption) -> None:
        self._caller = caller
        self._corruption = corruption

    def __getattr__(self, name: str) -> Any:
        return getattr(self._caller, name)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """As of every proxy: the host knows its callers by that."""
        return type(self._caller)

    @property
    def memory(self) -> "_Memory":
        return _Memory(self._caller.memory, self._corruption)

    def detached(self) -> "_Corrupting":
        return _Corrupting(self._caller.detached(), self._corruption)


class _Memory:
    """A caller's memory, but for what goes in and out as data of a transfer."""

    def __init__(self, memory: Memory, corruption: Corruption) -> None:
        self._memory = memory
        self._corruption = corruption

    def __getattr__(self, name: str) -> Any:
        return getattr(self._memory, name)

    def gather(self, iovecs: Sequence[Iovec]) -> Data:
        return self._corruption.apply(self._memory.gather(iovecs), iovecs)

    def scatter(self, data: Data, iovecs: Sequence[Iovec]) -> int:
        return self._memory.scatter(self._corruption.apply(data, truncated(list(iovecs), len(data))), iovecs)
