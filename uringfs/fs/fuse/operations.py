"""The pyfuse3 Operations: a translator between FUSE's requests and filesystem.RingFs, no logic of its own."""

import errno
import logging
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

import trio

from uringfs import __version__, native  # before pyfuse3: see uringfs.native
from uringfs.abi.control import RING_FILE_SIZE, URINGFS_POLL_FETCH, URINGFS_XATTR
from uringfs.errors import UringError
from uringfs.fs import status
from uringfs.fs.filesystem import ROOT, RingFs, RingInode, Writing
from uringfs.fs.inodes import FIRST, NEW, Inode
from uringfs.fs.interrupts import Interrupts
from uringfs.fs.specials import Special
from uringfs.fs.waits import Waits
from uringfs.ring.ring import Ring
from uringfs.watch.stream import TraceStream

# isort: split
import pyfuse3

from uringfs.fs.fuse.door import door, outcome

log = logging.getLogger(__name__)

POLLIN, POLLOUT, POLLERR, POLLRDNORM, POLLWRNORM = 0x1, 0x4, 0x8, 0x40, 0x100
ATTR_TIMEOUT = 1.0  # seconds; attributes change through this mount alone
FUSE_GETATTR_FH = 1  # of getattr_flags: by an open file, which lseek(2) has, and fstat(2) has not
OURS = 0  # fh of files that the memory's backend opens
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2

Node = RingInode | Inode[None] | Inode[Special]


class FuseInterrupts(Interrupts):
    """By `unique`, the request's number. waits: some of them."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits = waits

    async def run(self) -> None:
        """Deliver them, as the wire's read hook reports them."""
        while True:
            await trio.lowlevel.wait_readable(native.interrupt_fd())
            for unique in native.take_interrupts():
                if not self._waits.interrupt(unique):
                    self.interrupt(unique)


class PollWatcher:
    """Tells the kernel once that a ring's readiness may have changed; it asks again itself."""

    waits: ClassVar[bool] = False

    def __init__(self, ring: Ring | TraceStream, handle: Any) -> None:
        self._ring = ring
        self._handle = handle
        ring.waiters.append(self)

    def completions(self) -> None:
        self.drop()
        with suppress(OSError):  # the client is gone
            self._handle.notify()

    closed = completions

    def drop(self) -> None:
        if self in self._ring.waiters:
            self._ring.waiters.remove(self)


class RingPollWatcher(PollWatcher):
    """The watcher of a ring. A publication without completions wakes nobody in the kernel (io_cqring_wake())."""

    def __init__(self, ring: Ring, handle: Any, fetchable: Callable[[], bool]) -> None:
        """fetchable: the client is to fetch something."""
        super().__init__(ring, handle)
        self._cq_of = ring
        self._fetchable = fetchable
        self._tail = ring.cq.words()[1]

    def completions(self) -> None:
        ring = self._cq_of
        if self._tail != ring.cq.words()[1] or ring.readable() or self._fetchable():
            super().completions()


