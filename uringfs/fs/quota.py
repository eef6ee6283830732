"""What each user may have of a mount: rings, and bytes of their memory. Root has no bound but the mount's own.

Who makes a ring is charged, whoever owns or uses it later. Memory is what rings and regions ask for, whole pages.
"""

import errno
import logging
from collections import Counter
from dataclasses import dataclass, field

from uringfs.errors import UringError
from uringfs.fs.seldom import Seldom

log = logging.getLogger(__name__)

ROOT = 0


@dataclass
class Quota:
    """Bounds per user; None: none."""

    rings: int | None = None
    memory: int | None = None
    _rings: Counter[int] = field(default_factory=Counter)
    _memory: Counter[int] = field(default_factory=Counter)
    _said: Seldom = field(default_factory=Seldom)

    def account(self, uid: int) -> "Account":
        """For one more ring of that user. EDQUOT at the bound."""
        if uid != ROOT and self.rings is not None and self._rings[uid] >= self.rings:
            self._say(uid, f"all {self.rings} rings that a user may have (--max-rings-per-user)")
            raise UringError(errno.EDQUOT, f"user {uid} has all {self.rings} rings a user may have")
        self._rings[uid] += 1
        return Account(self, uid)

    def charge(self, uid: int, size: int) -> None:
        """ENOMEM, as for RLIMIT_MEMLOCK (__io_account_mem()), at the bound. Less than 0 gives back."""
        most = None if uid == ROOT or size < 0 else self.memory
        if most is not None and self._memory[uid] + size > most:
            self._say(uid, f"{most >> 20} MiB of ring memory (--max-memory-per-user)")
            raise UringError(errno.ENOMEM, f"user {uid}: more than {most >> 20} MiB of ring memory")
        self._memory[uid] += size

    def close(self, uid: int, size: int) -> None:
        """Give back what a ring of this user took: bytes. Users that have nothing are forgotten."""
        self._memory[uid] -= size
        self._rings[uid] -= 1
        if not self._rings[uid]:
            del self._rings[uid], self._memory[uid]

    def _say(self, uid: int, what: str) -> None:
        if self._said.is_due(uid):
            log.warning("user %d has %s", uid, what)


class Account:
    """One ring's part in what its maker has."""

    def __init__(self, quota: Quota, uid: int) -> None:
        self._quota = quota
        self._uid = uid
        self._size = 0
        self._closed = False

    def charge(self, size: int) -> None:
        """Bytes more, or less. ENOMEM. Nothing once it is closed."""
        if not self._closed:
            self._quota.charge(self._uid, size)
            self._size += size

    def close(self) -> None:
        """Give everything back. May be called twice."""
        if not self._closed:
            self._closed = True
            self._quota.close(self._uid, self._size)
