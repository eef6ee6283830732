"""`uringfs mount` and mount.py: check what can be checked, mount, serve. Errors are one line each."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

from uringfs.abi.signals import signal_name
from uringfs.cli import backends, faults, logs, options, pidfile, systemd
from uringfs.cli import mountpoint as points
from uringfs.cli.mountpoint import MountFailure

log = logging.getLogger(__name__)


class Exit(IntEnum):
    """Exit statuses; 2 is argparse's for usage."""

    OK = 0
    FAILED = 1
    NO_DEV_FUSE = 10
    NO_PERMISSION = 11
    NO_MOUNTPOINT = 12
    NOT_A_DIRECTORY = 13
    NOT_EMPTY = 14
    ALREADY_MOUNTED = points.ALREADY_MOUNTED
    NO_LIBFUSE = 16
    KERNEL_TOO_OLD = 17
    BAD_OPTION = options.BAD_OPTION


DEV_FUSE = "/dev/fuse"
DEFAULT_MAX_RINGS = 1 << 16
DEFAULT_USER_MEMORY = 512 << 20
DESCRIPTORS_PER_RING = 2  # its memory and the mapping of that
MANY_RINGS = 4096
EXITS = {
    Exit.OK: "unmounted; with --daemon: mounted, and rings can be used",
    Exit.FAILED: "another failure",
    Exit.NO_DEV_FUSE: "there is no /dev/fuse",
    Exit.NO_PERMISSION: "no permission: for /dev/fuse, the directory, or to mount",
    Exit.NO_MOUNTPOINT: "no such directory",
    Exit.NOT_A_DIRECTORY: "the mountpoint is not a directory",
    Exit.NOT_EMPTY: "the directory is not empty",
    Exit.ALREADY_MOUNTED: "a uringfs is mounted there",
    Exit.NO_LIBFUSE: "libfuse or pyfuse3 is missing, or libfuse has no custom I/O",
    Exit.KERNEL_TOO_OLD: "the kernel is too old for the backend",
    Exit.BAD_OPTION: "an option of -o that cannot be",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mountpoint", help="an empty directory")
    parser.add_argument("--daemon", action="store_true", help="go to the background once mounted")
    parser.add_argument(
        "-o",
        dest="options",
        action="append",
        default=[],
        metavar="OPT[,OPT...]",
        help="as for mount(8): allow_other (other users may use it, else they get EACCES), auto_unmount "
        "(a daemon that is killed leaves no mount behind), ...",
    )
    parser.add_argument(
        "--backend",
        choices=("auto", "passthrough", "pagecache"),
        default="auto",
        help="how clients map ring memory; auto takes passthrough (Linux >= 6.9, root) or else pagecache "
        "(Linux >= 6.6)",
    )
    parser.add_argument(
        "--max-rings", type=_positive, default=DEFAULT_MAX_RINGS, metavar="N", help="default %(default)s"
    )
    parser.add_argument(
        "--max-rings-per-user", type=_positive, metavar="N", help="but root; default: half of --max-rings"
    )
    parser.add_argument(
        "--max-memory-per-user",
        type=_size,
        default=DEFAULT_USER_MEMORY,
        metavar="SIZE",
        help="of rings and their regions, but root's: bytes, or with K, M, G; default 512M",
    )
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info", help="default %(default)s"
    )
    parser.add_argument(
        "--log-file",
        type=Path,
        metavar="FILE",
        help="instead of the standard error output, or, with --daemon, syslog; SIGHUP opens it anew",
    )
    faults.add_arguments(parser)
    parser.add_argument(
        "--virtual-time",
        type=_positive,
        default=0,
        metavar="PID",
        help="time-outs run on a clock that jumps when that process, and all that it has started, wait; as "
        "docs/determinism.md says",
    )
    parser.add_argument("--pid-file", type=Path, metavar="FILE", help="has the daemon's process id while it runs")
    parser.set_defaults(run=run)


def _positive(word: str) -> int:
    number = int(word)
    if not 1 <= number < 1 << 32:
        raise argparse.ArgumentTypeError("must be at least 1, and below 2^32")
    return number


