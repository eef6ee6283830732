"""What docs/dev/ shows of the code is the code."""

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
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
PAGES = sorted((*ROOT.glob("*.md"), ROOT / "docs/architecture.md", *(ROOT / "docs/dev").glob("*.md")))


def test_there_are_blocks() -> None:
    assert len(BLOCKS) > 5


@pytest.mark.parametrize(
    ("page", "source", "text"), BLOCKS, ids=[f"{page}-{source}" for page, source, _ in BLOCKS]
)
def test_a_block_stands_in_its_file(page: str, source: str, text: str) -> None:
    assert text in (ROOT / source).read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target
