"""POLL_ADD, POLL_REMOVE (io_uring/poll.c)."""

import errno
from functools import partial
from typing import ClassVar

from uringfs.abi.constants import IORING_OP_POLL_ADD, IOSQE_CQE_SKIP_SUCCESS
from uringfs.abi.events import (
    EPOLLERR,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLHUP,
    EPOLLIN,
    EPOLLNVAL,
    EPOLLONESHOT,
    EPOLLOUT,
    EPOLLRDHUP,
    EPOLLRDNORM,
    EPOLLWRNORM,
    IORING_POLL_ADD_LEVEL,
    IORING_POLL_ADD_MULTI,
    IORING_POLL_UPDATE_EVENTS,
    IORING_POLL_UPDATE_USER_DATA,
    POLL_EVENTS,
)
from uringfs.engine.request import IOU_ISSUE_SKIP_COMPLETE, Issue, Outcome, Request
from uringfs.errors import UringError
from uringfs.host.protocols import File, Watch, WatchInThread
from uringfs.ring.ring import Ring

IO_POLL_UNMASK = EPOLLERR | EPOLLHUP | EPOLLNVAL | EPOLLRDHUP
EDGE = EPOLLET | EPOLLONESHOT


class Poll:
    """struct io_poll: the events, with EPOLLONESHOT and EPOLLET among them, and what watches for them."""

    __slots__ = ("events", "file", "refs", "signals", "slow", "tails", "watch")

    def __init__(self, events: int) -> None:
        self.events = events
        self.file: File | None = None
        self.watch: Watch | None = None
        self.slow: WatchInThread | None = None
        """The watch, of a file whose poll may block."""
        self.tails: dict[int, int] = {}
        """cq.tail, by inode, of the rings that an epoll instance has in it, as of its last event."""
        self.refs = 0
        """Events of a multishot that task work has not come to."""
        self.signals = 0
        """By completions of this ring, if it is a multishot poll of the ring's own eventfd."""


def prep_add(request: Request) -> None:
    """io_poll_add_prep()"""
    sqe, flags = request.sqe, request.sqe.len
    if sqe.buf_index or sqe.off or sqe.addr:
        raise UringError(errno.EINVAL)
    if flags & ~IORING_POLL_ADD_MULTI:
        raise UringError(errno.EINVAL, f"poll flags {flags:#x}")
    if flags & IORING_POLL_ADD_MULTI and request.flags & IOSQE_CQE_SKIP_SUCCESS:
        raise UringError(errno.EINVAL, "a multishot poll has CQEs to show")
    request.data = Poll(_parse_events(sqe.poll32_events, flags))


def _parse_events(events: int, flags: int) -> int:
    """io_poll_parse_events()"""
    if not flags & IORING_POLL_ADD_MULTI:
        events |= EPOLLONESHOT
    if not flags & IORING_POLL_ADD_LEVEL:
        events |= EPOLLET
    return events & (POLL_EVENTS | EPOLLEXCLUSIVE | EDGE)


def issue_add(request: Request) -> Outcome:
    """io_poll_add()"""
    file = request.data.file = request.file()
    if not (file.readable_mode() or file.writable_mode()):
        raise UringError(errno.EBADF, "an O_PATH descriptor")
    return _arm(request)


def _arm(request: Request) -> Outcome:
    """__io_arm_poll_handler()"""
    poll: Poll = request.data
    file = poll.file
    assert file is not None
    poll.events |= IO_POLL_UNMASK
    poller = request.context.host.poller
    request.disarm, request.outlives = partial(_disarm, request), True
    if file.refused:
        return _arm_own(request, file)
    if file.signalfd():
        return _arm_signals(request, file)
    mask = poller.mask(file, poll.events)
    if mask is None:
        return _arm_slowly(request, file)
    mask &= poll.events
    if mask and poll.events & EDGE == EDGE:
        return mask
    if file in request.held and (same := poller.same(file)) is not file:
        request.hold_instead(same, file)
        poll.file = file = same
    poll.signals = _own_signals(request, file)
    try:
        poll.watch = poller.watch(file, poll.events, partial(_ready, request))
    except UringError as error:
        if error.errno != errno.EPERM:
            raise
        if mask and poll.events & EPOLLET:
            return mask
        raise UringError(errno.EINVAL, "such a file has no events to wait for") from error
    request.arms_poll(poll.events)
    if mask:
        poller.dispatch()
    return IOU_ISSUE_SKIP_COMPLETE


