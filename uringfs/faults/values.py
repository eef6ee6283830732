"""What may stand behind `=` in a rule: each function takes the text and returns its value, or raises Misfit with
what would fit. Pure: no rule, no request."""

import difflib
import errno
import random
import re
import signal
from typing import NamedTuple, Protocol

from uringfs.abi.constants import SQE_FLAGS
from uringfs.abi.numbers import U64

UNITS = {"ns": 1e9, "us": 1e6, "ms": 1e3, "s": 1.0, "": 1e6}
"""How many are a second. Without a unit: microseconds, as strace's delays."""
MOST = 86400.0
"""Seconds: of a delay."""
_TIME = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|)")
_DISTRIBUTION = re.compile(r"(exp|normal)\(([^,()]*)(?:,([^,()]*))?\)")
_WHEN = re.compile(r"(\d+)(?:\.\.(\d+))?(?:\+(\d*))?")


class Misfit(Exception):
    """fits: what would be right in its place."""

    def __init__(self, message: str, *fits: str) -> None:
        super().__init__(message)
        self.fits = fits


class Delay(Protocol):
    def sample(self, chance: random.Random) -> float:
        """Seconds, at least 0."""


class Fixed(NamedTuple):
    seconds: float

    def sample(self, chance: random.Random) -> float:
        return self.seconds


class Uniform(NamedTuple):
    least: float
    most: float

    def sample(self, chance: random.Random) -> float:
        return chance.uniform(self.least, self.most)


class Exponential(NamedTuple):
    mean: float

    def sample(self, chance: random.Random) -> float:
        return min(chance.expovariate(1 / self.mean), MOST) if self.mean else 0.0


class Normal(NamedTuple):
    mean: float
    deviation: float

    def sample(self, chance: random.Random) -> float:
        return min(max(chance.gauss(self.mean, self.deviation), 0.0), MOST)


class Range(NamedTuple):
    """Both ends are in it."""

    first: int
    last: int

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self.first <= number <= self.last

    def overlaps(self, start: int, length: int) -> bool:
        """With `length` bytes from `start`."""
        return length > 0 and start <= self.last and self.first < start + length


class When(NamedTuple):
    """strace's when=: of the matching requests, counted from 1, first..last every `step`."""

    first: int = 1
    last: int = U64
    step: int = 1
    among: frozenset[int] | None = None
    """Numbers that count, and no others; None: as first, last and step say."""

    def __contains__(self, count: object) -> bool:
        if self.among is not None:
            return count in self.among
        return (
            isinstance(count, int) and self.first <= count <= self.last and (count - self.first) % self.step == 0
        )


def number(text: str, least: int = 0, most: int = U64) -> int:
    """Decimal, or with 0x, 0o."""
    try:
        value = int(text, 0)
    except ValueError:
        raise Misfit(f"{text!r} is no number", f"{least}..{most:#x}") from None
    if not least <= value <= most:
        raise Misfit(f"{value} is not within {least}..{most:#x}", f"{least}..{most:#x}")
    return value


def count(text: str) -> int:
    return number(text, 1, 1 << 32)


def size(text: str) -> int:
    """Bytes, 0 or more."""
    return number(text, 0, (1 << 31) - 1)


def window(text: str) -> int:
    return number(text, 2, 1 << 15)


def result(text: str) -> int:
    """A CQE's res, which is an s32."""
    return number(text, -(1 << 31), (1 << 31) - 1)


def shift(text: str) -> int:
    """+N or -N bytes."""
    if text[:1] not in ("+", "-"):
        raise Misfit(f"{text!r} does not say which way", "+BYTES", "-BYTES")
    return number(text, -(1 << 62), 1 << 62)


def error(text: str) -> int:
    """The number of an errno, by name or as it is: 1..4095, the kernel's MAX_ERRNO."""
    if text[:1].isdigit():
        return number(text, 1, 4095)
    value = getattr(errno, text.upper(), None) if text.upper().startswith("E") else None
    if not isinstance(value, int):
        names = sorted(name for name in errno.errorcode.values())
        raise Misfit(f"{text!r} is no errno", *close(text.upper(), names))
    return value


