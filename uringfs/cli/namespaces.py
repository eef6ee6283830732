"""Namespaces of our own, for who may not mount: `uringfs run` of an ordinary user (user_namespaces(7))."""

import ctypes
import os
from pathlib import Path

from uringfs.abi.libc import libc
from uringfs.cli.backends import CAP_SYS_ADMIN, has_capability
from uringfs.cli.program import FAILED, RunError

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000


def may_mount() -> bool:
    """True if this process may mount in the namespaces that it is in."""
    return has_capability(CAP_SYS_ADMIN)


def enter() -> None:
    """A user and a mount namespace in which this process has every capability, until it executes a program, and is
    who it was: its user and group are the only ones that exist there. RunError.

    Supplementary groups stay in force, but setgroups(2) is given up: an unprivileged gid_map takes that.
    """
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise RunError(
            FAILED,
            f"no user namespace is to be had here ({reason}): run as root, or name a mount of root's with --mount",
        )
    process = Path("/proc/self")
    try:
        (process / "setgroups").write_text("deny")
        (process / "uid_map").write_text(f"{uid} {uid} 1")
        (process / "gid_map").write_text(f"{gid} {gid} 1")
    except OSError as error:
        raise RunError(FAILED, f"a user namespace cannot be set up here: {error.strerror}") from error
