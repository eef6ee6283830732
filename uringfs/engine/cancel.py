"""Finding requests, to cancel them (io_uring/cancel.c).

Requests that poll, or have a task, are found in the kernel's hash table of armed polls, newest first;
WAITID and FUTEX_WAIT stand in lists of their own, newest first; TIMEOUTs in theirs, oldest first. What
is held back by a link or a drain, and a LINK_TIMEOUT, is found in none.
"""

import errno
import itertools
from typing import NamedTuple

from uringfs.abi.constants import IORING_OP_FUTEX_WAIT, IORING_OP_FUTEX_WAITV, IORING_OP_TIMEOUT, IORING_OP_WAITID
from uringfs.abi.events import (
    IORING_ASYNC_CANCEL_ALL,
    IORING_ASYNC_CANCEL_ANY,
    IORING_ASYNC_CANCEL_FD,
    IORING_ASYNC_CANCEL_FD_FIXED,
    IORING_ASYNC_CANCEL_OP,
    IORING_ASYNC_CANCEL_USERDATA,
)
from uringfs.abi.lane import Taken
from uringfs.engine.request import Request, RingContext
from uringfs.host.protocols import File

OWN_LISTS = (IORING_OP_TIMEOUT, IORING_OP_WAITID, IORING_OP_FUTEX_WAIT, IORING_OP_FUTEX_WAITV)
FUTEXES = (IORING_OP_FUTEX_WAIT, IORING_OP_FUTEX_WAITV)

_sequence = itertools.count(1)


class Criteria(NamedTuple):
    """struct io_cancel_data"""

    user_data: int
    flags: int = 0
    file: File | None = None
    opcode: int = 0

    @property
    def all(self) -> bool:
        return bool(self.flags & (IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY))

    def match(self, request: Request) -> bool:
        """io_cancel_req_match()"""
        if self.flags & IORING_ASYNC_CANCEL_ANY:
            return True
        if self.flags & IORING_ASYNC_CANCEL_FD and not (self.file and _has_file(request, self.file)):
            return False
        if self.flags & IORING_ASYNC_CANCEL_OP and request.op.number != self.opcode:
            return False
        return not self.by_user_data or request.sqe.user_data == self.user_data

    def match_taken(self, taken: Taken) -> bool:
        """Like match(), for a request that a client performs itself. It has no file before it is issued, as in the
        kernel, and which it has then nobody knows."""
        if self.flags & IORING_ASYNC_CANCEL_ANY:
            return True
        if self.flags & IORING_ASYNC_CANCEL_FD or (
            self.flags & IORING_ASYNC_CANCEL_OP and taken.opcode != self.opcode
        ):
            return False
        return not self.by_user_data or taken.user_data == self.user_data

    @property
    def by_user_data(self) -> bool:
        others = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_OP
        return bool(self.flags & IORING_ASYNC_CANCEL_USERDATA) or not self.flags & others


def _has_file(request: Request, file: File) -> bool:
    return request.target is not None and request.target.same(file)


def try_cancel(context: RingContext, criteria: Criteria) -> int:
    """Cancel all that are meant: how many were found. Of what a client performs itself all count as one, as what a
    task's io-wq has (io_wq_cancel_cb())."""
    clients = {taken.holder for taken in _cancel_queued(context, criteria) + _running(context, criteria)}
    return len(clients) + _cancel(context, criteria)[0]


def finds(context: RingContext, criteria: Criteria) -> bool:
    """There is one to cancel."""
    return any(criteria.match(one) for one in _candidates(context, criteria))


def cancel_one(context: RingContext, criteria: Criteria) -> int:
    """__io_async_cancel(): 0, but 1 for one of the lists that count (io_cancel_remove()). -ENOENT; -EALREADY for
    one that is being performed and cannot be stopped."""
    if _cancel_queued(context, criteria):
        return 0
    found, counts = _cancel(context, criteria)
    if found:
        return 1 if counts else 0
    return -errno.EALREADY if _running(context, criteria) else -errno.ENOENT


def _cancel_queued(context: RingContext, criteria: Criteria) -> list[Taken]:
    """Requests that wait for a client's workers, and that the criteria match: they get ECANCELED."""
    lane = context.ring.lane
    return [] if lane is None else lane.cancel(criteria.match_taken, None if criteria.all else 1)


def _running(context: RingContext, criteria: Criteria) -> list[Taken]:
    """Requests that clients perform themselves, as io-wq does in the kernel, and that the criteria match."""
    lane = context.ring.lane
    return [] if lane is None else [taken for taken in lane.under_way() if criteria.match_taken(taken)]


def _cancel(context: RingContext, criteria: Criteria) -> tuple[int, bool]:
    """How many were found, and whether in one of the lists that count."""
    sequence = next(_sequence)
    candidates = _candidates(context, criteria)
    found = 0
    for request in candidates:
        if request.op.number in OWN_LISTS or request.cancel_seq == sequence or not criteria.match(request):
            continue
        # Already cancelled, but not yet complete, it is found once more: it stays in the hash table.
        request.cancel_seq = sequence
        context.cancel(request)
        found += 1
        if not criteria.all:
            return found, False
    if criteria.flags & (IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_FD_FIXED):
        if not criteria.flags & IORING_ASYNC_CANCEL_FD:
            found += _timeouts(context, criteria, candidates)
        return found, False
    for opcodes in ((IORING_OP_WAITID,), FUTEXES):
        found += _listed(context, criteria, [one for one in candidates if one.op.number in opcodes])
        if found and not criteria.all:
            return found, True
    return found + _timeouts(context, criteria, candidates), False


def _candidates(context: RingContext, criteria: Criteria) -> list[Request]:
    """Newest first."""
    wide = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_OP | IORING_ASYNC_CANCEL_ANY
    by_user_data = not criteria.flags & wide or criteria.flags & IORING_ASYNC_CANCEL_USERDATA
    if by_user_data and not criteria.flags & IORING_ASYNC_CANCEL_ANY:
        return context.issued(criteria.user_data)[::-1]
    return context.issued()[::-1]


def _listed(context: RingContext, criteria: Criteria, requests: list[Request]) -> int:
    """io_cancel_remove(): with CANCEL_ALL one call takes all of them, and counts as one."""
    count = 0
    for request in requests:
        if not criteria.match(request) or request.disarm is None or not request.disarm():
            continue
        context.complete(request, -errno.ECANCELED)
        count += 1
        if not criteria.all:
            break
    return min(count, 1) if criteria.flags & IORING_ASYNC_CANCEL_ALL else count


def _timeouts(context: RingContext, criteria: Criteria, candidates: list[Request]) -> int:
    """io_timeout_cancel()"""
    armed = [one for one in reversed(candidates) if one.op.number == IORING_OP_TIMEOUT and criteria.match(one)]
    armed.sort(key=lambda request: request.data.entry is None)
    count = 0
    for request in armed:
        if request.disarm is not None and request.disarm():
            context.complete(request, -errno.ECANCELED)
            count += 1
            if not criteria.all:
                break
    return count
