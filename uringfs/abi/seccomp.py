"""seccomp user notification: the numbers and layouts of <linux/seccomp.h>, <linux/filter.h>, <linux/audit.h>."""

from struct import Struct

from uringfs.abi.machine import NR

# struct seccomp_notif: id, pid, flags, data: nr, arch, instruction_pointer, args[6]
NOTIF = Struct("<QIIiIQ6Q")
NOTIF_RESP = Struct("<QqiI")  # struct seccomp_notif_resp: id, val, error, flags
NOTIF_ADDFD = Struct("<QIIII")  # struct seccomp_notif_addfd: id, flags, srcfd, newfd, newfd_flags
NOTIF_ID = Struct("<Q")
SOCK_FILTER = Struct("<HBBI")  # struct sock_filter: code, jt, jf, k

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_NEW_LISTENER = 1 << 3
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 1 << 5
SECCOMP_ADDFD_FLAG_SETFD = 1 << 0
SECCOMP_ADDFD_FLAG_SEND = 1 << 1
SECCOMP_RET_ERRNO = 0x00050000
SECCOMP_RET_USER_NOTIF = 0x7FC00000
SECCOMP_RET_ALLOW = 0x7FFF0000


def _io(direction: int, nr: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("!") << 8 | nr


_WRITE, _READ = 1, 2
SECCOMP_IOCTL_NOTIF_RECV = _io(_READ | _WRITE, 0, NOTIF.size)
SECCOMP_IOCTL_NOTIF_SEND = _io(_READ | _WRITE, 1, NOTIF_RESP.size)
SECCOMP_IOCTL_NOTIF_ID_VALID = _io(_WRITE, 2, NOTIF_ID.size)
SECCOMP_IOCTL_NOTIF_ADDFD = _io(_WRITE, 3, NOTIF_ADDFD.size)

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# The same on every architecture
NR_IO_URING_SETUP = NR["io_uring_setup"]
NR_IO_URING_ENTER = NR["io_uring_enter"]
NR_IO_URING_REGISTER = NR["io_uring_register"]

# io_uring_enter(-1) with this argsz: does uringfs answer this thread's calls? No kernel answers so
# (contrib/launcher/filter.h has them, too).
PROBE_ARG = 0x5572696E674653
PROBE_ANSWER = 0x55524E47

BPF_LD_W_ABS = 0x20
BPF_JMP_JEQ_K = 0x15
BPF_JMP_JGT_K = 0x25
BPF_JMP_JGE_K = 0x35
BPF_RET_K = 0x06
DATA_NR, DATA_ARCH = 0, 4  # offsets in struct seccomp_data
