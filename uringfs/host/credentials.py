"""System calls with the caller's ids, groups and capabilities, in a thread. Nothing that looks up a path:
that is what host.actor is for.

The kernel keeps credentials per thread, glibc hides it: the bare system calls change those of one thread
only. Everything here runs in a thread of the pool and is put back before it returns.
"""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from uringfs.host.procfs import status

_libc = ctypes.CDLL(None, use_errno=True)
_ARM = platform.machine() == "aarch64"
_SYS_SETGROUPS, _SYS_SETFSUID, _SYS_SETFSGID = (159, 151, 152) if _ARM else (116, 122, 123)
_SYS_CAPGET, _SYS_CAPSET = (90, 91) if _ARM else (125, 126)
_LINUX_CAPABILITY_VERSION_3 = 0x20080522


@dataclass(frozen=True)
class Credentials:
    """What decides a path lookup: fsuid, fsgid, groups and effective capabilities (a bit set)."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    capabilities: int

    @classmethod
    def of(cls, tid: int) -> "Credentials":
        """Those of a thread now (/proc/TID/status). ESRCH."""
        fields = status(tid)
        # Capabilities of a user namespace that is not ours count for nothing here.
        here = os.readlink("/proc/self/ns/user") == os.readlink(f"/proc/{tid}/ns/user")
        return cls(
            int(fields["Uid"][3]),
            int(fields["Gid"][3]),
            tuple(int(group) for group in fields["Groups"]),
            int(fields["CapEff"][0], 16) if here else 0,
        )


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _syscall(number: int, *args: object) -> int:
    result = int(_libc.syscall(number, *args))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


@contextmanager
def assumed(credentials: Credentials) -> Iterator[None]:
    """Let this thread, and it alone, act with those credentials. A failed return ends the process: a
    thread of the pool must never keep a client's."""
    header = _CapHeader(_LINUX_CAPABILITY_VERSION_3, 0)
    own = (_CapData * 2)()
    _syscall(_SYS_CAPGET, ctypes.byref(header), ctypes.byref(own))
    own_groups, own_uid, own_gid = os.getgroups(), os.geteuid(), os.getegid()
    theirs = (_CapData * 2)()
    for word in (0, 1):
        theirs[word].permitted, theirs[word].inheritable = own[word].permitted, own[word].inheritable
        theirs[word].effective = own[word].permitted & (credentials.capabilities >> 32 * word & 0xFFFFFFFF)
    try:
        _setgroups(credentials.groups)
        _libc.syscall(_SYS_SETFSGID, credentials.gid)
        _libc.syscall(_SYS_SETFSUID, credentials.uid)
        _syscall(_SYS_CAPSET, ctypes.byref(header), ctypes.byref(theirs))
        yield
    finally:
        try:
            _syscall(_SYS_CAPSET, ctypes.byref(header), ctypes.byref(own))
            _libc.syscall(_SYS_SETFSUID, own_uid)
            _libc.syscall(_SYS_SETFSGID, own_gid)
            _setgroups(tuple(own_groups))
            # setfsuid(2) touches capabilities on the way: set them once more, last
            _syscall(_SYS_CAPSET, ctypes.byref(header), ctypes.byref(own))
        except OSError:
            os.abort()


_SYS_SETRESUID = 147 if _ARM else 117


@contextmanager
def effective_user(uid: int) -> Iterator[None]:
    """Let this thread, one of root's, be another user for whom it is asked, with the capabilities it has."""
    header = _CapHeader(_LINUX_CAPABILITY_VERSION_3, 0)
    own, own_uid = (_CapData * 2)(), os.geteuid()
    _syscall(_SYS_CAPGET, ctypes.byref(header), ctypes.byref(own))
    try:
        _syscall(_SYS_SETRESUID, -1, uid, -1)
        _syscall(_SYS_CAPSET, ctypes.byref(header), ctypes.byref(own))
        yield
    finally:
        try:
            _syscall(_SYS_SETRESUID, -1, own_uid, -1)
            _syscall(_SYS_CAPSET, ctypes.byref(header), ctypes.byref(own))
        except OSError:
            os.abort()


CAP_FSETID, CAP_SYS_RESOURCE = 4, 24


@contextmanager
def unprivileged() -> Iterator[None]:
    """Let this thread write to open files as an ordinary user would: a set-user-ID bit goes, quotas and
    reserved blocks hold. A failed return ends the process, as in assumed()."""
    header = _CapHeader(_LINUX_CAPABILITY_VERSION_3, 0)
    own = (_CapData * 2)()
    _syscall(_SYS_CAPGET, ctypes.byref(header), ctypes.byref(own))
    less = (_CapData * 2)()
    for word in (0, 1):
        less[word].permitted, less[word].inheritable = own[word].permitted, own[word].inheritable
        less[word].effective = own[word].effective
    less[0].effective &= ~(1 << CAP_FSETID | 1 << CAP_SYS_RESOURCE)
    _syscall(_SYS_CAPSET, ctypes.byref(header), ctypes.byref(less))
    try:
        yield
    finally:
        try:
            _syscall(_SYS_CAPSET, ctypes.byref(header), ctypes.byref(own))
        except OSError:
            os.abort()


def _setgroups(groups: tuple[int, ...]) -> None:
    array = (ctypes.c_uint32 * len(groups))(*groups)
    _syscall(_SYS_SETGROUPS, len(groups), array)
