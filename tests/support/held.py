"""What a daemon holds: for tests that nothing piles up."""

import os
from pathlib import Path
from typing import NamedTuple

from tests.support.mounting import Mount


class Held(NamedTuple):
    """What the daemon has."""

    descriptors: int
    mappings: int
    free_inodes: int

    @classmethod
    def by(cls, mount: Mount) -> "Held":
        return cls(
            len(os.listdir(f"/proc/{mount.pid}/fd")),
            maps(mount).count("memfd:"),
            os.statvfs(mount.path).f_ffree,
        )

    def within(self, other: "Held") -> bool:
        """No more than that."""
        held = self.descriptors <= other.descriptors and self.mappings <= other.mappings
        return held and self.free_inodes >= other.free_inodes


def maps(mount: Mount) -> str:
    return Path(f"/proc/{mount.pid}/maps").read_text()
