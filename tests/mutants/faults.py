"""Faults, each of which the conformance suite must find by its record: what a daemon gets wrong, and the families
that see it. They are put into a daemon that has not begun to serve yet (daemon.py), never into a file."""

import errno
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

from uringfs.abi import constants as abi
from uringfs.abi.constants import IORING_OP_POLL_ADD
from uringfs.abi.events import EPOLLHUP
from uringfs.abi.structs import SQE, Cqe, Sqe
from uringfs.engine.complete import Completion
from uringfs.engine.inline import Inline
from uringfs.engine.life import Life
from uringfs.engine.request import Request
from uringfs.engine.timeouts import Timeouts
from uringfs.ops.events.poll import IO_POLL_UNMASK
from uringfs.ops.rw.buffers import IORING_CQE_BUFFER_SHIFT
from uringfs.ops.rw.io import Reading, Transfer
from uringfs.ring.queues import CompletionQueue, SubmissionQueue

Method = Callable[..., Any]


class Fault(NamedTuple):
    """A mistake for a daemon to make."""

    put_in: Callable[[], None]
    families: tuple[str, ...]
    """The families of the conformance suite in which it shows."""

    @property
    def what(self) -> str:
        return (self.put_in.__doc__ or "").strip().rstrip(".")


FAULTS: dict[str, Fault] = {}
ANYWHERE = ("nop", "links", "cancel")


