"""Constants of the requests on sockets: include/uapi/linux/io_uring.h, and socket.h."""

from struct import Struct

# sqe->ioprio
IORING_RECVSEND_POLL_FIRST = 1 << 0
IORING_RECV_MULTISHOT = 1 << 1
IORING_RECVSEND_FIXED_BUF = 1 << 2
IORING_SEND_ZC_REPORT_USAGE = 1 << 3
IORING_RECVSEND_BUNDLE = 1 << 4
IORING_SEND_VECTORIZED = 1 << 5
IORING_ACCEPT_MULTISHOT = 1 << 0
IORING_ACCEPT_DONTWAIT = 1 << 1
IORING_ACCEPT_POLL_FIRST = 1 << 2
IORING_NOTIF_USAGE_ZC_COPIED = -(1 << 31)
"""As the s32 of cqe->res."""

# sqe->cmd_op of a socket
SOCKET_URING_OP_SIOCINQ = 0
SOCKET_URING_OP_SIOCOUTQ = 1
SOCKET_URING_OP_GETSOCKOPT = 2
SOCKET_URING_OP_SETSOCKOPT = 3
IORING_URING_CMD_FIXED = 1 << 0
IORING_URING_CMD_MULTISHOT = 1 << 1

# sqe->msg_flags
MSG_OOB = 0x1
MSG_PEEK = 0x2
MSG_CTRUNC = 0x8
MSG_TRUNC = 0x20
MSG_DONTWAIT = 0x40
MSG_WAITALL = 0x100
MSG_ERRQUEUE = 0x2000
MSG_ZEROCOPY = 0x4000000
MSG_CMSG_CLOEXEC = 0x40000000

SOCK_TYPE_MASK = 0xF
SOCK_NONBLOCK = 0o4000
SOCK_CLOEXEC = 0o2000000
SOCKADDR_STORAGE = 128  # sizeof(struct sockaddr_storage)
SOL_SOCKET = 1
SCM_RIGHTS = 1
SCM_CREDENTIALS = 2
SCM_PIDFD = 4

USER_MSGHDR = Struct("<QiiQQQQI4x")  # name, namelen, pad, iov, iovlen, control, controllen, flags
CMSGHDR = Struct("<Qii")  # cmsg_len, cmsg_level, cmsg_type
UCRED = Struct("<iII")  # struct ucred: pid, uid, gid
RECVMSG_OUT = Struct("<IIII")  # struct io_uring_recvmsg_out: namelen, controllen, payloadlen, flags
