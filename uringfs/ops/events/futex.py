"""FUTEX_WAIT, FUTEX_WAKE, FUTEX_WAITV (io_uring/futex.c, kernel/futex/).

The kernel's own queue of sleepers cannot be entered for another process. Where the client has threads that
sleep there (futexsleep.py), they do. Other waiting requests queue here, for wakers that come through a ring of
the mount; for those that call futex(2), the words of the waiting are looked at: every so often, more seldom the
longer it takes. A word that has changed ends the wait with 0, as a wake-up does, and as futex(2) says may
happen at any time. A wake-up that leaves the word as it was is seen only if it came through a ring. In the
other direction a FUTEX_WAKE reaches threads asleep in futex(2): the client calls futex(2) for it, if it does
its part, else the daemon where it can share the memory.
"""

import errno
import time
from collections.abc import Hashable, Iterable
from functools import partial
from itertools import islice
from struct import Struct
from weakref import WeakKeyDictionary

from uringfs.abi.control import URINGFS_DESCRIPTOR_SLEEP, URINGFS_ENTER_WAITS, URINGFS_ENTER_WAKES
from uringfs.abi.machine import TASK_SIZE_MAX
from uringfs.abi.numbers import U32, s32
from uringfs.clientwork.delivery import Delivery, Wanted
from uringfs.engine.request import IOU_ISSUE_SKIP_COMPLETE, Outcome, Request
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, Host, Timer
from uringfs.ops.events.futexsleep import SLEEPS, Asleep, Late

FUTEX2_SIZE_MASK = 0x03
FUTEX2_SIZE_U32 = 0x02
FUTEX2_NUMA = 0x04
FUTEX2_MPOL = 0x08
FUTEX2_PRIVATE = 128
FUTEX2_VALID_MASK = FUTEX2_SIZE_MASK | FUTEX2_NUMA | FUTEX2_MPOL | FUTEX2_PRIVATE
FUTEX_WAITV_MAX = 128
FUTEX_WAITV = Struct("<QQII")  # struct futex_waitv: val, uaddr, flags, __reserved
WORD = Struct("<I")
FIRST_LOOK, LAST_LOOK = 100_000, 20_000_000
"""ns between two looks at a word: at the beginning, and at most."""
WAKES = URINGFS_ENTER_WAITS | URINGFS_ENTER_WAKES
LOOK_COST = 20_000
"""ns a look may cost of each waiting request's share."""


class Futex:
    """One word that is waited for."""

    __slots__ = ("address", "key", "mask", "value")

    def __init__(self, request: Request, address: int, value: int, mask: int, flags: int) -> None:
        self.address = address
        self.value = value
        self.mask = mask
        self.key = _key(request, address, flags)[0]


class FutexWaiter:
    """A request in the queues of its futexes."""

    __slots__ = ("futexes", "request")

    def __init__(self, request: Request, futexes: list[Futex]) -> None:
        self.request = request
        self.futexes = futexes

    def changed(self) -> int | None:
        """The index of a word that is not as it was; -EFAULT, -ECANCELED if the caller is gone."""
        for index, futex in enumerate(self.futexes):
            try:
                if _word(self.request.caller, futex.address) != futex.value:
                    return index
            except UringError as error:
                return self.request.failure(error)
        return None


class Woken:
    """Who has been woken by a request that had to wait itself: their CQEs come behind its own."""

    def __init__(self, found: list[tuple[FutexWaiter, int]]) -> None:
        self._found = found

    def close(self) -> None:
        for waiting, index in self._found:
            waiting.request.context.complete(waiting.request, index)


class Waking:
    """A request that wakes: the CQEs of those in the kernel's queues come behind its own, too."""

    def __init__(self, table: "Futexes") -> None:
        self._table = table
        table.begin_waking()

    def close(self) -> None:
        self._table.end_waking()


