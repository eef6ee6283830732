"""What uringfs/client/enums.py makes from the tables: the result of its stub()."""

from enum import IntEnum, IntFlag

class Op(IntEnum):
    NOP = 0
    READV = 1
    WRITEV = 2
    FSYNC = 3
    READ_FIXED = 4
    WRITE_FIXED = 5
    POLL_ADD = 6
    POLL_REMOVE = 7
    SYNC_FILE_RANGE = 8
    SENDMSG = 9
    RECVMSG = 10
    TIMEOUT = 11
    TIMEOUT_REMOVE = 12
    ACCEPT = 13
    ASYNC_CANCEL = 14
    LINK_TIMEOUT = 15
    CONNECT = 16
    FALLOCATE = 17
    OPENAT = 18
    CLOSE = 19
    FILES_UPDATE = 20
    STATX = 21
    READ = 22
    WRITE = 23
    FADVISE = 24
    MADVISE = 25
    SEND = 26
    RECV = 27
    OPENAT2 = 28
    EPOLL_CTL = 29
    SPLICE = 30
    PROVIDE_BUFFERS = 31
    REMOVE_BUFFERS = 32
    TEE = 33
    SHUTDOWN = 34
    RENAMEAT = 35
    UNLINKAT = 36
    MKDIRAT = 37
    SYMLINKAT = 38
    LINKAT = 39
    MSG_RING = 40
    FSETXATTR = 41
    SETXATTR = 42
    FGETXATTR = 43
    GETXATTR = 44
    SOCKET = 45
    URING_CMD = 46
    SEND_ZC = 47
    SENDMSG_ZC = 48
    READ_MULTISHOT = 49
    WAITID = 50
    FUTEX_WAIT = 51
    FUTEX_WAKE = 52
    FUTEX_WAITV = 53
    FIXED_FD_INSTALL = 54
    FTRUNCATE = 55
    BIND = 56
    LISTEN = 57
    RECV_ZC = 58
    EPOLL_WAIT = 59
    READV_FIXED = 60
    WRITEV_FIXED = 61
    PIPE = 62
    NOP128 = 63
    URING_CMD128 = 64

class Register(IntEnum):
    BUFFERS = 0
    UNREGISTER_BUFFERS = 1
    FILES = 2
    UNREGISTER_FILES = 3
    EVENTFD = 4
    UNREGISTER_EVENTFD = 5
    FILES_UPDATE = 6
    EVENTFD_ASYNC = 7
    PROBE = 8
    PERSONALITY = 9
    UNREGISTER_PERSONALITY = 10
    RESTRICTIONS = 11
    ENABLE_RINGS = 12
    FILES2 = 13
    FILES_UPDATE2 = 14
    BUFFERS2 = 15
    BUFFERS_UPDATE = 16
    IOWQ_AFF = 17
    UNREGISTER_IOWQ_AFF = 18
    IOWQ_MAX_WORKERS = 19
    RING_FDS = 20
    UNREGISTER_RING_FDS = 21
    PBUF_RING = 22
    UNREGISTER_PBUF_RING = 23
    SYNC_CANCEL = 24
    FILE_ALLOC_RANGE = 25
    PBUF_STATUS = 26
    NAPI = 27
    UNREGISTER_NAPI = 28
    CLOCK = 29
    CLONE_BUFFERS = 30
    SEND_MSG_RING = 31
    ZCRX_IFQ = 32
    RESIZE_RINGS = 33
    MEM_REGION = 34
    QUERY = 35
    ZCRX_CTRL = 36
    BPF_FILTER = 37

class SetupFlag(IntFlag):
    IOPOLL = 1
    SQPOLL = 2
    SQ_AFF = 4
    CQSIZE = 8
    CLAMP = 16
    ATTACH_WQ = 32
    R_DISABLED = 64
    SUBMIT_ALL = 128
    COOP_TASKRUN = 256
    TASKRUN_FLAG = 512
    SQE128 = 1024
    CQE32 = 2048
    SINGLE_ISSUER = 4096
    DEFER_TASKRUN = 8192
    NO_MMAP = 16384
    REGISTERED_FD_ONLY = 32768
    NO_SQARRAY = 65536
    HYBRID_IOPOLL = 131072
    CQE_MIXED = 262144
    SQE_MIXED = 524288
    SQ_REWIND = 1048576

class SqeFlag(IntFlag):
    FIXED_FILE = 1
    IO_DRAIN = 2
    IO_LINK = 4
    IO_HARDLINK = 8
    ASYNC = 16
    BUFFER_SELECT = 32
    CQE_SKIP_SUCCESS = 64

class EnterFlag(IntFlag):
    GETEVENTS = 1
    SQ_WAKEUP = 2
    SQ_WAIT = 4
    EXT_ARG = 8
    REGISTERED_RING = 16
    ABS_TIMER = 32
    EXT_ARG_REG = 64
    NO_IOWAIT = 128

class Feature(IntFlag):
    SINGLE_MMAP = 1
    NODROP = 2
    SUBMIT_STABLE = 4
    RW_CUR_POS = 8
    CUR_PERSONALITY = 16
    FAST_POLL = 32
    POLL_32BITS = 64
    SQPOLL_NONFIXED = 128
    EXT_ARG = 256
    NATIVE_WORKERS = 512
    RSRC_TAGS = 1024
    CQE_SKIP = 2048
    LINKED_FILE = 4096
    REG_REG_RING = 8192
    RECVSEND_BUNDLE = 16384
    MIN_TIMEOUT = 32768
    RW_ATTR = 65536
    NO_IOWAIT = 131072

class CqeFlag(IntFlag):
    BUFFER = 1
    MORE = 2
    SOCK_NONEMPTY = 4
    NOTIF = 8
    BUF_MORE = 16
    SKIP = 32
    F_32 = 32768

class NopFlag(IntFlag):
    INJECT_RESULT = 1
    FILE = 2
    FIXED_FILE = 4
    FIXED_BUFFER = 8
    TW = 16
    CQE32 = 32

class RwFlag(IntFlag):
    HIPRI = 1
    DSYNC = 2
    SYNC = 4
    NOWAIT = 8
    APPEND = 16
    NOAPPEND = 32
    ATOMIC = 64
    DONTCACHE = 128
    NOSIGNAL = 256

class TimeoutFlag(IntFlag):
    ABS = 1
    UPDATE = 2
    BOOTTIME = 4
    REALTIME = 8
    ETIME_SUCCESS = 32
    MULTISHOT = 64

class CancelFlag(IntFlag):
    ALL = 1
    FD = 2
    ANY = 4
    FD_FIXED = 8
    USERDATA = 16
    OP = 32

class PollFlag(IntFlag):
    ADD_MULTI = 1
    UPDATE_EVENTS = 2
    UPDATE_USER_DATA = 4
    ADD_LEVEL = 8

class MsgRingFlag(IntFlag):
    CQE_SKIP = 1
    FLAGS_PASS = 2

class AcceptFlag(IntFlag):
    MULTISHOT = 1
    DONTWAIT = 2
    POLL_FIRST = 4

ENUMS: tuple[type[IntEnum] | type[IntFlag], ...]

def stub() -> str: ...
