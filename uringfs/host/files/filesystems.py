"""Which files may be closed at once. close(2) flushes, and where another process answers for a file system
(FUSE, NFS) that may take for ever. Late is bad, too: a program just written cannot be executed while we have
it open. So an overlay, a container's root, is trusted, whatever lies below it."""

import os
import stat
from functools import lru_cache

PROMPT = frozenset(
    "overlay tmpfs ramfs devtmpfs proc sysfs btrfs ext4 ext3 ext2 xfs f2fs hugetlbfs cgroup cgroup2 debugfs "
    "tracefs securityfs configfs mqueue bpf bcachefs zfs squashfs iso9660 vfat".split()
)
IN_MEMORY = frozenset("tmpfs ramfs devtmpfs hugetlbfs".split())


@lru_cache(maxsize=256)
def writes_back(device: int) -> bool:
    """True if pages of files on this st_dev are written to somewhere (mapping_can_writeback())."""
    return bool(os.major(device)) or (device != memory_device() and _type(device) not in (*IN_MEMORY, ""))


@lru_cache(maxsize=256)
def closes_promptly(device: int) -> bool:
    """True if closing a file on this st_dev takes no long time. A file system that is not mounted here is not
    known, and not trusted."""
    if os.major(device):
        return True  # on a disk
    if device == memory_device():
        return True
    return _type(device) in PROMPT


def _type(device: int) -> str:
    """Empty if it is not mounted here."""
    name = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo") as mounts:
        for line in mounts:
            fields = line.split()
            if fields[2] == name:
                return fields[fields.index("-") + 1]
    return ""


@lru_cache(maxsize=1)
def memory_device() -> int:
    """st_dev of memfds and shared anonymous memory, which is mounted nowhere."""
    fd = os.memfd_create("uringfs")
    try:
        return os.fstat(fd).st_dev
    finally:
        os.close(fd)


OF_THE_KERNEL = frozenset((1, 4, 5, *range(136, 144)))
"""Majors of character devices that no other process answers for: memory, and terminals of all kinds."""


def polls_at_once(fd: int, mode: int, device: int, anonymous: str) -> bool:
    """Polling this file asks the kernel alone: sockets, pipes, terminals, and anonymous inodes that are no epoll.
    device: st_rdev. anonymous: its name, if it is one of these."""
    if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode):
        return True
    if stat.S_ISCHR(mode):
        return os.major(device) in OF_THE_KERNEL
    if anonymous.startswith(("anon_inode:", "pidfd:")):
        return not anonymous.startswith("anon_inode:[eventpoll]")
    return not stat.S_ISLNK(mode) and not _of_descriptor(fd).startswith("fuse")


def _of_descriptor(fd: int) -> str:
    """The type of the file system the file is on, without asking it; one we cannot see counts as fuse."""
    with open(f"/proc/self/fdinfo/{fd}") as fdinfo:
        mount = next((line.split()[1] for line in fdinfo if line.startswith("mnt_id:")), "")
    with open("/proc/self/mountinfo") as mountinfo:
        for line in mountinfo:
            if line.split(" ", 1)[0] == mount:
                return line.partition(" - ")[2]
    return "fuse"
