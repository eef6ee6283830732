"""Which files the kernel reads and writes without looking at who does it now: what open(2) has decided holds.

Of all others (procfs and sysfs ask for capabilities in read and write, file systems keep blocks for root and
count quotas, a driver may do as it likes) I/O is made with the caller's credentials (Credentials.acting()), at
15 us a time. So only what is listed is blind: a file that is not known is not.
"""

import os
import socket
import stat
from typing import NamedTuple

from uringfs import native
from uringfs.host.files.filesystems import memory_device

BLIND_READS = frozenset(
    "overlay tmpfs ramfs devtmpfs hugetlbfs btrfs ext4 ext3 ext2 xfs f2fs bcachefs zfs squashfs iso9660 "
    "vfat".split()
)
"""generic_file_read_iter() and the like. An overlay reads with its mounter's credentials (ovl_read_iter())."""
BLIND_DEVICES = frozenset(
    [*(os.makedev(1, minor) for minor in (3, 5, 7, 8, 9)), os.makedev(5, 0), os.makedev(5, 2)]
)
"""null, zero, full, random and urandom (drivers/char/mem.c: all but mem, port and kmsg); tty, ptmx."""
BLIND_TTYS = frozenset([4, *range(136, 144)])
"""Majors: consoles, Unix98 terminals (tty_read(), tty_write(): the session is asked, no credentials)."""
BLIND_INODES = frozenset(f"anon_inode:[{name}]" for name in ("eventfd", "timerfd", "signalfd"))
BLIND_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
"""Unix sockets are told who sends (host.scm). Others ask for capabilities, as netlink_sendmsg() does."""
INOTIFY = "anon_inode:inotify"
INSTALLERS = ("anon_inode:[fanotify]", "anon_inode:[userfaultfd]")
"""copy_event_to_user(), resolve_userfault_fork()"""


class Blind(NamedTuple):
    """What of a file's I/O is."""

    reads: bool
    writes: bool
    installs: bool = False
    """A read makes descriptors, in the table of who reads: it is not for us to read this file."""
    itself: bool = False
    """The kernel hides nothing from a process that reads about itself (a procfs): so not one of ours may, and a
    stranger does (host.helper.stranger)."""


FdIdentity = tuple[int, int, int, int, int]


def blind(fd: int, identity: FdIdentity, tid: int) -> Blind:
    """What is known of a descriptor of ours with that native.fd_identity(). tid: a thread that may know the mount
    it is on. Asks no file system: it might be one that nobody answers for."""
    device, _, mode, rdev, mount = identity
    kind = stat.S_IFMT(mode)
    if kind in (stat.S_IFREG, stat.S_IFDIR):
        return _of_file(device, mount, fd, tid)
    if kind == stat.S_IFIFO:
        return Blind(True, True)
    if kind == stat.S_IFSOCK:
        return Blind(True, native.sock_kind(fd)[0] in BLIND_FAMILIES)
    if kind == stat.S_IFCHR:
        known = rdev in BLIND_DEVICES or os.major(rdev) in BLIND_TTYS
        return Blind(known, known)
    if kind == stat.S_IFBLK:
        return Blind(True, False)
    name = os.readlink(f"/proc/self/fd/{fd}")
    return Blind(name in BLIND_INODES or name == INOTIFY, name in BLIND_INODES, name in INSTALLERS)


_kept: dict[int, Blind] = {}
_MOST = 256


def _of_file(device: int, mount: int, fd: int, tid: int) -> Blind:
    """Kept by the mount's unique id (STATX_MNT_ID_UNIQUE, Linux 6.8), which is never used again; a st_dev could be
    another's one day."""
    found = _kept.get(mount)
    if found is None:
        kind = "tmpfs" if device == memory_device() else _mounted(fd, tid)
        found = Blind(kind in BLIND_READS, False, itself=kind in ("proc", ""))
        if len(_kept) >= _MOST:
            _kept.clear()
            native.know_mount(0)
        if mount:
            _kept[mount] = found
            if found.reads:
                native.know_mount(mount)
    return found


def _mounted(fd: int, tid: int) -> str:
    """A container's mounts are in its own table alone. Both are the kernel's word."""
    with open(f"/proc/self/fdinfo/{fd}") as fdinfo:
        number = next((line.split()[1] for line in fdinfo if line.startswith("mnt_id:")), "")
    for table in ("/proc/self/mountinfo", f"/proc/{tid}/mountinfo"):
        try:
            with open(table) as mounts:
                for line in mounts:
                    if line.split(" ", 1)[0] == number:
                        return line.partition(" - ")[2].split(" ", 1)[0]
        except OSError:  # the thread is gone
            continue
    return ""
