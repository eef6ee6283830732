"""Path system calls in a caller's name: with its ids, groups, capabilities, umask, root, working directory
and namespaces, as they were while it was blocked in its control write.

They run in processes (host.helper says why), one call at a time each. A call that is cancelled is ended
with its process, so not even the open of a FIFO outlives its request.
"""

import errno
from collections import deque
from collections.abc import Hashable, Sequence

import trio

from uringfs.errors import UringError
from uringfs.host.identity.credentials import Credentials
from uringfs.host.identity.identity import Identity, Surroundings
from uringfs.host.identity.zygote import Helper, Unusable, Value, Zygote
from uringfs.host.protocols import File, Out
from uringfs.host.threads import calls

MAX_BUSY = 16
"""Helpers that one user may keep busy. Its further requests wait, in their order; nobody else's do."""
FEW = 4
"""How many a user has at once. More are started only when some have been busy for PATIENCE: what blocks (the
open of a FIFO) must not keep the others waiting, and 32 quick opens are not worth 32 processes."""
PATIENCE = 0.02  # seconds
MAX_IDLE = 16  # of all users
LINGER, LINGER_AWAY = 10.0, 0.5
"""Seconds that an idle one is kept, and one whose root or namespaces are not ours: it keeps them from being
taken down."""
LOOK = 0.25  # seconds
ATTEMPTS = 3
"""How often a helper that was never born is asked for again."""


class _Waiter:
    """A request that has no helper yet."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.helper: Helper | None = None
        self.served = trio.Event()


class _Account:
    """One user's helpers, and who waits for one."""

    def __init__(self) -> None:
        self.busy: set[Helper] = set()
        self.idle: deque[Helper] = deque()
        """Longest idle first."""
        self.waiting: deque[_Waiter] = deque()
        self.hurried = False

    def limit(self) -> int:
        """FEW, and one for each helper that is at one call for long: not for one whose answer we have not read."""
        late = trio.current_time() - PATIENCE
        return min(MAX_BUSY, FEW + sum(helper.since <= late and helper.silent() for helper in self.busy))

    def suitable(self, key: Hashable) -> Helper | None:
        """The one that was used last."""
        found = next((helper for helper in reversed(self.idle) if helper.key == key), None)
        if found is not None:
            self.idle.remove(found)
        return found

    def empty(self) -> bool:
        return not (self.busy or self.idle or self.waiting)


