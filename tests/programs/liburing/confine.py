"""Become a program in a network of its own: python confine.py [--here] [--refuse] PROGRAM [ARGUMENT...]

Fixed ports are used by many programs. --here: in that of the caller. --refuse: io_uring_setup, _enter and
_register answer ENOSYS, as by a container's default seccomp profile.
"""

import ctypes
import errno
import fcntl
import os
import socket
import sys
from struct import pack

FIRST, LAST = 425, 427  # __NR_io_uring_setup, __NR_io_uring_register: the same on every architecture
# linux/prctl.h, linux/seccomp.h, linux/bpf_common.h
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x00050000, 0x7FFF0000
LD_NR, JGE, JGT, RET = 0x20, 0x35, 0x25, 0x06
FILTER = (
    (LD_NR, 0, 0, 0),
    (JGE, 0, 2, FIRST),
    (JGT, 1, 0, LAST),
    (RET, 0, 0, SECCOMP_RET_ERRNO | errno.ENOSYS),
    (RET, 0, 0, SECCOMP_RET_ALLOW),
)
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
LIBC = ctypes.CDLL(None, use_errno=True)


def call(name: str, *args: object) -> None:
    if getattr(LIBC, name)(*args) != 0:
        raise OSError(ctypes.get_errno(), name)


def refuse() -> None:
    """For this process and all it becomes and starts."""
    code = ctypes.create_string_buffer(b"".join(pack("=HBBI", *each) for each in FILTER))
    program = ctypes.create_string_buffer(pack("@HP", len(FILTER), ctypes.addressof(code)))
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    call("prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0)


def own_network() -> None:
    """With the loopback alone."""
    call("unshare", CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, pack("16sh14x", b"lo", IFF_UP))


if __name__ == "__main__":
    options = ("--here", "--refuse")
    words = [word for word in sys.argv[1:] if word not in options]
    if "--here" not in sys.argv:
        own_network()
    if "--refuse" in sys.argv:
        refuse()
    os.execv(words[0], words)
