"""One open(2) of a ring file, and who may write to it."""

import errno
import logging
import os
from dataclasses import dataclass, field

from uringfs.errors import UringError
from uringfs.fs.inodes import Inode
from uringfs.fs.ringfile import RingFile
from uringfs.fs.seldom import Seldom
from uringfs.fs.waits import EnterInProgress
from uringfs.host.protocols import Caller, Opener

log = logging.getLogger(__name__)

RingInode = Inode[RingFile]
OUT_OF_REACH = (
    "the daemon may not reach memory and files of this process of user {}: that takes its own user's, with "
    "kernel.yama.ptrace_scope 0, or CAP_SYS_PTRACE: run it as root, or use `uringfs run`"
)


@dataclass(slots=True, eq=False)
class OpenFile:
    """One open(2) of a ring file."""

    fh: int
    inode: RingInode
    flags: int = os.O_RDONLY
    """O_ACCMODE of open(2)."""
    opener: Opener | None = None
    """None: of a file that is not open for writing."""
    waits: dict[int, EnterInProgress] = field(default_factory=dict)
    """By thread: enters that answered EINPROGRESS."""
    said: Seldom = field(default_factory=Seldom)
    """That a write was refused."""
    refusals: int = 0
    """Writes that the opener did not admit."""
    snapshot: bytes = b""
    """The text a reader is in the middle of."""

    def admit(self, caller: Caller) -> None:
        """docs/security.md, "Who may write". EACCES; EINVAL for the ring of a supervised program, which enters
        it by system calls alone."""
        if self.inode.payload.answered:
            raise UringError(errno.EINVAL, "an io_uring descriptor cannot be written to")
        if self.opener is None or not self.opener.admits(caller):
            if not self.refusals and self.said.is_due(caller.uid):
                log.warning(
                    "thread %d of user %d wrote to a ring with rights that its opener had not: refused (EACCES). "
                    "Open the ring in the program that uses it; see docs/security.md",
                    *(caller.tid, caller.uid),
                )
            self.refusals += 1
            raise UringError(errno.EACCES, "the writer has rights that the opener had not: docs/security.md")

    def admit_owner(self, caller: Caller, what: str) -> None:
        """EACCES unless the caller is the owner of the ring. what: what it has tried."""
        if caller.uid != self.inode.uid:
            raise UringError(errno.EACCES, f"{what} is for the ring's owner, user {self.inode.uid}, alone")


class Reach:
    """Whose processes the daemon was found to be unable to reach."""

    def __init__(self) -> None:
        self._users: set[int] = set()
        self.refused = Seldom()
        """OpenFile.said, of all open files."""

    def explain(self, error: UringError, caller: Caller) -> None:
        """Put it into the error, and once for each user into the log, if the caller itself is beyond our reach."""
        try:
            caller.memory.read(0, 1)
        except UringError as refused:
            if refused.errno == errno.EPERM:
                error.message = OUT_OF_REACH.format(caller.uid)
                if caller.uid not in self._users:
                    self._users.add(caller.uid)
                    log.warning("%s", error.message)
