"""The host: it finds callers, and sees what happens to them and to their files."""

from collections.abc import Callable, Hashable
from typing import Protocol

from uringfs.host.protocols.caller import Caller, File
from uringfs.host.status import ThreadStatus


def never() -> bool:
    return False


class Timer(Protocol):
    @property
    def fire(self) -> Callable[[], None]: ...

    def cancel(self) -> bool:
        """False if it has fired, or was cancelled."""


class Timers(Protocol):
    def now(self, clock: int) -> int:
        """clock_gettime(2), ns."""

    def absolute(self, when: int) -> int:
        """A time on these clocks, ns, from one on the system's: they may be ahead (host/events/jumps.py)."""

    def at(self, clock: int, when: int, fire: Callable[[], None]) -> Timer:
        """Call fire from the loop at that time, ns; timers of the same time in the order they were set."""


class Watch(Protocol):
    def cancel(self) -> bool:
        """End it; False if it has ended, or the one event it is for has happened. Needed before the file is
        closed."""


class WatchInThread(Watch, Protocol):
    def own_files(self) -> list[int]:
        """Inodes of our own mount's files that an epoll instance had in it when it was armed, or at its last
        event."""


class Poller(Protocol):
    """poll(2) without its waiting. Masks are those of poll(2), and what epoll_ctl(2) adds to them."""

    def mask(self, file: File, events: int) -> int | None:
        """What holds now; None if asking might block: ask(), wait() and watch_slowly() then, never watch()."""

    def same(self, file: File) -> File:
        """To be held in this one's place, which is closed: one of the same open file description that is watched
        already; or else this one. So many polls of one file cost one descriptor."""

    def watch(self, file: File, events: int, fire: Callable[[int], None], past: bool = True) -> Watch:
        """Call fire(mask) from the loop at every event, as epoll reports them. With EPOLLONESHOT an event counts
        though it is over by then, and fire() may be called for the first alone: cancel() is False from when that
        has happened. past: so it does, as well as can be, of those that last. EPERM: not such a file."""

    def watch_slowly(
        self,
        file: File,
        events: int,
        begun: Callable[[], None],
        fire: Callable[[int], None],
        refuse: Callable[[int], None],
    ) -> WatchInThread:
        """watch() of a file whose poll may block. begun(): from now on events count, or never will. refuse(what
        holds): it has no events to wait for."""

    def dispatch(self) -> None:
        """Call fire at once for what has happened until now."""

    def settle(self) -> None:
        """After Watch.cancel(): returns when the poller holds the file no more that was watched."""

    async def epoll_ctl(self, epoll: File, operation: int, target: File, number: int, event: bytes) -> None:
        """epoll_ctl(2): number is the target's descriptor in the caller's table. Not cancelled once begun."""

    async def epoll_wait(self, epoll: File, most: int) -> bytes:
        """epoll_wait(2) without waiting: the struct epoll_events. EINVAL."""

    async def ask(self, file: File, events: int) -> int:
        """mask(), from a thread. Cancellable."""

    async def wait(self, file: File, events: int) -> int:
        """Wait until one of the events holds: the mask. Cancellable."""


class Children(Protocol):
    def watch(self, caller: Caller, which: int, number: int, options: int, fire: Callable[[], None]) -> Watch:
        """Call fire() from the loop when waitid(2) with these arguments, called by the caller's process, might
        find what it did not find when this began. At times it will not."""


class Signals(Protocol):
    """The pending signals of callers, for their signalfds."""

    def pending(self, caller: Caller, file: File) -> bool:
        """A read of that signalfd by the caller would not block now."""

    def watch(self, caller: Caller, file: File, fire: Callable[[int], None]) -> Watch:
        """Call fire(EPOLLIN) from the loop when a signal has come, a moment later, since this began."""


class Opener(Protocol):
    """Who has opened a file that is written to with side effects."""

    @property
    def is_unlimited(self) -> bool:
        """True if the opener admits everybody, always."""

    def admits(self, caller: Caller) -> bool:
        """The caller, who is writing now, has no rights that the opener had not: see docs/security.md."""


class Host(Protocol):
    """Finds callers, and watches them."""

    @property
    def timers(self) -> Timers:
        """For requests, and for waits of clients."""

    @property
    def pauses(self) -> Timers:
        """For whoever looks again and again: these are always on the system's clocks."""

    @property
    def children(self) -> Children: ...

    @property
    def signals(self) -> Signals: ...

    @property
    def poller(self) -> Poller: ...

    def caller(self, tid: int, uid: int, gid: int) -> Caller:
        """The thread a control write came from."""

    def supervised(self, tid: int, valid: Callable[[], bool]) -> Caller:
        """The thread of a notification, for as long as valid() says that it waits for the answer: whatever is
        looked up by its id is looked up and then checked. ESRCH once it does not."""

    def tidy(self) -> None:
        """Let go of what is kept of threads that are gone."""

    def opener(self, tid: int) -> "Opener":
        """Who opens a ring file, to be taken while it does."""

    def status(self, tid: int) -> ThreadStatus:
        """ESRCH"""

    def lineage(self, tid: int) -> tuple[int, ...]:
        """A thread's process, that one's parent, and so on."""

    async def open_ring(self) -> File:
        """A new ring file of our own mount, as every open of `new` makes one."""

    def adopt(self, fd: int) -> File:
        """Take over a descriptor of ours."""

    def shared_word(self, caller: Caller, address: int) -> Hashable | None:
        """What lies at an address of memory the caller shares, the same for all who map it; None: private.
        ECANCELED."""

    async def futex_wake(self, caller: Caller, address: int, most: int, mask: int) -> int:
        """Wake those who sleep in futex(2) on a shared word of the caller's: how many. ECANCELED."""

    def unsettled(self) -> bool:
        """Rings may have been closed that are still served."""

    async def settled(self, unless: Callable[[], bool] = never, *, first: bool = False) -> None:
        """Wait until what had been closed when this was called is closed here, too, or until unless() says that
        it makes no difference. Who came first goes on first; first: before all who wait already. Not
        cancelled."""
