"""A model of the lane's lock: docs/lane.md, step by step, for two clients and the daemon, each client dying at
every step. All orders of their steps are tried, states that were seen before are not tried again.

Two requests stand in the queue, the daemon has a completion of its own to post, and an enter waits in it. What is
performed without the lock is queued first, and the daemon wants to cancel whatever is. At the end of every run
nothing is lost or doubled, and everybody who waits knows.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

SQES = 2
OWN = 9  # user_data of the daemon's own completion
CANCELED = 100  # added to user_data of a CQE that says so
CLIENTS = (1, 2)


class Local(NamedTuple):
    """A client, or the daemon: where it is, and what it has in registers."""

    at: str = "start"
    head: int = 0
    tail: int = 0
    posted: bool = False
    rounds: int = 0
    alive: bool = True


class State(NamedTuple):
    # the page
    daemon: int = 0
    lock: int = 0
    posted: tuple[int, int] = (0, 0)
    """(cq_tail, done)"""
    sq_head: int = 0
    doing: int = 0
    places: tuple[tuple[int, int, str, int], ...] = ()
    """(holder, user_data, state, cq)"""
    # the queues
    cqes: tuple[int, ...] = ()
    """What is stored, by position, seen or not."""
    cq_tail: int = 0
    # who
    one: Local = Local()
    two: Local = Local()
    host: Local = Local()
    outstanding: bool = True
    """The daemon's completion is not posted."""
    kicked: bool = False
    """A control write is on its way to the daemon."""
    canceled: frozenset[int] = frozenset()
    """What the daemon has cancelled before it began."""
    noticed: int = 0
    """The tail that waiters in the daemon know of."""


def _client(state: State, me: int) -> Local:
    return state.one if me == 1 else state.two


def _with(state: State, me: int, local: Local, **words: object) -> State:
    return state._replace(**({"one": local} if me == 1 else {"two": local}), **words)  # type: ignore[arg-type]


def _store(cqes: tuple[int, ...], position: int, user_data: int) -> tuple[int, ...]:
    return (*cqes[:position], user_data, *cqes[position + 1 :])


# -- a client: each step is one load or store of shared memory. Two rounds, the second without the lock.


def client_steps(state: State, me: int) -> State | None:
    """The next step; None if there is none."""
    local = _client(state, me)
    if not local.alive:
        return None
    return STEPS[local.at](state, me, local) if local.at in STEPS else None


def _look(state: State, me: int, local: Local) -> State:
    if state.daemon:
        return _with(state, me, local._replace(at="kick"))
    return _with(state, me, local._replace(at="lock"))


def _lock(state: State, me: int, local: Local) -> State:
    if state.lock:
        return _with(state, me, local._replace(at="kick"))
    return _with(state, me, local._replace(at="look again"), lock=me)


def _look_again(state: State, me: int, local: Local) -> State:
    return _with(state, me, local._replace(at="back off" if state.daemon else "load"))


def _back_off(state: State, me: int, local: Local) -> State:
    return _with(state, me, local._replace(at="kick"), lock=0)


def _load(state: State, me: int, local: Local) -> State:
    tail, head = state.posted[0], state.sq_head
    local = local._replace(head=head, tail=tail)
    if local.rounds == 2:  # back for what it has performed without the lock
        return _with(state, me, local._replace(at="posting"))
    return _with(state, me, local._replace(at="doing" if head < SQES else "publish"))


def _doing(state: State, me: int, local: Local) -> State:
    return _with(state, me, local._replace(at="take"), doing=local.head + 1)


def _take(state: State, me: int, local: Local) -> State:
    at = "claim" if local.rounds == 1 else "cqe"
    return _with(state, me, local._replace(at=at, head=local.head + 1), sq_head=local.head + 1)


def _cqe(state: State, me: int, local: Local) -> State:
    return _with(state, me, local._replace(at="posted"), cqes=_store(state.cqes, local.tail, local.head))


