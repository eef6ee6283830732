"""Who has opened a ring file, and whom of those who write to it that admits: docs/security.md, "Who may write"."""

from contextlib import suppress
from typing import NamedTuple

from uringfs import native
from uringfs.errors import UringError
from uringfs.host.caller import LocalCaller, local
from uringfs.host.identity.credentials import Credentials, dumpable
from uringfs.host.process.program import LocalProgram, Programs
from uringfs.host.protocols import Caller


class Writer(NamedTuple):
    program: LocalProgram
    ids: tuple[int, int]
    """fsuid, fsgid"""
    capabilities: int


class LocalAdmission:
    """host.protocols.Opener: who has opened a ring file, and whom of those who write to it that admits."""

    def __init__(self, programs: Programs, tid: int) -> None:
        self._opener: Credentials | None = None
        self._program: LocalProgram | None = None
        self._admitted: Writer | None = None
        """The last one, if it stays admitted as long as these are what they are: there is nothing put aside that
        it might take other groups with, or the opener might have taken any, too."""
        with suppress(UringError, OSError, StopIteration):  # one that is gone, or not to be seen, admits nobody
            self._opener = Credentials.of(tid)
            if not self._opener.unlimited:
                self._program = programs.of(tid)
                self._program.process  # noqa: B018  to be known when it is gone

    @property
    def is_unlimited(self) -> bool:
        return self._opener is not None and self._opener.unlimited

    def admits(self, caller: Caller) -> bool:
        if self._opener is None:
            return False
        if self._opener.unlimited:
            return True
        writer = local(caller)
        return self._again(writer) or self._admit(writer)

    def _again(self, caller: LocalCaller) -> bool:
        """True if the caller is the last writer, as it was."""
        last = self._admitted
        if last is None or last.program.tid != caller.tid or last.ids != (caller.uid, caller.gid):
            return False
        try:
            same = last.program.same() and native.capabilities(caller.tid) == last.capabilities
        except OSError:
            return False
        if same:
            caller.known(last.program)
        return same

    def _admit(self, caller: LocalCaller) -> bool:
        try:
            writer = Writer(caller.program, (caller.uid, caller.gid), native.capabilities(caller.tid))
            opener, credentials = self._opener, Credentials.of(caller.tid)
            admitted = opener is not None and opener.admits(credentials) and self._same_image(caller)
            lasts = credentials.settled or (opener is not None and opener.becomes_others)
        except (OSError, UringError):  # gone
            return False
        self._admitted = writer if admitted and lasts else None
        return admitted

    def _same_image(self, caller: LocalCaller) -> bool:
        """A program that its own user may not trace has more than its ids tell: descriptors from before it dropped
        its rights, or memory that it hides (commit_creds(), would_dump()). It may write only if it is the program
        that has opened, or a child of that which goes on with the same."""
        if dumpable(caller.tid):
            return True
        return self._program is not None and caller.program.image == self._program.image
