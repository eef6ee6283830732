"""The rules of a mount, and the one who breaks requests by them: at submission it picks the rules that may apply,
at issue those that do, at completion it has the last word (ops/hooks.py: Breaker)."""

import errno
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import trio

from uringfs.abi.constants import IORING_CQE_F_MORE, IORING_OP_FSYNC
from uringfs.abi.structs import Cqe
from uringfs.engine.hooks import Hooks, Subscriber
from uringfs.engine.request import Outcome, Request, RingContext
from uringfs.errors import UringError
from uringfs.faults import matching
from uringfs.faults.given import Given, Lineage, Naming, Postponed, RuleGiver, make_room
from uringfs.faults.injection import Injection
from uringfs.faults.parser import RuleError, parse
from uringfs.faults.unsynced import Unsynced
from uringfs.faults.waits import Begin, HeldEnd, Perform, Stall, Window
from uringfs.host.protocols import Caller
from uringfs.ring.ring import Ring

NSEC = 1_000_000_000
SHOWN = 8
"""Lines in `cat` about faults."""


class _Forget:
    """Held by a request: it is complete."""

    def __init__(self, faults: "FaultEngine", request: Request) -> None:
        self._faults = faults
        self._request = request

    def close(self) -> None:
        self._faults.forget(self._request)


