"""Reads the `.trace` of one or more mounts, as a program beside them. Needs nothing of the daemon's code but the
events' layout."""

import errno
import os
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Self

from uringfs.watch.record import Record, each, whole

AT_ONCE = 1 << 20
LINGER = 0.01
"""Seconds between two looks, so that events come in handfuls."""
GONE = (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.ENODEV)


class Follower:
    """Open traces. As soon as it is constructed, what is submitted is seen."""

    def __init__(self, mounts: Sequence[str], wanted: str) -> None:
        """wanted: words of a filter (filters.py). OSError: of the first that cannot be followed."""
        self._fds: list[int] = []
        self._begun: dict[int, bytes] = {}
        """By descriptor: of an event, whose rest comes with the next read."""
        self._poll = select.poll()
        try:
            for mount in mounts:
                fd = os.open(os.path.join(mount, ".trace"), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
                self._fds.append(fd)
                os.write(fd, f"{wanted} format=raw".encode())
                self._poll.register(fd, select.POLLIN)
        except OSError:
            self.close()
            raise

    def read(self) -> list[Record]:
        """What there is now."""
        found: list[Record] = []
        for fd in tuple(self._fds):
            found += self._read(fd)
        found.sort(key=lambda record: record.completed)
        return found

    def _read(self, fd: int) -> list[Record]:
        try:
            data = os.read(fd, AT_ONCE)
        except OSError as error:
            if error.errno in GONE:  # unmounted
                self._drop(fd)
            elif error.errno not in (errno.EAGAIN, errno.EINTR):
                raise
            return []
        data = self._begun.pop(fd, b"") + data
        end = whole(data)
        self._begun[fd] = data[end:]
        return list(each(data[:end]))

    def _drop(self, fd: int) -> None:
        self._begun.pop(fd, None)
        self._fds.remove(fd)
        self._poll.unregister(fd)
        os.close(fd)

    def until(self, *ends: int) -> Iterator[list[Record]]:
        """Handfuls of events, until one of these descriptors becomes readable and nothing is left, or the last
        mount is gone."""
        for end in ends:
            self._poll.register(end, select.POLLIN)
        over = False
        while self._fds:
            ready = {fd for fd, _ in self._poll.poll(0 if over else None)}
            over = over or not ready.isdisjoint(ends)
            if not over:
                time.sleep(LINGER)
            records = self.read()
            if records:
                yield records
            elif over:
                return

    def close(self) -> None:
        for fd in self._fds:
            with suppress(OSError):
                os.close(fd)
        self._fds.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