def _arm_slowly(request: Request, file: File) -> Issue:
    """A file whose poll may block."""
    poll: Poll = request.data
    context = request.context
    context.arming.begin(request)
    tell = partial(_begun, request), partial(_ready, request), partial(_refused, request)
    poll.watch = poll.slow = context.host.poller.watch_slowly(file, poll.events, *tell)
    request.arms_poll(poll.events)
    return IOU_ISSUE_SKIP_COMPLETE


def _begun(request: Request) -> None:
    request.context.arming.done(request)
    poll: Poll | None = request.data
    if poll is not None and poll.watch is not None:
        poll.tails = _tails(request, poll)


def _tails(request: Request, poll: Poll) -> dict[int, int]:
    """inode -> cq.tail of the rings that an epoll instance has in it."""
    assert poll.slow is not None
    rings = ((inode, request.context.ring_at(inode)) for inode in poll.slow.own_files())
    return {inode: context.ring.cq.words()[1] for inode, context in rings if context is not None}


def _arm_signals(request: Request, file: File) -> int | Issue:
    """signalfd_poll(): of who submits."""
    poll: Poll = request.data
    signals = request.context.host.signals
    request.caller = request.caller.detached()
    mask = EPOLLIN & poll.events if signals.pending(request.caller, file) else 0
    if mask and poll.events & EPOLLONESHOT:
        return mask
    poll.watch = signals.watch(request.caller, file, partial(_ready, request))
    request.arms_poll(poll.events)
    if mask:
        poll.refs += 1
        request.context.task_work(partial(_more, request, mask))
    return IOU_ISSUE_SKIP_COMPLETE


def _own_signals(request: Request, file: File) -> int:
    """Events of a multishot alone: completions that it brings about would trigger it for ever."""
    eventfd = request.context.ring.eventfd
    if eventfd is None or request.data.events & EPOLLONESHOT:
        return 0
    return eventfd.signals(file)


def _disarm(request: Request) -> bool:
    """io_poll_disarm(): False if what it waits for has happened."""
    poll: Poll | None = request.data
    if poll is None or poll.watch is None or not poll.watch.cancel():
        return False
    poll.watch = None
    if not request.context.closed:
        request.context.host.poller.settle()
    return True


def _end_watch(poll: Poll) -> None:
    watch, poll.watch = poll.watch, None
    if watch is not None:
        watch.cancel()


def _ready(request: Request, mask: int) -> None:
    """io_poll_wake(), io_poll_task_func()"""
    poll: Poll | None = request.data
    if poll is None or poll.watch is None:
        return  # the ring is gone, or the event before has ended it
    mask &= poll.events
    if not mask:
        return
    if request.orphaned:  # io_poll_check_events(): tw.cancel
        _end_watch(poll)
        request.context.complete(request, -errno.ECANCELED)
    elif poll.events & EPOLLONESHOT or _by_completion(request, poll) or _by_member(request, poll):
        _end_watch(poll)
        request.context.complete(request, mask, False)
    else:
        poll.refs += 1
        if poll.refs == 1:
            request.context.task_work(partial(_more, request, mask))


def _by_completion(request: Request, poll: Poll) -> bool:
    """io_poll_wake() of EPOLL_URING_WAKE: a multishot that completions trigger ends."""
    assert poll.file is not None
    return _own_signals(request, poll.file) > poll.signals


def _by_member(request: Request, poll: Poll) -> bool:
    """Like _by_completion(), of an epoll instance that has rings in it (ep_poll_callback())."""
    if poll.slow is None:
        return False
    before, poll.tails = poll.tails, _tails(request, poll)
    return any(before.get(inode, tail) != tail for inode, tail in poll.tails.items())


def _more(request: Request, mask: int) -> None:
    """io_poll_check_events(): one CQE of a multishot poll, its last if the CQ is full. Of several events before
    task work the masks are lost: what holds counts."""
    poll: Poll | None = request.data
    if poll is None or poll.watch is None:
        return
    several, poll.refs = poll.refs > 1, 0
    if several:
        assert poll.file is not None
        now = None if poll.file.signalfd() else request.context.host.poller.mask(poll.file, poll.events)
        mask = mask if now is None else now & poll.events
    if mask and not request.post_more(mask):
        _end_watch(poll)
        request.context.complete(request, mask, False)


def _refused(request: Request, mask: int) -> None:
    """__io_arm_poll_handler(): it has no wait queue."""
    poll: Poll | None = request.data
    if poll is not None and poll.watch is not None:
        _end_watch(poll)
        request.context.complete(request, mask & poll.events or -errno.EINVAL)


