"""The words of rules, written out literally: what may stand behind the opcodes, with what value, and
what it means. docs/faults.md is made from this table, the parser reads nothing else."""

from collections.abc import Callable
from typing import NamedTuple

from uringfs.faults import sets, values

REQUESTS = ("",)
EVERYTHING = ("", *sets.CALLS)


class Word(NamedTuple):
    """A row of the table of words that rules are made of."""

    name: str
    kind: str
    """match: which requests; act: what becomes of them; life: how long."""
    value: str
    """What stands behind '=', '' for nothing; in brackets if it may be left out."""
    parse: Callable[[str], object] | None
    about: str
    of: frozenset[int] = sets.ALL
    """The opcodes it has a meaning for."""
    calls: tuple[str, ...] = REQUESTS
    """The calls it has a meaning for, '' for requests."""
    against: tuple[str, ...] = ()
    """Words that cannot stand beside it."""


RESULTS = ("error", "retval", "nobufs", "late")
ALTER = ("short", "torn", "misdirect", "corrupt")

# fmt: off
WORDS = (
    Word("path", "match", "GLOB", values.glob,
         "the descriptor's path, or the path that the request names"),
    Word("peer", "match", "GLOB", values.glob,
         'the other end of the socket: `"127.0.0.1:80"`, `"[::1]:80"`, `"unix:/run/x"`, `"unix:@name"`'),
    Word("fd", "match", "RANGE", values.span, "the number in sqe->fd, a registered file's index too"),
    Word("user_data", "match", "RANGE", values.span, "sqe->user_data"),
    Word("flags", "match", "FLAG[|FLAG]", values.flags, "all of these IOSQE_ flags are set"),
    Word("chain", "match", "RANGE", values.span,
         "the position in its chain of links, from 1; a request without links has 0"),
    Word("range", "match", "RANGE", values.span,
         "some of these bytes of the file: off and length of the request", sets.READS | sets.WRITES),
    Word("pid", "match", "PID", values.count, "the process that submits, or a parent of it", calls=EVERYTHING),
    Word("ring", "match", "GLOB", values.glob, "the ring's name, or `#INODE`", calls=EVERYTHING),
    Word("when", "match", "WHEN", values.when,
         "of the requests that match, counted from 1: `3`, `3+` (from there on), `3+2` (every second), `3..9`, "
         "`3..9+2`, `3,5,9`; as strace's, but for the last", calls=EVERYTHING),
    Word("probability", "match", "P", values.probability, "by chance: `0.1` or `10%`", calls=EVERYTHING),
    Word("seed", "match", "N", values.number,
         "of what chance decides about this rule; by default the mount's, and the rule's id", calls=EVERYTHING),
    Word("times", "life", "N", values.count, "it expires when it has been injected so often", calls=EVERYTHING),
    Word("expires", "life", "TIME", values.seconds, "it expires so long after it was given", calls=EVERYTHING),
    Word("error", "act", "ERRNO", values.error,
         "is not performed, and answers -ERRNO; of a call its errno", calls=EVERYTHING,
         against=(*RESULTS, *ALTER)),
    Word("retval", "act", "RESULT", values.result,
         "is not performed, and answers that result", against=(*RESULTS, *ALTER)),
    Word("after", "act", "", None,
         "with `error` or `retval`: is performed, and reports that result instead of its own; with `signal`: the "
         "signal comes behind it"),
    Word("short", "act", "BYTES", values.size,
         "moves at most so many bytes, and says so; with `enter`: so many SQEs are taken",
         sets.TRANSFERS, ("", "enter"), (*RESULTS, "torn")),
    Word("torn", "act", "BYTES", values.size,
         "writes the first BYTES only, and reports all of them", sets.WRITES | sets.SENDS,
         against=(*RESULTS, "short")),
    Word("misdirect", "act", "+BYTES, -BYTES", values.shift,
         "reads or writes that far from sqe->off, which is not -1", sets.READS | sets.WRITES, against=RESULTS),
    Word("corrupt", "act", "N, A..B", values.bytes_of,
         "N bytes of the data by chance, or its bytes A..B, are others than they were", sets.TRANSFERS,
         against=RESULTS),
    Word("unsynced", "act", "", None,
         "is lost when the process that submitted ends, unless an FSYNC has come behind it: as where power fails",
         sets.WRITES, against=RESULTS),
    Word("nobufs", "act", "", None,
         "a request that selects a buffer finds none: -ENOBUFS", sets.SELECTS, against=(*RESULTS, *ALTER)),
    Word("late", "act", "", None,
         "a cancellation that comes too late: what it is for goes on, and it answers -EALREADY, or -ENOENT if "
         "there is no such request", sets.CANCELS, against=(*RESULTS, *ALTER)),
    Word("delay_enter", "act", "DELAY", values.delay, "begins that much later; cancellable meanwhile",
         against=("hold",)),
    Word("delay_exit", "act", "DELAY", values.delay, "completes that much later", against=("reorder",)),
    Word("hold", "act", "[enter, exit]", values.where,
         "waits for `release`, before it is performed or (`exit`) with its result",
         against=("delay_enter", "reorder")),
    Word("reorder", "act", "N", values.window,
         "N completions are collected, and come in another order; fewer, when nothing else is under way, or "
         "10 ms have passed and all else waits for events", against=("delay_exit", "hold")),
    Word("stall", "act", "[TIME]", values.seconds,
         "from this request on, and for so long, or until `release`, nothing of its ring begins or completes",
         against=(*RESULTS, *ALTER, "delay_enter", "delay_exit", "hold", "reorder")),
    Word("overflow", "act", "", None,
         "its CQE finds the CQ full: it comes by the backlog, and IORING_SQ_CQ_OVERFLOW is set",
         against=("lose",)),
    Word("lose", "act", "", None,
         "its CQE is lost, and counted in the CQ's overflow word, as where there is no memory for a backlog",
         against=("overflow",)),
    Word("nomore", "act", "[N]", values.count,
         "a multishot request ends with its first (Nth) CQE, without IORING_CQE_F_MORE", sets.MULTISHOTS,
         against=(*RESULTS, *ALTER)),
    Word("hidemore", "act", "[N]", values.count,
         "a multishot request's CQEs (its Nth one) come without IORING_CQE_F_MORE, and it goes on",
         sets.MULTISHOTS, against=("nomore",)),
    Word("signal", "act", "SIGNAL", values.signal_number,
         "the process that submitted gets it; `signal=KILL` kills the caller"),
    Word("release", "act", "ID", values.count, "what rule ID holds goes on"),
)
# fmt: on
BY_NAME = {word.name: word for word in WORDS}
EFFECTS = tuple(word.name for word in WORDS if word.kind == "act" and word.name != "after")
"""Each makes a rule do something."""