class Operations(pyfuse3.Operations):
    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(self, fs: RingFs) -> None:
        super().__init__()
        self._fs = fs
        self._watchers: dict[int, PollWatcher] = {}
        self._begun: Writing | None = None  # a write that shortcut() could not finish
        self.waits = Waits(native.poll_answer)
        self.interrupts = FuseInterrupts(self.waits)

    # -- attributes

    def _node(self, number: int) -> Node:
        special = self._fs.specials.node(number)
        if special is not None:
            return special
        return self._fs.inodes.root if number == ROOT else self._fs.inodes[number]

    def _attributes(self, inode: Node, entry_timeout: float = ATTR_TIMEOUT) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = inode.number
        entry.st_mode = inode.mode
        entry.st_nlink = inode.names
        entry.st_uid, entry.st_gid = inode.uid, inode.gid
        entry.st_size = RING_FILE_SIZE if inode.number >= FIRST else 0
        entry.st_atime_ns, entry.st_mtime_ns, entry.st_ctime_ns = inode.atime_ns, inode.mtime_ns, inode.ctime_ns
        entry.attr_timeout, entry.entry_timeout = 0 if self._listed(inode) else ATTR_TIMEOUT, entry_timeout
        return entry

    @staticmethod
    def _listed(inode: Node) -> bool:
        """A ring file that has a name: tools which walk directories come across it."""
        return inode.number >= FIRST and inode.names > 0

    @door
    async def getattr(self, inode: int, ctx: Any = None) -> pyfuse3.EntryAttributes:
        node, detail = self._node(inode), native.current()[5]
        entry = self._attributes(node)
        if self._listed(node):
            if detail & FUSE_GETATTR_FH:
                raise UringError(errno.ESPIPE, "a ring has no end to seek to")
            self._show_empty(entry)
        return entry

    def _show_empty(self, entry: pyfuse3.EntryAttributes) -> None:
        """stat(2) says 0 bytes, as of files in /proc, and tools read to the end of the text. The kernel's own
        i_size stays: control writes below it run in parallel, and on the page-cache backend no page behind it can
        be mapped. A reply to a GETATTR that is older than the last change of the inode does not touch it
        (fuse_change_attributes(), attr_version), and that is what a notification makes of this one."""
        with suppress(OSError):
            pyfuse3.invalidate_inode(entry.st_ino, attr_only=True)
            entry.st_size = 0

    @door
    async def setattr(
        self, inode: int, attr: Any, fields: Any, fh: int | None, ctx: Any
    ) -> pyfuse3.EntryAttributes:
        node = self._node(inode)
        if fields.update_mode:
            node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(attr.st_mode)
        node.uid = attr.st_uid if fields.update_uid else node.uid
        node.gid = attr.st_gid if fields.update_gid else node.gid
        node.atime_ns = attr.st_atime_ns if fields.update_atime else node.atime_ns
        node.mtime_ns = attr.st_mtime_ns if fields.update_mtime else node.mtime_ns
        node.ctime_ns = time.time_ns()
        # update_size: accepted, without effect; open(O_TRUNC) of a shell's `>` ends up here
        return self._attributes(node)

    # -- names

    @door
    async def lookup(self, parent: int, name: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        if name == b"." or name == b"..":
            return self._attributes(self._fs.inodes.root)
        special = self._fs.specials.find(name)
        if special is not None:
            return self._attributes(special)
        inode = self._fs.lookup(name, ctx.uid, ctx.gid)
        return self._attributes(inode, ATTR_TIMEOUT if name in self._fs.inodes else 0)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for inode, lookups in inode_list:
            if inode != ROOT:
                self._fs.inodes.forget(inode, lookups)

    @door
    async def mknod(self, parent: int, name: bytes, mode: int, rdev: int, ctx: Any) -> pyfuse3.EntryAttributes:
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise UringError(errno.EPERM, "only regular files: each is a ring")
        return self._attributes(self._fs.create(name, mode & ~ctx.umask, ctx.uid, ctx.gid))

    @door
    async def unlink(self, parent: int, name: bytes, ctx: Any) -> None:
        self._fs.specials.check(name)
        self._fs.inodes.unlink(name)

    @door
    async def rename(
        self, parent_old: int, name_old: bytes, parent_new: int, name_new: bytes, flags: int, ctx: Any
    ) -> None:
        if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE):
            raise UringError(errno.EINVAL)
        self._fs.specials.check(name_old, name_new)
        self._fs.inodes.rename(
            name_old, name_new, noreplace=bool(flags & RENAME_NOREPLACE), exchange=bool(flags & RENAME_EXCHANGE)
        )

    @door
    async def mkdir(self, parent: int, name: bytes, mode: int, ctx: Any) -> pyfuse3.EntryAttributes:
        raise UringError(errno.EPERM, "a ring filesystem has one directory")

    @door
    async def rmdir(self, parent: int, name: bytes, ctx: Any) -> None:
        self._fs.inodes.find(name)
        raise UringError(errno.ENOTDIR)

    @door
    async def symlink(self, parent: int, name: bytes, target: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        raise UringError(errno.EPERM, "a ring filesystem has no links")

    @door
    async def link(self, inode: int, new_parent: int, new_name: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        raise UringError(errno.EPERM, "a ring has one name")

    @door
    async def opendir(self, inode: int, ctx: Any) -> int:
        return ROOT

    @door
    async def readdir(self, fh: int, start_id: int, token: Any) -> None:
        for name, inode in self._fs.inodes.names_behind(start_id):
            if not pyfuse3.readdir_reply(token, name, self._attributes(inode), inode.number):
                return
            inode.lookups += 1

    # -- open files

    @door
    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, ctx: Any
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        fs = self._fs
        try:
            inode = fs.create(name, mode & ~ctx.umask, ctx.uid, ctx.gid)
        except UringError as error:
            if error.errno != errno.EEXIST:
                raise
            inode = fs.lookup(name, ctx.uid, ctx.gid)  # `new`, or another's creation in between
            if inode.payload.context is not None:
                raise UringError(errno.ESTALE) from None  # the kernel looks again, and it is an open(2)
        file = fs.open(inode, ctx.pid, flags)
        return self._file_info(file.fh), self._attributes(inode, 0 if name == NEW else ATTR_TIMEOUT)

    @door
    async def open(self, inode: int, flags: int, ctx: Any) -> pyfuse3.FileInfo:
        special = self._fs.specials.node(inode)
        if special is not None:
            return self._file_info(self._fs.specials.open(special, ctx.pid, ctx.uid, flags))
        node = self._fs.inodes[inode]
        if not await self._fs.prepare(node, ctx.pid):
            return self._file_info(OURS)
        return self._file_info(self._fs.open(node, ctx.pid, flags).fh)

    def _file_info(self, fh: int) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=fh, direct_io=True, keep_cache=False)

    @door
    async def release(self, fh: int) -> None:
        self._drop_watcher(fh)
        self._fs.specials.release(fh)
        self._fs.release(fh)

    @door
    async def flush(self, fh: int) -> None:
        # The kernel asks once and never again: a close of a ring must not need us.
        raise UringError(errno.ENOSYS)

    @door
    async def fsync(self, fh: int, datasync: bool) -> None:
        pass

    @door
    async def read(self, fh: int, off: int, size: int) -> bytes:
        if fh in self._fs.specials:
            unique, stream = native.current()[0], self._fs.specials.stream(fh)
            if stream is not None and await self.interrupts.during(unique, stream.wait) is None:
                raise UringError(errno.EINTR)
            return self._fs.specials.read(fh, off, size)
        return self._fs.read(fh, off, size)

    def shortcut(self, fh: int, data: bytes, tid: int, uid: int, gid: int) -> int | None:
        """A control write, done while it is read from the wire (native.shortcut_set()): bytes written or -errno.
        None: it has to wait, and goes on in write(), which comes next."""
        try:
            done = self._fs.write(fh, data, tid, uid, gid)
        except Exception as error:
            return -outcome("write", error)
        if isinstance(done, int):
            return done or len(data)
        self._begun = done
        return None

    def poll_wait(self, unique: int, fh: int, tid: int, uid: int, gid: int) -> int | None:
        """A poll by which an enter waits (native.shortcut_set()): -errno. None: native.poll_answer() comes
        later."""
        try:
            self.waits.begin(unique, self._fs.wait(fh, tid, uid, gid))
        except Exception as error:
            return -outcome("poll", error)
        return None

    @door
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        # First, before anything else is read from the wire: pyfuse3 gives a write no context.
        unique, _, tid, uid, gid, _ = native.current()
        begun, self._begun = self._begun, None
        done = begun or self._fs.write(fh, bytes(buf), tid, uid, gid)
        if not isinstance(done, int):
            ended = await self.interrupts.during(unique, done)
            done = -errno.EINTR if ended is None else ended
        if done < 0:
            raise pyfuse3.FUSEError(-done)
        return len(buf)

    @door
    async def poll(self, inode: int, fh: int, poll_handle: Any, ctx: Any) -> int:
        if fh in self._fs.specials:
            return self._poll_special(fh, poll_handle)
        ring = self._fs.ring(fh)
        if ring is None:
            return POLLERR
        if poll_handle is not None:
            self._drop_watcher(fh)
            self._watchers[fh] = RingPollWatcher(ring, poll_handle, partial(self._fs.fetchable, fh))
        # io_uring_poll()
        room = POLLOUT | POLLWRNORM if ring.sq.pending() < ring.sq.entries else 0
        room |= URINGFS_POLL_FETCH if self._fs.fetchable(fh) else 0
        return room | (POLLIN | POLLRDNORM if ring.readable() else 0)

    def _poll_special(self, fh: int, poll_handle: Any) -> int:
        stream = self._fs.specials.stream(fh)
        if stream is not None and poll_handle is not None:
            self._drop_watcher(fh)
            self._watchers[fh] = PollWatcher(stream, poll_handle)
        readable = POLLIN | POLLRDNORM if stream is None or stream.readable() else 0
        return readable | POLLOUT | POLLWRNORM

    def _drop_watcher(self, fh: int) -> None:
        watcher = self._watchers.pop(fh, None)
        if watcher is not None:
            watcher.drop()

    # -- the rest

    @door
    async def statfs(self, ctx: Any) -> pyfuse3.StatvfsData:
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = 4096
        data.f_blocks = data.f_bfree = data.f_bavail = 0
        data.f_files = self._fs.max_rings
        data.f_ffree = data.f_favail = self._fs.max_rings - len(self._fs.inodes)
        data.f_namemax = 255
        return data

    @door
    async def getxattr(self, inode: int, name: bytes, ctx: Any) -> bytes:
        if name == URINGFS_XATTR.encode():  # system.*: no permission is needed to ask, and nobody lists it
            return __version__.encode()
        value = self._params(inode) if name == status.PARAMS_XATTR else self._xattrs(inode).get(name)
        if value is None:
            raise UringError(pyfuse3.ENOATTR)
        return value

    @door
    async def listxattr(self, inode: int, ctx: Any) -> Sequence[bytes]:
        return list(self._xattrs(inode))

    def _params(self, inode: int) -> bytes | None:
        return None if inode < FIRST else status.params(self._fs.inodes[inode].payload)

    def _xattrs(self, inode: int) -> dict[bytes, bytes]:
        if inode == ROOT:
            return {name.encode(): value for name, value in status.mount_xattrs(self._fs.facts()).items()}
        if inode < FIRST:
            return {}
        payload = self._fs.inodes[inode].payload
        return {name.encode(): value for name, value in status.xattrs(payload).items()}

    @door
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: Any) -> None:
        raise UringError(errno.EPERM, "the attributes of a ring are read-only")

    @door
    async def removexattr(self, inode: int, name: bytes, ctx: Any) -> None:
        raise UringError(errno.EPERM, "the attributes of a ring are read-only")
