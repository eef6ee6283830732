"""What only the caller's own process can do for a request: take a new descriptor, close one, reap a child, advise
on its memory, wake threads of it.

An enter whose `can` says so lets requests begin that need it. The process fetches what there is to do, does
it and reports what came of it (URINGFS_CMD_FETCH); the CQE comes then. docs/descriptors.md
"""

import errno
import itertools
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import trio

from uringfs.abi.control import (
    DESCRIPTOR,
    ENTRY,
    URINGFS_DESCRIPTOR_AWAKE,
    URINGFS_DESCRIPTOR_CLOSE,
    URINGFS_DESCRIPTOR_NEW,
    URINGFS_DESCRIPTOR_WAIT,
    URINGFS_ENTER_FETCHES,
    URINGFS_ENTER_WAITS,
)
from uringfs.clientwork.agent import ClientAgent
from uringfs.clientwork.delivery import ADDRESSED, Delivery, Report, Wanted
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, Channel
from uringfs.ring.ring import Ring

PATIENCE = 0.05  # seconds a fetch waits for what its enter has submitted; a helper may have to start first
MAX_BATCH = 64
WHOLE = URINGFS_DESCRIPTOR_WAIT | ADDRESSED
"""What takes whole entries."""
COMPLETION_STEPS = 3  # of the scheduler, in which a request ends once its event is set


ByProcess = dict[Hashable, dict[Delivery, None]]
"""Caller.process -> its deliveries in arrival order (a dict as an ordered set). Empty entries are removed."""


def _add(to: ByProcess, delivery: Delivery) -> None:
    to.setdefault(delivery.process, {})[delivery] = None


def _drop(of: ByProcess, delivery: Delivery) -> None:
    same = of.get(delivery.process, {})
    same.pop(delivery, None)
    if not same:
        of.pop(delivery.process, None)


class DeliveringRing(Protocol):
    """The ring whose deliveries these are."""

    ring: Ring

    @property
    def submitting(self) -> bool:
        """An enter submits now, behind which its client fetches; not a poller."""