class ActorPool:
    """The helpers there are."""

    def __init__(self) -> None:
        self.ours = Surroundings()
        self._zygote = Zygote()
        self._accounts: dict[Hashable, _Account] = {}
        self._ending: list[Helper] = []
        self._lingering = False
        self._closed = False

    async def call(
        self, identity: Identity, name: str, args: Sequence[Value], fds: Sequence[int], room: int = 0
    ) -> tuple[int, bytes]:
        """(result, out): a new descriptor of ours from an open; out has at most `room` bytes. UringError;
        Cancelled ends the call."""
        attempts = 0
        while True:
            helper, more = await self._take(identity), False
            attempts += helper.unborn
            try:
                result, out, more = await helper.call(self._zygote, identity, name, args, fds, room)
                break
            except Unusable as error:
                if attempts == ATTEMPTS:
                    raise UringError(errno.EAGAIN, "no helper process can be started") from error
            except OSError as error:
                raise UringError.of(error) from error
            finally:
                self._put_back(helper, more)
        if result < 0:
            raise UringError(-result)
        return result, out

    async def _take(self, identity: Identity) -> Helper:
        account = self._accounts.setdefault(identity.account, _Account())
        waiter = _Waiter(identity)
        account.waiting.append(waiter)
        self._dispatch(account)
        if waiter.helper is None:
            if not account.hurried:
                trio.lowlevel.spawn_system_task(self._hurry, account)
            account.hurried = True
            try:
                await waiter.served.wait()
            except trio.Cancelled:
                if waiter.helper is not None:
                    self._put_back(waiter.helper, not waiter.helper.unborn)
                else:
                    account.waiting.remove(waiter)
                    self._forget(identity.account)
                raise
        assert waiter.helper is not None
        return waiter.helper

    def _dispatch(self, account: _Account) -> None:
        """Strictly in order: whoever has waited longest gets an idle helper, or a new one."""
        while account.waiting:
            identity = account.waiting[0].identity
            helper = account.suitable(identity.key)
            if helper is None:
                if len(account.busy) + len(account.idle) >= account.limit():
                    if not account.idle:
                        return
                    self._end(account.idle.popleft())  # it is for another identity
                try:
                    helper = Helper(identity)
                except OSError:
                    return
            helper.since = trio.current_time()
            account.busy.add(helper)
            waiter = account.waiting.popleft()
            waiter.helper = helper
            waiter.served.set()

    async def _hurry(self, account: _Account) -> None:
        """While somebody waits: helpers that have become slow count less."""
        try:
            while account.waiting:
                await trio.sleep(PATIENCE)
                self._dispatch(account)
        finally:
            account.hurried = False

    def _put_back(self, helper: Helper, reusable: bool) -> None:
        account = self._accounts[helper.account]
        account.busy.discard(helper)
        if reusable and not self._closed:
            helper.since = trio.current_time()
            account.idle.append(helper)
        else:
            self._end(helper)
        self._dispatch(account)
        self._trim()
        self._forget(helper.account)

    def _forget(self, name: Hashable) -> None:
        """A user without any helper, if it is. The last one's end, behind close(), is the zygote's."""
        if self._accounts[name].empty():
            del self._accounts[name]
        if self._closed and not self._accounts:
            self._zygote.close()

    def _trim(self) -> None:
        """If too many helpers are idle, end some: those go whose user has most."""
        accounts = [account for account in self._accounts.values() if account.idle]
        if sum(len(account.idle) for account in accounts) > MAX_IDLE:
            self._end(max(accounts, key=lambda account: len(account.idle)).idle.popleft())
        if accounts and not self._lingering:
            self._lingering = True
            trio.lowlevel.spawn_system_task(self._linger)

    async def _linger(self) -> None:
        """While there are idle ones: those that have been for too long end."""
        try:
            while any(account.idle for account in self._accounts.values()):
                await trio.sleep(LOOK)
                for name, account in list(self._accounts.items()):
                    self._end_old(account)
                    self._forget(name)
        finally:
            self._lingering = False

    def _end_old(self, account: _Account) -> None:
        now = trio.current_time()
        for helper in [*account.idle]:
            if now - helper.since > (LINGER if helper.at_home else LINGER_AWAY):
                account.idle.remove(helper)
                self._end(helper)

    def _end(self, helper: Helper) -> None:
        helper.end()
        self._ending.append(helper)
        self.reap()

    def reap(self) -> bool:
        """Whether all that were to end have: a process that is being killed may take its time, and whoever comes
        next looks again."""
        self._ending = [helper for helper in self._ending if not helper.ended()]
        return not self._ending

    def close(self) -> None:
        """End those that are idle; the others when their calls do."""
        self._closed = True
        for name, account in list(self._accounts.items()):
            while account.idle:
                self._end(account.idle.popleft())
            self._forget(name)
        if not self._accounts:
            self._zygote.close()


class LocalActor:
    """base.Actor"""

    def __init__(self, pool: ActorPool, tid: int, credentials: Credentials) -> None:
        self._pool = pool
        self._identity = Identity(tid, credentials, pool.ours)

    async def call(self, name: str, *args: int | bytes | File | Out) -> tuple[int, bytes]:
        values: list[Value] = []
        fds: list[int] = []
        room = 0
        for arg in args:
            if isinstance(arg, Out):
                values.append(("out", arg.size))
                room = arg.size
            elif isinstance(arg, bytes):
                values.append(bytes(arg))
            elif isinstance(arg, int):
                values.append(arg)
            else:
                fds.append(arg.fileno())
                values.append(("file", len(fds)))  # behind the working directory
        with calls:
            return await self._pool.call(self._identity, name, values, fds, room)
