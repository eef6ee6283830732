"""A mount from beginning to end: mounts, serves, and leaves no mount behind."""

import errno
import gc
import logging
import os
import resource
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from uringfs import native  # before pyfuse3: see uringfs.native
from uringfs.abi.kernels import CURRENT, Kernel
from uringfs.abi.libc import libc
from uringfs.abi.signals import signal_name
from uringfs.errors import UringError
from uringfs.faults.given import RuleGiver
from uringfs.fs.filesystem import RingFs
from uringfs.fs.fuse.operations import Operations
from uringfs.fs.quota import Quota
from uringfs.fs.virtualtime import VirtualTime
from uringfs.host.events import scheduling
from uringfs.host.events.jumps import Jumps
from uringfs.host.local import LocalHost
from uringfs.memory.base import Backend
from uringfs.memory.pagecache import PageCacheBackend, require_pagecache
from uringfs.memory.passthrough import PassthroughBackend, require_passthrough

# isort: split
import pyfuse3

log = logging.getLogger(__name__)

CHECKED = 20.0  # seconds for a first ring
FORGOTTEN = 1.0  # and at most for the kernel to forget it
MNT_DETACH = 2
MAX_TASKS = 1 << 20  # every waiting enter is a request being served
ENDING: tuple[int, ...] = (
    *(
        signal.Signals[f"SIG{name}"]
        for name in "INT TERM QUIT USR1 USR2 ALRM VTALRM PROF IO PWR STKFLT XCPU".split()
    ),
    *range(signal.SIGRTMIN, signal.SIGRTMAX + 1),
)
"""By default they end a process (signal(7)); a daemon unmounts first. Not those of its own faults."""


@dataclass(frozen=True)
class Rules:
    """Faults from the start on, the seed of those that come by chance, and what the rings are made to be of."""

    inject: tuple[str, ...] = ()
    seed: str = ""
    kernel: Kernel = CURRENT
    virtual_time: int = 0
    """A process: clocks jump when it, and all that it has started, wait. 0: they never do."""


@dataclass(frozen=True)
class MountOptions:
    mountpoint: str
    options: frozenset[str]
    """As mount(8) takes them after -o."""
    max_rings: int
    quota: Quota
    check: Callable[[str], None]
    """Tries a ring by that path, and removes it; called in a thread before the mount is announced. OSError."""
    backend: str = "passthrough"
    """passthrough or pagecache"""
    why: str = ""
    """What the log says about that choice; "" for nothing."""
    rules: Rules = Rules()


class BackendError(UringError):
    """This machine, or our rights on it, do not do for this backend; another may do."""