def _posted(state: State, me: int, local: Local) -> State:
    local = local._replace(at="publish", tail=local.tail + 1, posted=True)
    return _with(state, me, local, posted=(local.tail, local.head))


def _publish(state: State, me: int, local: Local) -> State:
    return _with(state, me, local._replace(at="unlock"), cq_tail=local.tail)


def _unlock(state: State, me: int, local: Local) -> State:
    return _with(state, me, local._replace(at="attention"), lock=0)


def _attention(state: State, me: int, local: Local) -> State:
    """An enter waits in the daemon."""
    if state.daemon or local.posted:
        return _with(state, me, local._replace(at="kick"))
    return _with(state, me, _next_round(state, me, local))


def _kick(state: State, me: int, local: Local) -> State:
    if local.rounds == 2 and any(place[0] == me for place in state.places):
        return _with(state, me, local._replace(at="hand over"))
    return _with(state, me, _next_round(state, me, local), kicked=True)


def _hand_over(state: State, me: int, local: Local) -> State:
    places = tuple((*place[:2], "FINISHED", 0) if place[0] == me else place for place in state.places)
    return _with(state, me, Local("end", rounds=3), places=places, kicked=True)


def _next_round(state: State, me: int, local: Local) -> Local:
    """What is queued is begun in front of the third."""
    queued = local.rounds == 1 and any(place[0] == me for place in state.places)
    return Local("begin" if queued else "start" if local.rounds < 2 else "end", rounds=local.rounds + 1)


def _begin(state: State, me: int, local: Local) -> State:
    """By one operation that says whether it was cancelled before."""
    (mine,) = (place for place in state.places if place[0] == me)
    left = tuple(place for place in state.places if place[0] != me)
    if mine[2] == "CANCELED":
        return _with(state, me, local._replace(at="end"), places=left)
    return _with(state, me, local._replace(at="start"), places=(*left, (*mine[:2], "UNDER_WAY", 0)))


def _claim(state: State, me: int, local: Local) -> State:
    places = (*state.places, (me, local.head, "QUEUED", 0))
    return _with(state, me, local._replace(at="under way"), places=places)


def _under_way(state: State, me: int, local: Local) -> State:
    return _with(state, me, local._replace(at="publish"), posted=(local.tail, local.head))


def _posting(state: State, me: int, local: Local) -> State:
    if not any(place[0] == me for place in state.places):
        return _with(state, me, local._replace(at="publish"))
    places = tuple((*place[:2], "POSTING", local.tail) if place[0] == me else place for place in state.places)
    return _with(state, me, local._replace(at="its cqe"), places=places)


def _its_cqe(state: State, me: int, local: Local) -> State:
    mine = next(place for place in state.places if place[0] == me)
    return _with(state, me, local._replace(at="its posted"), cqes=_store(state.cqes, local.tail, mine[1]))


def _its_posted(state: State, me: int, local: Local) -> State:
    local = local._replace(at="free", tail=local.tail + 1, posted=True)
    return _with(state, me, local, posted=(local.tail, local.head))


def _free(state: State, me: int, local: Local) -> State:
    places = tuple(place for place in state.places if place[0] != me)
    return _with(state, me, local._replace(at="publish"), places=places)


STEPS: dict[str, Callable[[State, int, Local], State]] = {
    "start": _look,
    "lock": _lock,
    "look again": _look_again,
    "back off": _back_off,
    "load": _load,
    "doing": _doing,
    "take": _take,
    "cqe": _cqe,
    "posted": _posted,
    "publish": _publish,
    "unlock": _unlock,
    "attention": _attention,
    "kick": _kick,
    "hand over": _hand_over,
    "claim": _claim,
    "begin": _begin,
    "under way": _under_way,
    "posting": _posting,
    "its cqe": _its_cqe,
    "its posted": _its_posted,
    "free": _free,
}


# -- the daemon


def _has_work(state: State) -> bool:
    finished = any(place[2] == "FINISHED" or not _client(state, place[0]).alive for place in state.places)
    return state.outstanding or finished or state.kicked or state.noticed != state.cq_tail or bool(state.daemon)