def fault(*families: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def add(put_in: Callable[[], None]) -> Callable[[], None]:
        FAULTS[put_in.__name__] = Fault(put_in, families)
        return put_in

    return add


# ---- where a fault is put in ----


def wrap(owner: Any, name: str, around: Callable[[Method], Method]) -> None:
    """Put around(method) in the place of a function of a class or module. KeyError if there is none any more."""
    setattr(owner, name, around(owner.__dict__[name]))


def all_in_python() -> None:
    """Nothing is taken in native code: the faults are in Python, which would not see it."""
    wrap(Inline, "is_worth_it", lambda _: lambda self: False)


def each_cqe(change: Callable[[Cqe], Cqe]) -> None:
    """All that goes into a completion queue."""

    def around(post: Method) -> Method:
        return lambda cq, *cqe_and_rest: post(cq, *change(Cqe(*cqe_and_rest[:3])), *cqe_and_rest[3:])

    wrap(CompletionQueue, "post", around)


def each_sqe(change: Callable[[Sqe], Sqe]) -> None:
    """All that comes out of a submission queue."""

    def changed(data: bytes | None) -> bytes | None:
        if data is None:
            return None
        return SQE.pack(*change(Sqe._make(SQE.unpack_from(data)))) + data[SQE.size :]

    def around(get: Method) -> Method:
        return lambda sq: changed(get(sq))

    wrap(SubmissionQueue, "get", around)


def without_flag(flag: int) -> Callable[[Any], Any]:
    return lambda entry: entry._replace(flags=entry.flags & ~flag)


def instead(one: int, other: int) -> Callable[[Sqe], Sqe]:
    """An SQE with one flag in the place of another."""
    return lambda sqe: sqe._replace(flags=sqe.flags & ~one | other) if sqe.flags & one else sqe


# ---- the faults ----


@fault(*ANYWHERE)
def minus_one() -> None:
    """Every negative result is -1."""
    each_cqe(lambda cqe: cqe._replace(res=max(cqe.res, -1)))


@fault("register", "refused", "setupflags")
def refused_with_eperm() -> None:
    """Every system call that fails does so with EPERM, which is -1."""

    def around(outcome: Method) -> Method:
        return lambda name, error: errno.EPERM if name == "write" else outcome(name, error)

    for module in ("uringfs.fs.fuse.operations", "uringfs.fs.fuse.door"):  # late: they load libfuse
        wrap(importlib.import_module(module), "outcome", around)


@fault("cancel", "timeoutremove", "pollremove")
def errno_swapped() -> None:
    """ENOENT stands for EALREADY, EALREADY for ENOENT."""
    swapped = {-errno.ENOENT: -errno.EALREADY, -errno.EALREADY: -errno.ENOENT}
    each_cqe(lambda cqe: cqe._replace(res=swapped.get(cqe.res, cqe.res)))


@fault("nop")
def user_data_halved() -> None:
    """The high half of user_data is lost."""
    each_cqe(lambda cqe: cqe._replace(user_data=cqe.user_data & 0xFFFFFFFF))


@fault("pollmulti", "accept", "multishot_async")
def more_flag_lost() -> None:
    """A multishot request's CQEs have no IORING_CQE_F_MORE."""
    each_cqe(without_flag(abi.IORING_CQE_F_MORE))


@fault("pbuf", "pbufring", "sendrecv_select")
def next_buffer_id() -> None:
    """A CQE names the buffer after the one that was taken."""
    one = 1 << IORING_CQE_BUFFER_SHIFT
    each_cqe(lambda cqe: cqe._replace(flags=cqe.flags + one) if cqe.flags & abi.IORING_CQE_F_BUFFER else cqe)


@fault("cancel", "links")
def cqe_too_many() -> None:
    """What is cancelled completes twice."""

    def around(post_cqe: Method) -> Method:
        def twice(completion: Completion, user_data: int, res: int, *rest: Any) -> None:
            for _ in range(2 if res == -errno.ECANCELED else 1):
                post_cqe(completion, user_data, res, *rest)

        return twice

    wrap(Completion, "post_cqe", around)


@fault("links")
def link_not_cancelled() -> None:
    """What is linked behind a failure runs."""
    each_sqe(instead(abi.IOSQE_IO_LINK, abi.IOSQE_IO_HARDLINK))


@fault("links")
def hard_link_cancelled() -> None:
    """What is linked behind a failure by a hard link does not run."""
    each_sqe(instead(abi.IOSQE_IO_HARDLINK, abi.IOSQE_IO_LINK))


@fault("links")
def success_not_skipped() -> None:
    """IOSQE_CQE_SKIP_SUCCESS is ignored."""
    each_sqe(without_flag(abi.IOSQE_CQE_SKIP_SUCCESS))


@fault("links", "drain")
def drain_ignored() -> None:
    """IOSQE_IO_DRAIN is ignored."""
    each_sqe(without_flag(abi.IOSQE_IO_DRAIN))


@fault("timeout_count")
def timeout_counts_one_more() -> None:
    """A TIMEOUT waits for one completion more than it was asked to."""

    def around(count: Method) -> Method:
        def one_more(timeouts: Timeouts, request: Request, tail: int) -> None:
            request.data.off += 1
            count(timeouts, request, tail)

        return one_more

    wrap(Timeouts, "count", around)


@fault("readv_file", "readv_pipe")
def short_read_off_by_one() -> None:
    """A read that ends early says one byte less than it stored."""

    def around(finish: Method) -> Method:
        def short(transfer: Transfer) -> int:
            done: int = finish(transfer)
            return done - 1 if isinstance(transfer, Reading) and transfer._request.failed and done else done

        return short

    wrap(Transfer, "_finish", around)


@fault("polladd")
def hangup_not_seen() -> None:
    """POLL_ADD does not tell of EPOLLHUP."""
    assert IO_POLL_UNMASK & EPOLLHUP

    def around(post: Method) -> Method:
        def unseen(life: Life, request: Request, res: int, failed: bool | None = None) -> None:
            polled = request.op.number == IORING_OP_POLL_ADD and res > 0
            post(life, request, res & ~EPOLLHUP if polled else res, failed)

        return unseen

    wrap(Life, "post", around)


@fault("queue")
def overflow_not_told() -> None:
    """Where CQEs are kept back, IORING_SQ_CQ_OVERFLOW does not say so."""

    def around(set_flags: Method) -> Method:
        return lambda sq, bits: set_flags(sq, bits & ~abi.IORING_SQ_CQ_OVERFLOW)

    wrap(SubmissionQueue, "set_flags", around)
