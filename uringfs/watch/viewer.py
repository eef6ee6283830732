"""Who may see what (docs/security.md): a trace shows data and paths, and must give nobody a right.

A reader sees the requests of rings that it has set up itself; root and the owner of the mount those of all. Of
those, only what comes from callers that have no rights which the reader had not when it opened the file: the same
that is asked of who writes to a ring (host.protocols.Opener).
"""

import os
from typing import Protocol

from uringfs.host.protocols import Caller, Opener


class Viewer(Protocol):
    @property
    def is_unlimited(self) -> bool:
        """True if it sees all callers, on rings that it owns()."""

    def owns(self, uid: int) -> bool:
        """True if the viewer may see rings that this user has set up."""

    def sees(self, owner: int, caller: Caller) -> bool:
        """True if the viewer may see what the caller, who is in a call on a ring of that user, submits."""


class OpenerViewer:
    """Who has opened a file of ours, with the rights it had then."""

    def __init__(self, uid: int, opener: Opener) -> None:
        self.uid = uid
        self._opener = opener
        self._privileged = uid in (0, os.geteuid())

    @property
    def is_unlimited(self) -> bool:
        return self._opener.is_unlimited

    def owns(self, uid: int) -> bool:
        return self._privileged or uid == self.uid

    def sees(self, owner: int, caller: Caller) -> bool:
        return self.owns(owner) and self._opener.admits(caller)
