"""Which files may be closed at once. close(2) flushes, and where another process answers for a file system
(FUSE, NFS) that may take for ever. Late is bad, too: a program just written cannot be executed while we have
it open. So an overlay, a container's root, is trusted, whatever lies below it."""

import os
from functools import lru_cache

PROMPT = frozenset(
    "overlay tmpfs ramfs devtmpfs proc sysfs btrfs ext4 ext3 ext2 xfs f2fs hugetlbfs cgroup cgroup2 debugfs "
    "tracefs securityfs configfs mqueue bpf bcachefs zfs squashfs iso9660 vfat".split()
)
IN_MEMORY = frozenset("tmpfs ramfs devtmpfs hugetlbfs".split())


@lru_cache(maxsize=256)
def writes_back(device: int) -> bool:
    """By st_dev: pages of its files are written to somewhere (mapping_can_writeback())."""
    return bool(os.major(device)) or (device != memory_device() and _type(device) not in (*IN_MEMORY, ""))


@lru_cache(maxsize=256)
def closes_promptly(device: int) -> bool:
    """By st_dev. A file system that is not mounted here is not known, and not trusted."""
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