def signal_number(text: str) -> int:
    """SIGKILL, KILL or 9."""
    if text[:1].isdigit():
        return number(text, 1, 64)
    name = "SIG" + text.upper().removeprefix("SIG")
    if name not in signal.Signals.__members__:
        raise Misfit(f"{text!r} is no signal", *close(name, sorted(signal.Signals.__members__)))
    return int(signal.Signals[name])


def seconds(text: str) -> float:
    match = _TIME.fullmatch(text)
    if match is None:
        raise Misfit(f"{text!r} is no time", "100", "100us", "5ms", "1.5s")
    value = float(match[1]) / UNITS[match[2]]
    if value > MOST:
        raise Misfit(f"{text!r} is more than a day", "at most 86400s")
    return value


def delay(text: str) -> Delay:
    """A time, A..B, exp(MEAN) or normal(MEAN,DEVIATION)."""
    match = _DISTRIBUTION.fullmatch(text)
    if match is not None and match[1] == "exp" and match[3] is None:
        return Exponential(seconds(match[2]))
    if match is not None and match[1] == "normal" and match[3] is not None:
        return Normal(seconds(match[2]), seconds(match[3]))
    if "(" in text:
        raise Misfit(f"{text!r} is no distribution", "exp(MEAN)", "normal(MEAN,DEVIATION)", "A..B")
    if ".." in text:
        least, most = map(seconds, text.split("..", 1))
        if least > most:
            raise Misfit(f"{text!r} ends before it begins", "A..B")
        return Uniform(least, most)
    return Fixed(seconds(text))


def span(text: str) -> Range:
    """N, A..B with both ends, A.. or ..B"""
    first, dots, last = text.partition("..")
    if not dots:
        value = number(text)
        return Range(value, value)
    found = Range(number(first) if first else 0, number(last) if last else U64)
    if not text.strip(".") or found.first > found.last:
        raise Misfit(f"{text!r} is no range", "N", "A..B", "A..", "..B")
    return found


def bytes_of(text: str) -> int | Range:
    """How many bytes, or A..B: which."""
    return span(text) if ".." in text else count(text)


def when(text: str) -> When:
    """FIRST, FIRST+, FIRST+STEP, FIRST..LAST, FIRST..LAST+STEP; or numbers with commas between"""
    if "," in text:
        return When(among=frozenset(map(count, text.split(","))))
    match = _WHEN.fullmatch(text)
    if match is None or match[1] == "0":
        raise Misfit(f"{text!r} counts nothing", "N", "N+", "N+STEP", "N..LAST", "N..LAST+STEP", "N,N")
    first, step = int(match[1]), match[3]
    if step and not int(step):
        raise Misfit("a step of 0", "N+STEP")
    last = int(match[2]) if match[2] else (first if step is None else U64)
    if last < first:
        raise Misfit(f"{text!r} ends before it begins", "N..LAST")
    return When(first, last, int(step or 1))


def probability(text: str) -> float:
    """0.25 or 25%"""
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise Misfit(f"{text!r} is no probability", "0.25", "25%")
    return value


def flags(text: str) -> int:
    """IOSQE_*, joined by |, with or without that prefix."""
    bits = 0
    for word in text.split("|"):
        name = word.upper().removeprefix("IOSQE_")
        if name not in SQE_FLAGS:
            raise Misfit(f"{word!r} is no flag of an SQE", *SQE_FLAGS)
        bits |= 1 << SQE_FLAGS.index(name)
    return bits


def where(text: str) -> str:
    if text not in ("enter", "exit"):
        raise Misfit(f"{text!r} is no place", "enter", "exit")
    return text


def glob(text: str) -> str:
    if not text:
        raise Misfit("a pattern is empty", "GLOB")
    return text


def close(text: str, names: list[str]) -> list[str]:
    """The names that are most like the text, or the first few."""
    return difflib.get_close_matches(text, names, 5, 0.5) or [*names[:5], "..."]
