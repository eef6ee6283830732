"""The smallest pyfuse3 filesystem that shows what fusewire does; test_fusewire.py runs it as a process.

    python fusewire_fs.py MOUNTPOINT [--no-passthrough [--try-backing]] [--sessions N] [--spurious] [--shortcut]

Files: `plain` (an ordinary FUSE file) and `ring` plus whatever is created (memfds, opened as passthrough).
Write `load OFF`, `store OFF VALUE`, `wait`, `identify FD` (the writer's), `close-backing`; read the last word
loaded and what was seen, as JSON. With --shortcut, `answer N` and `raise` are dealt with there, `turn` needs the
loop to go round. One JSON line a mount, a parked write and an unmount goes to stdout.
"""

import errno
import json
import mmap
import os
import stat
import sys

import trio

from uringfs import native

import pyfuse3  # isort: skip  after uringfs.native

SIZE = 1 << 16
PLAIN, RING = 2, 3


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


class Node:
    def __init__(self, inode: int, name: bytes, mode: int, uid: int = 0, gid: int = 0) -> None:
        self.inode, self.name, self.mode, self.uid, self.gid = inode, name, mode, uid, gid
        self.memfd = os.memfd_create(f"ring{inode}")
        os.ftruncate(self.memfd, SIZE)
        self.map = mmap.mmap(self.memfd, SIZE)
        self.words = native.Words(self.map)
        self.backing = 0

    def close(self) -> None:
        self.words.release()
        self.map.close()
        os.close(self.memfd)


