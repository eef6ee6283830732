"""A rule as it is written: which requests or calls, and what becomes of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from uringfs.faults.values import Delay, Fixed, Range, When


@dataclass(frozen=True)
class Rule:
    """One line of the rule language (docs/faults.md). What is None, False or "" was not said."""

    text: str
    call: str
    """setup, enter or register; "" for requests."""
    opcodes: frozenset[int]
    path: str = ""
    peer: str = ""
    fd: Range | None = None
    user_data: Range | None = None
    flags: int = 0
    chain: Range | None = None
    range: Range | None = None
    pid: int | None = None
    ring: str = ""
    when: When = field(default_factory=When)
    probability: float = 1.0
    seed: int | None = None
    times: int | None = None
    expires: float | None = None
    """Seconds."""
    error: int | None = None
    retval: int | None = None
    after: bool = False
    short: int | None = None
    torn: int | None = None
    misdirect: int | None = None
    corrupt: int | Range | None = None
    unsynced: bool = False
    nobufs: bool = False
    late: bool = False
    delay_enter: Delay | None = None
    delay_exit: Delay | None = None
    hold: str = ""
    """enter or exit."""
    reorder: int | None = None
    stall: float | None = None
    """Seconds, 0 for no end."""
    overflow: bool = False
    lose: bool = False
    nomore: int | None = None
    hidemore: int | None = None
    """Which CQE, from 1; 0: all."""
    signal: int | None = None
    release: int | None = None

    @classmethod
    def of(cls, text: str, call: str, opcodes: frozenset[int], said: Mapping[str, Any]) -> "Rule":
        """said: the words' values by name, None for those without one."""
        bare: dict[str, Any] = {"hold": "enter", "stall": 0.0, "nomore": 1, "hidemore": 0}
        return cls(text, call, opcodes, **{k: bare.get(k, True) if v is None else v for k, v in said.items()})

    @property
    def by_chance(self) -> bool:
        """A seed plays a role."""
        delays = self.delay_enter, self.delay_exit
        drawn = any(delay is not None and not isinstance(delay, Fixed) for delay in delays)
        return drawn or self.probability < 1.0 or isinstance(self.corrupt, int) or self.reorder is not None

    @property
    def result(self) -> int | None:
        """What error and retval make the CQE say."""
        return -self.error if self.error is not None else self.retval
