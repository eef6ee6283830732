"""What only the caller's own process can do for a request: take a new descriptor, close one, reap a child, advise
on its memory.

An enter whose `can` says so lets requests begin that need it. The process fetches what there is to do, does
it and reports what came of it (URINGFS_CMD_FETCH); the CQE comes then. docs/descriptors.md
"""

import errno
import itertools
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import trio

from uringfs.abi.control import (
    DESCRIPTOR,
    ENTRY,
    URINGFS_DESCRIPTOR_ADVISE,
    URINGFS_DESCRIPTOR_NEW,
    URINGFS_DESCRIPTOR_WAIT,
    URINGFS_ENTER_FETCHES,
    URINGFS_ENTER_WAITS,
)
from uringfs.errors import UringError
from uringfs.host.base import Caller, Channel
from uringfs.ops.agent import Agent
from uringfs.ops.context import RingContext
from uringfs.ops.delivery import Delivery, Report, Wanted

PATIENCE = 0.05  # seconds a fetch waits for what its enter has submitted; a helper may have to start first
MAX_BATCH = 64
WHOLE = URINGFS_DESCRIPTOR_WAIT | URINGFS_DESCRIPTOR_ADVISE  # what takes whole entries
COMPLETION_STEPS = 3  # of the scheduler, in which a request ends once its event is set


ByGroup = dict[int, dict[Delivery, None]]
"""Some of them, by process, in their order. None is there without any."""


def _add(to: ByGroup, delivery: Delivery) -> None:
    to.setdefault(delivery.group, {})[delivery] = None


def _drop(of: ByGroup, delivery: Delivery) -> None:
    same = of.get(delivery.group, {})
    same.pop(delivery, None)
    if not same:
        of.pop(delivery.group, None)