class FaultEngine(Subscriber):
    """All rules of a mount."""

    def __init__(
        self,
        nursery: trio.Nursery,
        hooks: Hooks,
        names: Naming = lambda number: "",
        lineage: Lineage = lambda tid: (tid,),
        seed: str = "",
        ended: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        """seed: all chance is a function of it, and of what is submitted. ended: waits until a process has."""
        self._nursery = nursery
        self._hooks = hooks
        self._names = names
        self._lineage = lineage
        self._seed = seed
        self._ended = ended
        self._last_id = 0
        self._rules: dict[int, Given] = {}
        self._by_opcode: dict[int, tuple[Given, ...]] = {}
        self._by_call: dict[str, tuple[Given, ...]] = {}
        self._candidates: dict[Request, list[Given]] = {}
        self._injections: dict[Request, Injection] = {}
        self._passing: set[Request] = set()
        """What has waited with its result, and is being completed."""
        self._stalls: dict[RingContext, Stall] = {}
        self._windows: dict[RingContext, dict[int, Window]] = {}
        self._unsynced = Unsynced(nursery, ended, self._changed)
        self._posting: tuple[Ring, int, Injection] | None = None
        """Whose CQE comes next."""

    # -- rules

    def inject(self, text: str, who: RuleGiver, ring: int = 0) -> Given:
        """Put a rule in force. ring: it is about that ring file alone. EINVAL says what is wrong with it; ENOENT,
        EAGAIN."""
        try:
            rule = parse(text)
        except RuleError as error:
            raise UringError(errno.EINVAL, f"inject: {error}") from error
        make_room(self._rules, who.uid)
        if rule.release is not None:
            self._of(rule.release, who)
        self._last_id += 1
        deadline = trio.current_time() + (rule.expires or 0.0)
        seed = f"{self._seed}:{self._last_id}" if rule.seed is None else str(rule.seed)
        given = self._rules[self._last_id] = Given(self._last_id, rule, who, ring, seed, deadline)
        if rule.expires is not None:
            self._nursery.start_soon(self._expire, given)
        if rule.pid is not None and self._ended is not None:
            self._nursery.start_soon(self._end_with, given, self._ended(rule.pid))
        self._changed()
        return given

    def release(self, number: int, who: RuleGiver) -> int:
        """What a rule holds goes on: how many. ENOENT."""
        return self._of(number, who).let_go()

    def remove(self, number: int, who: RuleGiver) -> None:
        """Remove a rule; what it holds goes on. ENOENT."""
        given = self._of(number, who)
        del self._rules[number]
        self._changed()
        given.let_go()

    def remove_all(self, who: RuleGiver, ring: int = 0) -> int:
        """Remove a user's rules, or as root all; with ring, those that were written to this file. Returns how
        many."""
        found = [given for given in self.given(who) if ring in (0, given.ring)]
        for given in found:
            self.remove(given.id, who)
        return len(found)

    def given(self, who: RuleGiver) -> list[Given]:
        """The rules that this user may see, the oldest first."""
        return [given for given in self._rules.values() if who.is_root or given.who.uid == who.uid]

    def _of(self, number: int, who: RuleGiver) -> Given:
        found = [given for given in self.given(who) if given.id == number]
        if not found:
            raise UringError(errno.ENOENT, f"no rule {number}")
        return found[0]

    async def _expire(self, given: Given) -> None:
        await trio.sleep_until(given.deadline)
        self._is_over(given)

    async def _end_with(self, given: Given, ended: Awaitable[None]) -> None:
        await ended
        if given.id in self._rules:
            self._is_over(given)

    def _is_over(self, given: Given) -> None:
        given.expired = True
        self._changed()
        given.let_go()

    def _changed(self) -> None:
        """The tables by which rules are found. Without rules, and requests that have met one, nobody asks."""
        active = [given for given in self._rules.values() if not given.expired]
        opcodes = {opcode for given in active for opcode in given.rule.opcodes}
        self._by_opcode = {o: tuple(given for given in active if o in given.rule.opcodes) for o in opcodes}
        calls = {given.rule.call for given in active if given.rule.call}
        self._by_call = {call: tuple(given for given in active if given.rule.call == call) for call in calls}
        wanted = bool(active or self._candidates or self._injections or self._stalls or self._windows)
        wanted = wanted or bool(self._unsynced)
        if wanted and self._hooks.breaker is None:
            self._hooks.subscribe(self)
            self._hooks.breaker = self
        elif not wanted and self._hooks.breaker is self:
            self._hooks.unsubscribe(self)
            self._hooks.breaker = None

    # -- submission and issue

    def io_uring_submit_req(self, request: Request) -> None:
        rules = self._by_opcode.get(request.sqe.opcode)
        if rules is None:
            return
        found = [given for given in rules if matching.submitted(given, request, self._names, self._lineage)]
        if found:
            self._candidates[request] = found
            request.held.append(_Forget(self, request))

    def issue(self, request: Request, perform: Perform) -> Outcome:
        """Breaker.issue()"""
        injection = self._fire(request)
        if request.sqe.opcode == IORING_OP_FSYNC and self._unsynced:
            perform = partial(self._unsynced.sync, perform)
        if injection is not None:
            for given in injection.fired:
                self._note(request.context.ring, request, given)
            self._begin_stall(request.context, injection)
            perform = partial(_perform, injection, self._losing(request, injection, perform))
        stall = self._stalls.get(request.context)
        if stall is not None:
            return self._waits(request, perform, stall.waiting)
        return self._entering(request, perform, injection)

    def _losing(self, request: Request, injection: Injection, perform: Perform) -> Perform:
        """A write that is to be lost unless it is synced begins when what is there has been kept."""
        given = injection.by("unsynced")
        if given is None:
            return perform
        pid = self._lineage(request.caller.tid)[0]
        return partial(self._unsynced.write, given, pid, self._stalls.get, perform)

    def _fire(self, request: Request) -> Injection | None:
        candidates = self._candidates.pop(request, None)
        if candidates is None:
            return None
        fired = [g for g in candidates if not g.expired and matching.issued(g, request) and g.fires()]
        if not fired:
            return None
        self._injections[request] = injection = Injection(request, fired)
        if any(given.expired for given in fired):
            self._changed()
        return injection

    def _entering(self, request: Request, perform: Perform, injection: Injection | None) -> Outcome:
        if injection is None:
            return perform(request)
        holds = next((given for given in injection.fired if given.rule.hold == "enter"), None)
        if holds is not None:
            return self._waits(request, perform, holds.waiting)
        given = injection.by("delay_enter")
        if given is None or given.rule.delay_enter is None:
            return perform(request)
        begin = Begin(request, perform, self._stalls.get)
        outcome = begin.outcome()
        self._later(given.rule.delay_enter.sample(injection.chance(given, "delay_enter")), begin, request.context)
        return outcome

    def _waits(self, request: Request, perform: Perform, among: list[Postponed]) -> Outcome:
        begin = Begin(request, perform, self._stalls.get)
        outcome = begin.outcome()
        among.append(begin)
        return outcome

    def _begin_stall(self, context: RingContext, injection: Injection) -> None:
        given = injection.by("stall")
        if given is None or context in self._stalls:
            return
        stall = self._stalls[context] = Stall(partial(self._stall_ended, context))
        given.waiting.append(stall)
        if given.rule.stall:
            self._later(given.rule.stall, stall, context)

    def _stall_ended(self, context: RingContext) -> None:
        self._stalls.pop(context, None)

    def _later(self, seconds: float, one: Postponed, context: RingContext) -> None:
        timers = context.host.timers
        when = timers.now(time.CLOCK_MONOTONIC) + round(seconds * NSEC)
        timers.at(time.CLOCK_MONOTONIC, when, partial(self._start_going, one, context))

    def _start_going(self, one: Postponed, context: RingContext) -> None:
        if not self._nursery.cancel_scope.cancel_called:
            self._nursery.start_soon(self._go, one, context)

    async def _go(self, one: Postponed, context: RingContext) -> None:
        await context.host.settled()
        one.go()

    def _note(self, ring: Ring, request: Request | None, given: Given) -> None:
        """For `cat` of the ring, and for who watches. request: None of a call."""
        ring.counters.injected += 1
        user_data = request.sqe.user_data if request is not None else 0
        ring.injected.append(f"rule:{given.id}, user_data:{user_data}, {given.rule.text}")
        del ring.injected[:-SHOWN]
        self._hooks.call("uringfs_inject", ring, request, given.id, given.rule.text)

    # -- completion

    def complete(self, request: Request, res: int, failed: bool | None) -> tuple[int, bool | None] | None:
        """Breaker.complete()"""
        self._posting = None
        self._unsynced.complete(request, res)
        injection = self._injections.get(request)
        if injection is not None and not injection.result_seen:
            injection.result_seen = True
            res, failed = injection.result(res, failed)
            self._release(injection)
        windows = self._windows.get(request.context)
        if windows:
            request.context.task_work(partial(_look, tuple(windows.values())))
        if request in self._passing:
            self._passing.discard(request)
        elif self._retained(request, injection, (res, failed)):
            return None
        if injection is not None:
            self._posting = request.context.ring, request.sqe.user_data, injection
        return res, failed

    def _retained(self, request: Request, injection: Injection | None, result: tuple[int, bool | None]) -> bool:
        """True if the request has to wait with its result."""
        stall = self._stalls.get(request.context)
        given = injection.waits_at_exit() if injection is not None else None
        if request.context.closed or (stall is None and given is None):
            return False
        if request not in self._injections:
            request.held.append(_Forget(self, request))
        end = HeldEnd(request, result, self._stalls.get, self._passing.add)
        request.context.retain(request)
        if given is None:
            assert stall is not None
            stall.waiting.append(end)
        elif given.rule.hold == "exit":
            given.waiting.append(end)
        elif given.rule.delay_exit is not None:
            assert injection is not None
            chance = injection.chance(given, "delay_exit")
            self._later(given.rule.delay_exit.sample(chance), end, request.context)
        else:
            assert injection is not None
            self._window(request.context, given).add(injection.number(given), end)
        return True

    def _window(self, context: RingContext, given: Given) -> Window:
        windows = self._windows.setdefault(context, {})
        if given.id not in windows:
            ended = partial(self._window_ended, context, given.id)
            chance = partial(given.chance, what="reorder")
            room = given.rule.reorder or 2
            window = windows[given.id] = Window(context, room, chance, ended, self._later)
            window.open()
            context.task_work(window.look)
        return windows[given.id]

    def _window_ended(self, context: RingContext, number: int) -> None:
        windows = self._windows.get(context, {})
        windows.pop(number, None)
        if not windows:
            self._windows.pop(context, None)

    def _release(self, injection: Injection) -> None:
        for given in injection.fired:
            if given.rule.release is not None and given.rule.release in self._rules:
                self._rules[given.rule.release].let_go()

    def more(self, request: Request) -> bool:
        """Breaker.more()"""
        injection = self._injections.get(request)
        if injection is None:
            return True
        if injection.hides_more():
            self._posting = request.context.ring, request.sqe.user_data, injection
        return injection.more()

    def posts(self, ring: Ring, cqe: tuple[int, int, int], big: bytes) -> bool:
        """Breaker.posts()"""
        posting, self._posting = self._posting, None
        if posting is None or posting[:2] != (ring, cqe[0]):
            return False
        if posting[2].by("hidemore") and cqe[2] & IORING_CQE_F_MORE:
            ring.cq.post(*cqe[:2], cqe[2] & ~IORING_CQE_F_MORE, big)
        elif posting[2].by("lose"):
            ring.cq.lose()
        elif posting[2].by("overflow"):
            ring.cq.spill(Cqe(*cqe), big)
        else:
            return False
        return True

    def forget(self, request: Request) -> None:
        """Forget a request that is complete."""
        self._candidates.pop(request, None)
        injection = self._injections.pop(request, None)
        if injection is not None:
            injection.forget()
        self._passing.discard(request)
        if request.context.closed:
            self._stalls.pop(request.context, None)
            self._windows.pop(request.context, None)
        if not self._by_opcode and not self._by_call:
            self._changed()

    # -- calls

    def enter(self, ring: Ring, caller: Caller, to_submit: int) -> int:
        """Breaker.enter()"""
        for given in self._called("enter", caller, ring.number, ring.owner[1]):
            self._note(ring, None, given)
            if given.rule.error is not None:
                raise UringError(given.rule.error, f"rule {given.id}: {given.rule.text}")
            to_submit = min(to_submit, given.rule.short if given.rule.short is not None else to_submit)
        return to_submit

    def call(self, name: str, caller: Caller, number: int, owner: int) -> None:
        """Breaker.call()"""
        for given in self._called(name, caller, number, owner):
            raise UringError(given.rule.error or errno.EIO, f"rule {given.id}: {given.rule.text}")

    def _called(self, name: str, caller: Caller, number: int, owner: int) -> Iterator[Given]:
        for given in self._by_call.get(name, ()):
            matches = matching.called(given, caller, number, owner, self._names, self._lineage)
            if matches and not given.expired and given.fires():
                if given.expired:
                    self._changed()
                yield given


def _perform(injection: Injection, perform: Perform, request: Request) -> Outcome:
    return injection.perform(perform)


def _look(windows: tuple[Window, ...]) -> None:
    for window in windows:
        window.look()
