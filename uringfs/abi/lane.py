"""The lane's numbers and layouts: what contrib/uringfs_lane.h says in C, and docs/lane.md explains.

Offsets in bytes from the start of the page, which lies at URINGFS_OFF_LANE of the ring file.
"""

from struct import Struct
from typing import NamedTuple

from uringfs.abi.constants import (
    IOSQE_ASYNC,
    IOSQE_CQE_SKIP_SUCCESS,
    IOSQE_FIXED_FILE,
    IOSQE_IO_HARDLINK,
    IOSQE_IO_LINK,
)

URINGFS_LANE_VERSION = 2
URINGFS_OFF_LANE = 0x0C000000
URINGFS_LANE_SIZE = 4096

URINGFS_LANE_HOLDERS = 0xFFFF  # of the word lock
URINGFS_LANE_SLEEPERS = 1 << 31

URINGFS_LANE_WAITER = 1 << 0
URINGFS_LANE_POLL = 1 << 1
URINGFS_LANE_EVENTFD = 1 << 2
URINGFS_LANE_COUNTED = 1 << 3
URINGFS_LANE_KICK = 0x000000FF
URINGFS_LANE_WORK = 1 << 8
URINGFS_LANE_FETCH = 1 << 9
URINGFS_LANE_GETEVENTS = 0x0000FF00
URINGFS_LANE_BACKLOG = 1 << 16
URINGFS_LANE_DRAIN = 1 << 17
URINGFS_LANE_UNSETTLED = 1 << 18
URINGFS_LANE_TEXT = 1 << 19
URINGFS_LANE_WATCHED = 1 << 20
URINGFS_LANE_OFF = 1 << 21
URINGFS_LANE_CLOSED = 0xFFFF0000

URINGFS_LANE_UNDER_WAY = 0  # uringfs_lane_request.state
URINGFS_LANE_POSTING = 1
URINGFS_LANE_FINISHED = 2
URINGFS_LANE_QUEUED = 0x10  # bits of UNDER_WAY
URINGFS_LANE_CANCELED = 0x20
URINGFS_LANE_REQUESTS = 96

ATTENTION_NAMES = {
    URINGFS_LANE_WAITER: "WAITER",
    URINGFS_LANE_POLL: "POLL",
    URINGFS_LANE_EVENTFD: "EVENTFD",
    URINGFS_LANE_COUNTED: "COUNTED",
    URINGFS_LANE_WORK: "WORK",
    URINGFS_LANE_FETCH: "FETCH",
    URINGFS_LANE_BACKLOG: "BACKLOG",
    URINGFS_LANE_DRAIN: "DRAIN",
    URINGFS_LANE_UNSETTLED: "UNSETTLED",
    URINGFS_LANE_TEXT: "TEXT",
    URINGFS_LANE_WATCHED: "WATCHED",
    URINGFS_LANE_OFF: "OFF",
}
# With which a request may be taken. Not IO_DRAIN: what drains is the daemon's; nor BUFFER_SELECT.
LANE_SQE_FLAGS = IOSQE_FIXED_FILE | IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_ASYNC | IOSQE_CQE_SKIP_SUCCESS

# struct uringfs_lane: the daemon's words ...
LANE_VERSION = 0x000
LANE_GENERATION = 0x004
LANE_OPS = 0x008
LANE_OPS_ABOVE = 0x00C  # opcodes from 32 on
LANE_FLAGS = 0x010
LANE_ATTENTION = 0x014
LANE_FILES = 0x018
LANE_BUFFERS = 0x01C
LANE_POLLER = 0x020
LANE_DAEMON = 0x040
# ... the clients' ...
LANE_LOCK = 0x080
# ... of whoever has the lane
LANE_STATE = 0x0C0
LANE_POSTED_TAIL = 0x0C0  # the first half of `posted`
LANE_SQ_HEAD = 0x0C8
LANE_SLEEPERS = 0x0E8
LANE_WAKE_AT = 0x0EC
LANE_WAKES = 0x0F0
LANE_CLAIMED = 0x0F4
LANE_WAKEUPS = 0x0F8
LANE_COUNTERS = 0x100
LANE_TAKEN = 0x200
LANE_REQUESTS = 0x400
# offsets in a request; the word of its state has opcode, flags and failed, too
REQUEST_HOLDER, REQUEST_STATE = 8, 20

URINGFS_LANE_RECALLED = 1 << 15  # claimed: whoever has claimed it is to submit it now
URINGFS_LANE_POLLS = 1 << 1  # sleepers: one of them polls an eventfd, too

URINGFS_LANE_POLLERS = 1 << 31  # LaneAttach.version: the client knows rings with a poller

STATE = Struct("<IIIIIIIIQ")
COUNTERS = Struct("<QQQQ")
TAKEN = Struct("<64Q")
REQUEST = Struct("<QIIIBBBBiI")
ANSWER = Struct("<IIIIIIII")
URINGFS_LANE_OPENS = 1 << 0  # Answer.flags: a mapping keeps the ring file open
URINGFS_LANE_TAILS = 1 << 1  # and: an enter may say URINGFS_ENTER_TAIL
URINGFS_LANE_CANCELS = 1 << 2  # and: requests may stand there as QUEUED
FLAGS_IN_MEMORY = URINGFS_LANE_TAILS | URINGFS_LANE_CANCELS
FLAGS_IN_PAGE_CACHE = URINGFS_LANE_TAILS | URINGFS_LANE_OPENS  # where the daemon has no atomic operations


class State(NamedTuple):
    """What whoever has the lane keeps in the page, from `posted` on."""

    tail: int = 0
    """cq_tail"""
    done: int = 0
    """The SQ position up to which all is done."""
    sq_head: int = 0
    seen: int = 0
    cq_head: int = 0
    cq_head_sq: int = 0
    """cq_heads[0]"""
    cq_head_cq: int = 0
    doing: int = 0
    doing_user_data: int = 0


class Taken(NamedTuple):
    """struct uringfs_lane_request: one that a client has taken, and performs without the lock."""

    user_data: int
    holder: int
    sq: int
    cq: int
    state: int
    opcode: int
    flags: int
    failed: int
    res: int
    cqe_flags: int


class LaneCounters(NamedTuple):
    """What the clients have done, since setup."""

    enters: int = 0
    submitted: int = 0
    completed: int = 0
    kicks: int = 0


class LaneAnswer(NamedTuple):
    """struct uringfs_lane_answer"""

    version: int
    holder: int
    setup_flags: int
    sq_entries: int
    cq_entries: int
    sq_array: int
    generation: int
    flags: int = 0
