"""Requests that name files: opening, what directories know of them, extended attributes."""

import struct
from typing import Unpack

from uringfs.client.enums import Op
from uringfs.client.prep.common import Common
from uringfs.client.request import AT_FDCWD, Buffer, Memory, Path, Request, Struct, Text, View, make

STATX_BASIC_STATS = 0x7FF
STATX_SIZE = 256


def openat(
    path: Path,
    open_flags: int = 0,
    mode: int = 0o666,
    *,
    dfd: int = AT_FDCWD,
    file_index: int = 0,
    **common: Unpack[Common],
) -> Request:
    """openat(2): res is the descriptor, or with FILE_INDEX_ALLOC the slot."""
    name = Text(path)
    return make(
        Op.OPENAT, name, fd=dfd, addr=name.address, rw_flags=open_flags, len=mode, file_index=file_index, **common
    )


def openat2(
    path: Path,
    open_flags: int = 0,
    mode: int = 0,
    resolve: int = 0,
    *,
    dfd: int = AT_FDCWD,
    file_index: int = 0,
    **common: Unpack[Common],
) -> Request:
    """openat2(2); the last three are struct open_how."""
    name, how = Text(path), Struct(struct.pack("<QQQ", open_flags, mode, resolve))
    return make(
        Op.OPENAT2,
        name,
        how,
        fd=dfd,
        addr=name.address,
        off=how.address,
        len=how.size,
        file_index=file_index,
        **common,
    )


def statx(
    path: Path,
    statxbuf: Memory,
    mask: int = STATX_BASIC_STATS,
    statx_flags: int = 0,
    *,
    dfd: int = AT_FDCWD,
    **common: Unpack[Common],
) -> Request:
    """statxbuf: 256 bytes, struct statx."""
    name, view = Text(path), View(statxbuf, STATX_SIZE, writable=True)
    return make(
        Op.STATX, name, view, fd=dfd, addr=name.address, off=view.address, len=mask, rw_flags=statx_flags, **common
    )


def _two_names(
    op: Op, olddfd: int, oldpath: Path, newdfd: int, newpath: Path, flags: int, common: Common
) -> Request:
    old, new = Text(oldpath), Text(newpath)
    return make(op, old, new, fd=olddfd, addr=old.address, off=new.address, len=newdfd, rw_flags=flags, **common)


def renameat(
    oldpath: Path,
    newpath: Path,
    rename_flags: int = 0,
    *,
    olddfd: int = AT_FDCWD,
    newdfd: int = AT_FDCWD,
    **common: Unpack[Common],
) -> Request:
    """renameat2(2)"""
    return _two_names(Op.RENAMEAT, olddfd, oldpath, newdfd, newpath, rename_flags, common)


def unlinkat(path: Path, unlink_flags: int = 0, *, dfd: int = AT_FDCWD, **common: Unpack[Common]) -> Request:
    name = Text(path)
    return make(Op.UNLINKAT, name, fd=dfd, addr=name.address, rw_flags=unlink_flags, **common)


def mkdirat(path: Path, mode: int = 0o777, *, dfd: int = AT_FDCWD, **common: Unpack[Common]) -> Request:
    name = Text(path)
    return make(Op.MKDIRAT, name, fd=dfd, addr=name.address, len=mode, **common)


def symlinkat(target: Path, linkpath: Path, *, newdfd: int = AT_FDCWD, **common: Unpack[Common]) -> Request:
    to, name = Text(target), Text(linkpath)
    return make(Op.SYMLINKAT, to, name, fd=newdfd, addr=to.address, off=name.address, **common)


def linkat(
    oldpath: Path,
    newpath: Path,
    hardlink_flags: int = 0,
    *,
    olddfd: int = AT_FDCWD,
    newdfd: int = AT_FDCWD,
    **common: Unpack[Common],
) -> Request:
    return _two_names(Op.LINKAT, olddfd, oldpath, newdfd, newpath, hardlink_flags, common)


def setxattr(path: Path, name: Path, value: Buffer, xattr_flags: int = 0, **common: Unpack[Common]) -> Request:
    of, key, view = Text(path), Text(name), View(value, writable=False)
    return make(
        Op.SETXATTR,
        of,
        key,
        view,
        fd=0,
        addr=key.address,
        off=view.address,
        addr3=of.address,
        len=view.length,
        rw_flags=xattr_flags,
        **common,
    )


def fsetxattr(fd: int, name: Path, value: Buffer, xattr_flags: int = 0, **common: Unpack[Common]) -> Request:
    key, view = Text(name), View(value, writable=False)
    return make(
        Op.FSETXATTR,
        key,
        view,
        fd=fd,
        addr=key.address,
        off=view.address,
        len=view.length,
        rw_flags=xattr_flags,
        **common,
    )


def getxattr(path: Path, name: Path, value: Buffer, **common: Unpack[Common]) -> Request:
    """value: room for it; of 0 bytes to ask for its size."""
    of, key, view = Text(path), Text(name), View(value, writable=True)
    return make(
        Op.GETXATTR,
        of,
        key,
        view,
        fd=0,
        addr=key.address,
        off=view.address,
        addr3=of.address,
        len=view.length,
        **common,
    )


def fgetxattr(fd: int, name: Path, value: Buffer, **common: Unpack[Common]) -> Request:
    """value: room for it; of 0 bytes to ask for its size."""
    key, view = Text(name), View(value, writable=True)
    return make(Op.FGETXATTR, key, view, fd=fd, addr=key.address, off=view.address, len=view.length, **common)
