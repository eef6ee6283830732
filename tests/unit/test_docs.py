"""docs/dev/ shows the code as it is; docs/troubleshooting.md quotes what is said; links lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```(?:python|c)\n(?:#|//) (\S+)\n(.*?)```", re.DOTALL)
BLOCKS = [
    (path.name, *found)
    for path in sorted((ROOT / "docs" / "dev").glob("*.md"))
    for found in BLOCK.findall(path.read_text())
]
LINK = re.compile(r"\]\(([^)#:]*)(?:#([^)]*))?\)")
PAGES = sorted((*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))
SOURCES = (*(ROOT / "uringfs").rglob("*.py"), *(ROOT / "contrib/launcher").glob("*.c"))


def test_there_are_blocks() -> None:
    assert len(BLOCKS) > 5


@pytest.mark.parametrize(
    ("page", "source", "text"), BLOCKS, ids=[f"{page}-{source}" for page, source, _ in BLOCKS]
)
def test_a_block_stands_in_its_file(page: str, source: str, text: str) -> None:
    assert text in (ROOT / source).read_text()


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        found = page.parent / target if target else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


def said() -> str:
    """All strings of the sources, those that stand in pieces as one; `...` for what is filled in."""
    text = "\n".join(path.read_text() for path in SOURCES).replace("{DEV_FUSE}", "/dev/fuse")
    text = re.sub(r'",?\s*f?"', "", re.sub(r'",\s*\w+,\s*"', "...", text))
    return re.sub(r"\{[^{}\n]*\}", "...", text)


def test_troubleshooting_quotes_what_is_said() -> None:
    tables = re.findall(
        r"\| it says \|.*\n\|---\|---\|\n((?:\|.*\n)+)", (ROOT / "docs/troubleshooting.md").read_text()
    )
    quotes = [quote for table in tables for quote in re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)]
    assert len(quotes) > 15
    source = said()
    missing = [part for quote in quotes for part in quote.split("...") if part.strip() not in source]
    assert missing == []
