"""Files of the mount that are no rings: small texts that are read, and written to with an effect. They have a name
that cannot be removed, are not listed, and are the daemon's user's."""

import errno
import itertools
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass

from uringfs.errors import UringError
from uringfs.fs.inodes import FIRST, ROOT, Inode
from uringfs.host.protocols import Caller, Host, Opener
from uringfs.watch.stream import TraceStream

OURS = 1 << 63
"""Bit of their fh: those of rings have 31 bits above the backing id (RingFs.open())."""


@dataclass(eq=False)
class Session:
    """One open(2) of such a file."""

    special: "Special"
    uid: int
    """fsuid of who has opened it."""
    opener: Opener
    reply: str | None = None
    """What the last write had to say."""
    snapshot: bytes = b""
    """The text a reader is in the middle of."""
    begin: int | None = None
    """The offset at which it began to read that; None: it has not."""
    stream: TraceStream | None = None
    """Where reads wait for what comes, instead of a text."""


class Special:
    """Derive from this."""

    mode = 0o444

    def text(self, session: Session) -> str:
        """What a read gives before something is written."""
        raise NotImplementedError

    def opened(self, session: Session, flags: int) -> None:
        """flags: of the open(2)."""

    def closed(self, session: Session) -> None:
        """The session has had its last close."""

    def say(self, session: Session, data: bytes, caller: Caller, opener: Opener) -> str | None:
        """write(), for a file that tells its open files apart. None: reads go on as they were."""
        return self.write(data, caller, opener)

    def write(self, data: bytes, caller: Caller, opener: Opener) -> str:
        """What it has to say. opener: the writer, as it is now. UringError."""
        raise UringError(errno.EACCES)


class Specials:
    """The special files by name, by inode number, by fh. Their fh have no backing id: the low half is 0."""

    def __init__(self, host: Host, files: Mapping[bytes, Special]) -> None:
        self._host = host
        self._serials = itertools.count(1)
        self._open: dict[int, Session] = {}
        self._names = {name: ROOT + 1 + place for place, name in enumerate(files)}
        self._inodes = {number: self._inode(number, files[name]) for name, number in self._names.items()}
        assert len(files) < FIRST - ROOT

    def _inode(self, number: int, special: Special) -> Inode[Special]:
        mode = stat.S_IFREG | special.mode
        return Inode(number, mode, os.geteuid(), os.getegid(), special, names=1)

    def find(self, name: bytes) -> Inode[Special] | None:
        number = self._names.get(name)
        return self._inodes[number] if number is not None else None

    def node(self, number: int) -> Inode[Special] | None:
        return self._inodes.get(number)

    def check(self, *names: bytes) -> None:
        """EPERM for one of theirs."""
        if any(name in self._names for name in names):
            raise UringError(errno.EPERM, "this file belongs to the mount")

    def open(self, inode: Inode[Special], tid: int, uid: int, flags: int) -> int:
        """The fh. tid, uid: of who opens."""
        fh = OURS | next(self._serials) << 32
        session = Session(inode.payload, uid, self._host.opener(tid))
        inode.payload.opened(session, flags)
        self._open[fh] = session
        return fh

    def __contains__(self, fh: int) -> bool:
        return fh in self._open

    def release(self, fh: int) -> None:
        session = self._open.pop(fh, None)
        if session is not None:
            session.special.closed(session)

    def stream(self, fh: int) -> TraceStream | None:
        return self._open[fh].stream

    def read(self, fh: int, offset: int, size: int) -> bytes:
        """What the last write by this open file had to say, or the text. The first read behind a write, wherever
        that has left the position, and one at 0 take it anew."""
        session = self._open[fh]
        if session.stream is not None:
            return session.stream.take(size)
        if offset == 0 or session.begin is None:
            session.begin = offset
            text = session.reply if session.reply is not None else session.special.text(session)
            session.snapshot = (text + "\n").encode("utf-8", "surrogateescape") if text else b""
        start = max(offset - session.begin, 0)
        return session.snapshot[start : start + size]

    def write(self, fh: int, data: bytes, tid: int, uid: int, gid: int) -> None:
        """As a control write: the writer may have no rights that the opener had not. EACCES."""
        session = self._open[fh]
        caller = self._host.caller(tid, uid, gid)
        if not session.opener.admits(caller):
            raise UringError(errno.EACCES, "the writer has rights that the opener had not: docs/security.md")
        session.begin = None
        try:
            session.reply = session.special.say(session, data, caller, self._host.opener(tid))
        except UringError as error:
            session.reply = f"error {error}"
            raise