def daemon_steps(state: State) -> State | None:
    host = state.host
    match host.at:
        case "start":
            if not _has_work(state):
                return None
            return state._replace(daemon=1, kicked=False, host=host._replace(at="who"))
        case "who":  # never waits: it comes back from "start", by a kick, a death or a look now and then
            if state.lock and _client(state, state.lock).alive:
                return state._replace(host=host._replace(at="start"))
            return state._replace(host=host._replace(at="bury" if state.lock else "adopt"))
        case "bury":
            return _bury(state)._replace(lock=0, host=host._replace(at="adopt"))
        case "adopt":
            return state._replace(host=host._replace(at="post", tail=state.posted[0], head=state.sq_head))
        case "post":
            return _post(state)._replace(host=host._replace(at="publish"))
        case "publish":
            return state._replace(cq_tail=state.posted[0], host=host._replace(at="leave"))
        case _:
            return state._replace(daemon=0, noticed=state.cq_tail, host=Local())


def _post(state: State) -> State:
    """What it has, what clients have left to it, and requests of the dead."""
    ends, canceled = [OWN] if state.outstanding else [], set(state.canceled)
    left: list[tuple[int, int, str, int]] = []
    for place in state.places:
        if place[2] == "FINISHED":
            ends.append(place[1])
        elif not _client(state, place[0]).alive:
            ends += [place[1] + CANCELED] if place[2] != "CANCELED" else []
        elif place[2] == "QUEUED":
            ends.append(place[1] + CANCELED)
            canceled.add(place[1] + CANCELED)
            left.append((*place[:2], "CANCELED", 0))
        else:
            left.append(place)
    return _append(state, ends)._replace(outstanding=False, places=tuple(left), canceled=frozenset(canceled))


def _append(state: State, ends: list[int]) -> State:
    cqes, (tail, _) = state.cqes, state.posted
    for end in ends:
        cqes, tail = _store(cqes, tail, end), tail + 1
    return state._replace(cqes=cqes, posted=(tail, state.sq_head))


def _bury(state: State) -> State:
    """docs/lane.md, "The dead": the holder of the lock."""
    (tail, done), dead, ends = state.posted, state.lock, []
    taking = state.sq_head != done
    if taking:
        ends.append(state.doing + CANCELED)
    left = []
    for place in state.places:
        if place[0] != dead:
            left.append(place)
        elif place[2] == "FINISHED":
            ends.append(place[1])
        elif place[2] == "CANCELED" or (place[2] == "POSTING" and tail > place[3]):
            continue
        elif not (taking and place[1] == done + 1):
            ends.append(place[1] + CANCELED)
    return _append(state, ends)._replace(places=tuple(left))


# -- all orders


def _die(state: State, me: int) -> State | None:
    """The daemon is told of that, as of a kick."""
    local = _client(state, me)
    return _with(state, me, local._replace(alive=False), kicked=True) if local.alive else None


def _next(state: State, daemon: Callable[[State], State | None]) -> Iterator[State]:
    for me in CLIENTS:
        for after in (client_steps(state, me), _die(state, me)):
            if after is not None:
                yield after
    after = daemon(state)
    if after is not None:
        yield after


INSIDE = frozenset(STEPS) - {
    "start",
    "lock",
    "look again",
    "back off",
    "attention",
    "kick",
    "hand over",
    "begin",
    "has looked",
}
HAS_IT = frozenset({"bury", "adopt", "post", "publish", "leave"})


def check(state: State) -> None:
    """In every state: one of them at most is in the lane, and what is shown never goes back."""
    inside = sum(_client(state, me).alive and _client(state, me).at in INSIDE for me in CLIENTS)
    assert inside + (state.host.at in HAS_IT) <= 1, state
    assert state.cq_tail <= state.posted[0] <= len(state.cqes), state


