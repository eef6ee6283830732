"""What the documents of this repository use of Markdown, as man(7): headings, paragraphs, lists, tables, code,
links.

Nothing of it knows what a document says. Manual pages are read in a terminal: a table of two columns becomes a
list of terms, one of more a table of tbl(1); what a link leads to is said where it can be opened from a shell.
"""

import re
from collections.abc import Callable, Iterator

Link = Callable[[str], str]
"""What to say of a link's target behind its text; nothing for none."""

FENCE = re.compile(r"```.*")
ITEM = re.compile(r"(?:-|(\d+)\.) +(.*)")
RULE = re.compile(r"\|[-:| ]+\|")
CODE = re.compile(r"(`+)(.+?)\1")
BOLD = re.compile(r"\*\*(.+?)\*\*")
LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")
CELL = re.compile(r"(?<!\\)\|")


def escaped(text: str) -> str:
    """As text in roff: nothing in it is a request, and a hyphen is one that can be copied."""
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace("^", "\\(ha").replace("~", "\\(ti")
    plain = plain.replace("`", "\\(ga").replace("'", "\\(aq").replace('"', "\\(dq")
    return plain.translate({ord("→"): "\\(->", ord("≥"): "\\(>=", ord("≤"): "\\(<="})


def inline(text: str, link: Link) -> str:
    """Code is bold, as literal words are in manual pages; bold is, too; a link is its text and where it leads."""
    kept: list[str] = []

    def keep(words: str) -> str:
        kept.append(words)
        return f"\0{len(kept) - 1}\0"

    def linked(found: re.Match[str]) -> str:
        where = link(found[2])
        return found[1] + (" (" + keep(where) + ")" if where else "")

    text = CODE.sub(lambda found: keep(f"\\fB{escaped(found[2].strip())}\\fR"), text)
    text = LINK.sub(linked, text)
    text = BOLD.sub(lambda found: keep("\\fB") + found[1] + keep("\\fR"), text)
    done = re.sub(r"\0(\d+)\0", lambda found: kept[int(found[1])], escaped(text))
    return re.sub(r"\0(\d+)\0", lambda found: kept[int(found[1])], done)


def line(text: str) -> str:
    """As a line of its own: no control line, whatever it begins with."""
    return f"\\&{text}" if text.startswith(".") else text


def body(markdown: str, link: Link) -> str:
    """A document without its title, as sections."""
    text = "\n".join(_lines(markdown.splitlines(), link)) + "\n"
    return re.sub(r"^(\.S[HS] .*\n)\.PP\n", r"\1", text, flags=re.MULTILINE)


def _lines(lines: list[str], link: Link) -> Iterator[str]:
    place = 0
    while place < len(lines):
        kind = _block(lines[place])
        end = _end(lines, place, kind)
        yield from BLOCKS[kind](lines[place:end], link)
        place = end


def _block(text: str) -> str:
    if FENCE.match(text):
        return "code"
    if not text.strip():
        return "blank"
    if text.startswith("#"):
        return "heading"
    if text.startswith("|"):
        return "table"
    if text.startswith("> "):
        return "quote"
    return "item" if ITEM.match(text) else "paragraph"


def _end(lines: list[str], place: int, kind: str) -> int:
    """Where the block that begins there ends. Lines of an item go on with blanks before them."""
    end = place + 1
    if kind == "code":
        while not FENCE.match(lines[end]):
            end += 1
        return end + 1
    if kind in ("blank", "heading"):
        return end
    goes_on = {"item": lambda text: text.startswith(" ")}.get(kind, lambda text: _block(text) == kind)
    while end < len(lines) and goes_on(lines[end]):
        end += 1
    return end


def _code(lines: list[str], link: Link) -> Iterator[str]:
    yield from (".PP", ".RS 4", ".EX")
    yield from (line(escaped(text)) for text in lines[1:-1])
    yield from (".EE", ".RE")


def _heading(lines: list[str], link: Link) -> Iterator[str]:
    marks, _, text = lines[0].partition(" ")
    plain = escaped(LINK.sub(r"\1", text).replace("`", ""))
    yield f".SH {plain.upper()}" if len(marks) == 2 else f".SS {plain}"


def _paragraph(lines: list[str], link: Link) -> Iterator[str]:
    yield ".PP"
    yield line(inline(" ".join(lines), link))


def _quote(lines: list[str], link: Link) -> Iterator[str]:
    yield ".RS 4"
    yield from _paragraph([text[2:] for text in lines], link)
    yield ".RE"


def _item(lines: list[str], link: Link) -> Iterator[str]:
    found = ITEM.match(lines[0])
    assert found is not None
    yield f".IP {found[1]}. 4" if found[1] else ".IP \\(bu 2"
    yield line(inline(" ".join([found[2], *(text.strip() for text in lines[1:])]), link))


def _table(lines: list[str], link: Link) -> Iterator[str]:
    rows = [[cell.strip().replace("\\|", "|") for cell in CELL.split(row.strip())[1:-1]] for row in lines]
    head, entries = rows[0], rows[2:]
    if not RULE.fullmatch(lines[1]):
        raise ValueError(f"a table without a rule: {lines[0]}")
    if len(head) == 2:
        yield from _terms(entries, link)
    else:
        yield from _columns(head, entries, link)


def _terms(rows: list[list[str]], link: Link) -> Iterator[str]:
    for term, text in rows:
        yield from (".TP", line(inline(term, link)) or "\\&", line(inline(text, link)) or "\\&")


def _columns(head: list[str], rows: list[list[str]], link: Link) -> Iterator[str]:
    """The widest column gets what the others leave."""
    widest = max(range(len(head)), key=lambda number: max(len(row[number]) for row in rows))
    yield from (".PP", ".na", ".TS", "tab(\t);")
    yield " ".join("lb" for _ in head)
    yield " ".join("lx" if number == widest else "l" for number in range(len(head))) + "."
    yield "\t".join(inline(cell, link) for cell in head)
    for row in rows:
        yield "\t".join(f"T{{\n{line(inline(cell, link))}\nT}}" for cell in row)
    yield from (".TE", ".ad")


BLOCKS: dict[str, Callable[[list[str], Link], Iterator[str]]] = {
    "blank": lambda lines, link: iter(()),
    "code": _code,
    "heading": _heading,
    "item": _item,
    "paragraph": _paragraph,
    "quote": _quote,
    "table": _table,
}