class Demo(pyfuse3.Operations):
    def __init__(self, passthrough: bool) -> None:
        super().__init__()
        self.passthrough = passthrough
        self.nodes = {PLAIN: Node(PLAIN, b"plain", 0o644), RING: Node(RING, b"ring", 0o644)}
        self.seen: dict[str, object] = {
            "writes": [],
            "shortcut": [],
            "polls": [],
            "open_flags": [],
            "getattrs": 0,
            "lookups": 0,
            "flushes": 0,
            "backing_errno": None,
            "identity": None,
        }
        self.last_load = 0
        self.parked: dict[int, trio.Event] = {}

    async def watch_interrupts(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(native.interrupt_fd())
            for unique in native.take_interrupts():
                event = self.parked.get(unique)
                if event is not None:
                    event.set()

    def count(self, name: str) -> None:
        self.seen[name] += 1  # type: ignore[operator]

    async def getattr(self, inode: int, ctx: object = None) -> pyfuse3.EntryAttributes:
        if inode != pyfuse3.ROOT_INODE:
            self.count("getattrs")
        return self.entry(inode)

    def entry(self, inode: int) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = inode
        entry.attr_timeout = entry.entry_timeout = 0
        if inode == pyfuse3.ROOT_INODE:
            entry.st_mode = stat.S_IFDIR | 0o755
            return entry
        node = self.nodes[inode]
        entry.generation = 7
        if inode > RING:
            entry.attr_timeout = entry.entry_timeout = 300.5
        entry.st_mode, entry.st_uid, entry.st_gid = stat.S_IFREG | node.mode, node.uid, node.gid
        entry.st_size, entry.st_blocks, entry.st_nlink = SIZE, 16, 1
        entry.st_atime_ns, entry.st_mtime_ns, entry.st_ctime_ns = 1_000_000_001, 2_000_000_002, 3_000_000_003
        return entry

    async def setattr(self, inode, attr, fields, fh, ctx):  # type: ignore[no-untyped-def]
        return self.entry(inode)

    async def lookup(self, parent_inode, name, ctx=None):  # type: ignore[no-untyped-def]
        self.count("lookups")
        for node in self.nodes.values():
            if node.name == name:
                return self.entry(node.inode)
        raise pyfuse3.FUSEError(errno.ENOENT)

    def file_info(self, inode: int) -> pyfuse3.FileInfo:
        node = self.nodes[inode]
        if inode != PLAIN and not node.backing and self.passthrough:
            try:
                node.backing = native.backing_open(node.memfd)
            except OSError as exc:
                self.seen["backing_errno"] = exc.errno
        fh = inode << 32 | node.backing
        return pyfuse3.FileInfo(fh=fh, direct_io=True, keep_cache=False)

    async def open(self, inode, flags, ctx):  # type: ignore[no-untyped-def]
        self.seen["open_flags"].append(flags)  # type: ignore[attr-defined]
        return self.file_info(inode)

    async def create(self, parent_inode, name, mode, flags, ctx):  # type: ignore[no-untyped-def]
        inode = max(self.nodes) + 1
        self.nodes[inode] = Node(inode, name, stat.S_IMODE(mode), ctx.uid, ctx.gid)
        return self.file_info(inode), self.entry(inode)

    async def flush(self, fh):  # type: ignore[no-untyped-def]
        self.count("flushes")

    async def release(self, fh):  # type: ignore[no-untyped-def]
        pass

    async def poll(self, inode, fh, handle, ctx):  # type: ignore[no-untyped-def]
        self.seen["polls"].append(native.current())  # type: ignore[attr-defined]
        return 1

    async def read(self, fh, off, size):  # type: ignore[no-untyped-def]
        fields = {
            **self.seen,
            "fh": fh,
            "load": self.last_load,
            "granted": native.passthrough_granted(),
            "taken": native.hooks_taken(),
            "blocking": os.get_blocking(native.session_fd()),
        }
        return json.dumps(fields).encode()[off : off + size]

    def shortcut(self, fh: int, data: bytes, tid: int, uid: int, gid: int) -> int | None:
        self.seen["shortcut"] = [fh, len(data), tid, uid, gid, native.current()[2] == tid]
        match data.split():
            case [b"answer", res]:
                return int(res)
            case [b"raise"]:
                raise ValueError("in the shortcut")
        return None

    async def write(self, fh, off, buf):  # type: ignore[no-untyped-def]
        current = native.current()
        self.seen["writes"].append(current)  # type: ignore[attr-defined]
        node = self.nodes[fh >> 32]
        match buf.split():
            case [b"load", offset]:
                self.last_load = node.words.load(int(offset))
            case [b"store", offset, value]:
                node.words.store(int(offset), int(value))
            case [b"identify", number]:
                self.seen["identity"] = await identify(current[2], int(number))
            case [b"close-backing"]:
                native.backing_close(node.backing)
            case [b"turn"]:
                await trio.to_thread.run_sync(lambda: None)
            case [b"wait"]:
                event = self.parked[current[0]] = trio.Event()
                say(event="parked", unique=current[0])
                await event.wait()
                del self.parked[current[0]]
                raise pyfuse3.FUSEError(errno.EINTR)
        return len(buf)


async def identify(pid: int, fd: int) -> tuple[int, ...]:
    pidfd = native.pidfd_open(pid, 0)
    mine = native.pidfd_getfd(pidfd, fd)
    os.close(pidfd)
    try:
        return native.fd_identity(mine)
    finally:
        await trio.to_thread.run_sync(os.close, mine)  # sends us a FLUSH, and waits for the answer


def wake_without_a_message() -> None:
    """Every second wait for the FUSE descriptor ends at once, as when a request is withdrawn just then."""
    wait_readable = trio.lowlevel.wait_readable
    turn = 0

    async def spurious(fd: int) -> None:
        nonlocal turn
        turn += fd == native.session_fd()
        if turn % 2 and fd == native.session_fd():
            await trio.lowlevel.checkpoint()
        else:
            await wait_readable(fd)

    trio.lowlevel.wait_readable = spurious


async def serve(demo: Demo) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(demo.watch_interrupts)
        await pyfuse3.main()
        nursery.cancel_scope.cancel()


def main() -> None:
    mountpoint, *options = sys.argv[1:]
    passthrough = "--no-passthrough" not in options
    sessions = int(options[options.index("--sessions") + 1]) if "--sessions" in options else 1
    native.want_passthrough(passthrough)
    if "--spurious" in options:
        wake_without_a_message()
    for _ in range(sessions):
        demo = Demo(passthrough or "--try-backing" in options)
        native.shortcut_set(demo.shortcut if "--shortcut" in options else None, None)
        pyfuse3.init(demo, mountpoint, {"fsname=fusewire", "default_permissions"})
        say(event="mounted", taken=native.hooks_taken())
        try:
            trio.run(serve, demo)
        finally:
            pyfuse3.close(unmount=True)
        for node in demo.nodes.values():
            node.close()
        try:
            native.session_fd()
        except OSError as exc:
            say(
                event="closed",
                errno=exc.errno,
                taken=native.hooks_taken(),
                fds=len(os.listdir("/proc/self/fd")),
            )


if __name__ == "__main__":
    main()
