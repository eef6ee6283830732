"""What differs between machines: system call numbers (<asm/unistd.h>), and some of the kernel's own."""

import os

MACHINE = os.uname().machine
ARM = MACHINE == "aarch64"
_PAIRS = {  # x86-64, aarch64
    "openat2": (437, 437),
    "statx": (332, 291),
    "renameat2": (316, 276),
    "unlinkat": (263, 35),
    "mkdirat": (258, 34),
    "symlinkat": (266, 36),
    "linkat": (265, 37),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "getxattr": (191, 8),
    "lgetxattr": (192, 9),
    "fgetxattr": (193, 10),
    "bind": (49, 200),
    "connect": (42, 203),
    "listen": (50, 201),
    "setgroups": (116, 159),
    "setresuid": (117, 147),
    "setresgid": (119, 149),
    "capget": (125, 90),
    "capset": (126, 91),
    "kcmp": (312, 272),
    "futex": (202, 98),
    "io_setup": (206, 0),
    "io_submit": (209, 2),
    "io_getevents": (208, 4),
    "process_madvise": (440, 440),
    "seccomp": (317, 277),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
}
NR = {name: pair[ARM] for name, pair in _PAIRS.items()}
"""Name -> number."""
O_LARGEFILE = 0o400000 if ARM else 0o100000
"""As the kernel has it; libc's is 0."""
EPOLL_EVENT_SIZE = 12 if MACHINE == "x86_64" else 16
"""struct epoll_event, packed on x86-64; bytes."""
