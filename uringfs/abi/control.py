"""The control ABI's numbers and layouts: what contrib/uringfs.h says in C.

A message is {u32 cmd, u32 size} and one system call's arguments, little-endian, addresses as they are.
"""

from struct import Struct
from typing import NamedTuple

from uringfs.abi.numbers import U32

URINGFS_XATTR = "system.uringfs"
"""Every file of a mount has it, its directory too: the daemon's version."""
URINGFS_OFF_CTL = 0x20000000
# What a ring file reports as its size: a write past it would take the inode's lock, so it covers every
# control write; and every offset there is to map, for clients that compare.
RING_FILE_SIZE = 0x90000000
# POLLMSG: the poll(2) event by which an enter that answered EINPROGRESS waits.
URINGFS_POLL_WAIT = 0x400

HEADER = Struct("<II")


class Setup(NamedTuple):
    """struct uringfs_setup after its header."""

    result: int
    entries: int
    can: int
    params: int


class Enter(NamedTuple):
    """struct uringfs_enter after its header."""

    result: int
    to_submit: int
    min_complete: int
    flags: int
    can: int
    arg: int
    argsz: int

    def argsz_and_tail(self) -> tuple[int, int | None]:
        """The CQ tail that is waited for is only there with URINGFS_ENTER_TAIL."""
        return (self.argsz & U32, self.argsz >> 32) if self.can & URINGFS_ENTER_TAIL else (self.argsz, None)


class Register(NamedTuple):
    """struct uringfs_register after its header."""

    result: int
    opcode: int
    nr_args: int
    arg: int


class Fetch(NamedTuple):
    """struct uringfs_fetch after its header."""

    result: int
    entries: int
    done: int
    room: int
    sock: int
    can: int


class Supervise(NamedTuple):
    """struct uringfs_supervise after its header."""

    result: int
    listener: int
    trace: int


class Agent(NamedTuple):
    """struct uringfs_agent after its header."""

    result: int
    sock: int
    pad: int


class LaneWake(NamedTuple):
    """struct uringfs_lane_wake after its header."""

    result: int
    eventfd: int
    pad: int


class LanePoll(NamedTuple):
    """struct uringfs_lane_poll after its header."""

    result: int
    to_submit: int
    pad: int


class LaneAttach(NamedTuple):
    """struct uringfs_lane_attach after its header."""

    result: int
    answer: int
    version: int
    room: int


SETUP = Struct("<QIIQ")
ENTER = Struct("<QIIIIQQ")
REGISTER = Struct("<QIIQ")
FETCH = Struct("<QQIIiI")
SUPERVISE = Struct("<Qii")
AGENT = Struct("<QiI")
LANE = Struct("<QQII")
LANE_WAKE = Struct("<QiI")
LANE_POLL = Struct("<QII")
ENTRY = Struct("<QiIIIiiIi")  # struct uringfs_descriptor: id, res, what, which, options, code, pid, uid, status
ADVICE = Struct("<QiIQQQ")  # the same of ADVISE and READ: id, res, what, address, length, 0
DESCRIPTOR = Struct("<QiI")  # its first half, which is all that clients without URINGFS_ENTER_WAITS know


def _iow(nr: int, body: Struct) -> int:
    return 1 << 30 | (HEADER.size + body.size) << 16 | ord("u") << 8 | nr


URINGFS_CMD_SETUP = _iow(1, SETUP)
URINGFS_CMD_ENTER = _iow(2, ENTER)
URINGFS_CMD_REGISTER = _iow(3, REGISTER)
URINGFS_CMD_FETCH = _iow(4, FETCH)
URINGFS_CMD_SUPERVISE = _iow(5, SUPERVISE)
URINGFS_CMD_AGENT = _iow(6, AGENT)
URINGFS_CMD_LANE = _iow(7, LANE)
URINGFS_CMD_LANE_WAKE = _iow(8, LANE_WAKE)
URINGFS_CMD_LANE_POLL = _iow(14, LANE_POLL)  # 9 to 13 begin text
URINGFS_ENTER_FETCHES = 1 << 0  # Enter.can: the client fetches descriptors
URINGFS_ENTER_WAITS = 1 << 1  # and calls waitid(2)
URINGFS_ENTER_MASK = 1 << 2  # there is room for a signal mask behind the result
URINGFS_ENTER_ADVISES = 1 << 4  # with URINGFS_ENTER_WAITS: and madvise(2)
URINGFS_ENTER_READS = 1 << 5  # with URINGFS_ENTER_WAITS: and read(2), of signalfds
URINGFS_ENTER_WAKES = 1 << 8  # with URINGFS_ENTER_WAITS: and futex(2) FUTEX_WAKE_BITSET
URINGFS_ENTER_CONNECTS = 1 << 9  # with URINGFS_ENTER_WAITS: and connect(2), listen(2) of AF_UNIX
URINGFS_ENTER_SLEEPS = 1 << 10  # with URINGFS_ENTER_WAITS: and has threads sleep in the kernel's futex queues
URINGFS_ENTER_TAIL = 1 << 11  # bits 32 to 63 of argsz are the CQ tail that is waited for
URINGFS_ENTER_KICK = 1 << 6  # alone: no enter, but a word that somebody may be waiting for (docs/lane.md)
URINGFS_SETUP_OPAQUE = 1 << 3  # Setup.can: read(2) is EINVAL where the file is open for writing, too
URINGFS_RESULT_FETCH = 1 << 32  # in an enter's result: there are some
URINGFS_RESULT_LATER = 1 << 33  # the same, and of a fetch: there will be some, which no enter waits for
URINGFS_POLL_FETCH = 0x2  # POLLPRI: the same, for who waits
URINGFS_DESCRIPTOR_NEW = 1 << 0
URINGFS_DESCRIPTOR_CLOSE = 1 << 1
URINGFS_DESCRIPTOR_CLOEXEC = 1 << 2
URINGFS_DESCRIPTOR_WAIT = 1 << 3
URINGFS_DESCRIPTOR_ADVISE = 1 << 4
URINGFS_DESCRIPTOR_READ = 1 << 5
URINGFS_DESCRIPTOR_WAKE = 1 << 6
URINGFS_DESCRIPTOR_CONNECT = 1 << 7
URINGFS_DESCRIPTOR_LISTEN = 1 << 8
URINGFS_DESCRIPTOR_SLEEP = 1 << 9
URINGFS_DESCRIPTOR_AWAKE = 1 << 10
RESULT = Struct("<q")  # what stands at `result`: the call's return value
