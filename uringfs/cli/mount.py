"""`uringfs mount` and mount.py: check what can be checked, mount, serve. Errors are one line each."""

import argparse
import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import TypeVar

from uringfs.cli import mountpoint as points
from uringfs.cli.mountpoint import MountError

E = TypeVar("E", bound=BaseException)


class Exit(IntEnum):
    """Exit statuses; 2 is argparse's for usage."""

    OK = 0
    FAILED = 1
    NO_DEV_FUSE = 10
    NO_PERMISSION = 11
    NO_MOUNTPOINT = 12
    NOT_A_DIRECTORY = 13
    NOT_EMPTY = 14
    ALREADY_MOUNTED = 15
    NO_LIBFUSE = 16
    KERNEL_TOO_OLD = 17
    NOT_BUILT = 18


DEV_FUSE = "/dev/fuse"
PASSTHROUGH_KERNEL = (6, 9)
CAP_SYS_ADMIN = 21
DEFAULT_MAX_RINGS = 1 << 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mountpoint", help="an empty directory")
    parser.add_argument("--daemon", action="store_true", help="go to the background once mounted")
    parser.add_argument(
        "-o",
        dest="options",
        action="append",
        default=[],
        metavar="OPT[,OPT...]",
        help="as for mount(8): allow_other, ...",
    )
    parser.add_argument(
        "--backend",
        choices=("auto", "passthrough", "pagecache"),
        default="auto",
        help="how clients map ring memory; auto takes passthrough (Linux >= 6.9, root)",
    )
    parser.add_argument(
        "--max-rings", type=_positive, default=DEFAULT_MAX_RINGS, metavar="N", help="default %(default)s"
    )
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info", help="default %(default)s"
    )
    parser.add_argument("--log-file", type=Path, metavar="FILE", help="instead of the standard error output")
    parser.set_defaults(run=run)


def _positive(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def run(args: argparse.Namespace, ready: Callable[[], None] = lambda: None) -> int:
    """ready() is called once clients are answered."""
    try:
        mountpoint = _checked(args)
        return _serve(args, mountpoint, _to_background() if args.daemon else ready)
    except MountError as error:
        print(f"uringfs: {error}", file=sys.stderr)
        return error.status


def _checked(args: argparse.Namespace) -> str:
    """The absolute mountpoint; every reason not to mount there, each with its own exit status."""
    if args.backend == "pagecache":
        raise MountError(Exit.NOT_BUILT, "the pagecache backend is not built yet: use --backend passthrough")
    mountpoint: str = os.path.abspath(args.mountpoint)
    if points.clean_stale(mountpoint):
        print(f"uringfs: {mountpoint}: cleaned the mount of a daemon that is gone", file=sys.stderr)
    if points.mounted_here(mountpoint):
        raise MountError(Exit.ALREADY_MOUNTED, f"{mountpoint}: a uringfs is mounted here: umount {mountpoint}")
    if not os.path.lexists(mountpoint):
        raise MountError(Exit.NO_MOUNTPOINT, f"{mountpoint}: no such directory: mkdir -p {mountpoint}")
    if not os.path.isdir(mountpoint):
        raise MountError(Exit.NOT_A_DIRECTORY, f"{mountpoint}: not a directory")
    try:
        if os.listdir(mountpoint):
            raise MountError(Exit.NOT_EMPTY, f"{mountpoint}: not empty: mount on an empty directory")
    except PermissionError as error:
        raise MountError(Exit.NO_PERMISSION, f"{mountpoint}: {error.strerror}") from error
    _check_machine()
    return mountpoint


def _check_machine() -> None:
    if not os.path.exists(DEV_FUSE):
        hint = "modprobe fuse; in a container: --device /dev/fuse"
        raise MountError(Exit.NO_DEV_FUSE, f"{DEV_FUSE} does not exist: {hint}")
    try:
        os.close(os.open(DEV_FUSE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise MountError(Exit.NO_PERMISSION, f"{DEV_FUSE}: {error.strerror}: run as root") from error
    if not _has_capability(CAP_SYS_ADMIN):
        raise MountError(Exit.NO_PERMISSION, "the passthrough backend needs CAP_SYS_ADMIN: run as root")
    release = os.uname().release
    if tuple(int(part) for part in release.split("-")[0].split(".")[:2]) < PASSTHROUGH_KERNEL:
        wanted = ".".join(map(str, PASSTHROUGH_KERNEL))
        raise MountError(Exit.KERNEL_TOO_OLD, f"the passthrough backend needs Linux {wanted}, this is {release}")


def _has_capability(bit: int) -> bool:
    with open("/proc/self/status") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    return bool(effective >> bit & 1)


def _serve(args: argparse.Namespace, mountpoint: str, ready: Callable[[], None]) -> int:
    try:
        logging.basicConfig(
            level=args.log_level.upper(),
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
            filename=args.log_file,
        )
    except OSError as error:
        raise MountError(Exit.FAILED, f"the log file {args.log_file}: {error.strerror}") from error
    # Late, and not at the head: everything above must be able to speak where libfuse is missing.
    try:
        import trio

        from uringfs.errors import UringError
        from uringfs.fs import session
    except ImportError as error:
        if (error.name or "").startswith("uringfs."):
            raise  # a mistake of ours, not a machine that lacks something
        raise MountError(Exit.NO_LIBFUSE, f"{error}: apt-get install fuse3, or run `make demo`") from error
    options = frozenset(option for words in args.options for option in words.split(",") if option)
    session.raise_descriptor_limit()
    failures: list[UringError] = []
    try:
        trio.run(session.serve, session.MountOptions(mountpoint, options, args.max_rings), ready)
    except* UringError as group:
        failures += _leaves(group)
    if failures:
        status = Exit.KERNEL_TOO_OLD if failures[0].errno == errno.ENOSYS else Exit.FAILED
        raise MountError(status, failures[0].message)
    return Exit.OK


def _leaves(group: BaseExceptionGroup[E]) -> Iterator[E]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _to_background() -> Callable[[], None]:
    """fork(2); the parent leaves when the child says it serves, or with the child's status if it ends first."""
    receive, send = os.pipe()
    child = os.fork()
    if child:
        os.close(send)
        if os.read(receive, 1):
            os._exit(Exit.OK)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os.close(receive)
    os.setsid()

    def ready() -> None:
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.chdir("/")
        os.write(send, b"1")
        os.close(send)

    return ready