def raise_descriptor_limit() -> int:
    """Each ring and each pending request costs descriptors: the soft limit becomes the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def worth_a_line(record: logging.LogRecord) -> bool:
    """A filter of pyfuse3's log: without answers to requests that the kernel has ended meanwhile.

    They fail with ENOENT (fs/fuse/dev.c, fuse_dev_do_write()) when a connection is aborted, or when the
    last close behind a lazy umount takes it down before its RELEASE is answered. libfuse says nothing either.
    """
    message = record.getMessage()
    if not message.endswith(f"fuse_reply_* failed with {os.strerror(errno.ENOENT)}"):
        return True
    log.debug("%s: nobody waits for it any more", message)
    return False


async def serve(mount: MountOptions, ready: Callable[[], None], hangup: Callable[[], None] = lambda: None) -> None:
    """Mount and serve until umount(8) or a signal that would end the process. ready() is called once clients are
    answered, hangup() for each SIGHUP.

    UringError: the mount failed. BackendError: the kernel does not grant what the backend needs.
    """
    with receive_signals() as signals:
        await _serve(mount, ready, hangup, signals)


@contextmanager
def receive_signals() -> Iterator[AsyncIterator[int]]:
    """SIGHUP and those that would end the process, as they come. After that the timers of native code
    (close_soon()) may still go off, and their signals would end it: they have no handler any more."""
    with trio.open_signal_receiver(*ENDING, signal.SIGHUP) as signals:
        try:
            yield signals
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGRTMAX - 1, signal.SIGRTMAX))


async def _serve(
    mount: MountOptions,
    ready: Callable[[], None],
    hangup: Callable[[], None],
    signals: AsyncIterator[int],
) -> None:
    scheduling.in_order()
    async with trio.open_nursery() as nursery:
        host = LocalHost()
        rules = mount.rules
        backend = _backend(mount)
        fs = RingFs(backend, host, nursery, mount.max_rings, mount.quota, seed=rules.seed, kernel=rules.kernel)
        operations = Operations(fs)
        native.shortcut_set(operations.shortcut, operations.poll_wait)
        logging.getLogger("pyfuse3").addFilter(worth_a_line)
        options = {"subtype=uringfs", "default_permissions", *mount.options}
        if not any(option.startswith("fsname=") for option in options):
            options.add("fsname=uringfs")
        try:
            pyfuse3.init(operations, mount.mountpoint, options)
        except RuntimeError as error:
            raise UringError(5, f"libfuse could not mount {mount.mountpoint}: {error}") from error
        try:
            os.set_blocking(_session_fd(), False)
            host.own_device = backend.device = _device(mount.mountpoint)
            host.own_mount = mount.mountpoint
            gc.freeze()  # what has been loaded stays: no collection has to look at it again
            nursery.start_soon(fs.tidy)
            nursery.start_soon(operations.interrupts.run)
            nursery.start_soon(operations.waits.run)
            if rules.virtual_time:
                virtual = VirtualTime(rules.virtual_time, fs)
                jumps = Jumps(host.timers, host.pauses, virtual.processes, virtual.quiet)
                nursery.start_soon(jumps.run)
            nursery.start_soon(_take_signals, signals, nursery.cancel_scope, hangup)
            nursery.start_soon(_announce, mount, fs, ready)
            nursery.start_soon(_watch_helper, native.keeper_pid())
            nursery.start_soon(_watch_helper, native.pager_pid(), mount.mountpoint)
            await pyfuse3.main(max_tasks=MAX_TASKS)
        finally:
            native.shortcut_set(None, None)
            fs.close()
            pyfuse3.close(unmount=True)
        nursery.cancel_scope.cancel()


def _session_fd() -> int:
    """What libfuse reads messages from. UringError(ELIBACC): it shows them to nobody, which is the default of
    how libfuse 3.18.3 is built."""
    try:
        return native.session_fd()
    except OSError as error:
        why = "this libfuse is built without custom I/O (Debian 12 and 13 have it; -Denable-custom-io=true)"
        raise UringError(errno.ELIBACC, why) from error


def _device(mountpoint: str) -> int:
    """st_dev of the mount. Asks nothing of the daemon, who is us and not serving yet."""
    fd = os.open(mountpoint, os.O_PATH | os.O_CLOEXEC)
    try:
        return native.fd_identity(fd)[0]
    finally:
        os.close(fd)


def _backend(mount: MountOptions) -> Backend:
    native.want_passthrough(mount.backend == "passthrough")
    if mount.backend == "passthrough":
        native.want_pagecache(-1)
        return PassthroughBackend()
    backend = PageCacheBackend(mount.mountpoint)
    native.want_pagecache(backend.shadow)
    return backend


async def _announce(mount: MountOptions, fs: RingFs, ready: Callable[[], None]) -> None:
    """From a thread: a request of our own is answered once FUSE_INIT has been."""
    await trio.to_thread.run_sync(os.statvfs, mount.mountpoint, abandon_on_cancel=True)
    try:
        require_passthrough() if mount.backend == "passthrough" else require_pagecache()
        with trio.fail_after(CHECKED):
            path = f"{mount.mountpoint}/.uringfs-{secrets.token_hex(16)}"
            await trio.to_thread.run_sync(mount.check, path, abandon_on_cancel=True)
        with trio.move_on_after(FORGOTTEN):
            while len(fs.inodes):  # noqa: ASYNC110  the kernel's FORGETs, of which nobody is told
                await trio.sleep(0.001)
    except UringError as error:
        raise BackendError(error.errno, error.message) from error
    except OSError as error:
        raise BackendError(
            error.errno or errno.EIO, f"a first ring could not be used: {error.strerror}"
        ) from error
    except trio.TooSlowError as error:
        raise BackendError(errno.ETIME, f"a first ring did not come to life in {CHECKED:g} s") from error
    who = RuleGiver(os.geteuid())
    for rule in mount.rules.inject:  # behind the first ring, which was not to meet them
        log.info("seed %s, rule %s", mount.rules.seed, fs.faults.inject(rule, who).describe())
    log.info("%s: serving rings; backend %s%s", mount.mountpoint, mount.backend, mount.why and f": {mount.why}")
    ready()


async def _watch_helper(pid: int, stale: str = "") -> None:
    """A process of the page-cache backend (native/wire/: pager.c, keeper.c), without which nothing goes on.
    stale: a mountpoint to leave at once, since without that process even the way out would wait for ourselves."""
    if not pid:
        return
    ended = os.pidfd_open(pid)
    try:
        await trio.lowlevel.wait_readable(ended)
        status = os.waitid(os.P_PIDFD, ended, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222  it has ended
    finally:
        os.close(ended)
    if status is None or status.si_status == 0:
        return  # with the connection
    lost = "a helper process that the pagecache backend needs has ended"
    if not stale:
        raise UringError(errno.EIO, lost)
    log.critical("%s: %s; unmounting", stale, lost)
    libc.umount2(os.fsencode(stale), MNT_DETACH)
    os._exit(1)


async def _take_signals(signals: AsyncIterator[int], scope: trio.CancelScope, hangup: Callable[[], None]) -> None:
    async for number in signals:
        if number != signal.SIGHUP:
            log.info("%s: unmounting", signal_name(number))
            scope.cancel()
            return
        hangup()
