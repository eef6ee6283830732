"""Becoming somebody for good: all ids, groups, namespaces, root and capabilities of a caller, and nothing else
to come back to."""

import ctypes
import errno
import os
import signal
from typing import NamedTuple

from uringfs.host.helper.kernel import checked, libc, syscall

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 8, 24, 38
ALL = (1 << 64) - 1
_HEADER = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
_CapData = ctypes.c_uint32 * 6  # effective, permitted, inheritable of capabilities 0..31, then of 32..63


class Persona(NamedTuple):
    """What a zygote is asked to make. Ids as its own user namespace knows them."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    capabilities: int
    namespaces: tuple[int, ...]
    """CLONE_NEW* of those to join, in this order; that of users last."""


def prctl(option: int, value: int) -> None:
    checked(libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0))


def die_with(parent: int) -> None:
    """Let the end of that process, our parent, end this one. Changed credentials clear it."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def set_capabilities(wanted: int) -> None:
    """Permitted and effective: of those wanted the ones there are. Nothing is inheritable, so none is ambient."""
    data = _CapData()
    syscall("capget", _HEADER, data)
    for word in (0, 1):
        have = data[3 * word + 1] & (wanted >> 32 * word & 0xFFFFFFFF)
        data[3 * word], data[3 * word + 1], data[3 * word + 2] = have, have, 0
    syscall("capset", _HEADER, data)


def bound(capabilities: int) -> None:
    """The bounding set, where this process may (CAP_SETPCAP): of no use to whom no exec gives a right."""
    for number in range(64):
        if capabilities >> number & 1:
            continue
        try:
            prctl(PR_CAPBSET_DROP, number)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EPERM):  # behind the last one
                return
            raise


def _set_groups(groups: tuple[int, ...]) -> None:
    """Where a user namespace denies setgroups(2), or does not know them by number, they may be right already:
    nobody there has come by any others."""
    try:
        syscall("setgroups", len(groups), (ctypes.c_uint32 * len(groups))(*groups))
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL) or tuple(os.getgroups()) != groups:
            raise


def assume(identity: Persona, root: int, namespaces: list[int], parent: int) -> None:
    """root, namespaces: descriptors. OSError leaves this process neither one nor the other: it has to end."""
    joins = dict(zip(identity.namespaces, namespaces, strict=True))
    users = joins.pop(CLONE_NEWUSER, None)
    for kind, fd in joins.items():
        checked(libc.setns(fd, kind))
    os.fchdir(root)
    os.chroot(".")
    _set_groups(identity.groups)
    prctl(PR_SET_KEEPCAPS, 1)
    syscall("setresgid", *[identity.gid] * 3)
    syscall("setresuid", *[identity.uid] * 3)
    prctl(PR_SET_DUMPABLE, 0)  # changed credentials make it what fs.suid_dumpable says
    set_capabilities(ALL)  # a new user has no effective ones
    if users is not None:
        # The ids stay what they are, the capabilities become all there are within the namespace
        checked(libc.setns(users, CLONE_NEWUSER))
        prctl(PR_SET_DUMPABLE, 0)
    bound(identity.capabilities)
    set_capabilities(identity.capabilities)
    prctl(PR_SET_KEEPCAPS, 0)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_DUMPABLE, 0)
    die_with(parent)
