"""The tables of docs/faults.md, as Markdown. A test keeps the document equal to them."""

from uringfs.abi.constants import OPCODES
from uringfs.faults import sets
from uringfs.faults.words import WORDS, Word

KINDS = {"match": "which requests", "life": "how long", "act": "what becomes of them"}


def words() -> str:
    """A row a word."""
    lines = []
    for kind, about in KINDS.items():
        lines += [f"| {about} | value | |", "|---|---|---|"]
        lines += [_row(word) for word in WORDS if word.kind == kind]
        lines.append("")
    return "\n".join(lines)


def _row(word: Word) -> str:
    value = f"`{word.value}`".replace("|", "\\|") if word.value else ""
    return f"| `{word.name}` | {value} | {word.about}{_scope(word)} |"


def _scope(word: Word) -> str:
    """Whether calls have it, too."""
    return " (of calls, too)" if len(word.calls) > 2 and word.name != "error" else ""


def classes() -> str:
    """A row a class of opcodes."""
    rows = [f"| `{name}` | {_names(opcodes)} |" for name, opcodes in sets.CLASSES.items()]
    return "\n".join(["| class | opcodes |", "|---|---|", *rows, ""])


def _names(opcodes: frozenset[int]) -> str:
    return "all of them" if opcodes == sets.ALL else " ".join(OPCODES[opcode] for opcode in sorted(opcodes))
