"""What differs between machines: system call numbers (<asm/unistd.h>), and some of the kernel's own."""

import os

MACHINE = os.uname().machine
ARM = MACHINE == "aarch64"
_PAIRS: dict[str, tuple[int, int | None]] = {  # x86-64, aarch64; None: it has not this one
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
    "ioprio_set": (251, 30),
    "futex": (202, 98),
    "io_setup": (206, 0),
    "io_submit": (209, 2),
    "io_getevents": (208, 4),
    "io_cancel": (210, 3),
    "io_destroy": (207, 1),
    "process_madvise": (440, 440),
    "seccomp": (317, 277),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "restart_syscall": (219, 128),
    "poll": (7, None),
    "epoll_wait": (232, None),
    "epoll_pwait": (281, 22),
    "select": (23, None),
    "pselect6": (270, 72),
    "ppoll": (271, 73),
    "epoll_pwait2": (441, 441),
    "futex_waitv": (449, 449),
    "futex_wait": (455, 455),
    "rt_sigtimedwait": (128, 137),
    "semtimedop": (220, 192),
    "mq_timedsend": (242, 182),
    "mq_timedreceive": (243, 183),
    "recvmmsg": (299, 243),
    "io_pgetevents": (333, 292),
}
NR = {name: number for name, pair in _PAIRS.items() if (number := pair[ARM]) is not None}
"""Name -> number, of those that this machine has."""
TASK_SIZE_MAX = 1 << 48 if ARM else 0x7FFFFFFFF000
"""Where user memory ends, as access_ok() has it: with four levels of page tables."""
O_LARGEFILE = 0o400000 if ARM else 0o100000
"""As the kernel has it; libc's is 0."""
EPOLL_EVENT_SIZE = 12 if MACHINE == "x86_64" else 16
"""struct epoll_event, packed on x86-64; bytes."""
