"""Reads the `.rings` of mounts, as a program beside them: which rings there are, and what they do."""

import json
import os
from collections.abc import Sequence
from typing import Any, Self

AT_ONCE = 1 << 20
Ring = dict[str, Any]
"""As fs/watching.py makes them, and `mount`."""


class Lists:
    """Open lists of mounts. Latencies are counted as long as they are open, if they are asked for."""

    def __init__(self, mounts: Sequence[str], words: str = "") -> None:
        """words: stats, ring=NUMBER. OSError: of the first that cannot be read."""
        self._fds: dict[str, int] = {}
        try:
            for mount in mounts:
                fd = self._fds[mount] = os.open(os.path.join(mount, ".rings"), os.O_RDWR | os.O_CLOEXEC)
                if words:
                    os.write(fd, words.encode())
        except OSError:
            self.close()
            raise

    def read(self) -> list[Ring]:
        """What there is now. Of a mount that is gone meanwhile nothing."""
        found: list[Ring] = []
        for mount, fd in tuple(self._fds.items()):
            try:
                text = _whole(fd)
            except OSError:
                os.close(self._fds.pop(mount))
                continue
            found += [{"mount": mount, **json.loads(line)} for line in text.splitlines()]
        return found

    def close(self) -> None:
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _whole(fd: int) -> bytes:
    """A read at 0 takes it anew, those behind go on in the same."""
    found = b""
    while piece := os.pread(fd, AT_ONCE, len(found)):
        found += piece
    return found


def add_rates(before: list[Ring], after: list[Ring], seconds: float) -> None:
    """Completions a second between the two, into those of `after`; of a ring that is new, since its setup."""
    known = {(ring["mount"], ring["ring"]): ring["completed"] for ring in before}
    for ring in after:
        done = ring["completed"] - known.get((ring["mount"], ring["ring"]), 0)
        ring["ops_per_second"] = round(done / seconds, 1)