class RingWatch:
    """A file of our own mount is polled in here: the kernel would ask us, who wait for the answer.

    What a completion wakes is EPOLLIN alone, and the last of a multishot: it may be its own doing
    (EPOLL_URING_WAKE).
    """

    waits: ClassVar[bool] = False

    def __init__(self, ring: Ring, request: Request) -> None:
        self._ring = ring
        self._request = request
        self._armed = True
        self._tail = ring.cq.tail
        ring.waiters.append(self)

    def completions(self) -> None:
        if not self._armed:
            return  # an event of this publication has ended it
        if self._tail != self._ring.cq.tail and self._request.data.events & EPOLLIN and self.cancel():
            self._request.data.watch = None
            self._request.context.complete(self._request, EPOLLIN, False)

    def closed(self) -> None:
        if self.cancel():
            self._request.data.watch = None
            self._request.context.complete(self._request, EPOLLERR & self._request.data.events, False)

    def cancel(self) -> bool:
        armed, self._armed = self._armed, False
        if armed:
            self._ring.waiters.remove(self)
        return armed


def _arm_own(request: Request, file: File) -> int | Issue:
    """io_uring_poll()"""
    poll: Poll = request.data
    context = request.context.ring_of(file)
    if context is None:
        # not set up, or the directory
        mask = EPOLLERR if not file.regular else EPOLLIN | EPOLLOUT | EPOLLRDNORM | EPOLLWRNORM
        return mask & poll.events or -errno.EINVAL
    mask = mask_of(context.ring) & poll.events
    if mask and poll.events & EPOLLONESHOT:
        return mask
    poll.watch = RingWatch(context.ring, request)
    request.arms_poll(poll.events)
    if mask:
        poll.refs += 1
        request.context.task_work(partial(_more, request, mask))
    return IOU_ISSUE_SKIP_COMPLETE


def mask_of(ring: Ring) -> int:
    """io_uring_poll()"""
    room = EPOLLOUT | EPOLLWRNORM if ring.sq.pending() < ring.sq.entries else 0
    return room | (EPOLLIN | EPOLLRDNORM if ring.readable() else 0)


def prep_remove(request: Request) -> None:
    """io_poll_remove_prep()"""
    sqe, flags = request.sqe, request.sqe.len
    update_events = flags & IORING_POLL_UPDATE_EVENTS
    if sqe.buf_index or sqe.file_index:
        raise UringError(errno.EINVAL)
    if flags & ~(IORING_POLL_UPDATE_EVENTS | IORING_POLL_UPDATE_USER_DATA | IORING_POLL_ADD_MULTI):
        raise UringError(errno.EINVAL, f"poll flags {flags:#x}")
    if flags == IORING_POLL_ADD_MULTI:
        raise UringError(errno.EINVAL, "IORING_POLL_ADD_MULTI without an update")
    if not flags & IORING_POLL_UPDATE_USER_DATA and sqe.off:
        raise UringError(errno.EINVAL)
    if sqe.poll32_events and not update_events:
        raise UringError(errno.EINVAL, "events without IORING_POLL_UPDATE_EVENTS")
    request.data = _parse_events(sqe.poll32_events, flags) if update_events else 0


def issue_remove(request: Request) -> Outcome:
    """io_poll_remove()"""
    context, sqe = request.context, request.sqe
    polls = [one for one in context.issued(sqe.addr) if one.op.number == IORING_OP_POLL_ADD]
    if not polls:
        raise UringError(errno.ENOENT, f"no poll with user_data {sqe.addr}")
    found = polls[-1]
    if found.disarm is None or not found.disarm():
        raise UringError(errno.EALREADY)
    res = -errno.ECANCELED
    if sqe.len & (IORING_POLL_UPDATE_EVENTS | IORING_POLL_UPDATE_USER_DATA):
        if sqe.len & IORING_POLL_UPDATE_EVENTS:
            # only the events; how often it fires stays
            found.data.events = found.data.events & ~0xFFFF | request.data & 0xFFFF
        user_data = sqe.off if sqe.len & IORING_POLL_UPDATE_USER_DATA else found.sqe.user_data
        context.set_user_data(found, user_data)
        try:
            outcome = _arm(found)
        except UringError:
            outcome = res
        if isinstance(outcome, Issue):
            return 0
        res = outcome if isinstance(outcome, int) and outcome >= 0 else res
    context.complete(found, res)
    return 0
