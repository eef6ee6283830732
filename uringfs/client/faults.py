"""Faults from Python: rules for the rings of a mount, by its `.control` file (docs/faults.md).

faults = Faults("/mnt/uring")
with faults.injected("WRITE:path=*.wal:error=EIO:when=3") as rule:
    ...
    assert rule.injected == 1
"""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

CONTROL = ".control"


class FaultError(OSError):
    """What the daemon says is wrong: strerror has its words."""


class Faults:
    """The rules of the user that asks, of root all. Errors are FaultErrors with an errno: EINVAL with the column
    and the words that would fit, ENOENT for a rule that is not there, EAGAIN for too many, EACCES."""

    def __init__(self, mount: str | os.PathLike[str]) -> None:
        self._path = os.path.join(os.fspath(mount), CONTROL)

    def inject(self, text: str) -> "GivenRule":
        """Put a rule in force, at once."""
        if "\n" in text:
            raise FaultError(errno.EINVAL, "a rule is one line", self._path)
        return GivenRule(self, int(self._ask(f"inject {text}").rpartition(" ")[2]), text)

    @contextmanager
    def injected(self, text: str) -> Iterator["GivenRule"]:
        """A rule for as long as the block lasts. Its counts can be read behind it, too."""
        rule = self.inject(text)
        try:
            yield rule
        finally:
            with suppress(FaultError):  # somebody else has removed it
                rule.remove()

    def as_kernel(self, version: str, pid: int) -> None:
        """Rings that a process, or one that comes from it, sets up from now on are of that kernel, 5.1 to 6.18."""
        self._ask(f"kernel {version} pid={pid}")

    def rules(self) -> list[dict[str, Any]]:
        """The rules, each with id, rule, matched, injected, hits, waiting, expired, user, ring."""
        found: list[dict[str, Any]] = json.loads(self._ask("faults json"))
        return found

    def listing(self) -> str:
        """The rules for people to read, a line each."""
        return self._ask("faults")

    def release(self, number: int) -> int:
        """What this rule holds goes on: how many requests."""
        return int(self._ask(f"release {number}").split()[1])

    def remove(self, number: int) -> None:
        """What it holds goes on."""
        self._ask(f"uninject {number}")

    def clear(self) -> int:
        """Remove all: how many."""
        return int(self._ask("uninject all").split()[1])

    def _ask(self, command: str) -> str:
        fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            try:
                os.write(fd, os.fsencode(command))
            except OSError as error:
                said = _read(fd).removeprefix("error ").partition(": ")[2]
                number = error.errno or errno.EIO
                raise FaultError(number, said or os.strerror(number), self._path) from None
            return _read(fd)
        finally:
            os.close(fd)


def _read(fd: int) -> str:
    found = b""
    while piece := os.pread(fd, 1 << 16, len(found)):
        found += piece
    return os.fsdecode(found).rstrip("\n")


@dataclass
class GivenRule:
    """A rule that was given. Its counts are those of now, or of when it was removed."""

    faults: Faults
    id: int
    text: str
    _last: dict[str, Any] | None = None

    @property
    def matched(self) -> int:
        """Requests that match, whether injected into or not."""
        return int(self._now()["matched"])

    @property
    def injected(self) -> int:
        """How many requests the rule was injected into."""
        return int(self._now()["injected"])

    @property
    def waiting(self) -> int:
        """Requests that it holds."""
        return int(self._now()["waiting"])

    @property
    def unsynced(self) -> int:
        """Writes that are lost unless they are synced."""
        return int(self._now()["unsynced"])

    @property
    def expired(self) -> bool:
        return bool(self._now()["expired"])

    def release(self) -> int:
        """What it holds goes on: how many."""
        return self.faults.release(self.id)

    def remove(self) -> None:
        """What it holds goes on."""
        self._last = self._now()
        self.faults.remove(self.id)

    def _now(self) -> dict[str, Any]:
        if self._last is None:
            for rule in self.faults.rules():
                if rule["id"] == self.id:
                    return rule
            raise FaultError(errno.ENOENT, f"no rule {self.id}")
        return self._last
