"""`uringfs umount`: unmount, and wait until the daemon has ended."""

import argparse
import ctypes
import errno
import os
import select
import shutil
import subprocess
import sys
from contextlib import suppress

from uringfs.abi.libc import libc
from uringfs.cli import mountpoint as points
from uringfs.cli import status

FAILED = 1
PATIENCE = 30.0  # seconds for a daemon to end
EXITS = {
    0: "nothing is mounted there any more",
    FAILED: "it failed, or the daemon goes on",
    status.NOT_MOUNTED: "nothing was mounted there",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mountpoint", metavar="DIR", type=points.named)
    parser.add_argument(
        "--lazy", action="store_true", help="also while it is in use: out of sight now, gone later"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0: nothing is mounted there any more; 3: nothing was; 1: it failed, or the daemon goes on."""
    mountpoint = points.place(args.mountpoint)
    if not points.mounted_here(mountpoint):
        print(f"uringfs umount: {mountpoint}: no uringfs is mounted there", file=sys.stderr)
        return status.NOT_MOUNTED
    daemon = _daemon(mountpoint)
    problem = _unmount(mountpoint, args.lazy)
    if problem:
        print(f"uringfs umount: {mountpoint}: {problem}", file=sys.stderr)
        return FAILED
    if daemon is not None and not args.lazy and not select.select([daemon], [], [], PATIENCE)[0]:
        print(f"uringfs umount: {mountpoint}: unmounted here, but its daemon goes on", file=sys.stderr)
        return FAILED
    return 0


def _daemon(mountpoint: str) -> int | None:
    """A descriptor of its process, if that can be known: it may be in another pid namespace."""
    told = status.within(status.SHORTLY, lambda: {"pid": os.getxattr(mountpoint, "user.uring.pid").decode()})
    with suppress(OSError, KeyError):
        pid = int((told or {})["pid"])
        fd = os.pidfd_open(pid)
        links = [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
        if "/dev/fuse" in links:
            return fd
        os.close(fd)
    return None


def _unmount(mountpoint: str, lazy: bool) -> str:
    """Unmount: what went wrong, or an empty string."""
    if libc.umount2(os.fsencode(mountpoint), points.MNT_DETACH if lazy else 0) == 0:
        return ""
    code = ctypes.get_errno()
    if code == errno.EBUSY:
        return "it is in use (fuser -vm DIR): close the rings, or --lazy"
    helper = shutil.which("fusermount3")
    if code != errno.EPERM or helper is None:
        return os.strerror(code)
    done = subprocess.run([helper, "-u", *(["-z"] if lazy else []), mountpoint], capture_output=True, text=True)
    return done.stderr.strip() or os.strerror(code) if done.returncode else ""
