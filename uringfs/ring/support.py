"""What is honoured of the setup flags, enter flags and features, written out literally: these tables make the
masks that calls are checked with, io_uring_params.features and docs/opcodes.md.

full: as the kernel; partial: with the note's exceptions; a flag that is not here answers as a kernel without it.
"""

from typing import NamedTuple

from uringfs.abi.constants import (
    IORING_ENTER_ABS_TIMER,
    IORING_ENTER_EXT_ARG,
    IORING_ENTER_EXT_ARG_REG,
    IORING_ENTER_GETEVENTS,
    IORING_ENTER_NO_IOWAIT,
    IORING_ENTER_REGISTERED_RING,
    IORING_ENTER_SQ_WAIT,
    IORING_ENTER_SQ_WAKEUP,
    IORING_FEAT_CQE_SKIP,
    IORING_FEAT_CUR_PERSONALITY,
    IORING_FEAT_EXT_ARG,
    IORING_FEAT_FAST_POLL,
    IORING_FEAT_LINKED_FILE,
    IORING_FEAT_MIN_TIMEOUT,
    IORING_FEAT_NATIVE_WORKERS,
    IORING_FEAT_NO_IOWAIT,
    IORING_FEAT_NODROP,
    IORING_FEAT_POLL_32BITS,
    IORING_FEAT_RECVSEND_BUNDLE,
    IORING_FEAT_REG_REG_RING,
    IORING_FEAT_RSRC_TAGS,
    IORING_FEAT_RW_ATTR,
    IORING_FEAT_RW_CUR_POS,
    IORING_FEAT_SINGLE_MMAP,
    IORING_FEAT_SQPOLL_NONFIXED,
    IORING_FEAT_SUBMIT_STABLE,
    IORING_SETUP_ATTACH_WQ,
    IORING_SETUP_CLAMP,
    IORING_SETUP_COOP_TASKRUN,
    IORING_SETUP_CQE32,
    IORING_SETUP_CQE_MIXED,
    IORING_SETUP_CQSIZE,
    IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_HYBRID_IOPOLL,
    IORING_SETUP_IOPOLL,
    IORING_SETUP_NO_MMAP,
    IORING_SETUP_NO_SQARRAY,
    IORING_SETUP_R_DISABLED,
    IORING_SETUP_REGISTERED_FD_ONLY,
    IORING_SETUP_SINGLE_ISSUER,
    IORING_SETUP_SQ_AFF,
    IORING_SETUP_SQ_REWIND,
    IORING_SETUP_SQE128,
    IORING_SETUP_SQE_MIXED,
    IORING_SETUP_SQPOLL,
    IORING_SETUP_SUBMIT_ALL,
    IORING_SETUP_TASKRUN_FLAG,
)

SUPPORTED = ("full", "partial")
"""The levels, of flags as of opcodes, that are advertised."""


class Flag(NamedTuple):
    """A flag of io_uring_setup(2) or io_uring_enter(2), and how far it is supported."""

    value: int
    support: str
    note: str = ""


# fmt: off
SETUP_FLAGS = (
    Flag(IORING_SETUP_IOPOLL, "full", "no device is polled: completions come as ever"),
    Flag(IORING_SETUP_SQPOLL, "full", "a task of the daemon polls, for each ring its own"),
    Flag(IORING_SETUP_SQ_AFF, "partial", "sq_thread_cpu is checked, not used"),
    Flag(IORING_SETUP_CQSIZE, "full"),
    Flag(IORING_SETUP_CLAMP, "full"),
    Flag(IORING_SETUP_ATTACH_WQ, "full", "there is nothing to share: wq_fd is checked"),
    Flag(IORING_SETUP_R_DISABLED, "full"),
    Flag(IORING_SETUP_SUBMIT_ALL, "full"),
    Flag(IORING_SETUP_COOP_TASKRUN, "full"),
    Flag(IORING_SETUP_TASKRUN_FLAG, "full"),
    Flag(IORING_SETUP_SQE128, "full"),
    Flag(IORING_SETUP_CQE32, "full"),
    Flag(IORING_SETUP_SINGLE_ISSUER, "full"),
    Flag(IORING_SETUP_DEFER_TASKRUN, "full"),
    Flag(IORING_SETUP_NO_MMAP, "full", "the client library maps the ring over the memory"),
    Flag(IORING_SETUP_REGISTERED_FD_ONLY, "partial", "the ring keeps the descriptor of its file"),
    Flag(IORING_SETUP_NO_SQARRAY, "full"),
    Flag(IORING_SETUP_HYBRID_IOPOLL, "full", "as IOPOLL"),
    Flag(IORING_SETUP_CQE_MIXED, "full"),
    Flag(IORING_SETUP_SQE_MIXED, "full"),
    Flag(IORING_SETUP_SQ_REWIND, "full", "no text requests"),
)
FEATURES = (
    Flag(IORING_FEAT_SINGLE_MMAP, "full"),
    Flag(IORING_FEAT_NODROP, "full"),
    Flag(IORING_FEAT_SUBMIT_STABLE, "full"),
    Flag(IORING_FEAT_RW_CUR_POS, "full"),
    Flag(IORING_FEAT_CUR_PERSONALITY, "full"),
    Flag(IORING_FEAT_FAST_POLL, "full"),
    Flag(IORING_FEAT_POLL_32BITS, "full"),
    Flag(IORING_FEAT_SQPOLL_NONFIXED, "full"),
    Flag(IORING_FEAT_EXT_ARG, "full"),
    Flag(IORING_FEAT_NATIVE_WORKERS, "full", "threads of the daemon"),
    Flag(IORING_FEAT_RSRC_TAGS, "full"),
    Flag(IORING_FEAT_CQE_SKIP, "full"),
    Flag(IORING_FEAT_LINKED_FILE, "full"),
    Flag(IORING_FEAT_REG_REG_RING, "full"),
    Flag(IORING_FEAT_RECVSEND_BUNDLE, "full"),
    Flag(IORING_FEAT_MIN_TIMEOUT, "full"),
    Flag(IORING_FEAT_RW_ATTR, "full", "the attribute PI is refused, as by files without it"),
    Flag(IORING_FEAT_NO_IOWAIT, "full"),
)
ENTER_FLAGS = (
    Flag(IORING_ENTER_GETEVENTS, "full"),
    Flag(IORING_ENTER_SQ_WAKEUP, "full"),
    Flag(IORING_ENTER_SQ_WAIT, "full"),
    Flag(IORING_ENTER_EXT_ARG, "full"),
    Flag(IORING_ENTER_REGISTERED_RING, "full", "asserts that this thread has registered the ring"),
    Flag(IORING_ENTER_ABS_TIMER, "full"),
    Flag(IORING_ENTER_EXT_ARG_REG, "full"),
    Flag(IORING_ENTER_NO_IOWAIT, "full", "who waits here is never counted as waiting for I/O"),
)
# fmt: on


def mask(table: tuple[Flag, ...]) -> int:
    """The flags of a table that are honoured."""
    return sum(flag.value for flag in table if flag.support in SUPPORTED)