class Deliveries:
    """The deliveries of one ring, by process. The time a call takes does not depend on how many there are."""

    def __init__(self, context: DeliveringRing) -> None:
        self._context = context
        self._numbers = itertools.count(1)
        self._all: dict[int, Delivery] = {}
        self._ready: ByProcess = {}
        self._awaiting_enter: ByProcess = {}
        self._unattended: ByProcess = {}
        """Each delivery is in one of these two: see Delivery.awaits_enter."""
        self._fetching: dict[Hashable, trio.Event] = {}
        self._waiting: dict[Hashable, list[Callable[[], None]]] = {}
        self._agents: dict[Hashable, ClientAgent] = {}
        self._asleep: set[Delivery] = set()
        self.supervised = False
        """What there is to do is done while a call of the process is answered (fs/supervised/supervisor.py)."""
        self._reporting: set[Hashable] = set()  # the next of a chain is for the fetch that goes on

    def begin(self, caller: Caller, needs: int = URINGFS_ENTER_FETCHES) -> Delivery:
        """EOPNOTSUPP if the caller does no such thing."""
        if not caller.can & needs:
            raise UringError(errno.EOPNOTSUPP, f"it needs a caller that does its part: `can` without {needs:#x}")
        return self._begin(caller.process)

    def _begin(self, process: Hashable) -> Delivery:
        awaits_enter = self._context.submitting or process in self._reporting
        delivery = Delivery(self, process, next(self._numbers), awaits_enter)
        self._all[delivery.number] = delivery
        _add(self._awaiting_enter if delivery.awaits_enter else self._unattended, delivery)
        return delivery

    def forget(self, delivery: Delivery) -> None:
        self._all.pop(delivery.number, None)
        self._asleep.discard(delivery)
        delivery.awaits_enter = False
        for some in (self._ready, self._awaiting_enter, self._unattended):
            _drop(some, delivery)
        if delivery.process in self._agents:
            self._agents[delivery.process].forget(delivery)
        self._need_no_enter()
        self._wake(delivery.process)

    def _need_no_enter(self) -> None:
        if self.supervised and not self._ready:
            self._context.ring.want_enter(False)

    def expect_no_enter(self, delivery: Delivery) -> None:
        """Call once no enter is expected to fetch this delivery any more."""
        if delivery.awaits_enter:
            delivery.awaits_enter = False
            _drop(self._awaiting_enter, delivery)
            _add(self._unattended, delivery)

    def queued(self, delivery: Delivery) -> bool:
        """True if the delivery waits to be fetched."""
        return delivery in self._ready.get(delivery.process, ())

    def announce(self, delivery: Delivery) -> None:
        """Tell of a delivery to be fetched: wake who fetches, who waits in an enter, and who polls, or give
        it to the agent."""
        agent = self._agents.get(delivery.process)
        if agent is not None and not delivery.awaits_enter:
            agent.ask(delivery)
            return
        _add(self._ready, delivery)
        self._wake(delivery.process)
        for interrupt in tuple(self._waiting.get(delivery.process, ())):
            interrupt()
        if self.supervised:
            self._context.ring.want_enter(True)
        for waiter in self._context.ring.waiters:  # who polls looks again
            waiter.completions()

    def sleeps(self, delivery: Delivery) -> None:
        """A thread of the client's sleeps for it: the agent answers once more. Without one it is asked anew."""
        agent = self._agents.get(delivery.process)
        if agent is None:
            return self.announce(delivery)
        self._asleep.add(delivery)
        return agent.sleeps(delivery)

    def awake(self, process: Hashable, number: int) -> None:
        """Let the agent end a sleep. If an enter submits now, it ends behind that."""
        agent = self._agents.get(process)
        if agent is not None:
            delivery = self._begin(process)
            delivery.ask_of(agent.ask, Wanted(URINGFS_DESCRIPTOR_AWAKE, 0, address=number))

    def look(self, process: Hashable) -> None:
        """Take what the process's agent has answered by now."""
        if process in self._agents:
            self._agents[process].look()

    def _wake(self, process: Hashable) -> None:
        event = self._fetching.pop(process, None)
        if event is not None:
            event.set()

    @contextmanager
    def interrupts(self, process: Hashable, interrupt: Callable[[], None]) -> Iterator[None]:
        """Call interrupt() as soon as there is something to fetch, or now."""
        waiting = self._waiting.setdefault(process, [])
        waiting.append(interrupt)
        try:
            if self.ready(process):
                interrupt()
            yield
        finally:
            waiting.remove(interrupt)
            if not waiting:
                self._waiting.pop(process, None)

    def ready(self, process: Hashable) -> bool:
        return process in self._ready

    def any(self) -> bool:
        """Something is under way, for whichever process, but sleep."""
        return len(self._all) > len(self._asleep)

    def any_ready(self) -> bool:
        return bool(self._ready)

    def needs_fetch(self, process: Hashable) -> bool:
        """True if an enter of that process should be followed by a fetch."""
        return self.ready(process) or process in self._awaiting_enter

    def unattended(self, process: Hashable) -> bool:
        """True if there will be something to fetch that no enter is expected to, and there is no agent for it."""
        waiting = self._unattended.get(process, ())
        return process not in self._agents and any(not delivery.taken() for delivery in waiting)

    def enters_ended(self, process: Hashable) -> None:
        """Call when no enter of that process is expected to fetch anything any more."""
        for delivery in tuple(self._awaiting_enter.get(process, ())):
            self.expect_no_enter(delivery)
        self._to_agent(process)

    def _to_agent(self, process: Hashable) -> None:
        if process in self._agents:
            for delivery in tuple(self._ready.get(process, ())):
                if not delivery.awaits_enter:
                    _drop(self._ready, delivery)
                    self._agents[process].ask(delivery)

    def close(self) -> None:
        """The ring is gone."""
        self.supervised = False
        for agent in self._agents.values():
            agent.stop()

    def serve(self, process: Hashable, channel: Channel) -> Callable[[], Awaitable[None]]:
        """From now on an agent of that process takes what no enter looks after; until what is returned, and to be
        awaited, ends."""
        if process in self._agents:
            self._agents[process].stop()
        agent = self._agents[process] = ClientAgent(channel, partial(self.awake, process))
        self._to_agent(process)
        return partial(self._run, agent, process)

    async def _run(self, agent: ClientAgent, process: Hashable) -> None:
        try:
            await agent.run()
        finally:
            if self._agents.get(process) is agent:
                del self._agents[process]
            for delivery in agent.unanswered():
                self._asleep.discard(delivery)
                self.announce(delivery)

    async def take(self, process: Hashable, room: int) -> list[Delivery]:
        """Take deliveries that are ready, at most `room`: whoever takes them ends them."""
        with trio.move_on_after(PATIENCE):
            while not self.ready(process) and process in self._awaiting_enter:
                await self._fetching.setdefault(process, trio.Event()).wait()
        if not self.ready(process):
            self.enters_ended(process)
            return []
        taken = list(_in_one_go(itertools.islice(self._ready[process], min(room, MAX_BATCH))))
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
        taken = await self.take(caller.process, room)
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
            self.expect_no_enter(delivery)
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
                if res == -errno.EINPROGRESS:
                    self.awake(caller.process, number)
                continue
            if delivery.process != caller.process or not delivery.taken():
                raise UringError(errno.EINVAL, f"nothing was asked of this process as {number}")
            delivery.end(Report(res, *info))
            reported.append(delivery)
        await self.completed(reported)

    async def completed(self, ended: Sequence[Delivery]) -> None:
        """Let the requests whose deliveries have ended complete."""
        processes = {delivery.process for delivery in ended}
        self._reporting |= processes
        try:
            for _ in range(COMPLETION_STEPS):
                if not any(delivery.number in self._all for delivery in ended):
                    return
                await trio.lowlevel.cancel_shielded_checkpoint()
        finally:
            self._reporting -= processes


def _in_one_go(ready: Iterable[Delivery]) -> Iterator[Delivery]:
    """The deliveries of one fetch: up to the first new descriptor after a close, as new ones are received before
    any is closed."""
    closes = False
    for delivery in ready:
        what = delivery.wanted.what if delivery.wanted else 0
        if closes and what & URINGFS_DESCRIPTOR_NEW:
            return
        closes = closes or bool(what & URINGFS_DESCRIPTOR_CLOSE)
        yield delivery


def entry_size(caller: Caller) -> int:
    """Bytes of one struct uringfs_descriptor: clients that do not wait know the first half of it."""
    return ENTRY.size if caller.can & URINGFS_ENTER_WAITS else DESCRIPTOR.size
