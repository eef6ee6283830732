"""What the fields of each opcode mean: the arguments of a request in the order of the call it is like, by their
names in struct io_uring_sqe. Everything that shows requests reads this table; a test compares its names with Sqe.

An argument is `field` or `field:kind`. How each kind is shown is values.py's.
"""

from uringfs.abi.constants import OPCODES

RW = "fd:fd addr:data len off:off rw_flags:rwf"
VECTOR = "fd:fd addr:vector len off:off rw_flags:rwf"
PAIR = "fd:dfd addr:name len:dfd2 off:name2"

ARGUMENTS = {
    "NOP": "nop_flags:nop",
    "READV": VECTOR,
    "WRITEV": VECTOR,
    "FSYNC": "fd:fd off:nonzero len:nonzero fsync_flags:fsync",
    "READ_FIXED": f"{RW} buf_index",
    "WRITE_FIXED": f"{RW} buf_index",
    "POLL_ADD": "fd:fd poll32_events:poll len:pollflags",
    "POLL_REMOVE": "addr:user_data len:pollflags off:nonzero poll32_events:poll0",
    "SYNC_FILE_RANGE": "fd:fd off len sync_range_flags:hex0",
    "SENDMSG": "fd:fd addr:msghdr msg_flags:msg",
    "RECVMSG": "fd:fd addr:msghdr msg_flags:msg",
    "TIMEOUT": "addr:timespec off:nonzero timeout_flags:timeout",
    "TIMEOUT_REMOVE": "addr:user_data timeout_flags:timeout",
    "ACCEPT": "fd:fd addr:pointer addr2:pointer accept_flags:socket file_index:slot",
    "ASYNC_CANCEL": "fd:nonzero addr:user_data cancel_flags:cancel",
    "LINK_TIMEOUT": "addr:timespec timeout_flags:timeout",
    "CONNECT": "fd:fd addr:sockaddr addr2",
    "FALLOCATE": "fd:fd len:hex off addr",
    "OPENAT": "fd:dfd addr:name open_flags:open len:mode file_index:slot",
    "CLOSE": "fd:fd file_index:slot",
    "FILES_UPDATE": "addr:pointer len off",
    "STATX": "fd:dfd addr:name statx_flags:at len:hex addr2:pointer",
    "READ": RW,
    "WRITE": RW,
    "FADVISE": "fd:fd off len fadvise_advice",
    "MADVISE": "addr:pointer len fadvise_advice",
    "SEND": "fd:fd addr:data len msg_flags:msg",
    "RECV": "fd:fd addr:data len msg_flags:msg",
    "OPENAT2": "fd:dfd addr:name addr2:pointer len file_index:slot",
    "EPOLL_CTL": "fd:fd len:epollctl off addr:pointer",
    "SPLICE": "splice_fd_in splice_off_in:off fd:fd off:off len splice_flags:hex0",
    "PROVIDE_BUFFERS": "addr:pointer len fd off buf_group",
    "REMOVE_BUFFERS": "fd buf_group",
    "TEE": "splice_fd_in fd:fd len splice_flags:hex0",
    "SHUTDOWN": "fd:fd len:shutdown",
    "RENAMEAT": f"{PAIR} rename_flags:hex0",
    "UNLINKAT": "fd:dfd addr:name unlink_flags:at",
    "MKDIRAT": "fd:dfd addr:name len:mode",
    "SYMLINKAT": "addr:name fd:dfd off:name2",
    "LINKAT": f"{PAIR} hardlink_flags:at",
    "MSG_RING": "fd:fd addr:msgring off:hex len msg_ring_flags:hex0",
    "FSETXATTR": "fd:fd addr:name off:pointer len xattr_flags:hex0",
    "SETXATTR": "addr3:name addr:name2 off:pointer len xattr_flags:hex0",
    "FGETXATTR": "fd:fd addr:name off:pointer len",
    "GETXATTR": "addr3:name addr:name2 off:pointer len",
    "SOCKET": "fd:family off:socktype len file_index:slot",
    "URING_CMD": "fd:fd cmd_op:socketop level:nonzero optname:nonzero",
    "SEND_ZC": "fd:fd addr:data len msg_flags:msg",
    "SENDMSG_ZC": "fd:fd addr:msghdr msg_flags:msg",
    "READ_MULTISHOT": "fd:fd addr:data len off:off buf_group",
    "WAITID": "len fd addr2:pointer file_index:hex0",
    "FUTEX_WAIT": "addr:pointer off addr3:hex fd:hex0",
    "FUTEX_WAKE": "addr:pointer off addr3:hex fd:hex0",
    "FUTEX_WAITV": "addr:pointer len",
    "FIXED_FD_INSTALL": "fd:fd install_fd_flags:hex0",
    "FTRUNCATE": "fd:fd off",
    "BIND": "fd:fd addr:sockaddr addr2",
    "LISTEN": "fd:fd len",
    "RECV_ZC": "fd:fd len msg_flags:msg",
    "EPOLL_WAIT": "fd:fd addr:pointer len",
    "READV_FIXED": f"{VECTOR} buf_index",
    "WRITEV_FIXED": f"{VECTOR} buf_index",
    "PIPE": "addr:pointer pipe_flags:socket file_index:slot",
    "NOP128": "nop_flags:nop",
    "URING_CMD128": "fd:fd cmd_op:socketop level:nonzero optname:nonzero",
}
UNKNOWN = "fd addr:pointer len off"


def _words(text: str) -> list[tuple[str, str]]:
    parts = (word.partition(":") for word in text.split())
    return [(field, kind) for field, _, kind in parts]


WORDS = [_words(ARGUMENTS.get(name, UNKNOWN)) for name in OPCODES]
_UNKNOWN = _words(UNKNOWN)


def of(opcode: int) -> list[tuple[str, str]]:
    """(field, kind) of each argument."""
    return WORDS[opcode] if opcode < len(WORDS) else _UNKNOWN


def opcode_name(opcode: int) -> str:
    return OPCODES[opcode] if opcode < len(OPCODES) else f"IORING_OP_{opcode}"