class Futexes:
    """All waiting requests of one host."""

    def __init__(self, host: Host) -> None:
        self._timers = host.pauses
        self._queues: dict[Hashable, dict[FutexWaiter, int]] = {}
        self._waiting: dict[FutexWaiter, None] = {}
        self._timer: Timer | None = None
        self._pause = FIRST_LOOK
        self._waking = 0
        self._late: list[Late] = []

    def begin_waking(self) -> None:
        """Begin a wake-up: who is woken in the kernel's queues meanwhile completes at its end, in their order."""
        self._waking += 1

    def end_waking(self) -> None:
        self._waking -= 1
        late, self._late = sorted(self._late, key=lambda late: late.asleep.order), []
        for each in late:
            self.woken(*each)

    def woken(self, asleep: Asleep, result: int) -> None:
        """A request's sleep in the kernel's queues has ended."""
        late = Late(asleep, result)
        if self._waking:
            self._late.append(late)
        else:
            late.complete()

    def add(self, waiting: FutexWaiter) -> None:
        for index, futex in enumerate(waiting.futexes):
            self._queues.setdefault(futex.key, {}).setdefault(waiting, index)
        self._waiting[waiting] = None
        self._pause = FIRST_LOOK
        if self._timer is not None:
            self._timer.cancel()
        self._look_later()

    def remove(self, waiting: FutexWaiter) -> bool:
        if waiting not in self._waiting:
            return False
        del self._waiting[waiting]
        for futex in waiting.futexes:
            queue = self._queues.get(futex.key, {})
            queue.pop(waiting, None)
            if not queue:
                self._queues.pop(futex.key, None)
        return True

    def wake(self, key: Hashable, most: int, mask: int) -> int:
        """futex_wake(): how many were woken, in the order they came."""
        found = self.found(key, most, mask)
        for waiting, index in found:
            self._end(waiting, index)
        return len(found)

    def found(self, key: Hashable, most: int, mask: int) -> list[tuple[FutexWaiter, int]]:
        """Whom a wake() of so many would wake, and the index of the word."""
        queue = self._queues.get(key, {}).items()
        asked = ((waiting, index) for waiting, index in queue if waiting.futexes[index].mask & mask)
        return list(islice(asked, most))

    def _end(self, waiting: FutexWaiter, result: int) -> None:
        self.remove(waiting)
        waiting.request.context.complete(waiting.request, result)

    def _look_later(self) -> None:
        pause = max(self._pause, LOOK_COST * len(self._waiting))
        now = self._timers.now(time.CLOCK_MONOTONIC)
        self._timer = self._timers.at(time.CLOCK_MONOTONIC, now + pause, self._look)

    def _look(self) -> None:
        self._timer = None
        self._pause = min(2 * self._pause, LAST_LOOK)
        for waiting in tuple(self._waiting):
            changed = waiting.changed()
            if changed is not None:
                self._end(waiting, changed)
        if self._waiting and self._timer is None:
            self._look_later()


_hosts: WeakKeyDictionary[Host, Futexes] = WeakKeyDictionary()


def futexes(host: Host) -> Futexes:
    if host not in _hosts:
        _hosts[host] = Futexes(host)
    return _hosts[host]


def _word(caller: Caller, address: int) -> int:
    return int(WORD.unpack(caller.memory.read(address, WORD.size))[0])


def _key(request: Request, address: int, flags: int) -> tuple[Hashable, bool]:
    """get_futex_key(), and whether others share the memory. EINVAL when not aligned, EFAULT."""
    caller = request.caller
    if address % WORD.size:
        raise UringError(errno.EINVAL, f"futex {address:#x} is not aligned")
    if address + WORD.size > TASK_SIZE_MAX:
        raise UringError(errno.EFAULT)
    if not flags & FUTEX2_PRIVATE:
        caller.memory.read(address, WORD.size)
        shared = request.context.host.shared_word(caller, address)
        if shared is not None:
            return shared, True
    return (caller.process, address), False


def _check_flags(flags: int) -> None:
    """futex2_to_flags(), futex_flags_valid()"""
    if flags & ~FUTEX2_VALID_MASK or flags & FUTEX2_SIZE_MASK != FUTEX2_SIZE_U32:
        raise UringError(errno.EINVAL, f"futex flags {flags:#x}")
    if flags & (FUTEX2_NUMA | FUTEX2_MPOL):
        raise UringError(errno.EINVAL, "futexes of a NUMA node are not supported")


def prep(request: Request) -> None:
    """io_futex_prep()"""
    sqe, flags = request.sqe, request.sqe.fd & U32
    if sqe.len or sqe.futex_flags or sqe.buf_index or sqe.file_index:
        raise UringError(errno.EINVAL)
    _check_flags(flags)
    if sqe.addr2 > U32 or sqe.addr3 > U32:
        raise UringError(errno.EINVAL, "the word has 32 bits")
    request.data = flags


def issue_wait(request: Request) -> Outcome:
    """io_futex_wait()"""
    sqe = request.sqe
    if not sqe.addr3:
        raise UringError(errno.EINVAL, "an empty mask")
    word = Futex(request, sqe.addr, sqe.addr2, sqe.addr3, request.data)
    value = sqe.addr2 | request.data << 32
    # futex_waitv(2) has no masks
    sleeps = Wanted(URINGFS_DESCRIPTOR_SLEEP, 0, address=sqe.addr, length=value) if sqe.addr3 == U32 else None
    return _wait(request, [word], sleeps)


