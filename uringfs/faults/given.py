"""A rule in force: whose it is, what it has matched and injected, what waits for its release."""

import errno
import random
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from uringfs.errors import UringError
from uringfs.faults.rule import Rule
from uringfs.host.protocols import Caller, Opener

MOST_HITS = 4096
MOST_OF_A_USER = 64
"""Rules, those that have expired too: the oldest of these are forgotten for new ones."""


class Postponed(Protocol):
    """A request that has not begun, or is all but complete; or many."""

    @property
    def request(self) -> object:
        """None if it is not one."""

    def go(self) -> None:
        """Once; nothing if it has ended meanwhile."""


@dataclass(frozen=True, eq=False)
class RuleGiver:
    """Who gives rules, as who writes: a user, and what that was when it wrote."""

    uid: int
    opener: Opener | None = None
    """None: whoever started the daemon, whose rights are all there are."""

    @property
    def is_root(self) -> bool:
        return self.uid == 0

    def may_break(self, owner: int, caller: Caller) -> bool:
        """docs/security.md, "Who may inject": its own ring, and a caller that has no rights that it had not."""
        if self.opener is None:
            return True
        return (self.is_root or self.uid == owner) and self.opener.admits(caller)


@dataclass(eq=False)
class Given:
    """One rule of a mount. ring: the inode of the ring file that it was written to, 0 for none."""

    id: int
    rule: Rule
    who: RuleGiver
    ring: int
    seed: str
    deadline: float
    """trio's clock."""
    matched: int = 0
    injected: int = 0
    hits: list[int] = field(default_factory=list)
    """The first MOST_HITS that it was injected into, of those that match, counted from 1."""
    expired: bool = False
    waiting: list[Postponed] = field(default_factory=list)
    kept: int = 0
    """Bytes that unsynced writes have overwritten."""
    unsynced: int = 0
    """Such writes."""
    unable: str = ""
    """Why a write could not be lost; "" while all could."""
    _last: "tuple[weakref.ref[Caller], int, bool] | None" = None

    def chance(self, number: int, what: str) -> random.Random:
        """Chance for the number-th request that matches: the same whatever became of the others."""
        return random.Random(f"{self.seed}:{number}:{what}")

    def fires(self) -> bool:
        """A request, or call, matches: whether it is one to inject into."""
        self.matched += 1
        if self.matched not in self.rule.when:
            return False
        if self.rule.probability < 1.0 and self._draw() >= self.rule.probability:
            return False
        self.injected += 1
        if len(self.hits) < MOST_HITS:
            self.hits.append(self.matched)
        self.expired = self.rule.times is not None and self.injected >= self.rule.times
        return True

    def _draw(self) -> float:
        return self.chance(self.matched, "probability").random()

    def may_break(self, owner: int, caller: Caller) -> bool:
        """Asked once for those requests of one call that come one after another."""
        last = self._last
        if last is None or last[0]() is not caller or last[1] != owner:
            last = self._last = weakref.ref(caller), owner, self.who.may_break(owner, caller)
        return last[2]

    def let_go(self) -> int:
        """What waits goes on: how many."""
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one.go()
        return len(waiting)

    def drop(self, request: object) -> None:
        """Drop a request that has ended."""
        if self.waiting:
            self.waiting = [one for one in self.waiting if one.request is not request]

    def describe(self) -> str:
        """One line, for people."""
        state = "expired, " if self.expired else ""
        hits = f"injected {self.injected} of {self.matched} that match" if self.matched else "nothing has matched"
        held = f", {len(self.waiting)} waiting" if self.waiting else ""
        held += f", {self.unsynced} not synced" if self.unsynced else ""
        held += f", cannot lose: {self.unable}" if self.unable else ""
        where = f" ring #{self.ring}" if self.ring else ""
        return f"{self.id}:\t{self.rule.text}\t{state}{hits}{held} (user {self.who.uid}{where})"


def make_room(rules: dict[int, Given], uid: int) -> None:
    """Make room for one more rule of a user. EAGAIN if he has too many that have not expired."""
    own = [given for given in rules.values() if given.who.uid == uid]
    if len(own) < MOST_OF_A_USER:
        return
    over = next((given for given in own if given.expired and not given.unsynced), None)
    if over is None:
        raise UringError(errno.EAGAIN, f"user {uid} has {MOST_OF_A_USER} rules: uninject some")
    del rules[over.id]


Lineage = Callable[[int], tuple[int, ...]]
"""Takes a thread's id; gives its process, that one's parent, and so on."""
Naming = Callable[[int], str]
"""A ring file's name by its inode number, "" for one without."""
