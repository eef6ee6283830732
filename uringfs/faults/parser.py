"""Rules from text: `OPCODES[:WORD[=VALUE]]...`, near strace's --inject. Knows the tables (words, sets) and nothing
else; what is wrong is said with its column and the words that would fit there."""

import re
from typing import NamedTuple

from uringfs.faults import sets
from uringfs.faults.rule import Rule
from uringfs.faults.values import Misfit, close
from uringfs.faults.words import BY_NAME, EFFECTS, WORDS, Word

MAX_RULE = 1024
"""Characters."""
_PIECE = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^":])*')
_ESCAPE = re.compile(r"\\(.)")


class RuleError(ValueError):
    """column: of the first character that is wrong, from 1. fits: what could stand there."""

    def __init__(self, column: int, what: str, fits: tuple[str, ...]) -> None:
        self.column = column
        self.fits = fits
        super().__init__(f"column {column}: {what}" + (f"; what fits: {' '.join(fits)}" if fits else ""))


class Piece(NamedTuple):
    """What stands between two colons."""

    column: int
    name: str
    equals: bool
    value: str
    value_column: int


def parse(text: str) -> Rule:
    """RuleError."""
    if len(text) > MAX_RULE:
        raise RuleError(MAX_RULE + 1, f"a rule has at most {MAX_RULE} characters", ())
    pieces = _pieces(text)
    first = pieces[0]
    if first.equals or not first.name:
        raise RuleError(1, "a rule begins with opcodes", (*sets.CLASSES, *sets.CALLS, "WRITE", "READ,READV"))
    try:
        call, opcodes = sets.parse(first.name)
    except Misfit as misfit:
        raise RuleError(1, str(misfit), misfit.fits) from None
    said: dict[str, object] = {}
    for piece in pieces[1:]:
        said[piece.name] = _value(piece, _word(piece, call, opcodes, said))
    _whole(text, call, said)
    return Rule.of(text, call, opcodes, said)


def _pieces(text: str) -> list[Piece]:
    """Split at colons that are not in quotes."""
    found, start = [], 0
    while True:
        match = _PIECE.match(text, start)
        assert match is not None  # it matches nothing, too
        end = match.end()
        if end < len(text) and text[end] != ":":
            raise RuleError(end + 1, "a quote is not closed", ('"',))
        name, equals, value = text[start:end].partition("=")
        value_column = start + len(name) + 2
        found.append(Piece(start + 1, name.strip(), bool(equals), _unquoted(value.strip()), value_column))
        if end == len(text):
            return found
        start = end + 1


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return _ESCAPE.sub(r"\1", value[1:-1])
    return value


def fitting(call: str, opcodes: frozenset[int], said: dict[str, object]) -> tuple[str, ...]:
    """The words that may come next."""
    return tuple(
        _shown(word)
        for word in WORDS
        if word.name not in said
        if call in word.calls and _means(word, call, opcodes) and not _against(word, said)
    )


def _shown(word: Word) -> str:
    if word.value.startswith("["):
        return f"{word.name}[={word.value[1:]}"
    return f"{word.name}={word.value}" if word.value else word.name


def _means(word: Word, call: str, opcodes: frozenset[int]) -> bool:
    return bool(call or word.of & opcodes)


def _against(word: Word, said: dict[str, object]) -> list[str]:
    return [name for name in said if name in word.against or word.name in BY_NAME[name].against]


def _word(piece: Piece, call: str, opcodes: frozenset[int], said: dict[str, object]) -> Word:
    word = BY_NAME.get(piece.name)
    fits = fitting(call, opcodes, said)
    if word is None:
        alike = close(piece.name, [word.name for word in WORDS])
        hint = f" (perhaps {alike[0]!r})" if piece.name and alike[-1] != "..." else ""
        raise RuleError(piece.column, f"{piece.name!r} is no word of a rule{hint}", fits)
    if piece.name in said:
        raise RuleError(piece.column, f"{piece.name!r} is given twice", fits)
    if call not in word.calls:
        raise RuleError(piece.column, f"{piece.name!r} means nothing to {call or 'requests'}", fits)
    if not _means(word, call, opcodes):
        raise RuleError(piece.column, f"{piece.name!r} means nothing to these opcodes", fits)
    against = _against(word, said)
    if against:
        raise RuleError(piece.column, f"{piece.name!r} cannot stand beside {against[0]!r}", fits)
    return word


def _value(piece: Piece, word: Word) -> object:
    """None for a word without one."""
    if word.parse is None:
        if piece.equals:
            raise RuleError(piece.value_column, f"{word.name!r} takes no value", (word.name,))
        return None
    if not piece.equals:
        if word.value.startswith("["):
            return None
        raise RuleError(piece.column + len(word.name), f"{word.name!r} needs a value", (f"={word.value}",))
    try:
        return word.parse(piece.value)
    except Misfit as misfit:
        raise RuleError(piece.value_column, str(misfit), misfit.fits) from None


def _whole(text: str, call: str, said: dict[str, object]) -> None:
    """What a rule as a whole has to have."""
    end = len(text) + 1
    if not any(name in said for name in EFFECTS):
        fits = tuple(_shown(BY_NAME[name]) for name in EFFECTS if call in BY_NAME[name].calls)
        raise RuleError(end, "the rule does nothing", fits)
    if "after" in said and not {"error", "retval", "signal"} & said.keys():
        raise RuleError(end, "'after' goes with another word", ("error=ERRNO", "retval=RESULT", "signal=SIGNAL"))