def check_end(state: State) -> None:
    """Where nothing goes on, with everything that was taken: complete, once, and known."""
    ends = [end % CANCELED for end in state.cqes[: state.posted[0]]]
    taken = list(range(1, state.sq_head + 1))
    assert sorted(ends) == sorted([*taken, OWN]), state
    assert state.cq_tail == state.posted[0] == state.noticed, state
    assert not state.lock or _client(state, state.lock).alive, state
    assert not state.places, state
    if all(_client(state, me).alive for me in CLIENTS):
        assert {end for end in state.cqes if end > CANCELED} == state.canceled, state


def explore(daemon: Callable[[State], State | None] = daemon_steps) -> int:
    """The number of states."""
    seen, todo = {State()}, [State()]
    while todo:
        state = todo.pop()
        check(state)
        found = list(_next(state, daemon))
        if not found or _quiet(state, daemon):
            check_end(state)
        for after in found:
            if after not in seen:
                seen.add(after)
                todo.append(after)
    return len(seen)


def _quiet(state: State, daemon: Callable[[State], State | None]) -> bool:
    """Nobody is going to do anything, unless somebody dies."""
    return daemon(state) is None and all(client_steps(state, me) is None for me in CLIENTS)


def test_all_orders_and_all_deaths() -> None:
    assert explore() > 1_000_000


# -- and it finds what is wrong


def _without(name: str, instead: Callable[[State, int, Local], State], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STEPS, name, instead)


def test_a_client_that_does_not_look_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(state: State, me: int, local: Local) -> State:
        return _with(state, me, local._replace(at="load"))

    _without("look again", blind, monkeypatch)
    with pytest.raises(AssertionError):
        explore()


def test_a_client_that_does_not_kick_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def mute(state: State, me: int, local: Local) -> State:
        return _with(state, me, _next_round(state, me, local))

    def forgetful(state: State) -> State | None:  # who neither comes back nor looks at the tail by itself
        if state.host.at == "start" and not (state.outstanding or state.kicked):
            return None
        return daemon_steps(state)

    _without("attention", mute, monkeypatch)
    with pytest.raises(AssertionError):
        explore(forgetful)


def test_a_daemon_that_believes_its_own_word_alone_is_found() -> None:
    def rash(state: State) -> State | None:
        if state.host.at == "who":
            return state._replace(host=state.host._replace(at="adopt"))
        return daemon_steps(state)

    with pytest.raises(AssertionError):
        explore(rash)


def test_a_daemon_that_loads_before_it_stores_is_found() -> None:
    """Without a fence the store of its word may come behind the load of the lock."""

    def early(state: State) -> State | None:
        host = state.host
        if host.at == "start" and _has_work(state) and not state.daemon and not state.lock:
            return state._replace(kicked=False, host=host._replace(at="its store comes"))
        if host.at == "its store comes":
            return state._replace(daemon=1, host=host._replace(at="adopt"))
        return daemon_steps(state)

    with pytest.raises(AssertionError):
        explore(early)


def test_a_daemon_that_forgets_what_the_dead_had_taken_is_found() -> None:
    def careless(state: State) -> State | None:
        if state.host.at == "bury":
            done = state._replace(posted=(state.posted[0], state.sq_head))
            return done._replace(lock=0, host=state.host._replace(at="adopt"))
        return daemon_steps(state)

    with pytest.raises(AssertionError):
        explore(careless)


def test_a_worker_that_looks_before_it_begins_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two operations, between which it is cancelled"""

    def looks(state: State, me: int, local: Local) -> State:
        canceled = any(place[0] == me and place[2] == "CANCELED" for place in state.places)
        return _begin(state, me, local) if canceled else _with(state, me, local._replace(at="has looked"))

    def begins(state: State, me: int, local: Local) -> State:
        places = tuple((*place[:2], "UNDER_WAY", 0) if place[0] == me else place for place in state.places)
        return _with(state, me, local._replace(at="start"), places=places)

    _without("begin", looks, monkeypatch)
    _without("has looked", begins, monkeypatch)
    with pytest.raises(AssertionError):
        explore()
