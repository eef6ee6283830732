"""Lines of the log that users can bring about: now and then, lest anybody fill a disk."""

import time

AGAIN = 60.0
"""Seconds until the next one about a user is worth a line."""


class Seldom:
    """One kind of line."""

    def __init__(self) -> None:
        self._due: dict[int, float] = {}

    def is_due(self, uid: int) -> bool:
        """Whether to say it of this user: the first time, and AGAIN after the last."""
        now = time.monotonic()
        if now < self._due.get(uid, now):
            return False
        self._due[uid] = now + AGAIN
        return True