def _size(word: str) -> int:
    """ValueError"""
    shift = {"K": 10, "M": 20, "G": 30}.get(word[-1:].upper(), 0)
    number = int(word[:-1] if shift else word) << shift
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def run(args: argparse.Namespace, ready: Callable[[], None] = lambda: None) -> int:
    """ready() is called once clients are answered."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it never ends a daemon; once that serves it reopens the log
    try:
        wanted = options.for_libfuse(args.options)
        mountpoint = points.place(args.mountpoint)
        with points.claimed(mountpoint) as release:
            _check(args, mountpoint)
            announce = _to_background() if args.daemon else ready

            def serving() -> None:
                release()
                systemd.notify("READY=1", f"MAINPID={os.getpid()}", f"STATUS=serving rings at {mountpoint}")
                announce()

            with pidfile.of_this_process(args.pid_file):
                return _serve(args, mountpoint, wanted, serving)
    except MountFailure as error:
        print(f"uringfs: {error}", file=sys.stderr)
        return error.status


def check(args: argparse.Namespace) -> int:
    """All but the mount itself; the exit status that this would have."""
    try:
        options.for_libfuse(args.options)
        _check(args, points.place(args.mountpoint))
    except MountFailure as error:
        print(f"uringfs: {error}", file=sys.stderr)
        return error.status
    return Exit.OK


def _check(args: argparse.Namespace, mountpoint: str) -> None:
    """Every reason not to mount there, each with its own exit status."""
    if not args.mountpoint:
        raise MountFailure(Exit.NO_MOUNTPOINT, "the mountpoint is an empty word")
    if points.clean_stale(mountpoint):
        print(f"uringfs: {mountpoint}: cleaned the mount of a daemon that is gone", file=sys.stderr)
    if points.mounted_here(mountpoint):
        raise MountFailure(Exit.ALREADY_MOUNTED, f"{mountpoint}: a uringfs is mounted here: umount {mountpoint}")
    _check_directory(mountpoint)
    _check_machine()
    backends.possible(args.backend)


def _check_directory(mountpoint: str) -> None:
    try:
        if os.listdir(mountpoint):
            raise MountFailure(Exit.NOT_EMPTY, f"{mountpoint}: not empty: mount on an empty directory")
    except FileNotFoundError as error:
        line = f"{mountpoint}: no such directory: mkdir -p {mountpoint}"
        raise MountFailure(Exit.NO_MOUNTPOINT, line) from error
    except NotADirectoryError as error:
        status = Exit.NOT_A_DIRECTORY if os.path.lexists(mountpoint) else Exit.NO_MOUNTPOINT  # or what is above
        raise MountFailure(status, f"{mountpoint}: not a directory") from error
    except PermissionError as error:
        raise MountFailure(Exit.NO_PERMISSION, f"{mountpoint}: {error.strerror}") from error
    except OSError as error:  # too long, a loop of symlinks, a disk that is broken
        raise MountFailure(Exit.NO_MOUNTPOINT, f"{mountpoint}: {error.strerror}") from error


def _check_machine() -> None:
    if not os.path.exists(DEV_FUSE):
        hint = "modprobe fuse; in a container: --device /dev/fuse"
        raise MountFailure(Exit.NO_DEV_FUSE, f"{DEV_FUSE} does not exist: {hint}")
    try:
        os.close(os.open(DEV_FUSE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise MountFailure(Exit.NO_PERMISSION, f"{DEV_FUSE}: {error.strerror}: run as root") from error


def _serve(args: argparse.Namespace, mountpoint: str, wanted: frozenset[str], serving: Callable[[], None]) -> int:
    try:
        logs.begin(args.log_level, args.log_file, background=args.daemon)
    except OSError as error:
        raise MountFailure(Exit.FAILED, f"the log file {args.log_file}: {error.strerror}") from error
    # Late, and not at the head: everything above must be able to speak where libfuse is missing.
    try:
        from uringfs.fs.fuse import session
        from uringfs.fs.quota import Quota
    except ImportError as error:
        if (error.name or "").startswith("uringfs."):
            raise  # a mistake of ours, not a machine that lacks something
        raise MountFailure(Exit.NO_LIBFUSE, f"{error}: apt-get install fuse3, or run `make demo`") from error
    _say_if_few(session.raise_descriptor_limit(), args.max_rings)
    per_user = args.max_rings_per_user or max(1, args.max_rings // 2)
    quota = Quota(per_user, args.max_memory_per_user)
    check = backends.check_nothing if "ro" in wanted else backends.check_ring
    rules = session.Rules(tuple(args.inject), faults.seed(args), args.as_kernel, args.virtual_time)
    offer = session.MountOptions(mountpoint, wanted, args.max_rings, quota, check, rules=rules)
    try:
        backends.serve(backends.possible(args.backend), offer, serving, _hangup)
    finally:
        systemd.notify("STOPPING=1")
    return Exit.OK


def _say_if_few(descriptors: int, max_rings: int) -> None:
    rings = descriptors // DESCRIPTORS_PER_RING
    if rings < min(max_rings, MANY_RINGS):
        limit = f"RLIMIT_NOFILE allows {descriptors} descriptors, enough for {rings} rings of {max_rings}"
        log.warning("%s: raise the hard limit (LimitNOFILE=, ulimit -Hn) or lower --max-rings", limit)


def _hangup() -> None:
    systemd.reloading()
    logs.reopen()
    log.info("SIGHUP: the log file has been opened anew")
    systemd.notify("READY=1")


def _to_background() -> Callable[[], None]:
    """fork(2); the parent leaves when the child says it serves, or with the child's status if it ends first."""
    receive, send = os.pipe()
    child = os.fork()
    if child:
        os.close(send)
        os._exit(Exit.OK if os.read(receive, 1) else _status_of(child))
    os.close(receive)
    os.setsid()

    def ready() -> None:
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.close(null)
        os.chdir("/")
        try:
            os.write(send, b"1")
        except BrokenPipeError:  # Ctrl-C: who wanted it does no longer
            os.kill(os.getpid(), signal.SIGTERM)
        os.close(send)

    return ready


def _status_of(child: int) -> int:
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:
        print(f"uringfs: the daemon was killed by {signal_name(-status)}", file=sys.stderr, flush=True)
    return status if status >= 0 else Exit.FAILED