def _wait(request: Request, words: list[Futex], sleeps: Wanted | None) -> Outcome:
    """futex_wait_setup(), futex_wait_multiple_setup(). sleeps: what a client is to do that has threads for it."""
    for futex in words:
        if _word(request.caller, futex.address) != futex.value:
            raise UringError(errno.EAGAIN, "the word has another value")
    request.caller = request.caller.detached()
    if sleeps is None or request.caller.can & SLEEPS != SLEEPS:
        _queue(request, words)
        return IOU_ISSUE_SKIP_COMPLETE
    asleep = Asleep(request, sleeps, partial(_queue, request, words), futexes(request.context.host))
    request.disarm = asleep.disarm
    asleep.begin()
    return IOU_ISSUE_SKIP_COMPLETE


def _queue(request: Request, words: list[Futex]) -> None:
    waiting, table = FutexWaiter(request, words), futexes(request.context.host)
    table.add(waiting)
    request.disarm = partial(table.remove, waiting)


def issue_wake(request: Request) -> Outcome:
    """io_futex_wake()"""
    sqe = request.sqe
    if not sqe.addr3:
        raise UringError(errno.EINVAL, "an empty mask")
    key, shared = _key(request, sqe.addr, request.data)
    most = s32(sqe.addr2)
    if most < 0:
        most = 1  # futex_wake() compares behind the first
    table = futexes(request.context.host)
    sleepers = most - len(table.found(key, most, sqe.addr3))
    by_the_client = request.caller.can & WAKES == WAKES
    if not sleepers or not (by_the_client or shared):
        return table.wake(key, most, sqe.addr3)
    delivery = request.context.deliveries.begin(request.caller) if by_the_client else None
    return lambda: _wake_sleepers(request, delivery, key, sleepers)


async def _wake_sleepers(request: Request, delivery: Delivery | None, key: Hashable, sleepers: int) -> int:
    """Wake those that sleep in the kernel's own queue, then those in ours. Returns how many."""
    sqe, host = request.sqe, request.context.host
    table = futexes(host)
    request.held.append(Waking(table))
    if delivery is None:
        woken = await host.futex_wake(request.caller, sqe.addr, sleepers, sqe.addr3)
    else:
        with delivery:
            woken = await delivery.wake(sqe.addr, sleepers, sqe.addr3, bool(request.data & FUTEX2_PRIVATE))
    request.context.deliveries.look(request.caller.process)
    found = table.found(key, max(s32(sqe.addr2), 1) - max(woken, 0), sqe.addr3)
    for waiting, _ in found:
        table.remove(waiting)
    request.held.append(Woken(found))
    return max(woken, 0) + len(found) or woken


def prep_waitv(request: Request) -> None:
    """io_futexv_prep(), futex_parse_waitv()"""
    sqe = request.sqe
    if sqe.fd or sqe.buf_index or sqe.file_index or sqe.addr2 or sqe.futex_flags or sqe.addr3:
        raise UringError(errno.EINVAL)
    if not 0 < sqe.len <= FUTEX_WAITV_MAX:
        raise UringError(errno.EINVAL, f"{sqe.len} futexes")
    request.data = list(_parse(request.caller, sqe.addr, sqe.len))


def _parse(caller: Caller, address: int, count: int) -> Iterable[tuple[int, int, int]]:
    for n in range(count):
        entry = caller.memory.read(address + n * FUTEX_WAITV.size, FUTEX_WAITV.size)
        value, word, flags, reserved = FUTEX_WAITV.unpack(entry)
        if flags & ~FUTEX2_VALID_MASK or reserved:
            raise UringError(errno.EINVAL)
        _check_flags(flags)
        if value > U32:
            raise UringError(errno.EINVAL, "the word has 32 bits")
        yield word, value, flags


def issue_waitv(request: Request) -> Outcome:
    """io_futexv_wait()"""
    sqe = request.sqe
    words = [Futex(request, word, value, U32, flags) for word, value, flags in request.data]
    # one word of futex_waitv(2)'s most is the client's own
    sleeps = Wanted(URINGFS_DESCRIPTOR_SLEEP, sqe.len, address=sqe.addr) if sqe.len < FUTEX_WAITV_MAX else None
    return _wait(request, words, sleeps)