class Deliveries:
    """Of one ring, by process. No call depends on how many there are."""

    def __init__(self, context: RingContext) -> None:
        self._context = context
        self._numbers = itertools.count(1)
        self._all: dict[int, Delivery] = {}
        self._ready: ByGroup = {}
        self._fresh: ByGroup = {}
        self._late: ByGroup = {}
        """All are either of these: see Delivery.fresh."""
        self._fetching: dict[int, trio.Event] = {}
        self._waiting: dict[int, list[Callable[[], None]]] = {}
        self._agents: dict[int, Agent] = {}
        self.supervised = False
        """What there is to do is done while a call of the process is answered (fs/supervisor.py)."""
        self._reporting: set[int] = set()  # the next of a chain is for the fetch that goes on

    def begin(self, caller: Caller, needs: int = URINGFS_ENTER_FETCHES) -> Delivery:
        """EOPNOTSUPP if the caller does no such thing."""
        if not caller.can & needs:
            raise UringError(errno.EOPNOTSUPP, f"it needs a caller that does its part: `can` without {needs:#x}")
        fresh = self._context.submitting or caller.group in self._reporting
        delivery = Delivery(self, caller.group, next(self._numbers), fresh)
        self._all[delivery.number] = delivery
        _add(self._fresh if delivery.fresh else self._late, delivery)
        return delivery

    def forget(self, delivery: Delivery) -> None:
        self._all.pop(delivery.number, None)
        delivery.fresh = False
        for some in (self._ready, self._fresh, self._late):
            _drop(some, delivery)
        if delivery.group in self._agents:
            self._agents[delivery.group].forget(delivery)
        self._need_no_enter()
        self._wake(delivery.group)

    def _need_no_enter(self) -> None:
        if self.supervised and not self._ready:
            self._context.ring.want_enter(False)

    def leave(self, delivery: Delivery) -> None:
        """No enter looks after it any more."""
        if delivery.fresh:
            delivery.fresh = False
            _drop(self._fresh, delivery)
            _add(self._late, delivery)

    def queued(self, delivery: Delivery) -> bool:
        """It is to be fetched."""
        return delivery in self._ready.get(delivery.group, ())

    def announce(self, delivery: Delivery) -> None:
        """It has to be fetched: wake who fetches, who waits in an enter, and who polls. Or an agent does it."""
        agent = self._agents.get(delivery.group)
        if agent is not None and not delivery.fresh:
            agent.ask(delivery)
            return
        _add(self._ready, delivery)
        self._wake(delivery.group)
        for leave in tuple(self._waiting.get(delivery.group, ())):
            leave()
        if self.supervised:
            self._context.ring.want_enter(True)
        for waiter in tuple(self._context.ring.waiters):  # who polls looks again
            waiter.completions()

    def _wake(self, group: int) -> None:
        event = self._fetching.pop(group, None)
        if event is not None:
            event.set()

    @contextmanager
    def interrupts(self, group: int, leave: Callable[[], None]) -> Iterator[None]:
        """Call leave() as soon as there is something to fetch, or now."""
        waiting = self._waiting.setdefault(group, [])
        waiting.append(leave)
        try:
            if self.ready(group):
                leave()
            yield
        finally:
            waiting.remove(leave)
            if not waiting:
                self._waiting.pop(group, None)

    def ready(self, group: int) -> bool:
        return group in self._ready

    def any(self) -> bool:
        """Something is under way, for whichever process."""
        return bool(self._all)

    def any_ready(self) -> bool:
        return bool(self._ready)

    def due(self, group: int) -> bool:
        """An enter should be followed by a fetch."""
        return self.ready(group) or group in self._fresh

    def later(self, group: int) -> bool:
        """There will be something to fetch that no enter looks after, and there is no agent for it."""
        return group not in self._agents and any(not delivery.taken() for delivery in self._late.get(group, ()))

    def left(self, group: int) -> None:
        """The enters of that process look after nothing any more."""
        for delivery in tuple(self._fresh.get(group, ())):
            self.leave(delivery)
        self._to_agent(group)

    def _to_agent(self, group: int) -> None:
        if group in self._agents:
            for delivery in tuple(self._ready.get(group, ())):
                if not delivery.fresh:
                    _drop(self._ready, delivery)
                    self._agents[group].ask(delivery)

    def close(self) -> None:
        """The ring is gone."""
        self.supervised = False
        for agent in self._agents.values():
            agent.stop()

    def serve(self, group: int, channel: Channel) -> Callable[[], Awaitable[None]]:
        """From now on an agent of that process takes what no enter looks after; until what is returned, and to be
        awaited, ends."""
        if group in self._agents:
            self._agents[group].stop()
        agent = self._agents[group] = Agent(channel)
        self._to_agent(group)
        return partial(self._run, agent, group)

    async def _run(self, agent: Agent, group: int) -> None:
        try:
            await agent.run()
        finally:
            if self._agents.get(group) is agent:
                del self._agents[group]
            for delivery in agent.unanswered():
                self.announce(delivery)

    async def take(self, group: int, room: int) -> list[Delivery]:
        """Those that are ready, at most `room`, to be ended by whoever takes them."""
        with trio.move_on_after(PATIENCE):
            while not self.ready(group) and group in self._fresh:
                await self._fetching.setdefault(group, trio.Event()).wait()
        if not self.ready(group):
            self.left(group)
            return []
        taken = list(itertools.islice(self._ready[group], min(room, MAX_BATCH)))
        for delivery in taken:
            _drop(self._ready, delivery)
        self._need_no_enter()
        return taken

    def wanted(self, delivery: Delivery) -> Wanted | None:
        """None: cancelled since it was taken; a descriptor of ours that it named may be another by now."""
        return delivery.wanted if delivery.number in self._all else None

    def put_back(self, taken: Iterable[Delivery]) -> None:
        """What was taken and not ended, for the next who takes."""
        for delivery in taken:
            if delivery.number in self._all:
                self.announce(delivery)

    async def fetch(self, caller: Caller, sock: int, room: int) -> bytes:
        """What the caller is to do, in the format it knows: as many as are ready and `room` lets."""
        taken = await self.take(caller.group, room)
        return b"".join(self._hand_over(caller, sock, taken)) if taken else b""

    def _hand_over(self, caller: Caller, sock: int, taken: Sequence[Delivery]) -> list[bytes]:
        new = [delivery for delivery in taken if delivery.wanted and delivery.wanted.what & URINGFS_DESCRIPTOR_NEW]
        failed = 0
        if new:
            try:
                caller.send_descriptors(sock, [delivery.wanted.number for delivery in new if delivery.wanted])
            except UringError as error:
                # Without a socket: its table is full (the client passes -1)
                failed = errno.EMFILE if sock < 0 else error.errno
        entries = []
        for delivery in taken:
            wanted = delivery.wanted
            assert wanted is not None
            self.leave(delivery)
            if failed and delivery in new:
                delivery.end(Report(-failed))
            elif wanted.what & WHOLE and not caller.can & URINGFS_ENTER_WAITS:
                delivery.end(Report(-errno.EOPNOTSUPP))
            else:
                entries.append(delivery.entry(wanted)[: entry_size(caller)])
        return entries

    async def report(self, caller: Caller, entries: bytes) -> None:
        """What came of those the caller has fetched. Ends once their requests have. EINVAL for one that it
        was not asked."""
        reported = []
        size = entry_size(caller)
        for at in range(0, len(entries), size):
            number, res, _, _, _, *info = ENTRY.unpack(entries[at : at + size].ljust(ENTRY.size, b"\0"))
            delivery = self._all.get(number)
            if delivery is None:  # cancelled meanwhile
                continue
            if delivery.group != caller.group or not delivery.taken():
                raise UringError(errno.EINVAL, f"nothing was asked of this process as {number}")
            delivery.end(Report(res, *info))
            reported.append(delivery)
        await self.completed(reported)

    async def completed(self, ended: Sequence[Delivery]) -> None:
        """Let the requests whose deliveries have ended complete."""
        groups = {delivery.group for delivery in ended}
        self._reporting |= groups
        try:
            for _ in range(COMPLETION_STEPS):
                if not any(delivery.number in self._all for delivery in ended):
                    return
                await trio.lowlevel.cancel_shielded_checkpoint()
        finally:
            self._reporting -= groups


def entry_size(caller: Caller) -> int:
    """Bytes of one struct uringfs_descriptor: clients that do not wait know the first half of it."""
    return ENTRY.size if caller.can & URINGFS_ENTER_WAITS else DESCRIPTOR.size
